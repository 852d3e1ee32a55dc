import { randomBytes } from 'node:crypto';
import { createServer, connect as connectTo, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServerUnavailable, startPostgres, type PostgresServer } from '../../../servers/index.ts';
import { startStandby } from '../../../servers/standby.ts';
import { freshDatabase, hasPostgres, postgresUrl } from '../../../test/support/servers.ts';
import type { Finding, StoreUse } from '../../ports/diagnose.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { openDatabase } from './database.ts';
import { openDiagnose, type DiagnoseOptions } from './diagnose.ts';
import { outboxSql } from './outbox/table.ts';
import { checkTransactions, checkVersion } from './doctor/server.ts';
import { postgres } from './store.ts';

const suffix = randomBytes(4).toString('hex');
/** A role that may connect and nothing else, one that may replicate too, and one that owns tables. */
const [plain, replicator, owner] = ['plain', 'replicator', 'owner'].map(
  (name) => `doctor_${name}_${suffix}`,
) as [string, string, string];
const slot = `doctor_${suffix}`;
const orders: StoreUse = { tables: ['orders'], targets: [] };

async function findings(
  url: string,
  use: StoreUse,
  options: Partial<DiagnoseOptions> = {},
): Promise<readonly Finding[]> {
  const context = { name: 'orders', clock: systemClock, random: systemRandom };
  const database = await openDatabase(context, { url });
  try {
    return await openDiagnose(database, { slot, publication: slot, ...options })(use);
  } finally {
    await database.close();
  }
}

function of(found: readonly Finding[], check: string): readonly Finding[] {
  return found.filter((finding) => finding.check === check);
}

function as(url: string, user: string): string {
  const other = new URL(url);
  other.username = user;
  return other.href;
}

async function run(url: string, ...statements: readonly string[]): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

const forbidden = (remedy: RegExp): object => ({
  level: 'fail',
  remedy: expect.stringMatching(remedy),
});

