import { describe, expect, test } from 'vitest';
import { accountDecider, type AccountTypes } from '../../../test/support/account.ts';
import { seededRandom } from '../../runtime/random.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createMemoryState, memory, type MemoryStore } from '../../stores/memory/index.ts';
import { aggregates, type Aggregates, type AggregatesOptions } from './aggregates.ts';
import { decider, type Decider } from './decider.ts';
import { keyValueSnapshots, type Snapshot, type Snapshots } from './snapshots.ts';

const account = accountDecider();
const random = seededRandom(1);

async function bank(state = createMemoryState()): Promise<MemoryStore> {
  return memory({ state, capture: 'events' }).open({ name: 'bank', clock: systemClock, random });
}

function accountsIn(
  store: MemoryStore,
  of: Decider<AccountTypes> = account,
  options: Partial<AggregatesOptions> = {},
): Aggregates<AccountTypes> {
  return aggregates(of, { events: store.events, random, ...options });
}

/** An account with so many deposits of one cent. */
async function withDeposits(
  accounts: Aggregates<AccountTypes>,
  id: string,
  count: number,
): Promise<void> {
  await accounts.handle(id, { kind: 'open', owner: 'Ada' });
  for (let index = 0; index < count; index++)
    await accounts.handle(id, { kind: 'deposit', cents: 1 });
}

const stored = async (store: MemoryStore, stream: string): Promise<readonly unknown[]> => {
  const found: unknown[] = [];
  for await (const page of store.events.readStream(stream)) found.push(...page);
  return found;
};

describe('a command', () => {
  test('is decided on the events that are there, and appends what it decides', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    expect(await accounts.handle('a', { kind: 'open', owner: 'Ada' })).toMatchObject({
      stream: 'account-a',
      version: 1,
      repeated: false,
      state: { open: true, cents: 0 },
    });
    await accounts.handle('a', { kind: 'deposit', cents: 500 });
    const closed = await accounts.handle('a', { kind: 'close' });
    expect(closed).toMatchObject({
      version: 4,
      events: [{ type: 'withdrawn', data: { cents: 500 } }, { type: 'closed' }],
      state: { open: false, cents: 0, moves: 4 },
    });
    expect(await accounts.load('a')).toMatchObject({ version: 4, state: closed.state });
    expect(await stored(store, 'account-a')).toMatchObject([
      { type: 'opened', schemaVersion: 1, version: 1 },
      { type: 'deposited', schemaVersion: 2, version: 2 },
      { type: 'withdrawn', version: 3, metadata: { command: { events: 2 } } },
      { type: 'closed', version: 4 },
    ]);
  });

  test('that is refused writes nothing, and says why', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await withDeposits(accounts, 'a', 2);
    await expect(accounts.handle('a', { kind: 'withdraw', cents: 3 })).rejects.toMatchObject({
      code: 'COMMAND_REFUSED',
      details: { reason: 'insufficient-funds', cents: 2 },
    });
    expect(await store.events.version('account-a')).toBe(3);
  });

  test('that has nothing to do writes nothing, and its evidence is of what it was decided on', async () => {
    await using store = await bank();
    const asked: number[] = [];
    const accounts = accountsIn(store, account, {
      evidenceAt: (position) => {
        asked.push(position);
        return new Map([['bank', [{ epoch: 1, offset: position }]]]);
      },
    });
    const opened = await accounts.handle('a', { kind: 'open', owner: 'Ada' });
    const again = await accounts.handle('a', { kind: 'open', owner: 'Ada' });
    expect(again).toMatchObject({ events: [], version: 1, repeated: false });
    expect(again.evidence).toEqual(opened.evidence);
    expect(asked).toEqual([1, 1]);
  });

  test('carries what is said with it, and a member of the metadata is kept for itself', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await accounts.handle(
      'a',
      { kind: 'open', owner: 'Ada' },
      { metadata: { by: 'test' }, correlationId: 'c-1', causationId: 'x-1', tags: ['new'] },
    );
    expect(await stored(store, 'account-a')).toMatchObject([
      { metadata: { by: 'test' }, correlationId: 'c-1', causationId: 'x-1', tags: ['new'] },
    ]);
    await expect(
      accounts.handle('a', { kind: 'close' }, { metadata: { command: 1 } }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test.each<[string, string, unknown, object, string]>([
    ['does not fit its schema', 'a', { kind: 'deposit', cents: 0.5 }, {}, 'COMMAND_INVALID'],
    ['is of a kind that is not known', 'a', { kind: 'rob' }, {}, 'COMMAND_INVALID'],
    ['is for an empty id', '', { kind: 'close' }, {}, 'COMMAND_INVALID'],
    ['is for an id that is too long', 'a'.repeat(401), { kind: 'close' }, {}, 'COMMAND_INVALID'],
    ['has an empty key', 'a', { kind: 'close' }, { key: '' }, 'COMMAND_INVALID'],
    [
      'has a key that is too long',
      'a',
      { kind: 'close' },
      { key: 'k'.repeat(201) },
      'COMMAND_INVALID',
    ],
    ['has a misspelt option', 'a', { kind: 'close' }, { keys: 'k' }, 'CONFIG_UNKNOWN_OPTION'],
  ])('that %s is refused', async (_what, id, command, options, code) => {
    await using store = await bank();
    await expect(
      accountsIn(store).handle(id, command as AccountTypes['command'], options),
    ).rejects.toMatchObject({ code });
    expect(await store.events.head()).toBe(0);
  });

  test('that decides what does not fit its schema writes nothing at all', async () => {
    await using store = await bank();
    const careless = {
      ...account,
      decide: () => [{ type: 'withdrawn', data: { cents: -1 } }] as const,
    };
    await expect(accountsIn(store, careless).handle('a', { kind: 'close' })).rejects.toMatchObject({
      code: 'EVENT_INVALID',
    });
    const unknown = { ...account, decide: () => [{ type: 'taken', data: { cents: 1 } }] as never };
    await expect(accountsIn(store, unknown).handle('a', { kind: 'close' })).rejects.toMatchObject({
      code: 'EVENT_UNKNOWN',
    });
    expect(await store.events.head()).toBe(0);
  });

  test('sent for a version is not decided on another one', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await withDeposits(accounts, 'a', 1);
    await expect(
      accounts.handle('a', { kind: 'deposit', cents: 1 }, { expected: 1 }),
    ).rejects.toMatchObject({ code: 'STREAM_CONFLICT', details: { expected: 1, actual: 2 } });
    const done = await accounts.handle('a', { kind: 'deposit', cents: 1 }, { expected: 2 });
    expect(done.version).toBe(3);
  });
});

