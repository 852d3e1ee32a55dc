import { describe, test } from 'vitest';
import { cacheConformance } from '../../src/conformance/cache.ts';
import { virtualClock } from '../../src/faults/virtual-clock.ts';
import type { CacheTier } from '../../src/ports/cache.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memoryCacheSupports } from '../../src/stores/memory/cache.ts';
import { createMemoryState, memory, type MemoryStore } from '../../src/stores/memory/index.ts';

describe('the memory cache tier', () => {
  cacheConformance({
    test,
    supports: memoryCacheSupports,
    open: async () => {
      const clock = virtualClock();
      const state = createMemoryState();
      const stores = new Map<CacheTier, MemoryStore>();
      return {
        stepMs: 10,
        async open(options) {
          const context = { name: 'memory', clock, random: systemRandom };
          const store = await memory({ state }).open(context);
          const whole = { name: 'things', payload: 'text', leaseMs: 6_000, ...options } as const;
          const tier = await store.caches.open(whole);
          stores.set(tier, store);
          return tier;
        },
        async kill(tier) {
          stores.get(tier)?.crash();
          await Promise.resolve();
        },
        advance: (delayMs) => clock.advance(delayMs),
        async dispose() {
          for (const store of stores.values()) await store.close();
        },
      };
    },
  });
});
