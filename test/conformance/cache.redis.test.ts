import { describe, test } from 'vitest';
import { cacheConformance } from '../../src/conformance/cache.ts';
import type { CacheTier } from '../../src/ports/cache.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { openCaches } from '../../src/stores/redis/cache/caches.ts';
import { cacheSupports } from '../../src/stores/redis/cache/supports.ts';
import { freshRedis, hasRedis } from '../support/servers.ts';
import { partsAt } from './redis-parts.ts';

describe.skipIf(!hasRedis)('a cache tier in Redis', () => {
  cacheConformance({
    test,
    supports: cacheSupports,
    open: async () => {
      const fresh = await freshRedis();
      const opened: AsyncDisposable[] = [];
      return {
        // Above the pauses of a busy machine between two commands.
        stepMs: 50,
        async open(options) {
          const parts = await partsAt({ kind: 'server', url: fresh.url }, fresh.prefix);
          const tier = await openCaches(parts.parts).open({
            name: 'things',
            payload: 'text',
            leaseMs: 30_000,
            ...options,
          });
          opened.push(parts, tier);
          return tier;
        },
        // What Redis sees of a killed process: its connections close. A tier says nothing more when it is closed.
        kill: (tier: CacheTier) => tier.close(),
        advance: (delayMs) => systemClock.sleep(delayMs),
        async dispose() {
          for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
          await fresh[Symbol.asyncDispose]();
        },
      };
    },
  });
});
