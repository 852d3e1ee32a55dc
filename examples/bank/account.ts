import { decider, refuse, type Decider } from 'tallystick/events';
import { z } from 'zod';

/** An account, as its events make it. Money is in cents: sums are exact. */
export type Account = {
  readonly status: 'none' | 'open' | 'closed';
  readonly owner: string;
  readonly cents: number;
};

const cents = z.number().int().positive().max(1_000_000_00);
const transfer = z.string().min(1);
const account = z.string().min(1);

/** What can be asked of an account. */
export type AccountCommand =
  | { readonly kind: 'open'; readonly owner: string }
  | { readonly kind: 'deposit' | 'withdraw'; readonly cents: number }
  | {
      readonly kind: 'send';
      readonly transfer: string;
      readonly to: string;
      readonly cents: number;
    }
  | {
      readonly kind: 'receive';
      readonly transfer: string;
      readonly from: string;
      readonly cents: number;
    }
  | { readonly kind: 'take-back'; readonly transfer: string; readonly cents: number }
  | { readonly kind: 'close' };

const accountCommand: z.ZodType<AccountCommand> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('open'), owner: z.string().trim().min(1).max(200) }),
  z.object({ kind: z.literal('deposit'), cents }),
  z.object({ kind: z.literal('withdraw'), cents }),
  z.object({ kind: z.literal('send'), transfer, to: account, cents }),
  z.object({ kind: z.literal('receive'), transfer, from: account, cents }),
  z.object({ kind: z.literal('take-back'), transfer, cents }),
  z.object({ kind: z.literal('close') }),
]);

/** What can happen to an account. */
export type AccountEvent =
  | { readonly type: 'opened'; readonly data: { readonly owner: string } }
  | {
      readonly type: 'deposited';
      readonly data: { readonly cents: number; readonly currency: string };
    }
  | { readonly type: 'withdrawn'; readonly data: { readonly cents: number } }
  | {
      readonly type: 'sent';
      readonly data: { readonly transfer: string; readonly to: string; readonly cents: number };
    }
  | {
      readonly type: 'received';
      readonly data: { readonly transfer: string; readonly from: string; readonly cents: number };
    }
  | {
      readonly type: 'declined';
      readonly data: { readonly transfer: string; readonly from: string; readonly cents: number };
    }
  | {
      readonly type: 'took-back';
      readonly data: { readonly transfer: string; readonly cents: number };
    }
  | { readonly type: 'closed'; readonly data: Record<string, never> };

/** What an account is made of, as one type. */
export type AccountTypes = {
  readonly command: AccountCommand;
  readonly state: Account;
  readonly event: AccountEvent;
};

/** The rules of an account: pure functions, without stores, clocks or other accounts. */
export const accountDecider: Decider<AccountTypes> = decider<AccountTypes>({
  category: 'account',
  initial: { status: 'none', owner: '', cents: 0 },
  command: accountCommand,
  decide,
  evolve,
  events: {
    opened: { schema: z.object({ owner: z.string().min(1) }) },
    // Version 1 knew one currency only and did not say so.
    deposited: {
      version: 2,
      schema: z.object({ cents, currency: z.string().length(3) }),
      upcast: { 1: (data: { readonly cents: number }) => ({ ...data, currency: 'EUR' }) },
    },
    // Its name was `paid-out` in the bank's first year.
    withdrawn: { schema: z.object({ cents }), formerly: ['paid-out'] },
    sent: { schema: z.object({ transfer, to: account, cents }) },
    received: { schema: z.object({ transfer, from: account, cents }) },
    declined: { schema: z.object({ transfer, from: account, cents }) },
    'took-back': { schema: z.object({ transfer, cents }) },
    closed: {},
  },
  snapshot: { every: 100, version: 1 },
});

function decide(command: AccountTypes['command'], state: Account): readonly AccountEvent[] {
  switch (command.kind) {
    case 'open':
      if (state.status === 'open') throw refuse('already-open', 'the account is open already');
      return [{ type: 'opened', data: { owner: command.owner } }];
    case 'deposit':
      checkOpen(state);
      return [{ type: 'deposited', data: { cents: command.cents, currency: 'EUR' } }];
    case 'withdraw':
      checkOpen(state);
      checkFunds(state, command.cents);
      return [{ type: 'withdrawn', data: { cents: command.cents } }];
    case 'send': {
      checkOpen(state);
      checkFunds(state, command.cents);
      const { kind: _kind, ...data } = command;
      return [{ type: 'sent', data }];
    }
    case 'receive': {
      // A decision and not a refusal: it is kept with its key, so that whoever asks again is told the same, even if the
      // account has been opened meanwhile and the money is back with its sender.
      const { kind: _kind, ...data } = command;
      return [{ type: state.status === 'open' ? 'received' : 'declined', data }];
    }
    case 'take-back': {
      const { kind: _kind, ...data } = command;
      return [{ type: 'took-back', data }];
    }
    case 'close':
      checkOpen(state);
      if (state.cents > 0)
        throw refuse('not-empty', 'there is money on the account', { cents: state.cents });
      return [{ type: 'closed', data: {} }];
    default:
      return command satisfies never;
  }
}

function evolve(state: Account, event: AccountEvent): Account {
  switch (event.type) {
    case 'opened':
      return { ...state, status: 'open', owner: event.data.owner };
    case 'deposited':
    case 'received':
    case 'took-back':
      return { ...state, cents: state.cents + event.data.cents };
    case 'withdrawn':
    case 'sent':
      return { ...state, cents: state.cents - event.data.cents };
    case 'declined':
      return state;
    case 'closed':
      return { ...state, status: 'closed' };
    default:
      return event satisfies never;
  }
}

function checkOpen({ status }: Account): void {
  if (status !== 'open')
    throw refuse('not-open', `the account is ${status === 'none' ? 'not there' : status}`);
}

function checkFunds({ cents: there }: Account, wanted: number): void {
  if (wanted > there)
    throw refuse('insufficient-funds', 'there is not enough on the account', { cents: there });
}
