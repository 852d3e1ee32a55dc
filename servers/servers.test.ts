import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient } from 'redis';
import { describe, expect, test } from 'vitest';
import { hasMemcached, hasPostgres, hasRedis } from '../test/support/servers.ts';
import { ServerUnavailable, startMemcached, startPostgres, startRedis } from './index.ts';
import { versionOf } from './memcached.ts';
import { query } from './postgres.ts';
import { childrenOf, isAlive } from './process.ts';
import { findRedis } from './redis-binary.ts';
import { ping } from './redis.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

type RedisClient = ReturnType<typeof createClient>;

async function onRedis<Result>(
  url: string,
  work: (client: RedisClient) => Promise<Result>,
): Promise<Result> {
  const client: RedisClient = createClient({ url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    client.destroy();
  }
}

test('a server that cannot be had is an error of one line that says where it was looked for', async () => {
  const { PATH } = process.env;
  process.env['PATH'] = '/nowhere';
  try {
    const error: unknown = await findRedis('valkey').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ServerUnavailable);
    expect(String(error)).toMatch(/^ServerUnavailable: no valkey-server on PATH, and .*$/);
  } finally {
    process.env['PATH'] = PATH;
  }
});

describe.skipIf(!hasPostgres)('PostgreSQL', () => {
  test('gets a port and data of its own each time it is started, and leaves nothing when stopped', async () => {
    const [one, two] = await Promise.all([startPostgres(), startPostgres()]);
    expect(one.port).not.toBe(two.port);
    const [first, second] = await Promise.all(
      [one, two].map(({ url }) => query(url, 'SELECT system_identifier FROM pg_control_system()')),
    );
    expect(first).not.toEqual(second);
    const processes = [one.pid, ...(await childrenOf(one.pid))];
    await Promise.all([one.stop(), two.stop()]);
    expect(await Promise.all(processes.map(isAlive))).toEqual(processes.map(() => false));
    expect(await isThere(one.dir)).toBe(false);
  });

  test('is ready for logical replication, takes settings, and keeps them over a restart', async () => {
    await using server = await startPostgres({ settings: { work_mem: '5MB' } });
    await server.restart({ max_wal_senders: '7' });
    const [settings] = await query(
      server.url,
      `SELECT current_setting('wal_level') AS wal, current_setting('work_mem') AS work,
        current_setting('max_wal_senders') AS senders`,
    );
    expect(settings).toEqual({ wal: 'logical', work: '5MB', senders: '7' });
  });

  test('has no process left after a kill, and what was committed after the next start', async () => {
    await using server = await startPostgres();
    const { port, pid } = server;
    await query(server.url, 'CREATE TABLE kept (id int)');
    const processes = [pid, ...(await childrenOf(pid))];
    expect(processes.length).toBeGreaterThan(1);

    await server.kill();
    expect(await Promise.all(processes.map(isAlive))).toEqual(processes.map(() => false));

    await server.restart();
    expect(server.port).toBe(port);
    expect(server.pid).not.toBe(pid);
    expect(await query(server.url, 'SELECT count(*)::int AS rows FROM kept')).toEqual([
      { rows: 0 },
    ]);
  });

  test('starts from a copy of the data of a server that is down, as the same system', async () => {
    const identity = 'SELECT system_identifier FROM pg_control_system()';
    await using server = await startPostgres();
    const before = await query(server.url, identity);
    await server.kill();
    await using copy = await startPostgres({ from: server.dir });
    expect(await query(copy.url, identity)).toEqual(before);
  });

  test('keeps data in a directory that was given', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tally-servers-'));
    try {
      await chmod(dir, 0o711);
      const first = await startPostgres({ dir: join(dir, 'data') });
      await query(first.url, 'CREATE TABLE kept (id int)');
      await first.stop();
      await using second = await startPostgres({ dir: join(dir, 'data') });
      expect(await query(second.url, 'SELECT * FROM kept')).toEqual([]);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  test('asks for the password that it was given', async () => {
    await using server = await startPostgres({ superuser: 'owner', password: 'it is a "secret"' });
    expect(await query(server.url, 'SELECT current_user AS me')).toEqual([{ me: 'owner' }]);
    const wrong = new URL(server.url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  test('ends with the process that started it, even if that is killed', async () => {
    const program = `
      const { startPostgres } = await import('./servers/index.ts');
      const { pid, dir } = await startPostgres();
      console.log(JSON.stringify({ pid, dir }));
      process.kill(process.pid, 'SIGKILL');`;
    const args = ['--conditions=tallystick-source', '--input-type=module', '-e', program];
    const failed = (await run(process.execPath, args, { cwd: root }).catch(
      (error: unknown) => error,
    )) as { readonly signal: string; readonly stdout: string };
    expect(failed.signal).toBe('SIGKILL');
    const { pid, dir } = JSON.parse(failed.stdout) as { pid: number; dir: string };
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
    await expect.poll(() => isThere(dir), { timeout: 10_000 }).toBe(false);
  });

  test('refuses a port that is taken, in the words of the server', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const address = holder.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(startPostgres({ port })).rejects.toThrow('Address already in use');
    holder.close();
  });
});

describe.skipIf(!hasRedis)('Redis', () => {
  test('gets a port and data of its own each time it is started, and leaves nothing when stopped', async () => {
    const [one, two] = await Promise.all([startRedis(), startRedis()]);
    expect(one.port).not.toBe(two.port);
    await Promise.all([one.stop(), two.stop()]);
    expect(await isAlive(one.pid)).toBe(false);
    expect(await ping(one.port)).toBe('');
    expect(await isThere(one.dir)).toBe(false);
  });

  test('has on its next start what it answered for before it was killed', async () => {
    await using server = await startRedis();
    const { pid, port, url } = server;
    await onRedis(url, (client) => client.set('kept', 'yes'));
    await server.kill();
    expect(await isAlive(pid)).toBe(false);
    await server.restart();
    expect(server.port).toBe(port);
    expect(await onRedis(url, (client) => client.get('kept'))).toBe('yes');
  });

  test('follows another one by settings', async () => {
    await using primary = await startRedis();
    await using replica = await startRedis({
      settings: { replicaof: `127.0.0.1 ${primary.port}` },
    });
    await onRedis(primary.url, (client) => client.set('copied', 'yes'));
    await expect
      .poll(() => onRedis(replica.url, (client) => client.get('copied')), { timeout: 20_000 })
      .toBe('yes');
  });
});

describe.skipIf(!hasMemcached)('Memcached', () => {
  test('gets a port of its own each time it is started, and leaves nothing when stopped', async () => {
    const [one, two] = await Promise.all([startMemcached(), startMemcached()]);
    expect(one.port).not.toBe(two.port);
    await Promise.all([one.stop(), two.stop()]);
    expect(await isAlive(one.pid)).toBe(false);
    expect(await versionOf(one.port)).toBe('');
    expect(await isThere(one.dir)).toBe(false);
  });

  test('starts again on its port after a kill, with other settings', async () => {
    await using server = await startMemcached();
    const { pid, port } = server;
    await server.kill();
    expect(await isAlive(pid)).toBe(false);
    await server.restart({ I: '2m' });
    expect(server.port).toBe(port);
    expect(await versionOf(port)).toMatch(/^VERSION /);
  });
});
