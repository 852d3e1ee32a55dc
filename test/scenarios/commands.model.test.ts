import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { TallyError, type StoreDefinition } from 'tallystick';
import { aggregates, keyValueSnapshots } from 'tallystick/events';
import { createMemoryState, memory } from 'tallystick/memory';
import { postgres } from 'tallystick/postgres';
import { sqlite } from 'tallystick/sqlite';
import type { EventStore } from '../../src/ports/events.ts';
import type { KeyValue } from '../../src/ports/key-value.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import { accountDecider, type AccountTypes } from '../support/account.ts';
import { sendUntilAnswered, wrongInHistory, type Sent } from '../support/command-history.ts';
import { tempDir } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

// Clients in several processes send commands on a few accounts, some of them twice by the same key, while the store fails
// before an append, after it, and in the middle of a COMMIT. Whatever they were answered has to be what one process, asked
// one thing at a time, would have answered. `TALLY_MODEL_RUNS` makes it longer.

const RUNS = Number(process.env['TALLY_MODEL_RUNS'] ?? 60);
const account = accountDecider({ snapshot: { every: 7, version: 1 } });

const command: fc.Arbitrary<AccountTypes['command']> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ kind: 'open', owner: 'Ada' } as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('deposit' as const),
      cents: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('withdraw' as const),
      cents: fc.integer({ min: 1, max: 9 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'close' } as const) },
);

interface Plan {
  readonly process: number;
  readonly id: string;
  readonly command: AccountTypes['command'];
  /** Sent so many times at once, by the same key. */
  readonly times: number;
}

const plan: fc.Arbitrary<readonly Plan[]> = fc.array(
  fc.record({
    process: fc.nat(2),
    id: fc.constantFrom('a', 'b'),
    command,
    times: fc.constantFrom(1, 1, 1, 2, 3),
  }),
  { minLength: 5, maxLength: 40 },
);

