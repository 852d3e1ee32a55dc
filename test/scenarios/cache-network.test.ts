import { describe, expect, test } from 'vitest';
import { startMemcached, startProxy, startRedis } from '../../servers/index.ts';
import { cache, type Cache, type CacheHappening } from '../../src/patterns/cache/index.ts';
import type { Store } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memcached } from '../../src/stores/memcached/index.ts';
import { redis } from '../../src/stores/redis/index.ts';
import { ended } from '../support/ended.ts';
import { hasMemcached, hasRedis } from '../support/servers.ts';

const kept = ended();

interface Process {
  readonly things: Cache<string, string>;
  readonly events: CacheHappening[];
}

/** The database that all processes load from. */
function database() {
  const rows = new Map([
    ['a', 'first'],
    ['b', 'first'],
  ]);
  const loads: string[] = [];
  const process = async (store: Store, more: { staleMax?: number } = {}): Promise<Process> => {
    const events: CacheHappening[] = [];
    const things = await cache<string, string>({
      name: 'things',
      store: kept(store),
      near: { staleMax: more.staleMax ?? '1h' },
      ttl: '1h',
      early: 0,
      shared: { pause: 50 },
      load: (key) => {
        loads.push(key);
        return rows.get(key);
      },
      onEvent: (event) => events.push(event),
    });
    kept(things);
    return { things, events };
  };
  return { rows, loads, process };
}

const context = { name: 'cache', clock: systemClock, random: systemRandom };

const patience = { timeout: 10_000, interval: 20 };

/** Both read everything, so that both have copies. */
async function bothHave(near: Process, far: Process): Promise<void> {
  for (const { things } of [near, far])
    expect(await things.getMany(['a', 'b'])).toEqual(['first', 'first']);
  for (const { things } of [near, far])
    await expect.poll(async () => (await things.read('a')).from, patience).toBe('near');
}

describe.skipIf(!hasRedis)('one process is cut off from the Redis that another reaches', () => {
  async function partition(staleMax?: number) {
    const server = kept(await startRedis());
    const proxy = kept(await startProxy(server.port));
    const at = database();
    const near = await at.process(await redis({ url: server.url }).open(context));
    const far = await at.process(
      await redis({ url: `redis://127.0.0.1:${proxy.port}` }).open(context),
      staleMax === undefined ? {} : { staleMax },
    );
    await bothHave(near, far);
    return { server, proxy, ...at, near: near.things, far: far.things, farEvents: far.events };
  }

  test('connections that are reset: no copy is believed from then on, and nothing from before when they are back', async () => {
    const { proxy, rows, near, far, farEvents } = await partition();
    await proxy.cut();
    await expect.poll(() => far.stats().watching, patience).toBe(false);
    rows.set('a', 'second');
    expect(await near.delete('a')).toEqual({ kind: 'done' });
    expect(await far.get('a')).toBe('second');
    rows.set('b', 'second');
    expect((await far.delete('b')).kind).toBe('pending');
    expect(await far.get('b')).toBe('second');
    await proxy.heal();
    await expect.poll(() => far.stats().pending, patience).toBe(0);
    // What this process could not say has arrived, and what it was not told is not missed.
    await expect.poll(() => near.get('b'), patience).toBe('second');
    expect(await far.getMany(['a', 'b'])).toEqual(['second', 'second']);
    await expect.poll(() => far.stats().watching, patience).toBe(true);
    expect(farEvents.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['watch-gap', 'invalidation-pending', 'invalidation-done']),
    );
  });

  test('a network that swallows everything: a copy is believed for as long as was agreed, and no invalidation is lost', async () => {
    const { proxy, rows, near, far } = await partition(300);
    proxy.blackhole();
    rows.set('a', 'second');
    expect(await near.delete('a')).toEqual({ kind: 'done' });
    await systemClock.sleep(320);
    expect(await far.get('a')).toBe('second');
    rows.set('b', 'second');
    expect((await far.delete('b')).kind).toBe('pending');
    expect(await near.get('b')).toBe('first');
    await proxy.heal();
    await expect.poll(() => far.stats().pending, patience).toBe(0);
    await expect.poll(() => near.get('b'), patience).toBe('second');
    await expect.poll(() => far.getMany(['a', 'b']), patience).toEqual(['second', 'second']);
  });

  test('a Redis that comes back empty: nothing is believed from before, and its leases are granted anew', async () => {
    const { server, rows, near, far, loads } = await partition();
    await server.kill();
    rows.set('a', 'second');
    await server.restart({ save: '' });
    for (const one of [near, far]) {
      await expect.poll(() => one.stats().watching, patience).toBe(true);
      await expect.poll(() => one.get('a'), patience).toBe('second');
    }
    await expect.poll(async () => (await near.read('b')).from, patience).toBe('near');
    const before = loads.length;
    expect(await Promise.all([near.get('c'), far.get('c'), near.get('c')])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(loads.length).toBe(before + 1);
  });
});

const hour = 3_600_000;

const clocks: Readonly<
  Record<
    string,
    {
      readonly isThere: boolean;
      readonly start: () => Promise<AsyncDisposable & { readonly url: string }>;
      readonly open: (url: string, skewMs: number) => Promise<Store>;
    }
  >
> = {
  Redis: {
    isThere: hasRedis,
    start: startRedis,
    open: (url, skewMs) => redis({ url }).open({ ...context, clock: skewed(skewMs) }),
  },
  Memcached: {
    isThere: hasMemcached,
    start: startMemcached,
    open: (url, skewMs) => memcached({ url }).open({ ...context, clock: skewed(skewMs) }),
  },
};

/** A machine whose clock is wrong by so much. */
function skewed(skewMs: number): typeof systemClock {
  return { ...systemClock, nowMs: () => systemClock.nowMs() + skewMs };
}

for (const [name, { isThere, start, open }] of Object.entries(clocks))
  test.skipIf(!isThere)(
    `machines whose clocks are hours apart agree on what is fresh, and on who loads (${name})`,
    async () => {
      const server = kept(await start());
      const gate = Promise.withResolvers<void>();
      let version = 1;
      let loads = 0;
      const caches: Cache<string, number>[] = [];
      for (const skewMs of [0, hour, -hour]) {
        const things = await cache<string, number>({
          name: 'things',
          store: kept(await open(server.url, skewMs)),
          clock: skewed(skewMs),
          ttl: '2s',
          jitter: 0,
          early: 0,
          shared: { timeout: '5s' },
          load: async () => {
            loads += 1;
            const read = version;
            if (loads === 1) await gate.promise;
            return read;
          },
        });
        caches.push(kept(things));
      }
      const [one, ...others] = caches;
      const first = one?.get('a');
      await expect.poll(() => loads, patience).toBe(1);
      const waiting = others.map((things) => things.get('a'));
      await systemClock.sleep(200);
      expect(loads).toBe(1);
      gate.resolve();
      expect(await Promise.all([first, ...waiting])).toEqual([1, 1, 1]);
      expect(loads).toBe(1);
      version = 2;
      for (const things of caches) expect(await things.get('a')).toBe(1);
      await systemClock.sleep(3_100);
      for (const things of caches.toReversed()) expect(await things.get('a')).toBe(2);
      expect(loads).toBe(2);
      version = 3;
      await caches[1]?.delete('a');
      for (const things of caches) expect(await things.get('a')).toBe(3);
    },
  );
