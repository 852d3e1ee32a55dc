import { describe, expect, test } from 'vitest';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { openKeyValue } from '../../src/stores/redis/key-value/key-value.ts';
import { hasRedis } from '../support/servers.ts';
import { ageEntries, redisParts } from './redis-parts.ts';

describe.skipIf(!hasRedis)('key-value entries in Redis', () => {
  keyValueConformance({
    test,
    supports: {
      ttlResolutionMs: 1,
      compareAndSet: true,
      keyBytesMax: 4_096,
      valueBytesMax: 64 * 1024 * 1024,
    },
    open: async () => {
      const opened = await redisParts();
      let keyValue = openKeyValue(opened.parts);
      return {
        get keyValue() {
          return keyValue;
        },
        // Longer than any pause of a busy machine between two commands.
        stepMs: 60_000,
        // Redis's clock cannot be moved: what expires is moved towards it.
        advance: (delayMs) => ageEntries(opened, delayMs),
        async reopen() {
          await opened.reconnect();
          keyValue = openKeyValue(opened.parts);
        },
        async dispose() {
          await opened[Symbol.asyncDispose]();
        },
      };
    },
  });

  test('an entry is there until the millisecond that it said, by the clock of Redis, and not longer', async () => {
    await using opened = await redisParts();
    const keyValue = openKeyValue(opened.parts);
    const { link } = opened.parts;
    const nowMs = async (): Promise<number> => {
      const [seconds, micros] = (await link.send('x', ['TIME'])) as [string, string];
      return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    };
    const before = await nowMs();
    await keyValue.set('a', 1, { ttlMs: 400 });
    const expiresAtMs = (await keyValue.get('a'))?.expiresAtMs ?? 0;
    expect(expiresAtMs).toBeGreaterThanOrEqual(before + 400);
    expect(expiresAtMs).toBeLessThanOrEqual((await nowMs()) + 400);
    let there = 0;
    for (;;) {
      const earlier = await nowMs();
      const entry = await keyValue.get('a');
      const later = await nowMs();
      if (entry !== undefined) expect(earlier).toBeLessThan(expiresAtMs);
      else expect(later).toBeGreaterThanOrEqual(expiresAtMs);
      if (entry === undefined) break;
      there += 1;
      await systemClock.sleep(1);
    }
    expect(there).toBeGreaterThan(0);
  });
});
