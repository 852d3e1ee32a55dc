import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRedis, type RedisServer } from '../../../../servers/index.ts';
import { partsAt, type OpenedParts } from '../../../../test/conformance/redis-parts.ts';
import { hasRedis } from '../../../../test/support/servers.ts';
import { openKeyValue } from '../key-value/key-value.ts';
import { trackInvalidations, type InvalidationEvent } from './index.ts';

type Client = ReturnType<typeof createClient>;

describe.skipIf(!hasRedis)('a tracker of invalidations', () => {
  let server: RedisServer;
  let opened: OpenedParts;
  let client: Client;
  beforeAll(async () => {
    server = await startRedis();
    opened = await partsAt({ kind: 'server', url: server.url }, 'cache:');
    client = createClient({ url: server.url });
    client.on('error', () => undefined);
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await opened[Symbol.asyncDispose]();
    await server.stop();
  });

  test('is told of keys with its prefixes, whoever changes them and however', async () => {
    const { events, onEvent, next } = listen();
    await using tracker = await trackInvalidations(opened.parts, {
      prefixes: ['cache:', 'other:'],
      onEvent,
    });
    expect(tracker.isTracking).toBe(true);
    expect(events).toEqual([{ kind: 'tracking' }]);
    await client.set('elsewhere', '1');
    for (const change of [
      () => client.set('cache:a', '1'),
      () => client.hSet('other:h', 'f', '1'),
      () => client.del('cache:a'),
      () => client.set('cache:é🪵', '1', { PX: 1 }),
    ])
      await change();
    // The last one twice: it was set, and it expired.
    expect(await next(6)).toEqual([
      { kind: 'tracking' },
      ...['cache:a', 'other:h', 'cache:a', 'cache:é🪵', 'cache:é🪵'].map((key) => ({
        kind: 'key',
        key,
      })),
    ]);
  });

  test('is told of entries of the key-value port', async () => {
    const { onEvent, next } = listen();
    await using tracker = await trackInvalidations(opened.parts, {
      prefixes: ['cache:_kv:'],
      onEvent,
    });
    await expect(tracker.read(['GET', 'a'])).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
    await openKeyValue(opened.parts).set('sessions/1', 'x');
    expect((await next(2)).at(-1)).toEqual({ kind: 'key', key: 'cache:_kv:sessions/1' });
  });

  test('without prefixes, is told once of each key that was read with it, and of no other', async () => {
    const { events, onEvent, next } = listen();
    await using tracker = await trackInvalidations(opened.parts, { onEvent });
    await client.mSet({ a: '1', b: '1' });
    expect(await tracker.read(['MGET', 'a', 'c'])).toEqual(['1', null]);
    await client.set('b', '2');
    await client.set('a', '2');
    await client.set('a', '3');
    await client.set('c', '1');
    expect(await next(3)).toEqual([
      { kind: 'tracking' },
      { kind: 'key', key: 'a' },
      { kind: 'key', key: 'c' },
    ]);
    await tracker.read(['GET', 'a']);
    expect(events).toHaveLength(3);
  });

  test('a killed connection is a gap, then it listens again: nothing in between is passed over in silence', async () => {
    const { events, onEvent, next } = listen();
    await using tracker = await trackInvalidations(opened.parts, {
      prefixes: ['cache:'],
      onEvent,
    });
    const killed = await client.sendCommand(['CLIENT', 'LIST', 'TYPE', 'normal']);
    const line = String(killed)
      .split('\n')
      .find((each) => /flags=[a-zA-Z]*t/.test(each));
    expect(line).toBeDefined();
    await client.sendCommand(['CLIENT', 'KILL', 'ID', /^id=(\d+)/.exec(line ?? '')?.[1] ?? '']);
    await client.set('cache:missed', '1');
    await next(3);
    expect(events).toEqual([
      { kind: 'tracking' },
      { kind: 'gap', reason: 'connection-lost' },
      { kind: 'tracking' },
    ]);
    expect(tracker.isTracking).toBe(true);
    await client.set('cache:heard', '1');
    expect((await next(4)).at(-1)).toEqual({ kind: 'key', key: 'cache:heard' });
  });

  test('an emptied database is a gap that is over at once', async () => {
    const { onEvent, next } = listen();
    await using tracker = await trackInvalidations(opened.parts, {
      prefixes: ['cache:'],
      onEvent,
    });
    await client.flushAll();
    expect(tracker.isTracking).toBe(true);
    expect(await next(3)).toEqual([
      { kind: 'tracking' },
      { kind: 'gap', reason: 'emptied' },
      { kind: 'tracking' },
    ]);
  });

  test('a server that is there but silent is a gap within some seconds, and one that died is another until it is back', async () => {
    const { events, onEvent, next } = listen();
    await using tracker = await trackInvalidations(opened.parts, { onEvent });
    process.kill(server.pid, 'SIGSTOP');
    try {
      expect((await next(2)).at(-1)).toEqual({ kind: 'gap', reason: 'connection-lost' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await next(3);
    await server.kill();
    await next(4);
    await expect(tracker.read(['GET', 'a'])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await server.restart();
    await next(5);
    expect(events.map(({ kind }) => kind)).toEqual([
      'tracking',
      'gap',
      'tracking',
      'gap',
      'tracking',
    ]);
  });

  test('after close nothing is told', async () => {
    const { events, onEvent } = listen();
    const tracker = await trackInvalidations(opened.parts, { prefixes: ['cache:'], onEvent });
    await tracker.close();
    await client.set('cache:a', '1');
    expect(await client.get('cache:a')).toBe('1');
    expect(events).toEqual([{ kind: 'tracking' }]);
  });

  test('refuses prefixes that overlap, and none', async () => {
    for (const prefixes of [[], ['a', 'ab'], ['a', 'a']])
      await expect(
        trackInvalidations(opened.parts, { prefixes, onEvent: () => undefined }),
      ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

function listen(): {
  readonly events: InvalidationEvent[];
  readonly onEvent: (event: InvalidationEvent) => void;
  /** All events, once there are so many. */
  readonly next: (count: number) => Promise<readonly InvalidationEvent[]>;
} {
  const events: InvalidationEvent[] = [];
  let wake = (): void => undefined;
  return {
    events,
    onEvent(event) {
      events.push(event);
      wake();
    },
    async next(count) {
      while (events.length < count)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return events;
    },
  };
}
