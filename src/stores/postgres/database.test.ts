import { execFile } from 'node:child_process';
import type { EventEmitter } from 'node:events';
import { chown, readFile, writeFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Client } from 'pg';
import { startPostgres } from '../../../servers/index.ts';
import { freshDatabase, hasPostgres } from '../../../test/support/servers.ts';
import {
  collectThrough,
  keysOf,
  openStore,
  runSql,
} from '../../../test/support/postgres-source.ts';
import type { PostgresOptions } from './store.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { containParser } from './client-config.ts';
import { openDatabase } from './database.ts';
import { loadDriver } from './driver.ts';
import { postgresError } from './errors.ts';
import { postgres } from './store.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };
const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY)';

describe('options', () => {
  test.each([
    [{ url: 'mysql://localhost/x' }, 'CONFIG_INVALID'],
    [{ url: '' }, 'CONFIG_INVALID'],
    [{ url: 'postgres://localhost/x', slot: 'Not A Name' }, 'CONFIG_INVALID'],
    [{ url: 'postgres://localhost/x', schema: 'a-b' }, 'CONFIG_INVALID'],
    [{ url: 'postgres://localhost/x', readers: 0 }, 'CONFIG_INVALID'],
    [{ url: 'postgres://localhost/x', pool: { max: -1 } }, 'CONFIG_INVALID'],
    [{ url: 'postgres://localhost/x', slto: 'a' }, 'CONFIG_UNKNOWN_OPTION'],
    [{ url: 'postgres://localhost/x', pool: { maxx: 1 } }, 'CONFIG_UNKNOWN_OPTION'],
    [{ url: 'postgres://localhost/x', replicaOf: 'a', slot: 'b' }, 'CONFIG_UNKNOWN_OPTION'],
  ])('are refused before anything is opened: %j', (options, code) => {
    expect(() => postgres(options as PostgresOptions)).toThrow(expect.objectContaining({ code }));
  });

  test('a certificate that the URL names and that is not there is CONFIG_INVALID', async () => {
    const opening = postgres({
      url: 'postgres://me:secret@localhost/x?sslrootcert=/nowhere/ca.pem',
    }).open(context);
    await expect(opening).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.not.stringContaining('secret') as string,
    });
  });

  test('a password of the URL is in no message', async () => {
    expect(() => postgres({ url: 'http://me:secret@localhost/x' })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') as string }),
    );
    const failing = postgres({ url: 'postgres://me:secret@127.0.0.1:1/x' }).open(context);
    await expect(failing).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.not.stringContaining('secret') as string,
    });
  });

  test('a driver that is not installed is DRIVER_MISSING', async () => {
    const failing = loadDriver(() => Promise.reject(new Error('Cannot find package')));
    await expect(failing).rejects.toMatchObject({ code: 'DRIVER_MISSING' });
  });
});

