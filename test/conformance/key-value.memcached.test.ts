import { describe, expect, test } from 'vitest';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memcached } from '../../src/stores/memcached/index.ts';
import { ageItems } from '../support/memcached.ts';
import { freshMemcached, hasMemcached } from '../support/servers.ts';

const context = { name: 'cache', clock: systemClock, random: systemRandom };

describe.skipIf(!hasMemcached)('key-value entries in Memcached', () => {
  keyValueConformance({
    test,
    supports: {
      ttlResolutionMs: 1_000,
      compareAndSet: true,
      keyBytesMax: 160,
      valueBytesMax: 1_047_552,
    },
    open: async () => {
      const fresh = freshMemcached();
      const definition = memcached(fresh);
      let store = await definition.open(context);
      return {
        get keyValue() {
          return store.keyValue;
        },
        // Longer than any pause of a busy machine between two commands.
        stepMs: 60_000,
        advance: (delayMs) => ageItems(store.client, fresh.prefix, delayMs),
        async reopen() {
          await store.close();
          store = await definition.open(context);
        },
        dispose: () => store.close(),
      };
    },
  });

  test('by the clock of Memcached an entry is over at most a second before its time, and never after it', async () => {
    await using store = await memcached(freshMemcached()).open(context);
    const { keyValue } = store;
    const beganMs = systemClock.monotonicMs();
    await keyValue.set('a', 1, { ttlMs: 2_000 });
    const setMs = systemClock.monotonicMs();
    while ((await keyValue.get('a')) !== undefined) {
      expect(systemClock.monotonicMs() - setMs).toBeLessThan(2_500);
      await systemClock.sleep(20);
    }
    expect(systemClock.monotonicMs() - beganMs).toBeGreaterThan(900);
  });

  test('an entry of more than thirty days is not taken for a date', async () => {
    await using store = await memcached(freshMemcached()).open(context);
    const ttlMs = 40 * 24 * 3_600_000;
    await store.keyValue.set('a', 1, { ttlMs });
    const expiresAtMs = (await store.keyValue.get('a'))?.expiresAtMs ?? 0;
    expect(Math.abs(expiresAtMs - systemClock.nowMs() - ttlMs)).toBeLessThan(3_000);
  });
});
