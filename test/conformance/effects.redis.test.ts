import { describe, expect, test } from 'vitest';
import { effectsConformance } from '../../src/conformance/effects.ts';
import { effectsSupports } from '../../src/stores/redis/effects/effects.ts';
import { hasRedis } from '../support/servers.ts';
import { redisEffectsSubject } from './redis-effects.ts';
import { redisParts } from './redis-parts.ts';

const subject = async () => redisEffectsSubject(await redisParts());

describe.skipIf(!hasRedis)('effects in Redis', () => {
  effectsConformance({ test, supports: effectsSupports, open: subject });

  test('a do of a saga that is older than markers are kept is refused without a marker', async () => {
    const accounts = await subject();
    try {
      const old = { id: 'saga/1', startedAtMs: Date.now() - effectsSupports.retentionMs - 1_000 };
      expect(await accounts.effects.do(old, accounts.add('a', 5, null))).toEqual({
        kind: 'forgotten',
      });
      expect(await accounts.balance('a')).toBe(0);
    } finally {
      await accounts.dispose();
    }
  });

  test('a work that fails in its middle is named, and is neither done again nor undone', async () => {
    const accounts = await subject();
    try {
      const key = { id: 'saga/1', startedAtMs: Date.now() };
      const [name] = [accounts.place('a') ?? ''];
      const half = {
        keys: [name],
        lua: `redis.call('INCRBY', KEYS[1], 5)\nredis.call('LPUSH', KEYS[1], 1)`,
      };
      for (const call of [
        () => accounts.effects.do(key, half),
        () => accounts.effects.do(key, accounts.add('a', 5, null)),
        () => accounts.effects.undo(key, accounts.takeBack('a')),
        () => accounts.effects.probe(key, name),
      ])
        await expect(call()).rejects.toMatchObject({
          code: 'EFFECT_REFUSED',
          details: { reason: 'torn' },
        });
      expect(await accounts.balance('a')).toBe(5);
    } finally {
      await accounts.dispose();
    }
  });
});