/** An event store that fails as stores on a network do: before, after, and not to be told. */
function failing(events: EventStore, random: { next(): number }, rate: number): EventStore {
  const pause = async (): Promise<void> => {
    for (let turns = Math.floor(random.next() * 4); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve));
  };
  const maybe = (code: 'STORE_UNREACHABLE' | 'COMMIT_UNKNOWN'): void => {
    if (random.next() < rate) throw new TallyError(code, { what: 'the wire broke' });
  };
  return new Proxy(events, {
    get: (target, name) => {
      if (name === 'append')
        return async (...args: Parameters<EventStore['append']>) => {
          await pause();
          maybe('STORE_UNREACHABLE');
          maybe('COMMIT_UNKNOWN');
          const appended = await target.append(...args);
          await pause();
          maybe('COMMIT_UNKNOWN');
          maybe('STORE_UNREACHABLE');
          return appended;
        };
      if (name === 'readStream')
        return async function* (...args: Parameters<EventStore['readStream']>) {
          await pause();
          yield* target.readStream(...args);
        };
      const member: unknown = target[name as keyof EventStore];
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

/** Three processes with one event store between them, and a place for snapshots. */
interface Bank extends AsyncDisposable {
  readonly processes: readonly EventStore[];
  readonly keyValue: KeyValue;
}

const context = { name: 'bank', clock: systemClock, random: systemRandom };
const dir = tempDir();

async function bankOf(
  definition: () => StoreDefinition,
  cleanUp?: () => PromiseLike<void>,
): Promise<Bank> {
  const stores = [definition(), definition(), definition()].map((one) => one.open(context));
  const opened = await Promise.all(stores);
  const desk = await memory().open({ ...context, name: 'desk' });
  return {
    processes: opened.map(({ events }) => events!),
    keyValue: desk.keyValue,
    async [Symbol.asyncDispose]() {
      for (const store of opened) await store.close();
      await cleanUp?.();
    },
  };
}

const engines: Readonly<
  Record<string, { readonly runs: number; readonly open: () => Promise<Bank> }>
> = {
  memory: {
    runs: RUNS,
    open: () => {
      const state = createMemoryState();
      return bankOf(() => memory({ state, capture: 'events' }));
    },
  },
  // Fewer: each append of these waits for a disk.
  sqlite: {
    runs: Math.ceil(RUNS / 10),
    open: () => bankOf(() => sqlite({ file: dir('bank.db'), capture: 'events' })),
  },
  ...(hasPostgres
    ? {
        postgres: {
          runs: Math.ceil(RUNS / 10),
          open: async () => {
            const database = await freshDatabase();
            return bankOf(
              () => postgres({ url: database.url, capture: 'events' }),
              () => database[Symbol.asyncDispose](),
            );
          },
        },
      }
    : {}),
};

let histories = 0;

/** Carries out a plan on accounts that no other has; returns what is wrong with their histories. */
async function run(bank: Bank, plans: readonly Plan[], seed: number): Promise<readonly string[]> {
  const random = seededRandom(seed);
  const processes = bank.processes.map((events) =>
    aggregates(account, {
      events: failing(events, random, 0.08),
      snapshots: keyValueSnapshots(bank.keyValue),
      attemptsMax: 50,
      random,
      // Waiting for nothing is enough: what matters is in which order things happen.
      clock: { ...systemClock, sleep: async () => new Promise((resolve) => setImmediate(resolve)) },
    }),
  );
  const [events] = bank.processes;
  histories += 1;
  const history = histories;
  const sent = new Map<string, Sent[]>();
  await Promise.all(
    plans.flatMap(({ process, id: one, command: asked, times }, index) =>
      Array.from({ length: times }, async (_, time) => {
        const accounts = processes[(process + time) % processes.length]!;
        const id = `${history}-${one}`;
        const answer = await sendUntilAnswered(accounts, events!, id, {
          command: asked,
          key: `k${index}`,
        });
        sent.set(id, [...(sent.get(id) ?? []), answer]);
      }),
    ),
  );
  const wrong: string[] = [];
  for (const [id, answers] of sent)
    wrong.push(...(await wrongInHistory(account, events!, `account-${id}`, answers)));
  return wrong;
}

test.each(Object.entries(engines))(
  '%s: whatever fails, clients of several processes are answered as by one that is asked one thing at a time',
  async (_engine, { runs, open }) => {
    await using bank = await open();
    await fc.assert(
      fc.asyncProperty(plan, fc.integer(), async (plans, seed) => {
        expect(await run(bank, plans, seed)).toEqual([]);
      }),
      { numRuns: runs },
    );
  },
  600_000,
);

test('the check finds a history that is wrong: an answer that was never so, an event twice, one that is lost', async () => {
  await using store = await memory({ capture: 'events' }).open({
    name: 'bank',
    clock: systemClock,
    random: seededRandom(1),
  });
  const accounts = aggregates(account, { events: store.events });
  const send = (asked: AccountTypes['command'], key: string): Promise<Sent> =>
    sendUntilAnswered(accounts, store.events, 'a', { command: asked, key });
  const opened = await send({ kind: 'open', owner: 'Ada' }, 'open');
  const deposited = await send({ kind: 'deposit', cents: 5 }, 'deposit');
  const wrong = (...history: readonly Sent[]): Promise<readonly string[]> =>
    wrongInHistory(account, store.events, 'account-a', history);
  expect(await wrong(opened, deposited)).toEqual([]);
  expect(await wrong(opened)).toEqual([expect.stringContaining('were answered for')]);
  expect(await wrong(opened, deposited, { ...deposited, key: 'other' })).toEqual([
    expect.stringContaining('is also of deposit'),
  ]);
  expect(await wrong(opened, { ...deposited, before: 2 })).toEqual([
    expect.stringContaining('before it was sent'),
  ]);
  const refused = { kind: 'refused', reason: 'not-open' } as const;
  const early = { ...deposited, before: 0, key: 'early', answer: refused };
  expect(await wrong(opened, deposited, early)).toEqual([]);
  expect(await wrong(opened, deposited, { ...early, before: 1 })).toEqual([
    expect.stringContaining('no state between'),
  ]);
});
