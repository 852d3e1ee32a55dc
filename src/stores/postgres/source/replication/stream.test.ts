import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import {
  changesOf,
  commitsOf,
  cursorOf,
  rereadsOf,
  SlotBench,
  told,
} from '../../../../../test/support/replication.ts';
import { hasPostgres } from '../../../../../test/support/servers.ts';
import type { SourceEntry } from '../../../../ports/source.ts';

const orders = `CREATE TABLE orders (id int PRIMARY KEY, name text, big text);
  ALTER TABLE orders REPLICA IDENTITY FULL;`;

describe.skipIf(!hasPostgres)('the stream of a slot', () => {
  test('yields transactions whole, with the rows before and after', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a'), (2, 'b"\n\u2028')`);
    await bench.sql(`UPDATE orders SET name = 'c' WHERE id = 1; DELETE FROM orders WHERE id = 2;`);
    const entries = await bench.collect(['orders']);
    expect(changesOf(entries).map(told)).toEqual([
      'create orders [1] {"id":1,"name":"a","big":null}',
      'create orders [2] {"id":2,"name":"b\\"\\n\u2028","big":null}',
      'update orders [1] {"id":1,"name":"c","big":null}',
      'delete orders [2]',
    ]);
    expect(changesOf(entries).map(({ before }) => before)).toEqual([
      null,
      null,
      '{"id":1,"name":"a","big":null}',
      '{"id":2,"name":"b\\"\\n\u2028","big":null}',
    ]);
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([2, 2]);
    expect(cursorOf(commitsOf(entries)[0]).token).toMatch(/^[0-9A-F]+\/[0-9A-F]+\/\d+\/\d+$/);
    expect(rereadsOf(entries)).toEqual([]);
    expectOrder(entries);
  });

  test('T2 gives each of many changes at one place an identity of its own', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders SELECT n, 'row ' || n FROM generate_series(1, 100) n`);
    const client = new Client({ connectionString: bench.url });
    await client.connect();
    // COPY, several statements and a single one, each a transaction.
    await client.query(`COPY orders (id, name) FROM PROGRAM 'seq -f "%g	copied" 101 150'`);
    await client.query(
      `BEGIN; INSERT INTO orders VALUES (200); UPDATE orders SET name = 'x' WHERE id = 200; COMMIT`,
    );
    await client.end();
    const entries = await bench.collect(['orders']);
    expect(changesOf(entries)).toHaveLength(152);
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([100, 50, 2]);
    expectOrder(entries);
  });

  test('T3 yields interleaved transactions in the order of their commits, also after a restart', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const [first, second] = [1, 2].map(() => new Client({ connectionString: bench.url }));
    if (first === undefined || second === undefined) return;
    await first.connect();
    await second.connect();
    await first.query(`BEGIN`);
    await first.query(`INSERT INTO orders VALUES (1, 'began first')`);
    await second.query(`BEGIN`);
    await second.query(`INSERT INTO orders VALUES (2, 'began second')`);
    await first.query(`INSERT INTO orders VALUES (3, 'began first')`);
    await second.query(`COMMIT`);
    const before = await bench.collect(['orders']);
    expect(changesOf(before).map(({ key }) => key)).toEqual(['[2]']);
    await first.query(`COMMIT`);
    await first.end();
    await second.end();
    const after = cursorOf(commitsOf(before)[0]);
    const entries = await bench.collect(['orders'], { after });
    expect(changesOf(entries).map(({ key }) => key)).toEqual(['[1]', '[3]']);
    expectOrder([...before.slice(0, 2), ...entries]);
  });

  test('T9 shows a changed primary key as delete and create, also as the last change of a transaction', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a'); UPDATE orders SET id = 2;`);
    await bench.sql(`UPDATE orders SET id = id`);
    const entries = await bench.collect(['orders']);
    expect(changesOf(entries).map(told)).toEqual([
      'create orders [1] {"id":1,"name":"a","big":null}',
      'delete orders [1]',
      'create orders [2] {"id":2,"name":"a","big":null}',
      'update orders [2] {"id":2,"name":"a","big":null}',
    ]);
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([3, 1]);
  });

  test('keeps the bounds of a batch, also within a transaction', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 35) n`);
    await bench.sql(`UPDATE orders SET id = id + 100`);
    for (const bounds of [
      { rowsMax: 10, bytesMax: 2 ** 20 },
      { rowsMax: 1_000, bytesMax: 700 },
    ]) {
      const sizes: { readonly rows: number; readonly bytes: number }[] = [];
      const entries = await bench.collect(['orders'], {
        ...bounds,
        onBatch: (batch) => {
          const changes = changesOf(batch);
          const bytes = changes
            .map(({ key, before, after }) => `${key}${before ?? ''}${after ?? ''}`)
            .join('').length;
          sizes.push({ rows: changes.length, bytes });
        },
      });
      expect(changesOf(entries)).toHaveLength(105);
      expect(Math.max(...sizes.map(({ rows }) => rows))).toBeLessThanOrEqual(bounds.rowsMax);
      expect(Math.max(...sizes.map(({ bytes }) => bytes))).toBeLessThanOrEqual(bounds.bytesMax);
      expectOrder(entries);
    }
  });

  test('ignores tables that no flow reads, but not their transactions', async () => {
    await using bench = await SlotBench.open(
      ['orders', 'other'],
      `${orders} CREATE TABLE other (id int PRIMARY KEY)`,
    );
    await bench.sql(`INSERT INTO other VALUES (1)`);
    await bench.sql(`INSERT INTO other VALUES (2); INSERT INTO orders VALUES (1)`);
    await bench.sql(`INSERT INTO other VALUES (3)`);
    const entries = await bench.collect(['orders']);
    expect(changesOf(entries).map(told)).toEqual([
      'create orders [1] {"id":1,"name":null,"big":null}',
    ]);
    expect(commitsOf(entries)).toHaveLength(1);
    expectOrder(entries);
  });

  test('names tables and columns as they are named, whatever their characters', async () => {
    const odd = `CREATE SCHEMA "s.x"; CREATE TABLE "s.x"."t""é" ("2" int, "1" text, "$i" int, "ä""b" int, PRIMARY KEY ("ä""b", "1"));
      ALTER TABLE "s.x"."t""é" REPLICA IDENTITY FULL`;
    await using bench = await SlotBench.open(['"s.x"."t""é"'], odd);
    await bench.sql(`INSERT INTO "s.x"."t""é" VALUES (2, 'one', 3, 4)`);
    const [change] = changesOf(await bench.collect(['s.x.t"é']));
    expect(change).toMatchObject({
      table: 's.x.t"é',
      key: '[4,"one"]',
      after: '{"$o":{"1":"one","2":2,"$i":3,"ä\\"b":4}}',
    });
  });

  test('carries text that no encoding vouches for as bytes', async () => {
    await using bench = await SlotBench.open(['orders'], orders, { encoding: 'SQL_ASCII' });
    await bench.sql(`INSERT INTO orders VALUES (1, E'a\\xff', E'\\xc3\\xa9')`);
    const [change] = changesOf(await bench.collect(['orders']));
    expect(change?.after).toBe('{"id":1,"name":{"$b":"Yf8="},"big":"é"}');
  });

  test('carries a row of 40 MB', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'large', repeat('0123456789', 4000000))`);
    const [change] = changesOf(await bench.collect(['orders']));
    expect(change?.after?.length).toBe(40_000_000 + '{"id":1,"name":"large","big":""}'.length);
  });
});

/** Asserts what the log takes for granted: identities grow, ordinals count, a commit counts its changes. */
function expectOrder(entries: readonly SourceEntry[]): void {
  let offset = -1;
  let ordinal = 0;
  let changes = 0;
  for (const entry of entries) {
    if (entry.kind === 'commit') {
      expect(entry.offset).toBeGreaterThan(offset);
      expect(entry.changes).toBe(changes);
      offset = entry.offset;
      changes = 0;
      continue;
    }
    ordinal = changes === 0 ? 0 : ordinal + 1;
    expect(entry.offset).toBeGreaterThan(changes === 0 ? offset : offset - 1);
    expect(entry.ordinal).toBe(ordinal);
    offset = entry.offset;
    changes++;
  }
}
