import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import {
  changesOf,
  commitsOf,
  cursorOf,
  rereadsOf,
  SlotBench,
} from '../../../../../test/support/replication.ts';
import { hasPostgres } from '../../../../../test/support/servers.ts';

const orders = `CREATE TABLE orders (id int PRIMARY KEY, name text);
  ALTER TABLE orders REPLICA IDENTITY FULL;
  DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET logical_decoding_work_mem = ''64kB''', current_database()); END $$;`;

const inserts = (from: number, to: number): string =>
  `INSERT INTO orders SELECT n, repeat('x', 200) FROM generate_series(${from}, ${to}) n;`;

async function folders(): Promise<readonly string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('tallystick-stream-'));
}

/** Runs statements one after the other, so that each is sent ahead before the next. */
async function runEach(url: string, statements: readonly string[]): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}

describe.skipIf(!hasPostgres)('a transaction that is sent while it is in progress', () => {
  test('is told at its commit, without what savepoints took back, in bounded batches', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const before = await folders();
    await bench.sql(`INSERT INTO orders VALUES (0, 'before')`);
    await runEach(bench.url, [
      'BEGIN',
      inserts(1, 2_000),
      'SAVEPOINT a',
      inserts(2_001, 4_000),
      'SAVEPOINT b',
      inserts(4_001, 6_000),
      'RELEASE b',
      'ROLLBACK TO a',
      'SAVEPOINT c',
      `ALTER TABLE orders ADD COLUMN note text DEFAULT 'n'`,
      inserts(7_001, 9_000),
      'ROLLBACK TO c',
      inserts(9_001, 9_999),
      `UPDATE orders SET name = 'last' WHERE id = 1`,
      'COMMIT',
    ]);
    await bench.sql(`INSERT INTO orders VALUES (10000, 'after')`);
    let batchMax = 0;
    let spilled = 0;
    const entries = await bench.collect(['orders'], {
      rowsMax: 500,
      onBatch: async (batch) => {
        batchMax = Math.max(batchMax, changesOf(batch).length);
        spilled = Math.max(spilled, (await folders()).length - before.length);
      },
    });
    const ids = changesOf(entries).map(({ key }) => Number(key.slice(1, -1)));
    const wanted = (from: number, to: number): number[] =>
      Array.from({ length: to - from + 1 }, (_, index) => from + index);
    expect(ids).toEqual([0, ...wanted(1, 2_000), ...wanted(9_001, 9_999), 1, 10_000]);
    expect(changesOf(entries).at(-2)?.after).toBe('{"id":1,"name":"last"}');
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([1, 3_000, 1]);
    expect(batchMax).toBeLessThanOrEqual(500);
    expect(spilled, 'it was put aside').toBeGreaterThan(0);
    expect(await folders()).toHaveLength(before.length);
    // The proof passes over it as over any other.
    const after = cursorOf(commitsOf(entries)[1]);
    const rest = await bench.collect(['orders'], { after });
    expect(changesOf(rest).map(({ key }) => key)).toEqual(['[10000]']);
  });

  test('leaves nothing if it is rolled back', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const before = await folders();
    await runEach(bench.url, ['BEGIN', inserts(1, 5_000), 'ROLLBACK']);
    await runEach(bench.url, ['BEGIN', inserts(1, 5_000), 'SAVEPOINT a', 'ROLLBACK']);
    await bench.sql(`INSERT INTO orders VALUES (1, 'only')`);
    const entries = await bench.collect(['orders']);
    expect(changesOf(entries).map(({ after }) => after)).toEqual(['{"id":1,"name":"only"}']);
    expect(await folders()).toHaveLength(before.length);
  });

  test('T3 is told in the order of commits, with others that are large or small beside it', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const clients = Array.from({ length: 3 }, () => new Client({ connectionString: bench.url }));
    for (const [index, client] of clients.entries()) {
      await client.connect();
      await client.query('BEGIN');
      await client.query(inserts(index * 10_000 + 1, index * 10_000 + 2_000));
    }
    await bench.sql(`INSERT INTO orders VALUES (50000, 'small')`);
    for (const [index, client] of clients.entries())
      await client.query(inserts(index * 10_000 + 2_001, index * 10_000 + 4_000));
    for (const client of clients.toReversed()) {
      await client.query('COMMIT');
      await client.end();
    }
    const entries = await bench.collect(['orders']);
    const firsts = [...new Set(changesOf(entries).map(({ offset }) => offset))].map(
      (offset) => changesOf(entries).find((change) => change.offset === offset)?.key,
    );
    expect(firsts).toEqual(['[50000]', '[20001]', '[10001]', '[1]']);
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([1, 4_000, 4_000, 4_000]);
  });

  test('T9 says that a table is to be read again, as any other', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await runEach(bench.url, ['BEGIN', inserts(1, 3_000), 'TRUNCATE orders', 'COMMIT']);
    const entries = await bench.collect(['orders']);
    expect(rereadsOf(entries)).toEqual(['orders: TRUNCATE']);
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([3_001]);
  });

  test('leaves no file behind if the reader goes away in the middle of it', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const before = await folders();
    await runEach(bench.url, ['BEGIN', inserts(1, 5_000), 'COMMIT']);
    await bench.collect(['orders'], { rowsMax: 100, stopAt: () => true });
    expect(await folders()).toHaveLength(before.length);
  });
});

describe.skipIf(!hasPostgres)('a table with a large row', () => {
  test('is to be read again if a change of it is too long for a record, and nothing else is', async () => {
    await using bench = await SlotBench.open(
      ['notes', 'others'],
      `CREATE TABLE notes (id int PRIMARY KEY, text text); ALTER TABLE notes REPLICA IDENTITY FULL;
       CREATE TABLE others (id int PRIMARY KEY); ALTER TABLE others REPLICA IDENTITY FULL;`,
    );
    await bench.sql(
      `BEGIN; INSERT INTO notes VALUES (1, repeat('x', 700)); INSERT INTO others VALUES (1); COMMIT`,
    );
    // Longer only with the row before.
    await bench.sql(`UPDATE notes SET id = 2`);
    await bench.sql(`INSERT INTO notes VALUES (3, repeat('x', 1000))`);
    await bench.sql(`DELETE FROM notes WHERE id = 3`);
    const entries = await bench.collect(['notes', 'others'], { parts: { changeBytesMax: 1_000 } });
    expect(changesOf(entries).map(({ table, key }) => `${table} ${key}`)).toEqual([
      'notes [1]',
      'others [1]',
    ]);
    expect(rereadsOf(entries)).toEqual(
      Array.from(
        { length: 3 },
        () => expect.stringMatching(/^notes: a change of \d+ bytes/) as string,
      ),
    );
  });
});
