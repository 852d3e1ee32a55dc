import { join } from 'node:path';
import type pg from 'pg';
import { noEvidence, type EventStore } from 'tallystick';
import { command, commandBus, keyValueAnswers, type Command } from 'tallystick/cqrs';
import { aggregates, keyValueSnapshots, type Aggregates } from 'tallystick/events';
import { postgres } from 'tallystick/postgres';
import { sqlite } from 'tallystick/sqlite';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { KeyValue } from '../../src/ports/key-value.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { accountDecider, type AccountTypes } from '../support/account.ts';

/** Accounts that the commands are spread over. */
export const ACCOUNTS = 3;

/** The account of the n-th command, and what it asks: it opens each account first, and then pays n cents in. */
export function nthCommand(n: number): {
  readonly id: string;
  readonly command: AccountTypes['command'];
} {
  const id = `a${n % ACCOUNTS}`;
  return n <= ACCOUNTS
    ? { id, command: { kind: 'open', owner: id } }
    : { id, command: { kind: 'deposit', cents: n } };
}

/** Where the worker keeps events, and what can be forgotten. */
export interface Places extends AsyncDisposable {
  readonly events: EventStore;
  readonly desk: KeyValue;
  readonly accounts: Aggregates<AccountTypes>;
  /** The version and the money of each account by the rows that commit with its events, if there are such. */
  readonly balances: () => Promise<ReadonlyMap<string, { version: number; cents: number }>>;
}

const context = { clock: systemClock, random: systemRandom };
const decider = accountDecider({ snapshot: { every: 4, version: 1 } });

export async function openPlaces(engine: string, place: string): Promise<Places> {
  return engine === 'sqlite' ? openFiles(place) : openDatabase(place);
}

async function openFiles(dir: string): Promise<Places> {
  const bank = await sqlite({ file: join(dir, 'bank.db'), capture: 'events' }).open({
    name: 'bank',
    ...context,
  });
  const desk = await sqlite({ file: join(dir, 'desk.db') }).open({ name: 'desk', ...context });
  return {
    events: bank.events,
    desk: desk.keyValue,
    accounts: aggregates(decider, {
      events: bank.events,
      snapshots: keyValueSnapshots(desk.keyValue),
    }),
    balances: async () => new Map(),
    [Symbol.asyncDispose]: async () => {
      await bank.close();
      await desk.close();
    },
  };
}

/** In PostgreSQL, the balance of an account is added up in a row of its own, in the transaction of its events. */
async function openDatabase(url: string): Promise<Places> {
  const bank = await postgres({ url, capture: 'events' }).open({ name: 'bank', ...context });
  await bank.client.query(
    'CREATE TABLE IF NOT EXISTS balances (stream text PRIMARY KEY, version integer NOT NULL, cents integer NOT NULL)',
  );
  return {
    events: bank.events,
    desk: bank.keyValue,
    accounts: aggregates<AccountTypes, pg.ClientBase>(decider, {
      events: bank.events,
      snapshots: keyValueSnapshots(bank.keyValue),
      inline: {
        write: async (work) => {
          const { value } = await bank.source.write(work);
          return { value, evidence: noEvidence };
        },
        rows: async (tx, { stream, command: asked, events }) => {
          const cents = asked.kind === 'deposit' ? asked.cents : 0;
          await tx.query(
            `INSERT INTO balances AS b VALUES ($1, $2, $3) ON CONFLICT (stream) DO UPDATE
             SET version = b.version + excluded.version, cents = b.cents + excluded.cents`,
            [stream, events.length, cents],
          );
        },
      },
    }),
    balances: async () => {
      const { rows } = await bank.client.query<{ stream: string; version: number; cents: number }>(
        'SELECT stream, version, cents FROM balances',
      );
      return new Map(rows.map(({ stream, version, cents }) => [stream, { version, cents }]));
    },
    [Symbol.asyncDispose]: () => bank.close(),
  };
}

// Sends one command after the other, each by a key of its own, and writes the number of each that was answered. It begins
// with the one before the first that was not: a client that does not know sends it again.
if (import.meta.main) {
  const [, , engine = '', place = '', from = '1'] = process.argv;
  const { accounts, desk } = await openPlaces(engine, place);
  const pay: Command<number, number> = command({
    key: 'required',
    handle: async (n, { key = '' }) => {
      const { id, command: asked } = nthCommand(n);
      const { version, evidence, repeated } = await accounts.handle(id, asked, { key });
      return { value: version, evidence, repeated };
    },
  });
  const bus = commandBus({ commands: { pay }, answers: keyValueAnswers(desk) });
  armFromEnvironment(process.env);
  for (let n = Number(from); ; n++) {
    await bus.send('pay', n, { key: `k${n}` });
    process.stdout.write(`${n}\n`);
  }
}