describe.skipIf(!hasPostgres)('on a server with the usual settings', () => {
  beforeAll(() =>
    run(
      postgresUrl(),
      `CREATE ROLE ${plain} LOGIN`,
      `CREATE ROLE ${replicator} LOGIN REPLICATION`,
      `CREATE ROLE ${owner}`,
    ),
  );
  afterAll(() => run(postgresUrl(), `DROP ROLE ${plain}, ${replicator}, ${owner}`));

  test('a superuser and an ordinary table have nothing that fails', async () => {
    await using database = await freshDatabase();
    await run(database.url, 'CREATE TABLE orders (id int PRIMARY KEY)');
    const found = await findings(database.url, { tables: ['orders'], targets: ['copies'] });
    expect(found.filter(({ level }) => level === 'fail')).toEqual([]);
    expect(of(found, 'table orders')).toEqual([
      { level: 'ok', check: 'table orders', found: 'can be captured' },
    ]);
    expect(of(found, `slot ${slot}`)).toMatchObject([{ level: 'ok' }]);
    expect(of(found, 'targets copies')).toMatchObject([{ level: 'ok' }]);
    expect(of(found, 'max_slot_wal_keep_size')).toMatchObject([
      { level: 'warn', remedy: expect.stringContaining('ALTER SYSTEM SET max_slot_wal_keep_size') },
    ]);
  });

  test('nothing is changed by looking', async () => {
    await using database = await freshDatabase();
    await run(database.url, 'CREATE TABLE orders (id int PRIMARY KEY)');
    await findings(database.url, { tables: ['orders'], targets: ['copies'] });
    const client = new Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query(
      `SELECT (SELECT count(*)::int FROM pg_replication_slots WHERE slot_name = $1) AS slots,
        (SELECT count(*)::int FROM pg_publication) AS publications,
        (SELECT relreplident FROM pg_class WHERE relname = 'orders') AS identity,
        (SELECT count(*)::int FROM pg_namespace WHERE nspname = '_tally') AS schemas`,
      [slot],
    );
    await client.end();
    expect(rows).toEqual([{ slots: 0, publications: 0, identity: 'd', schemas: 0 }]);
  });

  test('each right that a role lacks has the statement that grants it', async () => {
    await using database = await freshDatabase();
    await run(
      database.url,
      'CREATE TABLE orders (id int PRIMARY KEY)',
      `ALTER TABLE orders OWNER TO ${owner}`,
    );
    const url = as(database.url, plain);
    const found = await findings(url, { tables: ['orders'], targets: ['copies'] });
    expect(of(found, 'replication right')).toMatchObject([
      forbidden(new RegExp(`^ALTER ROLE ${plain} REPLICATION; \\(as a superuser`)),
    ]);
    expect(of(found, 'replication connection')).toMatchObject([forbidden(/replication right/)]);
    expect(of(found, 'table orders')).toMatchObject([
      forbidden(
        new RegExp(`^ALTER TABLE public.orders REPLICA IDENTITY FULL; \\(as ${owner}, or a`),
      ),
      forbidden(new RegExp(`^GRANT SELECT ON public.orders TO ${plain}; \\(as ${owner}`)),
      forbidden(new RegExp(`^CREATE PUBLICATION ${slot} FOR TABLE public.orders WITH`)),
    ]);
    expect(of(found, 'schema _tally')).toMatchObject([
      forbidden(new RegExp(`^GRANT CREATE ON DATABASE ${database.name} TO ${plain};`)),
    ]);
    expect(of(found, 'targets copies')).toMatchObject([
      forbidden(new RegExp(`^GRANT USAGE, CREATE ON SCHEMA public TO ${plain};`)),
    ]);

    await run(
      database.url,
      `GRANT CREATE ON DATABASE ${database.name} TO ${replicator}`,
      `GRANT SELECT ON public.orders TO ${replicator}`,
      `ALTER TABLE public.orders REPLICA IDENTITY FULL`,
      `CREATE PUBLICATION ${slot} FOR TABLE public.orders WITH (publish_via_partition_root = true)`,
      `GRANT USAGE, CREATE ON SCHEMA public TO ${replicator}`,
    );
    const granted = await findings(as(database.url, replicator), {
      tables: ['orders'],
      targets: ['copies'],
    });
    expect(granted.filter(({ level }) => level === 'fail')).toEqual([]);
  });

  test('a table is refused as the capture itself would refuse it', async () => {
    await using database = await freshDatabase();
    await run(
      database.url,
      'CREATE TABLE orders (id int)',
      'CREATE UNLOGGED TABLE drafts (id int PRIMARY KEY)',
      'CREATE VIEW recent AS SELECT 1 AS id',
    );
    const tables = ['orders', 'drafts', 'recent', 'ordres'];
    const found = await findings(database.url, { tables, targets: [] });
    expect(of(found, 'table orders')).toMatchObject([forbidden(/ADD PRIMARY KEY/)]);
    expect(of(found, 'table drafts')).toMatchObject([forbidden(/ALTER TABLE drafts SET LOGGED/)]);
    expect(of(found, 'table recent')).toMatchObject([forbidden(/the tables that the view reads/)]);
    expect(of(found, 'table ordres')).toMatchObject([forbidden(/did you mean orders/)]);
  });

  test('the root and the leaf partitions of another owner are named one by one, and capture asks for no more', async () => {
    await using database = await freshDatabase();
    await run(
      database.url,
      'CREATE TABLE orders (id int PRIMARY KEY) PARTITION BY RANGE (id)',
      'CREATE TABLE "Old" PARTITION OF orders FOR VALUES FROM (0) TO (10)',
      'CREATE TABLE recent PARTITION OF orders FOR VALUES FROM (10) TO (20)',
      'ALTER TABLE recent REPLICA IDENTITY FULL',
      `GRANT SELECT ON orders TO ${replicator}`,
      `CREATE PUBLICATION ${slot} FOR TABLE orders WITH (publish_via_partition_root = true)`,
    );
    const found = await findings(as(database.url, replicator), orders);
    expect(of(found, 'table orders')).toEqual([
      {
        level: 'fail',
        check: 'table orders',
        found: '2 of it and its partitions do not log whole rows before a change',
        remedy:
          'ALTER TABLE public.orders REPLICA IDENTITY FULL; ALTER TABLE public."Old" REPLICA IDENTITY FULL; (as postgres, or a superuser)',
      },
    ]);
    const remedy = String(of(found, 'table orders')[0]?.remedy).split(' (as')[0];
    await run(
      database.url,
      String(remedy),
      `GRANT CREATE ON DATABASE ${database.name} TO ${replicator}`,
    );
    expect(of(await findings(as(database.url, replicator), orders), 'table orders')).toMatchObject([
      { level: 'ok' },
    ]);
    const context = { name: 'orders', clock: systemClock, random: systemRandom };
    const url = as(database.url, replicator);
    await using store = await postgres({ url, slot }).open(context);
    expect(await store.source.prepare(['orders'])).toMatchObject([{ name: 'orders' }]);
  });

  test('row security that hides rows from the user is named', async () => {
    await using database = await freshDatabase();
    await run(
      database.url,
      'CREATE TABLE orders (id int PRIMARY KEY)',
      'ALTER TABLE orders REPLICA IDENTITY FULL',
      'ALTER TABLE orders ENABLE ROW LEVEL SECURITY',
      `GRANT SELECT ON orders TO ${replicator}`,
      `CREATE PUBLICATION ${slot} FOR TABLE orders WITH (publish_via_partition_root = true)`,
    );
    const found = await findings(as(database.url, replicator), orders);
    expect(of(found, 'table orders')).toMatchObject([
      forbidden(new RegExp(`^ALTER ROLE ${replicator} BYPASSRLS; \\(as a superuser\\)`)),
    ]);
  });

  test('a publication that tells only a part is named', async () => {
    await using database = await freshDatabase();
    await run(
      database.url,
      'CREATE TABLE orders (id int PRIMARY KEY, total int)',
      'CREATE TABLE lines (id int PRIMARY KEY)',
      `GRANT SELECT ON orders, lines TO ${replicator}`,
      'ALTER TABLE orders REPLICA IDENTITY FULL',
      'ALTER TABLE lines REPLICA IDENTITY FULL',
      `CREATE PUBLICATION ${slot} FOR TABLE orders WHERE (id > 7) WITH (publish = 'insert')`,
    );
    const use = { tables: ['orders', 'lines'], targets: [] };
    const found = await findings(as(database.url, replicator), use);
    expect(of(found, `publication ${slot}`)).toMatchObject([
      forbidden(/SET \(publish = 'insert, update, delete, truncate'\); \(as postgres or/),
      forbidden(/SET \(publish_via_partition_root = true\); \(as postgres or/),
    ]);
    expect(of(found, 'table orders')).toMatchObject([forbidden(/DROP TABLE public.orders; ALTER/)]);
    expect(of(found, 'table lines')).toMatchObject([
      forbidden(new RegExp(`^ALTER PUBLICATION ${slot} ADD TABLE public.lines; \\(as postgres`)),
    ]);
  });

  test('a slot of another database, plugin or kind is not taken for ours', async () => {
    await using database = await freshDatabase();
    await using other = await freshDatabase();
    await run(database.url, 'CREATE TABLE orders (id int PRIMARY KEY)');
    const found = async (): Promise<readonly Finding[]> =>
      of(await findings(database.url, orders), `slot ${slot}`);
    const drop = `SELECT pg_drop_replication_slot('${slot}')`;
    await run(other.url, `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
    expect(await found()).toMatchObject([
      { ...forbidden(/pg_drop_replication_slot/), found: expect.stringContaining(other.name) },
    ]);
    await run(other.url, drop);
    await run(
      database.url,
      `SELECT pg_create_logical_replication_slot('${slot}', 'test_decoding')`,
    );
    expect(await found()).toMatchObject([forbidden(/option slot/)]);
    await run(database.url, drop, `SELECT pg_create_physical_replication_slot('${slot}')`);
    expect(await found()).toMatchObject([forbidden(/option slot/)]);
    await run(database.url, drop);
    await run(database.url, `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
    expect(await found()).toMatchObject([{ level: 'ok' }]);
    await run(database.url, drop);
  });

  test('text that nobody checks, and commits that a crash loses, are warned of', async () => {
    await using database = await freshDatabase({ encoding: 'SQL_ASCII' });
    await run(database.url, `ALTER DATABASE ${database.name} SET synchronous_commit = off`);
    const found = await findings(database.url, { tables: [], targets: [] });
    expect(of(found, 'server_encoding')).toMatchObject([{ level: 'warn' }]);
    expect(of(found, 'synchronous_commit')).toMatchObject([
      { level: 'warn', found: expect.stringContaining('lost'), remedy: expect.any(String) },
    ]);
  });

  test('an outbox that is read by its own sequence needs its columns and rights, and no replication', async () => {
    await using database = await freshDatabase();
    const use = { tables: ['outbox', 'orders'], targets: [] };
    const look = (user = plain): Promise<readonly Finding[]> =>
      findings(as(database.url, user), use, { outbox: 'outbox' });
    expect(of(await look(), 'outbox outbox')).toMatchObject([{ level: 'fail' }]);
    await run(database.url, outboxSql());
    expect(of(await look(), 'outbox outbox')).toMatchObject([
      forbidden(/ADD COLUMN IF NOT EXISTS/),
    ]);
    await run(database.url, outboxSql({ capture: 'outbox' }));
    expect(of(await look(), 'outbox outbox')).toMatchObject([
      forbidden(new RegExp(`^GRANT SELECT, UPDATE, DELETE ON public.outbox TO ${plain};`)),
    ]);
    await run(database.url, `GRANT SELECT, UPDATE ON outbox TO ${plain}`);
    const found = await look();
    expect(of(found, 'outbox outbox')).toMatchObject([{ level: 'warn' }]);
    expect(of(found, 'table orders')).toMatchObject([forbidden(/place what the flow needs/)]);
    expect(of(found, 'wal_level')).toEqual([]);
  });

  test('a pooler in between is noticed', async () => {
    await using database = await freshDatabase();
    await using pooler = await startPooler(Number(new URL(database.url).port));
    const url = new URL(database.url);
    url.port = String(pooler.port);
    expect(of(await findings(database.url, orders), 'connection')).toMatchObject([{ level: 'ok' }]);
    expect(of(await findings(url.href, orders), 'connection')).toMatchObject([
      forbidden(/URL of the server itself/),
    ]);
  });
});

describe.skipIf(!hasPostgres)('on a server with settings that do not fit', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres({
      settings: {
        wal_level: 'replica',
        max_slot_wal_keep_size: '64MB',
        wal_sender_timeout: '0',
        max_replication_slots: '1',
        max_wal_senders: '1',
        max_prepared_transactions: '2',
      },
    });
    await run(
      server.url,
      'CREATE TABLE orders (id int PRIMARY KEY)',
      `SELECT pg_create_physical_replication_slot('standby')`,
    );
  }, 60_000);
  afterAll(() => server.stop());

  test('each setting is named, with its consequence and its statement', async () => {
    const found = await findings(server.url, orders);
    expect(of(found, 'wal_level')).toMatchObject([
      forbidden(/^ALTER SYSTEM SET wal_level = 'logical'; then restart the server/),
    ]);
    expect(of(found, 'max_replication_slots')).toMatchObject([
      forbidden(/^ALTER SYSTEM SET max_replication_slots = '11'; then restart/),
    ]);
    expect(of(found, 'max_wal_senders')).toMatchObject([{ level: 'warn' }]);
    expect(of(found, 'max_slot_wal_keep_size')).toMatchObject([
      { level: 'warn', found: expect.stringContaining('64.0 MiB') },
    ]);
    expect(of(found, 'wal_sender_timeout')).toMatchObject([
      { level: 'warn', remedy: expect.stringContaining("= '60s'; SELECT pg_reload_conf()") },
    ]);
    expect(of(found, 'fsync')).toMatchObject([{ level: 'warn' }]);
  });

  test('a transaction that has been open for long is named with its process', async () => {
    const client = new Client({ connectionString: server.url });
    await client.connect();
    for (const statement of ['BEGIN', `PREPARE TRANSACTION 'transfer-7'`, 'BEGIN'])
      await client.query(statement);
    const context = { name: 'orders', clock: systemClock, random: systemRandom };
    const database = await openDatabase(context, { url: server.url });
    const found = await checkTransactions(database, 0);
    await client.query('ROLLBACK');
    await client.query(`ROLLBACK PREPARED 'transfer-7'`);
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await client.end();
    expect(found).toMatchObject([
      { level: 'warn', remedy: expect.stringContaining(`COMMIT PREPARED 'transfer-7'`) },
      { level: 'warn', remedy: expect.stringContaining(`pg_terminate_backend(${rows[0]?.pid})`) },
    ]);
    expect(await checkTransactions(database)).toMatchObject([{ level: 'ok' }]);
    await database.close();
  });

  test('a slot that lost its WAL is named, with what to do next', async () => {
    await server.restart({ wal_level: 'logical', max_replication_slots: '4' });
    await run(
      server.url,
      `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`,
      'CREATE TABLE filler (text text)',
      `INSERT INTO filler SELECT repeat(md5(n::text), 30) FROM generate_series(1, 150000) AS n`,
      'SELECT pg_switch_wal()',
      'CHECKPOINT',
    );
    expect(of(await findings(server.url, orders), `slot ${slot}`)).toMatchObject([
      {
        ...forbidden(/^SELECT pg_drop_replication_slot.*tally resnapshot/),
        found: expect.stringContaining('invalidated'),
      },
    ]);
  }, 60_000);

  test('a standby is no source; as a replica it must say which timeline it follows', async () => {
    await server.restart({ max_wal_senders: '5', max_slot_wal_keep_size: '-1' });
    await run(server.url, 'CREATE ROLE reader LOGIN');
    await using standby = await startStandby(server, {
      settings: { max_prepared_transactions: '2' },
    });
    expect(of(await findings(standby.url, orders), 'role of the server')).toMatchObject([
      forbidden(/URL to the primary/),
    ]);
    const none = { tables: [], targets: [] };
    const replica = (url: string): Promise<readonly Finding[]> =>
      findings(url, none, { replicaOf: 'orders' });
    expect(of(await replica(standby.url), 'replica of orders')).toMatchObject([{ level: 'ok' }]);
    expect(of(await replica(as(standby.url, 'reader')), 'replica of orders')).toMatchObject([
      forbidden(/^GRANT pg_read_all_stats TO reader;/),
    ]);
    expect(of(await replica(server.url), 'replica of orders')).toMatchObject([{ level: 'warn' }]);
    const writes = await findings(standby.url, { tables: [], targets: ['copies'] });
    expect(of(writes, 'targets')).toMatchObject([forbidden(/primary/)]);
  }, 60_000);
});

