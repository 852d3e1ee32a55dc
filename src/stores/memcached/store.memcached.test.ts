import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startMemcached, startProxy } from '../../../servers/index.ts';
import { freshMemcached, hasMemcached } from '../../../test/support/servers.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { memcached, type MemcachedOptions, type MemcachedStore } from './index.ts';

const context = { name: 'cache', clock: systemClock, random: systemRandom };
const use = { tables: [], targets: [] };

async function opened(options: MemcachedOptions): Promise<MemcachedStore> {
  const store = await memcached(options).open(context);
  onTestFinished(() => store.close());
  return store;
}

/** Calls until it succeeds; every failure before that must be of this code. */
async function untilDone<Result>(code: string, run: () => Promise<Result>): Promise<Result> {
  const deadlineMs = systemClock.monotonicMs() + 10_000;
  for (;;) {
    try {
      return await run();
    } catch (error) {
      expect(error).toMatchObject({ code });
      if (systemClock.monotonicMs() > deadlineMs) throw error;
      await systemClock.sleep(10);
    }
  }
}

/** Something on the port of a Memcached that answers as it pleases. */
async function liar(answer: (line: string, socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      for (const line of data.toString('latin1').split('\r\n').filter(Boolean)) {
        if (line === 'stats')
          socket.write('STAT time 100\r\nSTAT uptime 10\r\nSTAT version 1.6.18\r\nEND\r\n');
        else if (line === 'stats settings') socket.write('STAT item_size_max 1048576\r\nEND\r\n');
        else answer(line, socket);
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `memcached://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('refuses an address that is none, without repeating it', () => {
  for (const url of [
    'redis://u:geheim@host',
    'memcached://',
    'memcached://u:geheim%@h',
    'geheim',
  ]) {
    const refused = (): unknown => memcached({ url });
    expect(refused).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(refused).not.toThrow(/geheim/);
  }
  expect(() => memcached({ url: 'memcached://h', prefix: 'with space' })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
  expect(() => memcached({ url: 'memcached://h', prefix: 'x'.repeat(24) })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
});

test('what does not answer at all is STORE_UNREACHABLE', async () => {
  await expect(memcached({ url: 'memcached://127.0.0.1:1' }).open(context)).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
  });
});

test('an answer to another command ends the connection as STORE_CORRUPT, and its value goes to nobody', async () => {
  const url = await liar((line, socket) => {
    const opaque = Number(/O(\d+)$/.exec(line)?.[1]);
    socket.write(`VA 2 O${opaque - 1} c1 t-1\r\n42\r\n`);
  });
  const store = await opened({ url });
  await expect(store.keyValue.get('a')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
});

test('answers to nobody end the connection', async () => {
  const url = await liar((line, socket) => {
    const opaque = /O\d+$/.exec(line)?.[0] ?? '';
    socket.write(`NF ${opaque}\r\nVA 1 t-1\r\n7\r\n`);
  });
  const store = await opened({ url });
  expect(await store.keyValue.delete('a')).toBe(false);
  await untilDone('STORE_UNREACHABLE', () => store.keyValue.delete('a'));
});

test('a proxy that does not say when its server began is refused', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write('END\r\n'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const url = `memcached://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(memcached({ url }).open(context)).rejects.toMatchObject({
    code: 'CAPABILITY_MISSING',
  });
});

test('a caller who gives more than the connection may hold is refused as STORE_BUSY, and the others are answered', async () => {
  const url = await liar((line, socket) => {
    // What was sent after it is never answered.
    const opaque = /O\d+$/.exec(line)?.[0] ?? '';
    if (line.startsWith('md')) setTimeout(() => socket.write(`NF ${opaque}\r\n`), 50);
  });
  const store = await opened({ url, timeoutMs: 60_000 });
  const early = store.client.send({ verb: 'md', key: 'early' });
  const value = 'x'.repeat(1_000_000);
  const outcomes = Array.from({ length: 80 }, () =>
    store.client.send({ verb: 'ms', key: 'a', value }).then(
      () => 'answered',
      (error: { readonly code: string }) => error.code,
    ),
  );
  expect(new Set(await Promise.all(outcomes.slice(70)))).toEqual(new Set(['STORE_BUSY']));
  expect((await early).status).toBe('NF');
  await store.close();
  expect(new Set(await Promise.all(outcomes.slice(0, 60)))).toEqual(new Set(['STORE_CLOSED']));
});

