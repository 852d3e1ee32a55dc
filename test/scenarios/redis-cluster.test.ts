import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRedisCluster, type RedisCluster } from '../../servers/redis-cluster.ts';
import { effectsConformance } from '../../src/conformance/effects.ts';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import { logConformance } from '../../src/conformance/log.ts';
import type { Log } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { effectsSupports, openEffects } from '../../src/stores/redis/effects/effects.ts';
import { openKeyValue } from '../../src/stores/redis/key-value/key-value.ts';
import { slotOf, tagOf } from '../../src/stores/redis/keys.ts';
import { redisLog, redisStream } from '../../src/stores/redis/log/index.ts';
import {
  trackInvalidations,
  type InvalidationEvent,
} from '../../src/stores/redis/tracking/index.ts';
import { redisEffectsSubject } from '../conformance/redis-effects.ts';
import { ageEntries, partsAt, type OpenedParts } from '../conformance/redis-parts.ts';
import { freshPrefix, hasRedis } from '../support/servers.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };

describe.skipIf(!hasRedis)('a cluster of three Redis', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  const open = (prefix: string): Promise<OpenedParts> =>
    partsAt({ kind: 'cluster', urls: cluster.urls }, prefix);

  describe('key-value entries', () => {
    keyValueConformance({
      test,
      supports: {
        ttlResolutionMs: 1,
        compareAndSet: true,
        keyBytesMax: 4_096,
        valueBytesMax: 64 * 1024 * 1024,
      },
      open: async () => {
        const opened = await open(freshPrefix());
        let keyValue = openKeyValue(opened.parts);
        return {
          get keyValue() {
            return keyValue;
          },
          stepMs: 60_000,
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
  });

  describe('effects', () => {
    effectsConformance({
      test,
      supports: effectsSupports,
      open: async () => redisEffectsSubject(await open(freshPrefix())),
    });
  });

  test('effects on keys of all nodes happen once each, with their markers beside them', async () => {
    const prefix = freshPrefix();
    await using opened = await open(prefix);
    const { link } = opened.parts;
    const effects = openEffects(opened.parts, {
      retentionMs: effectsSupports.retentionMs,
      eviction: 'refuse',
    });
    const startedAtMs = Date.now();
    const lua = `return cjson.encode(redis.call('INCRBY', KEYS[1], ARGV[1]))`;
    const accounts = range(60).map((number) => `${prefix}account-${number}`);
    for (const kind of ['done', 'again'])
      for (const [number, account] of accounts.entries()) {
        const key = { id: `saga/${number}`, startedAtMs };
        const outcome = await effects.do(key, { lua, keys: [account], args: ['5'] });
        expect(outcome).toEqual({ kind, result: 5 });
        expect(await effects.probe(key, account)).toEqual({ kind: 'done', result: 5 });
      }
    for (const { reply } of await link.sendEach(['KEYS', `${prefix}account-*`]))
      expect((reply as readonly string[]).length).toBeGreaterThan(5);
    await expect(effects.probe({ id: 'saga/1', startedAtMs })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    const apart = { lua, keys: [accounts[0] ?? '', accounts[1] ?? ''], args: ['1'] } as const;
    await expect(effects.do({ id: 'saga/apart', startedAtMs }, apart)).rejects.toThrow();
    expect(await link.send(accounts[0], ['GET', accounts[0] ?? ''])).toBe('5');
  });

  describe('the log', () => {
    const names = new Map<Log, string>();
    const openAs = async (name: string, bound = {}): Promise<Log> => {
      const log = await redisLog({ cluster: cluster.urls, name, ...bound }).open(context);
      names.set(log, name);
      return log;
    };
    logConformance({
      test,
      open: () => openAs(freshPrefix()),
      reopen: async (log) => {
        await log.close();
        return openAs(names.get(log) ?? '');
      },
      openBounded: async () => ({
        log: await openAs(freshPrefix(), { bytesMax: 10_000 }),
        recordsMax: 20,
      }),
    });
  });

  test('entries lie on all nodes, and the slot of a key is the one that the cluster says', async () => {
    const prefix = freshPrefix();
    await using opened = await open(prefix);
    const keyValue = openKeyValue(opened.parts);
    const keys = ['a', 'b', 'c', 'user{1}', 'user{2}', '{}x', '{x', 'é{🪵}', ...range(200)];
    await Promise.all(keys.map((key) => keyValue.set(key, key)));
    expect((await keyValue.getMany(keys)).map((entry) => entry?.value)).toEqual(keys);
    const sizes = await opened.parts.link.sendEach(['KEYS', `${prefix}_kv:*`]);
    expect(sizes).toHaveLength(3);
    for (const { reply } of sizes) expect((reply as readonly string[]).length).toBeGreaterThan(20);
    for (const key of keys)
      expect(slotOf(key)).toBe(
        await opened.parts.link.send(undefined, ['CLUSTER', 'KEYSLOT', key]),
      );
    for (const slot of [0, 1, 8_191, 16_383]) expect(slotOf(`x{${tagOf(slot)}}`)).toBe(slot);
  });

  test('a stream with groups works where its key lies', async () => {
    await using stream = await redisStream({ cluster: cluster.urls, stream: freshPrefix() }).open(
      context,
    );
    const group = await stream.group('mailers');
    const { signal } = new AbortController();
    const waiting = group.read({ consumer: 'a', signal });
    await stream.publish([{ key: 'm1', value: 1 }]);
    const [message] = await waiting;
    expect(message).toMatchObject({ key: 'm1', value: 1, deliveries: 1 });
    expect(await group.claimStale({ consumer: 'b', idleMs: 0 })).toMatchObject([{ deliveries: 2 }]);
    expect(await group.ack([message?.id ?? ''])).toBe(1);
  });

  test('a tracker is told by every node, and refuses to track what was read', async () => {
    const prefix = freshPrefix();
    await using opened = await open(prefix);
    const events: InvalidationEvent[] = [];
    let wake = (): void => undefined;
    const onEvent = (event: InvalidationEvent): void => {
      events.push(event);
      wake();
    };
    await using tracker = await trackInvalidations(opened.parts, { prefixes: [prefix], onEvent });
    expect(tracker.isTracking).toBe(true);
    const client = createCluster({ rootNodes: cluster.urls.map((url) => ({ url })) });
    await client.connect();
    const keys = range(30).map((key) => prefix + key);
    await Promise.all(keys.map((key) => client.set(key, '1')));
    client.destroy();
    while (events.length <= keys.length)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    const told = events.flatMap((event) => (event.kind === 'key' ? [event.key] : []));
    expect(told.toSorted()).toEqual(keys.toSorted());
    await expect(trackInvalidations(opened.parts, { onEvent })).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING',
    });
  });
});

function range(length: number): string[] {
  return Array.from({ length }, (_, index) => `k${index}`);
}
