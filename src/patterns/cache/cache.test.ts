import { describe, expect, test } from 'vitest';
import { evidenceOf, type Evidence } from '../../core/evidence.ts';
import { TallyError } from '../../core/errors.ts';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import type { Caches } from '../../ports/cache.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memory, type MemoryStore } from '../../stores/memory/index.ts';
import { cache, loaded, type Cache, type CacheOptions } from './index.ts';

interface Setup extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly database: Map<string, string>;
  readonly loads: string[];
  /** Another process: a store of its own on the same state. */
  open(more?: Partial<CacheOptions<string, string>>): Promise<Cache<string, string>>;
  store(): Promise<MemoryStore>;
  /** Resolves the load that waits longest. */
  readonly gates: PromiseWithResolvers<void>[];
}

function setup(kind: 'near' | 'shared' | 'both', gated: 'gated' | 'at-once' = 'at-once'): Setup {
  const clock = virtualClock();
  const state = createMemoryState();
  const random = seededRandom(7);
  const database = new Map([['a', 'first']]);
  const loads: string[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const opened: AsyncDisposable[] = [];
  const store = async (): Promise<MemoryStore> => {
    const one = await memory({ state }).open({ name: 'cache', clock, random });
    opened.push(one);
    return one;
  };
  return {
    clock,
    database,
    loads,
    gates,
    store,
    async open(more = {}) {
      const shared = kind === 'near' ? {} : { store: await store() };
      const one = await cache<string, string>({
        name: 'things',
        ...shared,
        ...(kind === 'both' ? { near: {} } : {}),
        ttl: '10s',
        jitter: 0,
        early: 0,
        clock,
        random,
        load: async (key) => {
          loads.push(key);
          const value = database.get(key);
          if (gated === 'gated') {
            const gate = Promise.withResolvers<void>();
            gates.push(gate);
            await gate.promise;
          }
          return value;
        },
        ...more,
      });
      opened.push(one);
      return one;
    },
    async [Symbol.asyncDispose]() {
      for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
    },
  };
}

/** Everything that can go on has gone on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const kinds = ['near', 'shared', 'both'] as const;

describe.each(kinds)('a cache (%s)', (kind) => {
  test('loads a key once, and answers from then on, until its time is over', async () => {
    await using at = setup(kind);
    const things = await at.open();
    expect(await things.get('a')).toBe('first');
    at.database.set('a', 'second');
    expect(await things.get('a')).toBe('first');
    expect(at.loads).toEqual(['a']);
    await at.clock.advance(10_001);
    expect(await things.get('a')).toBe('second');
    expect(at.loads).toEqual(['a', 'a']);
  });

  test('loads once for all who ask at the same time', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open();
    const answers = Promise.all(Array.from({ length: 50 }, () => things.get('a')));
    await settle();
    const late = things.get('a');
    await settle();
    expect(at.gates).toHaveLength(1);
    at.gates[0]?.resolve();
    expect(new Set([...(await answers), await late])).toEqual(new Set(['first']));
    expect(at.loads).toEqual(['a']);
  });

  test('never keeps what was loaded before a delete, nor answers it to who asks after it', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open();
    const before = things.get('a');
    await settle();
    at.database.set('a', 'second');
    expect(await things.delete('a')).toEqual({ kind: 'done' });
    const after = things.get('a');
    await settle();
    expect(at.gates).toHaveLength(2);
    at.gates[0]?.resolve();
    expect(await before).toBe('first');
    await settle();
    at.gates[1]?.resolve();
    expect(await after).toBe('second');
    expect(await things.get('a')).toBe('second');
    expect(at.loads).toHaveLength(2);
  });

  test('keeps that there is no value, for as long as was agreed', async () => {
    await using at = setup(kind);
    const things = await at.open({ absentTtl: '1s' });
    expect(await things.get('none')).toBeUndefined();
    expect(await things.get('none')).toBeUndefined();
    expect(at.loads).toEqual(['none']);
    at.database.set('none', 'now');
    await at.clock.advance(1_001);
    expect(await things.get('none')).toBe('now');
  });

  test('tells null, the empty text and no value apart', async () => {
    await using at = setup(kind);
    const things = await cache<string, string | null>({
      name: 'nulls',
      ...(kind === 'near' ? {} : { store: await at.store() }),
      ttl: '10s',
      clock: at.clock,
      load: (key) => (key === 'null' ? null : key === 'empty' ? '' : undefined),
    });
    for (let round = 0; round < 2; round += 1) {
      expect(await things.get('null')).toBeNull();
      expect(await things.get('empty')).toBe('');
      expect(await things.get('none')).toBeUndefined();
    }
    expect(things.stats().loads).toBe(3);
  });

  test('one failure is the answer for all who wait, and nobody tries again for a while', async () => {
    await using at = setup(kind);
    let fails = true;
    let tries = 0;
    const things = await at.open({
      load: async () => {
        tries += 1;
        await Promise.resolve();
        if (fails) throw new Error('no route');
        return 'back';
      },
    });
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => things.get('a')));
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    await expect(things.get('a')).rejects.toMatchObject({ code: 'LOAD_FAILED' });
    expect(tries).toBe(1);
    fails = false;
    await at.clock.advance(101);
    expect(await things.get('a')).toBe('back');
  });

  test('answers a stale value when the load fails, and says so', async () => {
    await using at = setup(kind);
    let fails = false;
    const things = await at.open({
      grace: '1m',
      stale: 'on-error',
      load: () => {
        if (fails) throw new Error('no route');
        return 'fine';
      },
    });
    expect(await things.get('a')).toBe('fine');
    fails = true;
    await at.clock.advance(11_000);
    expect(await things.read('a')).toMatchObject({ value: 'fine', stale: 'load-failed' });
    expect(await things.read('a')).toMatchObject({ value: 'fine', stale: 'load-failed-lately' });
    expect(things.stats().stale).toBe(2);
    await at.clock.advance(60_000);
    await expect(things.get('a')).rejects.toThrow('no route');
  });

  test('answers a stale value at once while it is loaded anew', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open({ grace: '1m' });
    const first = things.get('a');
    await settle();
    at.gates[0]?.resolve();
    await first;
    at.database.set('a', 'second');
    await at.clock.advance(11_000);
    for (let round = 0; round < 3; round += 1)
      expect(await things.read('a')).toMatchObject({ value: 'first', stale: 'refreshing' });
    await settle();
    expect(at.gates).toHaveLength(2);
    at.gates[1]?.resolve();
    await settle();
    expect(await things.read('a')).toMatchObject({ value: 'second', stale: undefined });
    expect(at.loads).toHaveLength(2);
  });

  test('a load that is out of time is an error, and what it answers later is kept nowhere', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open({ loads: { timeout: '1s' } });
    const late = things.get('a');
    const settled = expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await settle();
    await at.clock.advance(1_001);
    await settled;
    at.database.set('a', 'second');
    await at.clock.advance(200);
    const next = things.get('a');
    await settle();
    at.gates[1]?.resolve();
    expect(await next).toBe('second');
    at.gates[0]?.resolve();
    await settle();
    expect(await things.get('a')).toBe('second');
  });

  test('sheds loads past its limits, and answers stale instead if it can', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open({ loads: { concurrency: 2, queue: 1 } });
    const asked = ['a', 'b', 'c', 'd'].map((key) => things.get(key));
    const shed = expect(asked[3]).rejects.toMatchObject({ code: 'OVERLOADED' });
    await settle();
    expect(at.gates).toHaveLength(2);
    await shed;
    for (let index = 0; index < 3; index += 1) {
      at.gates[index]?.resolve();
      await settle();
    }
    expect(await Promise.all(asked.slice(0, 3))).toEqual(['first', undefined, undefined]);
    expect(things.stats()).toMatchObject({ loadsShed: 1, loading: 0, queued: 0 });
  });

  test('invalidates by tag and by namespace, loads under way included', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open({ tags: (value) => [`is ${value}`] });
    const load = async (of: Cache<string, string>, key: string): Promise<string | undefined> => {
      const answer = of.get(key);
      await settle();
      at.gates.at(-1)?.resolve();
      return answer;
    };
    const red = things.namespace('red');
    at.database.set('b', 'other');
    for (const of of [things, red, red.namespace('dark')])
      expect(await load(of, 'a')).toBe('first');
    await load(things, 'b');
    at.database.set('a', 'second');
    await red.invalidateAll();
    expect(await load(things, 'a')).toBe('first');
    for (const of of [red, red.namespace('dark'), things.namespace('red/dark')])
      expect(await load(of, 'a')).toBe('second');
    await things.invalidateTags(['is first']);
    expect(await load(things, 'a')).toBe('second');
    expect(at.loads).toEqual(['a', 'a', 'a', 'b', 'a', 'a', 'a']);
    const waiting = red.get('c');
    await settle();
    await red.invalidateAll();
    at.gates.at(-1)?.resolve();
    await waiting;
    const [loads] = [at.loads.length];
    await load(red, 'c');
    expect(at.loads).toHaveLength(loads + 1);
  });

  test('answers many keys in order, each once', async () => {
    await using at = setup(kind);
    at.database.set('b', 'second');
    const things = await at.open();
    await things.get('b');
    expect(await things.getMany(['b', 'none', 'a', 'b'])).toEqual([
      'second',
      undefined,
      'first',
      'second',
    ]);
    expect(at.loads).toEqual(['b', 'none', 'a']);
    expect(await things.getMany([])).toEqual([]);
  });

  test('a value set is found, and a load that began before is not kept over it', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open();
    const loading = things.get('a');
    await settle();
    expect(await things.set('a', 'set')).toEqual({ kind: 'done' });
    at.gates[0]?.resolve();
    await loading;
    expect(await things.get('a')).toBe('set');
    await things.set('a', undefined);
    expect(await things.get('a')).toBeUndefined();
    expect(at.loads).toEqual(['a']);
  });

  test('writes to the database first and then invalidates, also when the write throws', async () => {
    await using at = setup(kind);
    const things = await at.open();
    await things.get('a');
    const written = await things.write('a', () => {
      at.database.set('a', 'second');
      return 42;
    });
    expect(written).toEqual({ value: 42, invalidation: { kind: 'done' } });
    expect(await things.get('a')).toBe('second');
    const failure = new TallyError('COMMIT_UNKNOWN', { what: 'lost' });
    const failing = things.write('a', () => {
      at.database.set('a', 'third');
      throw failure;
    });
    await expect(failing).rejects.toBe(failure);
    expect(await things.get('a')).toBe('third');
    await things.write('a', () => at.database.set('a', 'fourth'), { afterwards: 'load' });
    expect(at.loads).toHaveLength(4);
    expect(await things.get('a')).toBe('fourth');
    expect(at.loads).toHaveLength(4);
  });

  test('never answers what does not contain the evidence asked for', async () => {
    await using at = setup(kind);
    let head = 1;
    const upTo = (offset: number): Evidence => evidenceOf([['orders', { epoch: 1, offset }]]);
    const things = await at.open({ asOf: () => upTo(head) });
    await things.get('a');
    at.database.set('a', 'second');
    expect(await things.get('a', { after: upTo(1) })).toBe('first');
    head = 2;
    expect(await things.get('a', { after: upTo(2) })).toBe('second');
    expect(await things.get('a', { after: upTo(2) })).toBe('second');
    expect(at.loads).toHaveLength(2);
    // What is loaded for a reader contains what that reader has seen, though this process knows less.
    expect(await things.get('a', { after: upTo(9) })).toBe('second');
    expect(await things.get('a', { after: upTo(9) })).toBe('second');
    expect(at.loads).toHaveLength(3);
  });

  test('loads early, once, before a value ends', async () => {
    await using at = setup(kind, 'gated');
    const things = await at.open({ early: 1 });
    const first = things.get('a');
    await settle();
    await at.clock.advance(1_000);
    at.gates[0]?.resolve();
    await first;
    await at.clock.advance(9_990);
    const reads = Array.from({ length: 20 }, () => things.read('a'));
    expect((await Promise.all(reads)).every(({ value }) => value === 'first')).toBe(true);
    await settle();
    expect(at.gates).toHaveLength(2);
    at.gates[1]?.resolve();
    await settle();
    expect(things.stats().early).toBe(1);
  });

  test('warms what is not there, and says how far it is', async () => {
    await using at = setup(kind);
    const things = await at.open();
    await things.get('a');
    const keys = Array.from({ length: 250 }, (_, index) => (index === 0 ? 'a' : `k${index}`));
    const steps: number[] = [];
    const report = await things.warm(keys, {
      onProgress: ({ keys: done }) => steps.push(done),
    });
    expect(steps).toEqual([100, 200, 250]);
    expect(report).toMatchObject({ keys: 250, failed: 0 });
    const before = at.loads.length;
    await things.getMany(keys);
    expect(at.loads).toHaveLength(before);
  });

  test('a ttl, tags and a refusal to be kept may come with a value', async () => {
    await using at = setup(kind);
    const things = await at.open({
      load: (key) => {
        at.loads.push(key);
        return key === 'never'
          ? loaded('x', { keep: 'never' })
          : loaded('x', { ttl: '1s', tags: ['t'] });
      },
    });
    await things.get('never');
    await things.get('never');
    await things.get('brief');
    await things.get('brief');
    expect(at.loads).toEqual(['never', 'never', 'brief']);
    await things.invalidateTags(['t']);
    await things.get('brief');
    await at.clock.advance(1_001);
    await things.get('brief');
    expect(at.loads).toEqual(['never', 'never', 'brief', 'brief', 'brief']);
  });

  test('refreshes ahead once its agreed part of the time is over', async () => {
    await using at = setup(kind);
    const things = await at.open({ ahead: 0.5 });
    await things.get('a');
    await at.clock.advance(4_000);
    await things.get('a');
    await settle();
    expect(at.loads).toHaveLength(1);
    await at.clock.advance(2_000);
    at.database.set('a', 'second');
    expect(await things.get('a')).toBe('first');
    await settle();
    expect(await things.get('a')).toBe('second');
    expect(at.loads).toHaveLength(2);
  });
});

test('a lease in an answer that came too late is given back: nobody waits for it', async () => {
  await using at = setup('shared');
  const store = await at.store();
  const gate = Promise.withResolvers<void>();
  // The first answer of the tier is slow to arrive; what the tier does is what it does.
  let isFirst = true;
  const slow: { readonly caches: Caches } = {
    caches: {
      supports: store.caches.supports,
      async open(options) {
        const tier = await store.caches.open(options);
        const getMany = tier.getMany.bind(tier);
        tier.getMany = async (...asked) => {
          const answers = await getMany(...asked);
          if (isFirst) {
            isFirst = false;
            await gate.promise;
          }
          return answers;
        };
        return tier;
      },
    },
  };
  const late = await at.open({ store: slow });
  const asking = late.get('a');
  await settle();
  await at.clock.advance(25);
  expect(await asking).toBe('first');
  const other = await at.open();
  let answered = false;
  const waiting = other.get('a').then(() => (answered = true));
  await settle();
  expect(answered).toBe(false);
  gate.resolve();
  await settle();
  await at.clock.advance(100);
  await waiting;
  expect(at.loads).toEqual(['a', 'a']);
});
