import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { decodeRow, encodeKey, encodeValue } from '../../../core/codec.ts';
import type { Key, Row } from '../../../core/row.ts';
import type { SnapshotChunk, SnapshotOptions } from '../../../ports/source.ts';
import { freshDatabase, hasPostgres } from '../../../../test/support/servers.ts';
import { openStore, StoreBench } from '../../../../test/support/postgres-source.ts';
import type { PostgresStore } from '../store.ts';

const TABLES = ['a', 'b', 'c', 'd'];
const ROWS = 200;

async function read(
  store: PostgresStore,
  options: Partial<SnapshotOptions> & { readonly tables: readonly string[] },
  onChunk?: (chunk: SnapshotChunk, index: number) => unknown,
): Promise<readonly SnapshotChunk[]> {
  const chunks: SnapshotChunk[] = [];
  const { signal } = new AbortController();
  const bounds = { rowsMax: 1_000, bytesMax: 1e7, signal };
  for await (const chunk of store.source.snapshot({ ...bounds, ...options })) {
    chunks.push(chunk);
    await onChunk?.(chunk, chunks.length);
  }
  return chunks;
}

function rowsOf(chunks: readonly SnapshotChunk[], table: string): readonly Row[] {
  return chunks
    .filter((chunk) => chunk.table === table)
    .flatMap(({ rows }) => rows.map(({ row }) => row));
}

/** Accounts in several tables; transfers between them keep the sum. */
async function accounts(readers: number): Promise<StoreBench> {
  const sql = TABLES.map(
    (name) =>
      `CREATE TABLE ${name} (id int PRIMARY KEY, amount int NOT NULL); INSERT INTO ${name} SELECT n, 100 FROM generate_series(1, ${ROWS}) n`,
  );
  return StoreBench.open(sql.join(';'), { readers });
}

/** Moves money between two tables until it is told to stop. */
function transfer(store: PostgresStore): { stop(): Promise<number> } {
  const stopping = new AbortController();
  const work = async (): Promise<number> => {
    let count = 0;
    for (; !stopping.signal.aborted; count += 1) {
      const from = TABLES[count % 4];
      const to = TABLES[(count + 1 + (count % 3)) % 4];
      const id = 1 + ((count * 37) % ROWS);
      await store.source.write(async (tx) => {
        await tx.query(`UPDATE ${from} SET amount = amount - 7 WHERE id = $1`, [id]);
        await tx.query(`UPDATE ${to} SET amount = amount + 7 WHERE id = $1`, [ROWS + 1 - id]);
      });
    }
    return count;
  };
  const working = work();
  return {
    stop: () => {
      stopping.abort();
      return working;
    },
  };
}

function expectOneMoment(chunks: readonly SnapshotChunk[]): void {
  expect(new Set(chunks.map(({ at }) => at)).size).toBe(1);
  let sum = 0;
  for (const table of TABLES) {
    const rows = rowsOf(chunks, table);
    expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: ROWS }, (_, index) => index + 1));
    sum += rows.reduce((total, { amount }) => total + Number(amount), 0);
  }
  expect(sum).toBe(TABLES.length * ROWS * 100);
}