describe('commands that come together', () => {
  test('are decided one after the other, in one process and between several', async () => {
    const state = createMemoryState();
    await using one = await bank(state);
    await using other = await bank(state);
    const processes = [accountsIn(one), accountsIn(other)];
    await processes[0]!.handle('a', { kind: 'open', owner: 'Ada' });
    await processes[0]!.handle('a', { kind: 'deposit', cents: 10 });
    const taken = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        processes[index % 2]!.handle('a', { kind: 'withdraw', cents: 1 }),
      ),
    );
    expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    expect(taken.flatMap((end) => (end.status === 'rejected' ? [end.reason.code] : []))).toEqual(
      Array.from({ length: 10 }, () => 'COMMAND_REFUSED'),
    );
    expect(await processes[1]!.load('a')).toMatchObject({ version: 12, state: { cents: 0 } });
  });

  test('give up with STREAM_CONFLICT once their attempts are used up', async () => {
    await using store = await bank();
    const { events } = store;
    const accounts = accountsIn(store, account, {
      attemptsMax: 3,
      events: Object.assign(Object.create(events) as typeof events, {
        readStream: events.readStream.bind(events),
        append: async (stream: string, ...rest: [never, never]) => {
          await events.append(stream, [{ type: 'opened', data: { owner: 'Eve' } }]);
          return events.append(stream, ...rest);
        },
      }),
    });
    await expect(accounts.handle('a', { kind: 'open', owner: 'Ada' })).resolves.toMatchObject({
      events: [],
    });
    await expect(accounts.handle('a', { kind: 'deposit', cents: 1 })).rejects.toMatchObject({
      code: 'STREAM_CONFLICT',
    });
  });
});

