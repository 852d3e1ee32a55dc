import { expect, test } from 'vitest';
import {
  flow,
  open,
  put,
  tally,
  type EventStore,
  type FlowDefinition,
  type StoredEvent,
  type StoreDefinition,
} from 'tallystick';
import { memory, type MemoryStore } from 'tallystick/memory';
import { postgres, type PostgresEventsStore } from 'tallystick/postgres';
import { sqlite, type SqliteEventsStore } from 'tallystick/sqlite';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { ask, fresh, tempDir } from '../support/scenario.ts';
import { freshDatabase } from '../support/servers.ts';

const dir = tempDir();
const context = { name: 'bank', clock: systemClock, random: systemRandom };

type Bank = StoreDefinition<SqliteEventsStore> | StoreDefinition<PostgresEventsStore>;

const engines: Readonly<Record<string, () => Promise<{ readonly bank: Bank } & AsyncDisposable>>> =
  {
    sqlite: async () => ({
      bank: sqlite({ file: dir('bank.db'), capture: 'events' }),
      [Symbol.asyncDispose]: async () => undefined,
    }),
    postgres: async () => {
      const database = await freshDatabase();
      return {
        bank: postgres({ url: database.url, capture: 'events' }),
        [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
      };
    },
  };

const flows: Readonly<Record<string, FlowDefinition>> = {
  // Many events, one row: the last one has to stay, from a snapshot as from the stream.
  newest: flow({
    from: 'bank',
    tables: ['events'],
    to: 'views',
    into: 'newest',
    project: ({ stream, version, data }) =>
      put('newest', [String(stream)], { version: version ?? null, data: data ?? null }),
  }),
  sums: flow({
    from: 'bank',
    tables: ['events'],
    to: 'views',
    into: 'sums',
    fold: {
      reads: ({ after }) => [String(after?.['stream'])],
      apply: async ({ after }, state) => {
        const stream = String(after?.['stream']);
        const { amount } = (after?.['data'] ?? {}) as { readonly amount: number };
        const before = (await state.get(stream)) as { sum: number; version: number } | undefined;
        // A gap, a double or another order in a stream shows here.
        if (after?.['version'] !== (before?.version ?? 0) + 1)
          throw new Error(`${stream} ${String(after?.['version'])} after ${before?.version}`);
        const next = { sum: (before?.sum ?? 0) + amount, version: (before?.version ?? 0) + 1 };
        state.set(stream, next);
        return put('sums', [stream], next);
      },
    },
  }),
};

/** What the views have to show, by the shortest way there is. */
async function recomputed(events: EventStore): Promise<Record<string, Record<string, unknown>>> {
  const sums: Record<string, unknown> = {};
  const newest: Record<string, unknown> = {};
  const totals = new Map<string, number>();
  for await (const page of events.readAll())
    for (const { stream, version, data } of page.events) {
      const { amount } = data as { readonly amount: number };
      const sum = (totals.get(stream) ?? 0) + amount;
      totals.set(stream, sum);
      sums[`["${stream}"]`] = { sum, version };
      newest[`["${stream}"]`] = { version, data };
    }
  return { newest, sums };
}

async function deposit(
  events: EventStore,
  writer: number,
  n: number,
): Promise<StoredEvent['position']> {
  const stream = `account-${(writer * 7 + n) % 11}`;
  const { offset } = await events.append(stream, [
    { type: 'Deposited', data: { amount: writer + n } },
  ]);
  return offset;
}

test.each(Object.keys(engines))(
  'subscriptions on %s go from the past into the present, and a rebuild comes to the same',
  async (engine) => {
    await using made = await engines[engine]!();
    const views: StoreDefinition<MemoryStore> = memory();
    const app = tally({
      name: 'bank',
      dir: dir('tally'),
      stores: { bank: made.bank, views },
      flows,
    });
    {
      await using before = await made.bank.open(context);
      for (let n = 0; n < 40; n += 1)
        await before.events.appendMany([
          { stream: `account-${n % 11}`, events: [{ type: 'Deposited', data: { amount: n } }] },
          {
            stream: `account-${(n + 5) % 11}`,
            events: [{ type: 'Deposited', data: { amount: 1 } }],
          },
        ]);
    }
    await using running = await open(app);
    const { bank } = running.stores;
    const shown = (): Record<string, unknown> =>
      Object.fromEntries(
        ['newest', 'sums'].map((name) => [
          name,
          Object.fromEntries(running.stores.views.client.rows(name)),
        ]),
      );
    const writing = Array.from({ length: 6 }, async (_, writer) => {
      let last = 0;
      for (let n = 0; n < 20; n += 1) last = await deposit(bank.events, writer, n);
      return last;
    });
    const offset = Math.max(...(await Promise.all(writing)));
    await fresh(running, 'views', await running.evidenceAt('bank', offset));
    expect(shown()).toEqual(await recomputed(bank.events));

    // Within the application's own transaction: its evidence is that of the write.
    const { evidence, value } = await running.write('bank', (tx) =>
      (bank.events as EventStore).appendIn(tx, [
        { stream: 'account-0', events: [{ type: 'Deposited', data: { amount: 1_000 } }] },
        { stream: 'account-new', events: [{ type: 'Deposited', data: { amount: 1 } }] },
      ]),
    );
    await fresh(running, 'views', evidence);
    expect(shown()).toEqual(await recomputed(bank.events));
    expect(value.map(({ repeated }) => repeated)).toEqual([false, false]);

    for (const name of ['newest', 'sums']) {
      const rebuilding = ask(running, { of: 'flow', flow: name, request: { kind: 'rebuild' } });
      await deposit(bank.events, 3, 3);
      await rebuilding;
    }
    await fresh(running, 'views', await running.evidenceAt('bank', await bank.events.head()));
    expect(shown()).toEqual(await recomputed(bank.events));
    for (const status of (await running.status()).flows) expect(status.parked).toBe(0);
  },
  60_000,
);