describe.skipIf(!hasMemcached)('Memcached', () => {
  test('keeps a value just at its limit', async () => {
    const { keyValue } = await opened(freshMemcached());
    const text = 'x'.repeat(keyValue.supports.valueBytesMax - 2);
    await keyValue.set('k'.repeat(160), text);
    expect((await keyValue.get('k'.repeat(160)))?.value).toBe(text);
  });

  test('a server with larger items says so in the manifest, and what it refuses is ROW_TOO_LARGE', async () => {
    await using server = await startMemcached({ settings: { I: '2m' } });
    const { client, keyValue } = await opened({ url: server.url });
    expect(keyValue.supports.valueBytesMax).toBe(2_047 * 1_024);
    const text = 'x'.repeat(keyValue.supports.valueBytesMax - 2);
    await keyValue.set('a', text);
    expect((await keyValue.get('a'))?.value).toBe(text);
    await expect(keyValue.set('a', `${text}!`)).rejects.toMatchObject({ code: 'ROW_TOO_LARGE' });
    await expect(
      client.send({ verb: 'ms', key: 'a', value: 'x'.repeat(3_000_000) }),
    ).rejects.toMatchObject({ code: 'ROW_TOO_LARGE' });
    expect(await keyValue.delete('none')).toBe(false);
  });

  test('restarted, it is empty, and no version from before is given out or accepted again', async () => {
    await using server = await startMemcached();
    const { keyValue } = await opened({ url: server.url });
    const before = await keyValue.set('a', 1);
    await systemClock.sleep(1_000);
    await server.kill();
    await expect(keyValue.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await server.restart();
    expect(await untilDone('STORE_UNREACHABLE', () => keyValue.get('a'))).toBeUndefined();
    const after = await keyValue.set('a', 2);
    expect(after).toBeGreaterThan(before);
    await expect(keyValue.set('a', 3, { ifVersion: before })).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
    });
  });

  test('a server that hangs is given up after the time that was given, and found again', async () => {
    await using server = await startMemcached();
    await using proxy = await startProxy(server.port);
    const { keyValue } = await opened({
      url: `memcached://127.0.0.1:${proxy.port}`,
      timeoutMs: 200,
    });
    await keyValue.set('a', 1);
    proxy.blackhole();
    const began = systemClock.monotonicMs();
    await expect(keyValue.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(systemClock.monotonicMs() - began).toBeGreaterThan(150);
    expect(systemClock.monotonicMs() - began).toBeLessThan(2_000);
    // From now on callers do not wait.
    const again = systemClock.monotonicMs();
    await expect(keyValue.get('a')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(systemClock.monotonicMs() - again).toBeLessThan(100);
    await proxy.heal();
    const entry = await untilDone('STORE_UNREACHABLE', () => keyValue.get('a'));
    expect(entry?.value).toBe(1);
  });

  test('asks for the password that it was started with', async () => {
    await using server = await startMemcached();
    const file = join(server.dir, 'users');
    await writeFile(file, 'ada:p@ss/word\n');
    await server.restart({ Y: file });
    const url = server.url.replace('//', '//ada:p%40ss%2Fword@');
    const { keyValue } = await opened({ url });
    await keyValue.set('a', 1);
    expect((await keyValue.get('a'))?.value).toBe(1);
    for (const wrong of [server.url, server.url.replace('//', '//ada:wrong@')])
      await expect(memcached({ url: wrong }).open(context)).rejects.toMatchObject({
        code: 'STORE_UNREACHABLE',
      });
  });

  test('a password goes nowhere on a server that asks for none', async () => {
    const { url } = freshMemcached();
    const store = await opened({ url: url.replace('//', '//ada:secret@') });
    expect((await store.client.send({ verb: 'mg', key: 'auth', flags: ['v'] })).status).toBe('EN');
  });

  test('a server without versions is refused', async () => {
    await using server = await startMemcached({ settings: { C: '' } });
    await expect(memcached({ url: server.url }).open(context)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  test('a server that lists no keys says CAPABILITY_MISSING, and serves all the rest', async () => {
    await using server = await startMemcached({ settings: { X: '' } });
    const store = await opened({ url: server.url });
    await store.keyValue.set('a', 1);
    await expect(store.keyValue.keys('')[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING',
    });
    expect((await store.keyValue.get('a'))?.value).toBe(1);
    const findings = await store.diagnose(use);
    expect(findings.find(({ check }) => check === 'listing of keys')?.level).toBe('warn');
  });

  test('a command of the application that is refused is CONFIG_INVALID, and costs nobody else an answer for good', async () => {
    const { client } = await opened(freshMemcached());
    await expect(
      client.send({ verb: 'mg', key: 'x'.repeat(300), flags: ['v'] }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const reply = await untilDone('STORE_UNREACHABLE', () =>
      client.send({ verb: 'mg', key: 'x', flags: ['v'] }),
    );
    expect(reply.status).toBe('EN');
  });

  test('tells its vitals, and that it is no target of flows', async () => {
    const store = await opened(freshMemcached());
    const { system, version, measures } = await store.vitals();
    expect(system).toBe('memcached');
    expect(version).toMatch(/^1\./);
    const named = new Map(measures.map(({ name, value }) => [name, value]));
    for (const name of ['evictions', 'expired_unfetched', 'curr_items', 'bytes', 'limit_maxbytes'])
      expect(named.get(name)).toEqual(expect.any(Number));
    expect((await store.diagnose(use)).map(({ level }) => level)).not.toContain('fail');
    expect(
      (await store.diagnose({ tables: [], targets: ['products'] })).map(({ level }) => level),
    ).toContain('fail');
  });

  test('under eviction an entry is gone or whole, and the doctor says that what is written is not read', async () => {
    await using server = await startMemcached({ settings: { m: '4' } });
    const store = await opened({ url: server.url });
    const text = 'x'.repeat(10_000);
    for (let at = 0; at < 2_000; at += 100)
      await Promise.all(
        Array.from({ length: 100 }, (_, index) =>
          store.keyValue.set(`k${at + index}`, `${at + index} ${text}`),
        ),
      );
    const entries = await store.keyValue.getMany(
      Array.from({ length: 2_000 }, (_, index) => `k${index}`),
    );
    const gone = entries.filter((entry) => entry === undefined).length;
    expect(gone).toBeGreaterThan(1_000);
    expect(gone).toBeLessThan(2_000);
    for (const [index, entry] of entries.entries())
      if (entry !== undefined) expect(entry.value).toBe(`${index} ${text}`);
    const findings = await store.diagnose(use);
    expect(findings.find(({ check }) => check === 'evictions')?.level).toBe('warn');
  });
});