describe('a key', () => {
  test('answers what the command did the first time, and does nothing', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await withDeposits(accounts, 'a', 5);
    const first = await accounts.handle('a', { kind: 'withdraw', cents: 2 }, { key: 'k' });
    await accounts.handle('a', { kind: 'close' });
    // The account is closed by now: decided anew, it would be refused.
    const again = await accountsIn(store).handle('a', { cents: 2, kind: 'withdraw' }, { key: 'k' });
    expect(again).toEqual({ ...first, repeated: true });
    expect(await store.events.version('account-a')).toBe(9);
  });

  test('answers all events of a command that decided several', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await withDeposits(accounts, 'a', 5);
    const first = await accounts.handle('a', { kind: 'close' }, { key: 'k' });
    await accounts.handle('a', { kind: 'open', owner: 'Bob' });
    expect(await accounts.handle('a', { kind: 'close' }, { key: 'k' })).toEqual({
      ...first,
      repeated: true,
    });
  });

  test('is of one aggregate: on another it is another', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await accounts.handle('a', { kind: 'open', owner: 'Ada' }, { key: 'k' });
    expect(await accounts.handle('b', { kind: 'open', owner: 'Ada' }, { key: 'k' })).toMatchObject({
      repeated: false,
      version: 1,
    });
  });

  test('that comes with another command is COMMAND_KEY_REUSED', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await withDeposits(accounts, 'a', 5);
    await accounts.handle('a', { kind: 'withdraw', cents: 2 }, { key: 'k' });
    await expect(
      accounts.handle('a', { kind: 'withdraw', cents: 3 }, { key: 'k' }),
    ).rejects.toMatchObject({ code: 'COMMAND_KEY_REUSED' });
  });

  test('whose command was refused or did nothing is free: nothing was written', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await expect(
      accounts.handle('a', { kind: 'deposit', cents: 1 }, { key: 'k' }),
    ).rejects.toMatchObject({ code: 'COMMAND_REFUSED' });
    await accounts.handle('a', { kind: 'open', owner: 'Ada' });
    expect(await accounts.handle('a', { kind: 'deposit', cents: 1 }, { key: 'k' })).toMatchObject({
      repeated: false,
    });
  });

  test('that two processes use at the same time is one command', async () => {
    const state = createMemoryState();
    await using one = await bank(state);
    await using other = await bank(state);
    await withDeposits(accountsIn(one), 'a', 1);
    const answers = await Promise.all(
      [one, other, one, other].map((store) =>
        accountsIn(store).handle('a', { kind: 'deposit', cents: 7 }, { key: 'k' }),
      ),
    );
    expect(answers.filter(({ repeated }) => !repeated)).toHaveLength(1);
    for (const answer of answers)
      expect({ ...answer, repeated: true }).toEqual({ ...answers[0], repeated: true });
    expect(await accountsIn(one).load('a')).toMatchObject({ version: 3, state: { cents: 8 } });
  });
});

/** Snapshots that can be looked into. */
function watched(store: MemoryStore): Snapshots & { readonly saved: Snapshot[]; loads: number } {
  const inner = keyValueSnapshots(store.keyValue);
  const snapshots = {
    saved: [] as Snapshot[],
    loads: 0,
    load: async (stream: string) => {
      snapshots.loads += 1;
      return inner.load(stream);
    },
    save: async (stream: string, snapshot: Snapshot) => {
      snapshots.saved.push(snapshot);
      await inner.save(stream, snapshot);
    },
  };
  return snapshots;
}

/** An event store that counts what is read of it. */
function counted(store: MemoryStore): { readonly events: MemoryStore['events']; read: number } {
  const { events } = store;
  const counter = {
    read: 0,
    events: Object.assign(Object.create(events) as typeof events, {
      append: events.append.bind(events),
      find: events.find.bind(events),
      async *readStream(...args: Parameters<typeof events.readStream>) {
        for await (const page of events.readStream(...args)) {
          counter.read += page.length;
          yield page;
        }
      },
    }),
  };
  return counter;
}