test('PostgreSQL 18: a slot that is given up while it is idle is warned of', async (context) => {
  const started = await startPostgres({
    version: '18',
    settings: { idle_replication_slot_timeout: '3600' },
  }).catch((error: unknown) => {
    if (error instanceof ServerUnavailable) return context.skip(error.message);
    throw error;
  });
  await using server = started;
  await run(server.url, 'CREATE TABLE orders (id int PRIMARY KEY)');
  expect(of(await findings(server.url, orders), 'idle_replication_slot_timeout')).toMatchObject([
    { level: 'warn', found: expect.stringContaining('1 h 0 min') },
  ]);
}, 60_000);

describe('versions', () => {
  test.each([
    [150_018, 'ok'],
    [180_004, 'ok'],
    [190_001, 'warn'],
  ] as const)('%i is %s', (version, level) => {
    expect(checkVersion(version)).toMatchObject({ level });
  });
});

/** Passes everything on, but announces a process id of its own to the client, as poolers do. */
async function startPooler(target: number): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((client) => {
    const upstream = connectTo(target, '127.0.0.1');
    client.pipe(upstream);
    upstream.on('data', (data) => {
      // BackendKeyData: 'K', its length 12, the process id, the secret.
      const at = data.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
      if (at >= 0) data.writeInt32BE(1, at + 5);
      client.write(data);
    });
    upstream.on('close', () => client.destroy());
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}
