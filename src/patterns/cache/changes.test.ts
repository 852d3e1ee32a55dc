import { expect, test } from 'vitest';
import { TallyError } from '../../core/errors.ts';
import { evidenceOf, type Evidence } from '../../core/evidence.ts';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import type { Caches, CacheTier } from '../../ports/cache.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memory } from '../../stores/memory/index.ts';
import {
  cache,
  compressed,
  plainJson,
  type Cache,
  type CacheHappening,
  type CacheOptions,
  type Serialiser,
} from './index.ts';

interface Process {
  readonly things: Cache<string, string>;
  readonly events: readonly CacheHappening[];
  /** Whether the shared tier can be reached from here. */
  isCut: boolean;
}

interface World extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly database: Map<string, string>;
  process(more?: Partial<CacheOptions<string, string>>): Promise<Process>;
}

/** Processes over one memory store, each of which can be cut off from it. */
function world(): World {
  const clock = virtualClock();
  const state = createMemoryState();
  const random = seededRandom(11);
  const database = new Map([['a', 'first']]);
  const opened: AsyncDisposable[] = [];
  return {
    clock,
    database,
    async process(more = {}) {
      const store = await memory({ state }).open({ name: 'cache', clock, random });
      const events: CacheHappening[] = [];
      const at = { isCut: false };
      const things = await cache<string, string>({
        name: 'things',
        store: { caches: cutOff(store.caches, () => at.isCut) },
        ttl: '10s',
        jitter: 0,
        early: 0,
        clock,
        random,
        load: (key) => database.get(key),
        onEvent: (event) => events.push(event),
        ...more,
      });
      opened.push(store, things);
      return Object.assign(at, { things, events });
    },
    async [Symbol.asyncDispose]() {
      for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
    },
  };
}

/** The caches of a store behind a network that can be cut. */
function cutOff(caches: Caches, isCut: () => boolean): Caches {
  return {
    supports: caches.supports,
    open: async (options) =>
      new Proxy(await caches.open(options), {
        get(tier, name: keyof CacheTier) {
          const member = tier[name];
          if (typeof member !== 'function') return member;
          return (...given: never[]): unknown =>
            isCut() && name !== 'close'
              ? Promise.reject(new TallyError('STORE_UNREACHABLE', { what: 'cut off' }))
              : (member as (...args: never[]) => unknown).apply(tier, given);
        },
      }),
  };
}

const upTo = (offset: number): Evidence => evidenceOf([['orders', { epoch: 1, offset }]]);

test('a guarded write keeps everybody from storing what they load until it is over', async () => {
  await using at = world();
  const [writer, reader] = [await at.process(), await at.process()];
  await reader.things.get('a');
  const during: unknown[] = [];
  await writer.things.write(
    'a',
    async () => {
      during.push(await reader.things.get('a'), await reader.things.get('a'));
      at.database.set('a', 'second');
    },
    { guard: '5s' },
  );
  expect(during).toEqual(['first', 'first']);
  expect(reader.things.stats()).toMatchObject({ loads: 3 });
  expect(await reader.things.get('a')).toBe('second');
  expect(await reader.things.get('a')).toBe('second');
  expect(reader.things.stats().loads).toBe(4);
});

test('a process that dies between the commit of a guarded write and its invalidation leaves nothing stale', async () => {
  await using at = world();
  const [writer, reader] = [await at.process(), await at.process()];
  await reader.things.get('a');
  const committed = Promise.withResolvers<void>();
  // It is never heard of again.
  void writer.things.write(
    'a',
    () => {
      at.database.set('a', 'second');
      committed.resolve();
      return new Promise<never>(() => undefined);
    },
    { guard: '5s' },
  );
  await committed.promise;
  expect(await reader.things.get('a')).toBe('second');
  await at.clock.advance(5_001);
  await reader.things.get('a');
  const { loads } = reader.things.stats();
  expect(await reader.things.get('a')).toBe('second');
  expect(reader.things.stats().loads).toBe(loads);
});

test('a guarded write is not begun where nobody can be held back', async () => {
  await using at = world();
  const writer = await at.process();
  writer.isCut = true;
  let runs = 0;
  const write = writer.things.write('a', () => (runs += 1), { guard: '5s' });
  await expect(write).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  expect(runs).toBe(0);
});