describe('a snapshot', () => {
  const everyTen = accountDecider({ snapshot: { every: 10, version: 1 } });

  test('is taken every so many events, and only what came after it is read', async () => {
    await using store = await bank();
    const snapshots = watched(store);
    const accounts = accountsIn(store, everyTen, { snapshots });
    await withDeposits(accounts, 'a', 24);
    expect(snapshots.saved.map(({ version }) => version)).toEqual([10, 20]);
    const counter = counted(store);
    const loaded = await accountsIn(store, everyTen, { snapshots, events: counter.events }).load(
      'a',
    );
    expect(loaded).toMatchObject({ version: 25, state: { cents: 24, moves: 25 } });
    // The last event that is in the snapshot, to see that it is still there, and the five behind it.
    expect(counter.read).toBe(6);
  });

  test.each<[string, Decider<AccountTypes>]>([
    ['its version was raised', accountDecider({ snapshot: { every: 10, version: 2 } })],
    [
      'evolve has another text',
      decider<AccountTypes>({
        category: 'account',
        initial: { open: false, cents: 0, moves: 0 },
        decide: (command, state) => account.decide(command, state),
        evolve: (state, event) => ({ ...account.evolve(state, event), moves: -1 }),
        events: {
          opened: {},
          deposited: { version: 2, upcast: { 1: (data) => data } },
          withdrawn: {},
          closed: {},
        },
        snapshot: { every: 10, version: 1 },
      }),
    ],
  ])('is left aside if %s', async (_what, changed) => {
    await using store = await bank();
    const snapshots = watched(store);
    await withDeposits(accountsIn(store, everyTen, { snapshots }), 'a', 14);
    const counter = counted(store);
    const accounts = accountsIn(store, changed, { snapshots, events: counter.events });
    const loaded = await accounts.load('a');
    const fresh = await accountsIn(store, changed).rebuildState('a');
    expect(loaded).toEqual(fresh);
    expect(counter.read).toBe(15);
    // And the one of today takes its place.
    expect(snapshots.saved.at(-1)).toMatchObject({ version: 15, fingerprint: changed.fingerprint });
  });

  test('of a store that was put back to an earlier day is left aside', async () => {
    const kept = await bank();
    const snapshots = watched(kept);
    await withDeposits(accountsIn(kept, everyTen, { snapshots }), 'a', 14);
    await using restored = await bank();
    await withDeposits(accountsIn(restored), 'a', 4);
    const accounts = accountsIn(restored, everyTen, { snapshots });
    expect(await accounts.load('a')).toMatchObject({ version: 5, state: { cents: 4 } });
    // Also once it has as many events again: they are others.
    for (let index = 0; index < 10; index++)
      await accountsIn(restored).handle('a', { kind: 'deposit', cents: 100 });
    expect(await accounts.load('a')).toMatchObject({ version: 15, state: { cents: 1_004 } });
    await kept.close();
  });

  test.each<[string, Partial<Snapshots>]>([
    ['cannot be loaded', { load: () => Promise.reject(new Error('away')) }],
    ['cannot be kept', { save: () => Promise.reject(new Error('away')) }],
    ['is not what was kept', { load: () => Promise.resolve({ state: 1 } as never) }],
  ])('that %s costs a longer read, and the command does not fail', async (_what, broken) => {
    await using store = await bank();
    const told: unknown[] = [];
    const snapshots = { ...keyValueSnapshots(store.keyValue), ...broken };
    const accounts = accountsIn(store, everyTen, {
      snapshots,
      onSnapshotError: (error) => told.push(error),
    });
    await withDeposits(accounts, 'a', 12);
    expect(await accounts.load('a')).toMatchObject({ version: 13, state: { cents: 12 } });
    expect(told.length > 0).toBe(!_what.includes('not what'));
  });

  test('does not hide a key that was used before it', async () => {
    await using store = await bank();
    const snapshots = watched(store);
    const accounts = accountsIn(store, everyTen, { snapshots });
    await withDeposits(accounts, 'a', 2);
    const first = await accounts.handle('a', { kind: 'withdraw', cents: 1 }, { key: 'k' });
    for (let index = 0; index < 20; index++)
      await accounts.handle('a', { kind: 'deposit', cents: 1 });
    expect(snapshots.saved).toHaveLength(2);
    expect(await accounts.handle('a', { kind: 'withdraw', cents: 1 }, { key: 'k' })).toEqual({
      ...first,
      repeated: true,
    });
    await expect(
      accounts.handle('a', { kind: 'withdraw', cents: 9 }, { key: 'k' }),
    ).rejects.toMatchObject({ code: 'COMMAND_KEY_REUSED' });
  });

  test('of a state that is no plain value goes through encode and decode', async () => {
    await using store = await bank();
    const snapshots = watched(store);
    type Names = {
      readonly command: string;
      readonly state: ReadonlySet<string>;
      readonly event: { readonly type: 'named'; readonly data: string };
    };
    const names = decider<Names>({
      category: 'names',
      initial: new Set<string>(),
      decide: (name, known) => (known.has(name) ? [] : [{ type: 'named', data: name }]),
      evolve: (known, { data }) => new Set([...known, data]),
      events: { named: {} },
      snapshot: {
        every: 2,
        version: 1,
        encode: (known) => [...known],
        decode: (kept) => new Set(kept as readonly string[]),
      },
    });
    const all = aggregates(names, { events: store.events, snapshots });
    for (const name of ['ada', 'bob', 'eve', 'ada']) await all.handle('n', name);
    expect(snapshots.saved).toMatchObject([{ version: 2, state: ['ada', 'bob'] }]);
    expect((await all.load('n')).state).toEqual(new Set(['ada', 'bob', 'eve']));
  });
});

