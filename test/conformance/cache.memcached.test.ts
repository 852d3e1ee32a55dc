import { describe, test } from 'vitest';
import { cacheConformance } from '../../src/conformance/cache.ts';
import type { CacheTier } from '../../src/ports/cache.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { cacheSupports, memcached, type MemcachedStore } from '../../src/stores/memcached/index.ts';
import { ageItems } from '../support/memcached.ts';
import { freshMemcached, hasMemcached } from '../support/servers.ts';

describe.skipIf(!hasMemcached)('the cache tier in Memcached', () => {
  cacheConformance({
    test,
    supports: cacheSupports,
    open: async () => {
      const fresh = freshMemcached();
      const context = { name: 'cache', clock: systemClock, random: systemRandom };
      const keeper = await memcached(fresh).open(context);
      const stores = new Map<CacheTier, MemcachedStore>();
      return {
        // Longer than any pause of a busy machine between two commands.
        stepMs: 60_000,
        async open(options) {
          const store = await memcached(fresh).open(context);
          const whole = {
            name: 'things',
            payload: 'text',
            leaseMs: 36_000_000,
            ...options,
          } as const;
          const tier = await store.caches.open(whole);
          stores.set(tier, store);
          return tier;
        },
        // Its connection ends before the tier can say anything.
        kill: async (tier) => stores.get(tier)?.close(),
        advance: (delayMs) =>
          ageItems(keeper.client, fresh.prefix, Math.ceil(delayMs / 1_000) * 1_000),
        async dispose() {
          for (const [tier, store] of stores) {
            await tier.close();
            await store.close();
          }
          await keeper.close();
        },
      };
    },
  });
});