describe.skipIf(!hasPostgres)('the database', () => {
  test('makes a part of its schema once, however many ask at once', async () => {
    await using fresh = await freshDatabase();
    const databases = await Promise.all(
      Array.from({ length: 4 }, () => openDatabase(context, { url: fresh.url })),
    );
    const statements = `CREATE TABLE _tally.made (a int); INSERT INTO _tally.made VALUES (1)`;
    await Promise.all(databases.map((database) => database.ensure('made', 1, statements)));
    const [database] = databases;
    expect(await database?.query('SELECT count(*) AS n FROM _tally.made')).toEqual([{ n: 1 }]);
    await Promise.all(databases.map((one) => one.close()));
    await expect(database?.query('SELECT 1')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  });

  test('rolls back, and never calls a failed transaction committed', async () => {
    await using fresh = await freshDatabase();
    const database = await openDatabase(context, { url: fresh.url, pool: { max: 1 } });
    await database.run('CREATE TABLE a (n int PRIMARY KEY)');
    const swallowed = database.transaction(async (tx) => {
      await tx.run('INSERT INTO a VALUES (1)');
      await tx.run('INSERT INTO a VALUES (1)').catch(() => undefined);
    });
    await expect(swallowed).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    expect(await database.query('SELECT * FROM a')).toEqual([]);
    await database.close();
  });

  test('survives that the server ends its idle connections', async () => {
    await using fresh = await freshDatabase();
    const database = await openDatabase(context, { url: fresh.url });
    await database.query('SELECT 1');
    await runSql(
      fresh.url,
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    );
    await expect
      .poll(() => database.query('SELECT 1 AS one').catch(() => []))
      .toEqual([{ one: 1 }]);
    await database.close();
  });

  test('a database that does not exist is CONFIG_INVALID', async () => {
    await using fresh = await freshDatabase();
    const url = `${fresh.url}_not`;
    await expect(openDatabase(context, { url })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe.skipIf(!hasPostgres)('signing in', () => {
  test('takes up a rotated password in the pool, the readers and the stream', async () => {
    await using server = await startPostgres({ password: 'first' });
    let current = server.url;
    await using store = await openStore('', { url: () => Promise.resolve(current) });
    await store.client.query(ITEMS);
    await store.source.prepare(['items']);
    await store.client.query(`ALTER ROLE ${server.superuser} PASSWORD 'second'`);
    const rotated = new URL(server.url);
    rotated.password = 'second';
    await runSql(
      rotated.href,
      'SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL',
    );
    const insert = (): Promise<unknown> =>
      store.source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    // The first may meet a connection that is just found to be gone; then the old password is refused.
    await expect
      .poll(() => insert().catch((error: unknown) => String(error)))
      .toMatch(/user or the password/);
    await expect(insert()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
    current = rotated.href;
    await insert();
    expect(keysOf(await collectThrough(store, undefined, await store.source.head()))).toEqual([
      '[1]',
    ]);
    expect((await store.source.lookup('items', [[1]])).rows).toEqual([{ id: 1 }]);
  }, 60_000);

  test('says what to do when the server asks for encryption, and uses it when it is told to', async () => {
    await using server = await startPostgres({ version: '15' });
    await certify(server.dir);
    await server.restart({ ssl: 'on', ssl_cert_file: 'server.crt', ssl_key_file: 'server.key' });
    await writeFile(
      join(server.dir, 'pg_hba.conf'),
      'hostssl all,replication all 127.0.0.1/32 trust',
    );
    await runSql(server.url, 'SELECT pg_reload_conf()');
    await expect.poll(() => runSql(server.url, '').catch(String)).toMatch(/no encryption/);
    const plain = openStore(server.url);
    await expect(plain).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await expect(plain).rejects.toThrow(/ssl: true/);
    const unknown = openStore(server.url, { ssl: true });
    await expect(unknown).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await expect(unknown).rejects.toThrow(/ssl: \{ ca \}/);
    const ca = await readFile(join(server.dir, 'server.crt'), 'utf8');
    await using store = await openStore(server.url, { ssl: { ca } });
    await store.client.query(ITEMS);
    await store.source.prepare(['items']);
    const { offset } = await store.source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    expect(keysOf(await collectThrough(store, undefined, offset))).toEqual(['[1]']);
  }, 60_000);

  test('bytes that the driver cannot read end their connection, and not the process', async () => {
    await using database = await freshDatabase();
    const client = new Client({ connectionString: database.url });
    client.on('error', () => undefined);
    await client.connect();
    const { stream } = client.connection as unknown as { readonly stream: EventEmitter };
    stream.removeAllListeners('data');
    stream.on('data', () => {
      throw Object.assign(new Error('too long'), { code: 'ERR_STRING_TOO_LONG' });
    });
    containParser(client);
    const failure: unknown = await client.query('SELECT 1').catch((error: unknown) => error);
    expect(postgresError(failure, 'here')).toMatchObject({ code: 'ROW_TOO_LARGE' });
  });
});

/** Gives a server a certificate of its own. */
async function certify(dir: string): Promise<void> {
  const { uid, gid } = await stat(join(dir, 'PG_VERSION'));
  const [key, certificate] = [join(dir, 'server.key'), join(dir, 'server.crt')];
  const command =
    'req -new -x509 -days 2 -nodes -newkey rsa:2048 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1';
  await promisify(execFile)('openssl', [
    ...command.split(' '),
    '-keyout',
    key,
    '-out',
    certificate,
  ]);
  for (const file of [key, certificate]) await chown(file, uid, gid);
}