describe('the state of an aggregate as it was', () => {
  test('at any version, and at any moment, is that of the events up to then', async () => {
    await using store = await bank();
    const accounts = accountsIn(store);
    await withDeposits(accounts, 'a', 5);
    for (let version = 0; version <= 6; version++)
      expect(await accounts.rebuildState('a', { toVersion: version })).toMatchObject({
        version,
        state: { moves: version, cents: Math.max(0, version - 1) },
      });
    const { atMs } = await accounts.rebuildState('a', { toVersion: 3 });
    const then = await accounts.rebuildState('a', { toMs: atMs! });
    expect(then.version).toBeGreaterThanOrEqual(3);
    expect(await accounts.rebuildState('a', { toMs: 0 })).toMatchObject({
      version: 0,
      atMs: undefined,
    });
    expect(await accounts.rebuildState('a')).toMatchObject({ version: 6 });
  });

  test('of a version that has not been is INPUT_INVALID', async () => {
    await using store = await bank();
    await expect(accountsIn(store).rebuildState('a', { toVersion: 1 })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });
  });
});

describe('history that cannot be read has a name, and nothing is appended to it', () => {
  test.each<[string, { type: string; data: unknown; schemaVersion?: number }, string]>([
    ['an unknown type', { type: 'robbed', data: {} }, 'EVENT_UNKNOWN'],
    ['a version of the future', { type: 'deposited', schemaVersion: 9, data: {} }, 'EVENT_UNKNOWN'],
    [
      'data that does not fit',
      { type: 'deposited', schemaVersion: 2, data: { cents: 'x' } },
      'EVENT_INVALID',
    ],
  ])('%s', async (_what, event, code) => {
    await using store = await bank();
    await store.events.append('account-a', [event as never]);
    await expect(accountsIn(store).handle('a', { kind: 'open', owner: 'A' })).rejects.toMatchObject(
      { code },
    );
    expect(await store.events.version('account-a')).toBe(1);
  });

  test('events of old versions and former names are read as those of today', async () => {
    await using store = await bank();
    await store.events.append('account-a', [
      { type: 'opened', data: { owner: 'Ada' } },
      { type: 'deposited', data: { cents: 5 } },
      { type: 'taken', data: { cents: 2 } },
    ]);
    expect(await accountsIn(store).load('a')).toMatchObject({ state: { open: true, cents: 3 } });
  });

  test('an evolve that throws is PROJECTION_FAILED, with the place', async () => {
    await using store = await bank();
    const broken = {
      ...account,
      evolve: () => {
        throw new Error('division by nothing');
      },
    };
    await store.events.append('account-a', [{ type: 'opened', data: { owner: 'Ada' } }]);
    await expect(accountsIn(store, broken).load('a')).rejects.toMatchObject({
      code: 'PROJECTION_FAILED',
      details: { stream: 'account-a', version: 1 },
    });
  });

  test('a missing version is STORE_CORRUPT', async () => {
    await using store = await bank();
    await withDeposits(accountsIn(store), 'a', 3);
    const { events } = store;
    const gap = Object.assign(Object.create(events) as typeof events, {
      async *readStream(...args: Parameters<typeof events.readStream>) {
        for await (const page of events.readStream(...args))
          yield page.filter(({ version }) => version !== 2);
      },
    });
    await expect(accountsIn(store, account, { events: gap }).load('a')).rejects.toMatchObject({
      code: 'STORE_CORRUPT',
      details: { version: 3, wanted: 2 },
    });
  });
});
