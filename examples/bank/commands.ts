import {
  command,
  commandBus,
  keyValueAnswers,
  type Command,
  type CommandBus,
} from 'tallystick/cqrs';
import { aggregates, keyValueSnapshots, refuse, type Aggregates } from 'tallystick/events';
import { mergeEvidence } from 'tallystick';
import { z } from 'zod';
import { accountDecider, type AccountTypes } from './account.ts';
import type { OpenBank } from './app.ts';

/** Who sends a command. */
export interface Clerk {
  readonly name: string;
  readonly mayOpen: boolean;
}

/** What every command answers: the account after it. */
export interface AccountAnswer {
  readonly account: string;
  readonly cents: number;
  readonly version: number;
}

/** The accounts of a bank, on its event store. */
export type Accounts = Aggregates<AccountTypes>;

export function accountsOf(bank: OpenBank): Accounts {
  return aggregates(accountDecider, {
    events: bank.stores.bank.events,
    evidenceAt: (position) => bank.evidenceAt('bank', position),
    snapshots: keyValueSnapshots(bank.stores.desk.keyValue),
  });
}

const account = z.string().regex(/^[a-z0-9-]{1,64}$/, 'letters, digits and -');
const cents = z.number().int().positive();

/** The commands of the bank by name. */
export type BankCommands = {
  readonly open: Command<{ account: string; owner: string }, AccountAnswer>;
  readonly deposit: Command<{ account: string; cents: number }, AccountAnswer>;
  readonly withdraw: Command<{ account: string; cents: number }, AccountAnswer>;
  readonly close: Command<{ account: string }, AccountAnswer>;
  readonly transfer: Command<{ from: string; to: string; cents: number }, AccountAnswer>;
};

/** The one way in for everything that changes something. */
export function bankCommands(bank: OpenBank, accounts: Accounts): CommandBus<Clerk, BankCommands> {
  const one = <Input extends { readonly account: string }>(
    input: z.ZodType<Input>,
    of: (input: Input) => AccountTypes['command'],
  ): Command<Input, AccountAnswer> =>
    command({
      input,
      key: 'required',
      handle: async (given, { key, correlationId }) => {
        const done = await accounts.handle(given.account, of(given), {
          ...keyed(key),
          correlationId,
        });
        return { ...done, value: answer(given.account, done) };
      },
    });
  return commandBus<Clerk, BankCommands>({
    commands: {
      open: one(z.object({ account, owner: z.string() }), ({ owner }) => ({ kind: 'open', owner })),
      deposit: one(z.object({ account, cents }), (input) => ({
        kind: 'deposit',
        cents: input.cents,
      })),
      withdraw: one(z.object({ account, cents }), (input) => ({
        kind: 'withdraw',
        cents: input.cents,
      })),
      close: one(z.object({ account }), () => ({ kind: 'close' })),
      transfer: transferOf(accounts),
    },
    authorise: ({ name, actor }) => actor !== undefined && (name !== 'open' || actor.mayOpen),
    answers: keyValueAnswers(bank.stores.desk.keyValue),
  });
}

/**
 * Two accounts, and no transaction over both. Each step has a key that is made of the command's: a process that dies in
 * between leaves money on its way, and the same command sent again brings it to its end, never twice.
 */
function transferOf(accounts: Accounts): BankCommands['transfer'] {
  return command({
    input: z.object({ from: account, to: account, cents }),
    key: 'required',
    handle: async ({ from, to, cents: amount }, { key = '', correlationId }) => {
      const step = (name: string): { readonly key: string; readonly correlationId: string } => ({
        key: `${key}/${name}`,
        correlationId,
      });
      const money = { transfer: key, cents: amount };
      const sent = await accounts.handle(from, { kind: 'send', to, ...money }, step('send'));
      const arrived = await accounts.handle(
        to,
        { kind: 'receive', from, ...money },
        step('receive'),
      );
      if (arrived.events.some(({ type }) => type === 'declined')) {
        await accounts.handle(from, { kind: 'take-back', ...money }, step('take-back'));
        throw refuse('declined', `account ${to} takes no money`);
      }
      return {
        value: answer(from, sent),
        evidence: mergeEvidence(sent.evidence, arrived.evidence),
        repeated: sent.repeated && arrived.repeated,
      };
    },
  });
}

function keyed(key: string | undefined): { readonly key?: string } {
  return key === undefined ? {} : { key };
}

function answer(
  id: string,
  { state, version }: { readonly state: AccountTypes['state']; readonly version: number },
): AccountAnswer {
  return { account: id, cents: state.cents, version };
}
