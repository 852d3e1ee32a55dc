import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { partsAt, type OpenedParts } from '../../../../test/conformance/redis-parts.ts';
import { freshRedis, hasRedis, type FreshRedis } from '../../../../test/support/servers.ts';
import { systemClock } from '../../../runtime/clock.ts';
import type { RedisLink } from '../link.ts';
import { openKeyValue } from './key-value.ts';

type Client = ReturnType<typeof createClient>;

describe.skipIf(!hasRedis)('key-value entries in Redis', () => {
  let fresh: FreshRedis;
  let opened: OpenedParts;
  let client: Client;
  beforeAll(async () => {
    fresh = await freshRedis();
    opened = await partsAt({ kind: 'server', url: fresh.url }, fresh.prefix);
    client = createClient({ url: fresh.url });
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await opened[Symbol.asyncDispose]();
    await fresh[Symbol.asyncDispose]();
  });

  test('a version is never given out again, though the counter was lost or the clock is behind it', async () => {
    const keyValue = openKeyValue(opened.parts);
    const counter = `${fresh.prefix}_kv-version`;
    const first = await keyValue.set('a', 1);
    await client.del([counter, `${fresh.prefix}_kv:a`]);
    const second = await keyValue.set('a', 2);
    expect(second).toBeGreaterThan(first);
    // As after the clock was set back by a day.
    await client.set(counter, String(second + 86_400_000_000));
    expect(await keyValue.set('a', 3)).toBe(second + 86_400_000_001);
    await keyValue.delete('a');
    expect(await keyValue.set('a', 4)).toBe(second + 86_400_000_002);
    // Lost again: the entry itself still knows.
    await client.del(counter);
    expect(await keyValue.set('a', 5)).toBe(second + 86_400_000_003);
  });

  test('what is asked for in one turn is one command, and each caller gets its own', async () => {
    const sent: string[] = [];
    const { link } = opened.parts;
    const counting: RedisLink = {
      isCluster: false,
      send(key, args, options) {
        sent.push(String(args[0]));
        return link.send(key, args, options);
      },
      sendEach: (args) => link.sendEach(args),
      close: () => link.close(),
      [Symbol.asyncDispose]: () => link.close(),
    };
    const keyValue = openKeyValue({ ...opened.parts, link: counting });
    await Promise.all(['a', 'b', 'c'].map((key) => keyValue.set(key, key)));
    sent.length = 0;
    const entries = await Promise.all(['a', 'b', 'a', 'none', 'c'].map((key) => keyValue.get(key)));
    expect(entries.map((entry) => entry?.value)).toEqual(['a', 'b', 'a', undefined, 'c']);
    expect(sent).toEqual(['MGET']);
  });

  test('an entry that somebody else wrote is named, not guessed at; setting the key replaces it', async () => {
    const keyValue = openKeyValue(opened.parts);
    await client.set(`${fresh.prefix}_kv:foreign`, '{"no":"version"}');
    await expect(keyValue.get('foreign')).rejects.toMatchObject({ code: 'VALUE_UNSUPPORTED' });
    await expect(keyValue.set('foreign', 1, { ifVersion: 0 })).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
    });
    await keyValue.set('foreign', 1);
    expect((await keyValue.get('foreign'))?.value).toBe(1);
    await client.hSet(`${fresh.prefix}_kv:hash`, 'f', '1');
    await expect(keyValue.set('hash', 1)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('scripts that the server has forgotten are sent again', async () => {
    const keyValue = openKeyValue(opened.parts);
    await keyValue.set('a', 1);
    await client.scriptFlush();
    const versions = await Promise.all([keyValue.set('a', 2), keyValue.set('a', 3)]);
    expect(versions[1]).toBeGreaterThan(versions[0] ?? 0);
    expect((await keyValue.get('a'))?.value).toBe(3);
  });

  test('a connection that was lost is STORE_UNREACHABLE, and the next call has another', async () => {
    const keyValue = openKeyValue(opened.parts);
    const id = await opened.parts.link.send(undefined, ['CLIENT', 'ID']);
    await client.sendCommand(['CLIENT', 'KILL', 'ID', String(id)]);
    const outcomes = [];
    for (;;) {
      const outcome = await keyValue.set('a', 1).catch((error: unknown) => error);
      if (typeof outcome === 'number') break;
      outcomes.push(outcome);
      await systemClock.sleep(10);
    }
    for (const outcome of outcomes) expect(outcome).toMatchObject({ code: 'STORE_UNREACHABLE' });
  });

  test('lists in byte order though more match than one pass over the keys may hold', async () => {
    await using own = await freshRedis();
    await using parts = await partsAt({ kind: 'server', url: own.url }, own.prefix);
    const keyValue = openKeyValue(parts.parts);
    // Written by one script, for 100 001 entries are more than one pass.
    await parts.parts.link.send(undefined, [
      'EVAL',
      "for n = 1, ARGV[2] do redis.call('SET', ARGV[1] .. string.format('%07d', n), '1,;1') end",
      '0',
      `${own.prefix}_kv:`,
      '100001',
    ]);
    let [count, last] = [0, ''];
    for await (const key of keyValue.keys('')) {
      expect(key > last).toBe(true);
      count += 1;
      last = key;
    }
    expect({ count, last }).toEqual({ count: 100_001, last: '0100001' });
  });
});
