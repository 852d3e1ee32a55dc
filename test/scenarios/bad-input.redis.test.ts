import { createClient } from 'redis';
import { afterEach, describe, expect, test } from 'vitest';
import { flow, open, put, tally, type OpenApp } from 'tallystick';
import { hash, redis, type RedisServerOptions } from 'tallystick/redis';
import { sqlite } from 'tallystick/sqlite';
import { startRedis, type RedisServer } from '../../servers/index.ts';
import { fresh, sql, tempDir, waitFor } from '../support/scenario.ts';
import { hasRedis } from '../support/servers.ts';

const path = tempDir();
const started: RedisServer[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

const SECRET = 'hunter2';

async function start(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  const server = await startRedis({ settings });
  started.push(server);
  return server;
}

async function on(url: string, ...commands: readonly (readonly string[])[]): Promise<unknown> {
  const client = createClient({ url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    let last: unknown;
    for (const command of commands) last = await client.sendCommand([...command]);
    return last;
  } finally {
    client.destroy();
  }
}

function copying(url: string, options: Partial<RedisServerOptions> = {}) {
  sql(path('owner.db'), 'CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v)');
  return tally({
    name: 'copy',
    dir: path('tally'),
    stores: {
      owner: sqlite({ file: path('owner.db') }),
      cache: redis({ url, ...options }),
    },
    flows: {
      copy: flow({
        from: 'owner',
        tables: ['t'],
        to: 'cache',
        into: 'd',
        project: (row) => put('d', [row['id'] as number], row),
      }),
    },
  });
}

type Copying = OpenApp<ReturnType<typeof copying>['stores']>;

async function add(app: Copying, id: number) {
  const { evidence } = await app.write('owner', (db) =>
    db.prepare('INSERT INTO t VALUES (?, ?)').run(id, 'x'.repeat(50_000)),
  );
  return evidence;
}

/** What stops the flow, once it does. */
async function trouble(app: Copying, code: string): Promise<string> {
  const message = await waitFor(async () => {
    const worker = (await app.status()).flows[0]?.worker;
    return worker !== undefined && 'code' in worker && worker.code === code
      ? worker.message
      : undefined;
  }, code);
  expect(message).not.toContain(SECRET);
  return message;
}

const keys = (url: string): Promise<unknown> => on(url, ['KEYS', 'd:*']);

describe.skipIf(!hasRedis)('what Redis refuses is named, loses nothing, and goes on', () => {
  test.each([
    ['without the right to run scripts', ['~*', '-@scripting'], ['+@scripting'], /evalsha/i],
    ['without the right to the keys of rows', ['~_tally*'], ['~*'], /key/i],
  ])('a user %s', async (_, less, more, says) => {
    const { url } = await start();
    await on(url, ['ACL', 'SETUSER', 'u', 'on', `>${SECRET}`, '&*', '+@all', ...less]);
    await using app = await open(copying(url.replace('//', `//u:${SECRET}@`)));
    const evidence = await add(app, 1);
    expect(await trouble(app, 'STORE_UNREACHABLE')).toMatch(says);
    await on(url, ['ACL', 'SETUSER', 'u', ...more]);
    await fresh(app, 'cache', evidence);
  });

  test('a password that was changed is said to be that, and works again once it is put back', async () => {
    const { url } = await start();
    const user = ['ACL', 'SETUSER', 'u', 'on', '~*', '&*', '+@all'];
    await on(url, [...user, `>${SECRET}`]);
    await using app = await open(copying(url.replace('//', `//u:${SECRET}@`)));
    await fresh(app, 'cache', await add(app, 1));
    await on(url, [...user, 'resetpass', '>other'], ['CLIENT', 'KILL', 'USER', 'u']);
    const evidence = await add(app, 2);
    await waitFor(async () => {
      const said = await trouble(app, 'STORE_UNREACHABLE');
      return said.includes('refuses the user or the password') ? true : undefined;
    });
    await on(url, [...user, `>${SECRET}`]);
    await waitFor(async () =>
      String(await keys(url))
        .split(',')
        .includes('d:2')
        ? true
        : undefined,
    );
    await fresh(app, 'cache', evidence);
  });

  test.each([['EVAL'], ['EVALSHA']])(
    '%s, if it is disabled, stops the flow by name',
    async (command) => {
      const { url } = await start({ 'rename-command': `${command} ""` });
      await using app = await open(copying(url));
      await add(app, 1);
      expect(await trouble(app, 'CAPABILITY_MISSING')).toContain(`no command ${command}:`);
    },
  );

  test('a policy that becomes one which evicts fences stops the flow while it runs', async () => {
    const { url } = await start();
    await using app = await open(copying(url));
    await fresh(app, 'cache', await add(app, 1));
    await on(
      url,
      ['CONFIG', 'SET', 'maxmemory', '100mb'],
      ['CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru'],
    );
    expect(await trouble(app, 'CONFIG_INVALID')).toContain('allkeys-lru');
  });

  test('full memory and a replica hold the flow up, and nothing else', async () => {
    const { url } = await start();
    await using app = await open(copying(url));
    await fresh(app, 'cache', await add(app, 1));
    await on(url, ['CONFIG', 'SET', 'maxmemory', '1mb']);
    await add(app, 2);
    await trouble(app, 'STORE_FULL');
    await on(url, ['CONFIG', 'SET', 'maxmemory', '0'], ['REPLICAOF', '127.0.0.1', '1']);
    const evidence = await add(app, 3);
    await trouble(app, 'STORE_UNREACHABLE');
    await on(url, ['REPLICAOF', 'NO', 'ONE']);
    await fresh(app, 'cache', evidence);
    expect((await keys(url)) as string[]).toHaveLength(3);
  });

  test('a script of somebody else, ended by SCRIPT KILL, costs time only', async () => {
    const { url } = await start({ 'busy-reply-threshold': '50' });
    await using app = await open(copying(url));
    await fresh(app, 'cache', await add(app, 1));
    const ended = expect(on(url, ['EVAL', 'while true do end', '0'])).rejects.toThrow(/killed/i);
    const evidence = await add(app, 2);
    await trouble(app, 'STORE_BUSY');
    await on(url, ['SCRIPT', 'KILL']);
    await ended;
    await fresh(app, 'cache', evidence);
  });

  test('connections that are killed under load cost no row', async () => {
    const { url } = await start();
    await using app = await open(copying(url));
    await fresh(app, 'cache', await add(app, 1));
    let evidence = await add(app, 2);
    for (let id = 3; id <= 60; id += 1) {
      evidence = await add(app, id);
      if (id % 10 === 0) await on(url, ['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']);
    }
    await waitFor(async () => (((await keys(url)) as string[]).length === 60 ? true : undefined));
    await fresh(app, 'cache', evidence);
  });

  test.each([['json'], ['hash']] as const)(
    'what somebody keeps under the key of a %s row is replaced by the row',
    async (kind) => {
      const { url } = await start();
      await on(url, ['RPUSH', 'd:1', 'mine']);
      await using app = await open(copying(url, kind === 'hash' ? { targets: { d: hash() } } : {}));
      await fresh(app, 'cache', await add(app, 1));
      expect(await on(url, ['TYPE', 'd:1'])).toBe(kind === 'hash' ? 'hash' : 'string');
    },
  );

  test('something else under a key of the coordinator stops the flow by name', async () => {
    const { url } = await start();
    await using app = await open(copying(url));
    await fresh(app, 'cache', await add(app, 1));
    await on(url, ['SET', '_tally:flow:copy', 'mine']);
    await add(app, 2);
    expect(await trouble(app, 'CONFIG_INVALID')).toContain('something of another kind');
  });

  test('a database that is not there is CONFIG_INVALID, and the password in no message', async () => {
    const { url } = await start({ databases: '2' });
    await on(url, ['ACL', 'SETUSER', 'u', 'on', `>${SECRET}`, '~*', '&*', '+@all']);
    const withUser = url.replace('//', `//u:${SECRET}@`);
    const failures = await Promise.all(
      [`${withUser}/7`, url.replace('//', `//u:wrong-${SECRET}@`)].map((given) =>
        open(copying(given)).then(
          () => undefined,
          (error: unknown) => error as Error & { readonly code: string },
        ),
      ),
    );
    expect(failures.map((failure) => failure?.code)).toEqual([
      'CONFIG_INVALID',
      'STORE_UNREACHABLE',
    ]);
    for (const failure of failures)
      expect(`${failure?.stack} ${JSON.stringify(failure)}`).not.toContain(SECRET);
  });
});
