import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { cacheConformance } from '../../src/conformance/cache.ts';
import type { CacheTier } from '../../src/ports/cache.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { sqlite, sqliteCacheSupports, type SqliteStore } from '../../src/stores/sqlite/index.ts';

describe('the cache tier in SQLite', () => {
  cacheConformance({
    test,
    supports: sqliteCacheSupports,
    open: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tally-cache-'));
      const file = join(folder, 'cache.db');
      let nowMs = 1_700_000_000_000;
      const clock: Clock = { ...systemClock, nowMs: () => nowMs };
      const stores = new Map<CacheTier, SqliteStore>();
      return {
        stepMs: 1_000,
        async open(options) {
          const context = { name: 'cache', clock, random: systemRandom };
          const store = await sqlite({ file, synchronous: 'NORMAL' }).open(context);
          const whole = { name: 'things', payload: 'text', leaseMs: 600_000, ...options } as const;
          const tier = await store.caches.open(whole);
          stores.set(tier, store);
          return tier;
        },
        kill: async (tier) => stores.get(tier)?.close(),
        async advance(delayMs) {
          nowMs += delayMs;
          // Those who wait look again by the clock of the machine.
          await systemClock.sleep(50);
        },
        async dispose() {
          for (const store of stores.values()) await store.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  });
});