test('a value is written through, and an older write that arrives later does not take its place', async () => {
  await using at = world();
  const one = await at.process({ lane: 'orders', asOf: () => upTo(0) });
  const written = (offset: number, value: string) => () => {
    at.database.set('a', value);
    return { value, evidence: upTo(offset) };
  };
  await one.things.write('a', written(5, 'five'), { afterwards: ({ value }) => value });
  expect(await one.things.get('a')).toBe('five');
  await one.things.write('a', written(4, 'four'), { afterwards: ({ value }) => value });
  expect(await one.things.get('a')).toBe('five');
  expect(one.things.stats()).toMatchObject({ loads: 0 });
});

test('a write through a cache without a lane is refused before anything is written', async () => {
  await using at = world();
  const { things } = await at.process();
  let runs = 0;
  await expect(
    things.write('a', () => (runs += 1), { afterwards: () => 'x' }),
  ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  expect(runs).toBe(0);
});

test('what is expired is answered within its grace while it is loaded anew, and not without one', async () => {
  await using at = world();
  const { things } = await at.process({ grace: '1m' });
  await things.get('a');
  at.database.set('a', 'second');
  await things.expire('a');
  expect(await things.read('a')).toMatchObject({ value: 'first', stale: 'refreshing' });
  await at.clock.advance(1);
  expect(await things.read('a')).toMatchObject({ value: 'second', stale: undefined });
  const { things: bare } = await at.process({ name: 'bare' });
  await bare.get('a');
  at.database.set('a', 'third');
  await bare.expire(['a', 'b']);
  expect(await bare.read('a')).toMatchObject({ value: 'third', from: 'load' });
});

test('a compressed value is smaller in the store, and comes back as it was', async () => {
  await using at = world();
  const { things } = await at.process({
    serialise: compressed(plainJson as unknown as Serialiser<string>),
  });
  at.database.set('a', 'lamp '.repeat(10_000));
  await things.get('a');
  expect(await things.read('a')).toMatchObject({
    value: at.database.get('a'),
    from: 'shared',
  });
  expect((await things.inspect('a')).entry?.payload.length).toBeLessThan(1_000);
  at.database.set('small', 'x');
  await things.get('small');
  // A byte that says that it is not, and the value.
  expect((await things.inspect('small')).entry?.payload.length).toBe(4);
  expect(await things.get('small')).toBe('x');
});

test('an entry that cannot be unpacked is loaded anew, and that is said', async () => {
  await using at = world();
  const plain = await at.process({
    serialise: {
      payload: 'bytes',
      encode: (value) => Buffer.from(value),
      decode: (payload) => Buffer.from(payload).toString(),
    },
  });
  await plain.things.get('a');
  const packed = await at.process({
    serialise: compressed(plainJson as unknown as Serialiser<string>),
  });
  expect(await packed.things.read('a')).toMatchObject({ value: 'first', from: 'load' });
  expect(packed.events.map(({ kind }) => kind)).toContain('unreadable');
  expect(await packed.things.read('a')).toMatchObject({ value: 'first', from: 'shared' });
});

test('an invalidation that cannot be delivered waits, and this process believes nothing of the key until then', async () => {
  await using at = world();
  const [writer, reader] = [await at.process(), await at.process()];
  await writer.things.get('a');
  writer.isCut = true;
  at.database.set('a', 'second');
  expect(await writer.things.delete('a')).toMatchObject({ kind: 'pending' });
  expect(await writer.things.get('a')).toBe('second');
  expect(await reader.things.get('a')).toBe('first');
  writer.isCut = false;
  expect(await writer.things.get('a')).toBe('second');
  await at.clock.advance(2_000);
  expect(writer.things.stats().pending).toBe(0);
  expect(await reader.things.get('a')).toBe('second');
});

test('more invalidations than may wait become one of everything', async () => {
  await using at = world();
  const [writer, reader] = [await at.process(), await at.process()];
  at.database.set('other', 'first');
  await reader.things.getMany(['a', 'other']);
  writer.isCut = true;
  at.database.set('a', 'second');
  await writer.things.delete(['a', ...Array.from({ length: 9_000 }, (_, index) => `k${index}`)]);
  expect(writer.things.stats().pending).toBe(9_001);
  await writer.things.delete(Array.from({ length: 1_001 }, (_, index) => `l${index}`));
  expect(writer.things.stats().pending).toBe(1);
  // Of no key it knows any more whether it was changed.
  at.database.set('other', 'second');
  expect(await writer.things.get('other')).toBe('second');
  writer.isCut = false;
  await at.clock.advance(2_000);
  expect(writer.things.stats().pending).toBe(0);
  expect(await reader.things.getMany(['a', 'other'])).toEqual(['second', 'second']);
});