const READERS = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND xact_start IS NOT NULL AND (query LIKE '%tally_rows%' OR query LIKE '%relfilenode%' OR query LIKE '%SNAPSHOT%' OR query LIKE '%server_encoding%')`;

describe.skipIf(!hasPostgres)('snapshots', () => {
  test('T22: all readers see one moment while others write', async () => {
    await using bench = await accounts(3);
    const writing = transfer(bench.store);
    const pids = new Set<number>();
    const chunks = await read(bench.store, { tables: TABLES, rowsMax: 20 }, async () => {
      for (const { pid } of await bench.sql(READERS)) pids.add(Number(pid));
    });
    expect(await writing.stop()).toBeGreaterThan(0);
    expect(pids.size).toBe(3);
    expectOneMoment(chunks);
  });

  test('T22: a reader whose connection breaks is replaced by one that sees the same moment', async () => {
    await using bench = await accounts(2);
    const writing = transfer(bench.store);
    let ended = 0;
    const chunks = await read(bench.store, { tables: TABLES, rowsMax: 20 }, async (_, index) => {
      if (index % 5 !== 2) return;
      // The one that is left must not go before it was noticed that the other is gone.
      const [reader, other] = await bench.sql(`${READERS} ORDER BY random()`);
      if (reader === undefined || other === undefined) return;
      await bench.sql(`SELECT pg_terminate_backend(${Number(reader['pid'])}, 5000)`);
      ended += 1;
    });
    await writing.stop();
    expect(ended).toBeGreaterThan(3);
    expectOneMoment(chunks);
  });

  test('T22: ends with a retryable error, and no row of another moment, when every reader breaks', async () => {
    await using bench = await accounts(2);
    const seen: SnapshotChunk[] = [];
    const reading = read(bench.store, { tables: TABLES, rowsMax: 20 }, async (chunk) => {
      seen.push(chunk);
      await bench.sql(`SELECT pg_terminate_backend(pid, 5000) FROM (${READERS}) AS reader`);
    });
    await expect(reading).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
    // The next session takes what is left, at a later place.
    const [first] = seen;
    const resume = { [String(first?.table)]: first?.rows.at(-1)?.key ?? [] };
    const rest = await read(bench.store, { tables: [String(first?.table)], resume });
    expect(rest[0]?.at).toBeGreaterThan(first?.at ?? 0);
    expect(rowsOf(rest, String(first?.table))).toHaveLength(ROWS - (first?.rows.length ?? 0));
  });

  test.each(['ALTER TABLE b ALTER COLUMN amount TYPE bigint', 'TRUNCATE b'])(
    'refuses a table that was rewritten before it was read, rather than show it empty: %s',
    async (sql) => {
      await using bench = await accounts(1);
      const reading = read(bench.store, { tables: ['a', 'b'], rowsMax: 50 }, (_, index) =>
        index === 1 ? bench.sql(sql) : undefined,
      );
      await expect(reading).rejects.toMatchObject({ code: 'STORE_BUSY', details: { table: 'b' } });
      expect(rowsOf(await read(bench.store, { tables: ['b'] }), 'b')).toHaveLength(
        sql.startsWith('ALTER') ? ROWS : 0,
      );
    },
  );

  test('leaves nothing behind: no slot, no connection in a transaction', async () => {
    await using bench = await accounts(2);
    const ending = new AbortController();
    await read(bench.store, { tables: TABLES, rowsMax: 10, signal: ending.signal }, () =>
      ending.abort(),
    );
    await bench.store.source.lookup('a', [[1]]);
    const idle = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'`;
    await expect.poll(() => bench.sql(idle)).toEqual([{ n: 0 }]);
    const slots = `SELECT count(*)::int AS n FROM pg_replication_slots WHERE database = current_database()`;
    await expect.poll(() => bench.sql(slots)).toEqual([{ n: 0 }]);
  });

  test('can be given up while it waits for a transaction that does not end', async () => {
    await using bench = await accounts(1);
    const holder = await bench.store.client.connect();
    await holder.query('BEGIN; UPDATE a SET amount = 0 WHERE id = 1');
    const ending = new AbortController();
    const reading = read(bench.store, { tables: TABLES, signal: ending.signal });
    const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event_type = 'Lock'`;
    await expect.poll(() => bench.sql(waiting)).toEqual([{ n: 1 }]);
    ending.abort();
    expect(await reading).toEqual([]);
    const looking = expect(bench.store.source.lookup('a', [[1]])).rejects.toMatchObject({
      code: 'ABORTED',
    });
    await expect.poll(() => bench.sql(waiting)).toEqual([{ n: 1 }]);
    bench.store.source.close();
    await looking;
    await holder.query('ROLLBACK');
    holder.release();
  });

  test('reads partitions as one table in the order of its key, and goes on after any of them', async () => {
    await using bench = await StoreBench.open(
      `CREATE TABLE days (day int PRIMARY KEY, name text) PARTITION BY RANGE (day);
       CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (10);
       CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20);
       INSERT INTO days SELECT n, 'x' FROM generate_series(0, 19) n`,
    );
    const days = rowsOf(await read(bench.store, { tables: ['days'], rowsMax: 7 }), 'days').map(
      ({ day }) => day,
    );
    expect(days).toEqual(Array.from({ length: 20 }, (_, index) => index));
    const rest = await read(bench.store, { tables: ['days'], resume: { days: [8] } });
    expect(rowsOf(rest, 'days').map(({ day }) => day)).toEqual(days.slice(9));
  });

  test.each([
    ['numeric', `'-1.50', '0', '0.5', '12.50', '1e30', 'NaN'`],
    ['timestamptz', `'-infinity', '0044-03-15 BC', '2020-01-01 12:00:00.000001+02', 'infinity'`],
    ['text COLLATE "C"', `'', 'A', 'a', 'b''c', E'back\\\\slash', 'é', '🙂'`],
    ['char(3)', `'a', 'ab', 'abc'`],
    ['bytea', `'\\x', '\\x00', '\\x00ff', '\\xff'`],
    ['float8', `'-Infinity', '-1.5e-300', '0.1', 'Infinity', 'NaN'`],
    ['uuid', `'00000000-0000-0000-0000-000000000001', 'ffffffff-0000-0000-0000-000000000001'`],
    ['boolean', `false, true`],
    ['mood', `'sad', 'ok', 'happy'`],
    ['bigint', `'-9223372036854775808', '1', '9007199254740993'`],
    ['positive', `1, 2, 3`],
    ['interval', `'1 day', '1 mon', '1 year 00:00:01'`],
    ['bit(4)', `'0001', '1000'`],
  ])('goes on after every key, and looks it up, whatever its type: %s', async (type, values) => {
    await using bench = await StoreBench.open(
      `CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN positive AS int CHECK (value > 0);
       CREATE TABLE things (id ${type} PRIMARY KEY, n int);
       INSERT INTO things SELECT v::${type}, row_number() over () FROM unnest(ARRAY[${values}]) WITH ORDINALITY AS t(v, n)`,
    );
    const whole = (await read(bench.store, { tables: ['things'] })).flatMap(({ rows }) => rows);
    expect(whole.length).toBe(values.split(',').length);
    for (const [index, { key }] of whole.entries()) {
      const rest = await read(bench.store, { tables: ['things'], resume: { things: key } });
      expect(rest.flatMap(({ rows }) => rows.map((row) => encodeKey(row.key)))).toEqual(
        whole.slice(index + 1).map((row) => encodeKey(row.key)),
      );
    }
    const found = await bench.store.source.lookup(
      'things',
      whole.map(({ key }) => key),
    );
    expect(found.rows.map((row) => encodeValue(row))).toEqual(
      whole.map(({ row }) => encodeValue(row)),
    );
  });

  test('shows of each value what the stream shows, also of bytes that are no text', async () => {
    await using fresh = await freshDatabase({ encoding: 'SQL_ASCII' });
    for (const url of [undefined, fresh.url]) {
      await using bench = await StoreBench.open(
        `CREATE TABLE odd (id int PRIMARY KEY, t text, b bool, j jsonb, a int[], n numeric, ts timestamptz, f real, y bytea, i interval, __proto__ text)`,
        url === undefined ? {} : { url },
      );
      await bench.store.source.prepare(['odd']);
      const text = url === undefined ? `'plain'` : `convert_from('\\xff41', 'SQL_ASCII')`;
      await bench.sql(`INSERT INTO odd VALUES (1, ${text}, true, '{"big": 9007199254740993}', '{1,NULL,3}', '12.50', '2020-01-01 00:00+05', 0.1, '\\x00ff', '1 day 2 hours', 'p'),
        (2, NULL, NULL, NULL, NULL, 'NaN', 'infinity', 'NaN', NULL, NULL, NULL)`);
      const streamed = (await bench.collect()).flatMap((entry) =>
        entry.kind === 'change' ? [entry.after] : [],
      );
      const read1 = (await read(bench.store, { tables: ['odd'] })).flatMap(({ rows }) =>
        rows.map(({ row }) => encodeValue(row)),
      );
      expect(read1).toEqual(streamed);
      const looked = await bench.store.source.lookup('odd', [[1], [2], [3]]);
      expect(looked.rows.map((row) => (row === null ? null : encodeValue(row)))).toEqual([
        ...streamed,
        null,
      ]);
      if (url !== undefined)
        expect(decodeRow(streamed[0] ?? '')['t']).toEqual(new Uint8Array([0xff, 0x41]));
    }
  });

  test('holds few rows at a time, however large they are', async () => {
    await using bench = await StoreBench.open(
      `CREATE TABLE large (id int PRIMARY KEY, body text); INSERT INTO large SELECT n, repeat('x', 300000) FROM generate_series(1, 20) n`,
    );
    const chunks = await read(bench.store, { tables: ['large'], bytesMax: 1e6 });
    expect(rowsOf(chunks, 'large')).toHaveLength(20);
    for (const { rows } of chunks) expect(rows.length).toBeLessThanOrEqual(3);
  });

  test('refuses to read through a policy that hides rows, and a table that it may not read', async () => {
    await using bench = await StoreBench.open(
      'CREATE TABLE secrets (id int PRIMARY KEY, who text); CREATE TABLE mine (id int PRIMARY KEY)',
    );
    const role = `tally_${randomBytes(6).toString('hex')}`;
    const url = new URL(bench.url);
    url.username = role;
    await bench.sql(`CREATE ROLE ${role} LOGIN REPLICATION; GRANT SELECT ON mine TO ${role};
      ALTER TABLE mine ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON mine USING (id > 10)`);
    try {
      await using store = await openStore(url.href);
      const refused = read(store, { tables: ['secrets'] });
      await expect(refused).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
      await expect(refused).rejects.toThrow(`GRANT SELECT ON "public"."secrets" TO "${role}"`);
      const hidden = read(store, { tables: ['mine'] });
      await expect(hidden).rejects.toThrow(`ALTER ROLE "${role}" BYPASSRLS`);
    } finally {
      await bench.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  test('refuses a key that does not fit the table', async () => {
    await using bench = await accounts(1);
    const { source } = bench.store;
    for (const key of [[], [1, 2], ['none'], ["'; DROP TABLE a; --"]] satisfies Key[])
      await expect(source.lookup('a', [key])).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });
});
