import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  redisStream,
  type RedisStream,
  type StreamMessage,
} from '../../src/stores/redis/log/index.ts';
import { freshPrefix, freshRedis, hasRedis, type FreshRedis } from '../support/servers.ts';

const context = { name: 'shop', clock: systemClock, random: systemRandom };
const CONSUMER = fileURLToPath(new URL('redis-stream-consumer.ts', import.meta.url));

describe.skipIf(!hasRedis)('a stream with groups of consumers', () => {
  let fresh: FreshRedis;
  beforeAll(async () => {
    fresh = await freshRedis();
  });
  afterAll(async () => {
    await fresh[Symbol.asyncDispose]();
  });
  const open = async (
    options: { readonly lengthMax?: number; readonly stream?: string } = {},
  ): Promise<RedisStream & { readonly stream: string }> => {
    const stream = options.stream ?? fresh.prefix + freshPrefix();
    const opened = await redisStream({ url: fresh.url, ...options, stream }).open(context);
    return Object.assign(opened, { stream });
  };
  const { signal } = new AbortController();

  test('each message goes to one consumer, and stays with it until it is acknowledged', async () => {
    await using stream = await open();
    const group = await stream.group('mailers');
    await stream.publish(messages(1, 10));
    const [one, other] = [
      await group.read({ consumer: 'a', messagesMax: 6, signal }),
      await group.read({ consumer: 'b', messagesMax: 6, signal }),
    ];
    expect(keysOf([...one, ...other])).toEqual(keysOf(messages(1, 10)));
    expect(one[0]).toMatchObject({ key: 'm1', value: { number: 1n }, deliveries: 1 });
    expect(await group.ack(one.map(({ id }) => id))).toBe(6);
    expect(await group.ack(one.map(({ id }) => id))).toBe(0);
    expect(await group.pending()).toEqual({ count: 4, consumers: [{ consumer: 'b', count: 4 }] });
  });

  test('another group has all the messages again, from the start or from now on', async () => {
    await using stream = await open();
    await stream.publish(messages(1, 3));
    const [late, early] = [
      await stream.group('late', { from: 'now' }),
      await stream.group('early'),
    ];
    await stream.publish(messages(4, 5));
    expect(keysOf(await late.read({ consumer: 'a', signal }))).toEqual(['m4', 'm5']);
    expect(await early.read({ consumer: 'a', signal })).toHaveLength(5);
    // Asked for again, a group goes on where it is.
    const again = await stream.group('early');
    await stream.publish(messages(6, 6));
    expect(keysOf(await again.read({ consumer: 'a', signal }))).toEqual(['m6']);
  });

  test('a read waits for messages, and an abort ends the wait without taking one', async () => {
    await using stream = await open();
    const group = await stream.group('mailers');
    const stop = new AbortController();
    const aborted = group.read({ consumer: 'a', signal: stop.signal });
    const waiting = group.read({ consumer: 'b', signal });
    stop.abort();
    expect(await aborted).toEqual([]);
    await stream.publish(messages(1, 1));
    expect(keysOf(await waiting)).toEqual(['m1']);
  });

  test('what a killed consumer has not acknowledged is claimed by another, and nothing is lost', async () => {
    await using stream = await open();
    const group = await stream.group('mailers');
    await stream.publish(messages(1, 40));
    const child = spawn(
      process.execPath,
      ['--conditions=tallystick-source', CONSUMER, fresh.url, stream.stream, 'mailers', 'killed'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const handled: string[] = [];
    for await (const key of createInterface({ input: child.stdout })) {
      handled.push(key);
      if (handled.length === 20) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const left = await group.pending();
    expect(left.count).toBeGreaterThan(0);

    // Nobody takes what somebody may still be at.
    expect(await group.claimStale({ consumer: 'b', idleMs: 600_000 })).toEqual([]);
    const claimed: StreamMessage[] = [];
    for (let empty = 0; empty < 2;) {
      const some = await group.claimStale({ consumer: 'b', idleMs: 0, messagesMax: 2 });
      claimed.push(...some.filter(({ id }) => !claimed.some((other) => other.id === id)));
      await group.ack(some.map(({ id }) => id));
      empty = some.length === 0 ? empty + 1 : 0;
    }
    expect(claimed).toHaveLength(left.count);
    expect(claimed.every(({ deliveries }) => deliveries === 2)).toBe(true);
    const rest: string[] = [];
    while (new Set([...handled, ...keysOf(claimed), ...rest]).size < 40) {
      const some = await group.read({ consumer: 'b', signal });
      rest.push(...keysOf(some));
      await group.ack(some.map(({ id }) => id));
    }
    expect((await group.pending()).count).toBe(0);
    // Handled twice is only what was claimed: the key says which.
    const twice = [...handled, ...rest].filter((key) => keysOf(claimed).includes(key));
    expect(handled.length + rest.length + claimed.length - twice.length).toBe(40);
  });

  test('at its bound it refuses messages and drops none; what every group has acknowledged makes room', async () => {
    await using stream = await open({ lengthMax: 10 });
    await stream.publish(messages(1, 10));
    await expect(stream.publish(messages(11, 11))).rejects.toMatchObject({ code: 'LOG_FULL' });
    const [slow, fast] = [await stream.group('slow'), await stream.group('fast')];
    const read = await fast.read({ consumer: 'a', signal });
    await fast.ack(read.map(({ id }) => id));
    await expect(stream.publish(messages(11, 11))).rejects.toMatchObject({ code: 'LOG_FULL' });

    const behind = await slow.read({ consumer: 'a', signal });
    await slow.ack(behind.slice(0, 4).map(({ id }) => id));
    await stream.publish(messages(11, 14));
    await expect(stream.publish(messages(15, 15))).rejects.toMatchObject({ code: 'LOG_FULL' });
    await slow.ack(behind.map(({ id }) => id));
    expect(await stream.trim()).toBe(6);
    expect(keysOf(await slow.read({ consumer: 'a', signal }))).toEqual([
      'm11',
      'm12',
      'm13',
      'm14',
    ]);
  });

  test('a group that is gone is said to be gone', async () => {
    await using stream = await open();
    const group = await stream.group('mailers');
    await stream.publish(messages(1, 1));
    await group.read({ consumer: 'a', signal });
    const client = createClient({ url: fresh.url });
    await client.connect();
    await client.del(stream.stream);
    client.destroy();
    await expect(group.read({ consumer: 'a', signal })).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
    });
  });
});

function messages(from: number, to: number): { key: string; value: { number: bigint } }[] {
  return Array.from({ length: to - from + 1 }, (_, index) => ({
    key: `m${from + index}`,
    value: { number: BigInt(from + index) },
  }));
}

function keysOf(given: readonly { readonly key: string }[]): string[] {
  return given.map(({ key }) => key);
}
