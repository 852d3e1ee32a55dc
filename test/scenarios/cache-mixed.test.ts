/**
 * A slice of each; TALLY_LONG=1 is 10^6 mixed operations on each store and 10^6 forced races on memory and Redis.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startMemcached, startRedis } from '../../servers/index.ts';
import type { Store } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memcached } from '../../src/stores/memcached/index.ts';
import { createMemoryState, memory } from '../../src/stores/memory/index.ts';
import { redis } from '../../src/stores/redis/index.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';
import { tempDir } from '../support/scenario.ts';
import { hasMemcached, hasRedis } from '../support/servers.ts';
import { mixed, races } from './cache-mixed.ts';

const path = tempDir();
const isLong = process.env['TALLY_LONG'] === '1';
const timeout = isLong ? 3_600_000 : 60_000;
const context = { name: 'cache', clock: systemClock, random: systemRandom };

interface Subject {
  readonly isThere: boolean;
  readonly operations: number;
  /** Small stores run out of room: values are made large. */
  readonly padding?: number;
  /** Opens a process on the store, as often as it is called. */
  readonly start: () => Promise<AsyncDisposable & { readonly open: () => Promise<Store> }>;
}

const nothing = { [Symbol.asyncDispose]: () => Promise.resolve() };

/** Small enough that a few hundred values of 8 KiB do not fit: the server throws away what it likes. */
const smallRedis = { maxmemory: '3mb', 'maxmemory-policy': 'allkeys-lru' };

const subjects: Readonly<Record<string, Subject>> = {
  memory: {
    isThere: true,
    operations: 4_000,
    start: () => {
      const state = createMemoryState();
      return Promise.resolve({ ...nothing, open: () => memory({ state }).open(context) });
    },
  },
  SQLite: {
    isThere: true,
    operations: 600,
    start: () => {
      const file = join(path(), 'cache.db');
      return Promise.resolve({ ...nothing, open: () => sqlite({ file }).open(context) });
    },
  },
  Redis: { isThere: hasRedis, operations: 6_000, start: () => ownRedis({}) },
  'Redis that runs out of memory': {
    isThere: hasRedis,
    operations: 2_000,
    padding: 8_000,
    start: () => ownRedis(smallRedis),
  },
  'Memcached that runs out of memory': {
    isThere: hasMemcached,
    operations: 2_000,
    padding: 30_000,
    start: async () => {
      const server = await startMemcached({ settings: { m: '2' } });
      return {
        open: () => memcached({ url: server.url }).open(context),
        [Symbol.asyncDispose]: () => server.stop(),
      };
    },
  },
};

async function ownRedis(settings: Readonly<Record<string, string>>) {
  const server = await startRedis({ settings });
  return {
    open: () => redis({ url: server.url }).open(context),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

for (const [name, { isThere, operations, padding, start }] of Object.entries(subjects))
  test.skipIf(!isThere)(
    `of any mixture of reads and writes no reader is answered what was invalidated before (${name})`,
    { timeout },
    async () => {
      await using server = await start();
      await using opened = new AsyncDisposableStack();
      const stores: Store[] = [];
      for (let index = 0; index < 3; index += 1) stores.push(opened.use(await server.open()));
      const seed = systemRandom.next() * 2 ** 31;
      const report = await mixed({
        stores,
        operations: isLong ? 1_000_000 : operations,
        seed,
        ...(padding === undefined ? {} : { padding }),
      });
      console.info(`${name}, seed ${seed}: ${JSON.stringify(report)}`);
      expect(report).toMatchObject({ stale: [], errors: [] });
      expect(report.loads).toBeGreaterThan(operations / 50);
      expect(report.voided).toBeGreaterThan(0);
    },
  );

describe('a value that arrives after the invalidation of what it was read before', () => {
  for (const name of ['memory', 'Redis'])
    test.skipIf(subjects[name]?.isThere !== true)(
      `is never stored (${name})`,
      { timeout },
      async () => {
        await using server = await (subjects[name]?.start() ?? Promise.reject());
        await using one = await server.open();
        await using other = await server.open();
        const report = await races([one, other], isLong ? 1_000_000 : 2_000);
        console.info(`${name}: ${JSON.stringify(report)}`);
        expect(report.stale).toBe(0);
        expect(report.voided).toBeGreaterThanOrEqual(report.rounds);
      },
    );
});
