import { describe, expect, test } from 'vitest';
import {
  changesOf,
  commitsOf,
  rereadsOf,
  SlotBench,
  told,
} from '../../../../../test/support/replication.ts';
import { hasPostgres } from '../../../../../test/support/servers.ts';

const orders = `CREATE TABLE orders (id int PRIMARY KEY, name text, big text);
  ALTER TABLE orders ALTER COLUMN big SET STORAGE EXTERNAL;
  ALTER TABLE orders REPLICA IDENTITY FULL;`;
const full = 'what a row was before was not logged: its REPLICA IDENTITY is not FULL';

describe.skipIf(!hasPostgres)('what a row was before', () => {
  test('T9 fills a large value that did not change from the row before', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a', repeat('x', 10000))`);
    await bench.sql(`UPDATE orders SET name = 'b'`);
    await bench.sql(`UPDATE orders SET id = 2`);
    const entries = await bench.collect(['orders']);
    const large = 'x'.repeat(10_000);
    expect(changesOf(entries).map(({ before, after }) => [before, after])).toEqual([
      [null, `{"id":1,"name":"a","big":"${large}"}`],
      [`{"id":1,"name":"a","big":"${large}"}`, `{"id":1,"name":"b","big":"${large}"}`],
      [`{"id":1,"name":"b","big":"${large}"}`, null],
      [null, `{"id":2,"name":"b","big":"${large}"}`],
    ]);
  });

  test('T9 asks for the table to be read again, once a transaction, while it is not logged', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(
      `INSERT INTO orders SELECT n, 'a', repeat('x', 10000) FROM generate_series(1, 4) n`,
    );
    await bench.sql(`ALTER TABLE orders REPLICA IDENTITY DEFAULT`);
    await bench.sql(`UPDATE orders SET name = 'b'; DELETE FROM orders WHERE id = 4;
      UPDATE orders SET id = 5 WHERE id = 3; INSERT INTO orders VALUES (6)`);
    await bench.sql(`ALTER TABLE orders REPLICA IDENTITY FULL`);
    await bench.sql(`UPDATE orders SET name = 'c' WHERE id = 6`);
    const entries = await bench.collect(['orders']);
    expect(rereadsOf(entries)).toEqual([`orders: ${full}`]);
    expect(changesOf(entries).slice(4).map(told)).toEqual([
      'create orders [6] {"id":6,"name":null,"big":null}',
      'update orders [6] {"id":6,"name":"c","big":null}',
    ]);
    // The reread has an ordinal of its own, and is counted.
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([4, 2, 1]);
    expect(entries.find(({ kind }) => kind === 'reread')).toMatchObject({ ordinal: 0 });
  });

  test('T9 says of TRUNCATE that each of its tables is to be read again', async () => {
    await using bench = await SlotBench.open(
      ['orders', 'lines', 'other'],
      `${orders} CREATE TABLE lines (id int PRIMARY KEY REFERENCES orders); CREATE TABLE other (id int PRIMARY KEY);
       ALTER TABLE lines REPLICA IDENTITY FULL`,
    );
    await bench.sql(`INSERT INTO orders VALUES (1); TRUNCATE orders, lines, other; TRUNCATE lines;
      INSERT INTO orders VALUES (2)`);
    const entries = await bench.collect(['orders', 'lines']);
    expect(rereadsOf(entries).toSorted()).toEqual(['lines: TRUNCATE', 'orders: TRUNCATE']);
    expect(changesOf(entries).map(({ key }) => key)).toEqual(['[1]', '[2]']);
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([4]);
  });

  test('T9 leaves generated columns out', async () => {
    await using bench = await SlotBench.open(
      ['sums'],
      `CREATE TABLE sums (a int, sum int GENERATED ALWAYS AS (a + b) STORED, id int PRIMARY KEY, b int);
       ALTER TABLE sums REPLICA IDENTITY FULL`,
    );
    await bench.sql(`INSERT INTO sums (id, a, b) VALUES (1, 2, 3)`);
    await bench.sql(`UPDATE sums SET b = 4`);
    const entries = await bench.collect(['sums']);
    expect(changesOf(entries).map(({ before, after }) => [before, after])).toEqual([
      [null, '{"a":2,"id":1,"b":3}'],
      ['{"a":2,"id":1,"b":3}', '{"a":2,"id":1,"b":4}'],
    ]);
  });

  test('T9 tells changes of partitions as changes of their table, also when they move', async () => {
    await using bench = await SlotBench.open(['events'], events);
    await bench.sql(`INSERT INTO events VALUES (1, 'a', 'x'), (101, 'b', 'y')`);
    await bench.sql(`UPDATE events SET name = 'c' WHERE id = 1`);
    await bench.sql(`UPDATE events SET id = 102 WHERE id = 1`);
    const entries = await bench.collect(['events']);
    expect(changesOf(entries).map(told)).toEqual([
      'create events [1] {"id":1,"name":"a","note":"x"}',
      'create events [101] {"id":101,"name":"b","note":"y"}',
      'update events [1] {"id":1,"name":"c","note":"x"}',
      'delete events [1]',
      'create events [102] {"id":102,"name":"c","note":"x"}',
    ]);
    expect(rereadsOf(entries)).toEqual([]);
  });

  test('T9 believes no row before of a partition that logs only keys, though it is labelled as whole', async () => {
    await using bench = await SlotBench.open(['events'], events);
    await bench.sql(`CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (200) TO (300)`);
    await bench.sql(`INSERT INTO events VALUES (201, 'a'), (202, 'b'), (203, 'c')`);
    await bench.sql(`DELETE FROM events WHERE id = 201`);
    await bench.sql(`UPDATE events SET name = 'd' WHERE id = 202`);
    await bench.sql(`UPDATE events SET id = 204 WHERE id = 203`);
    await bench.sql(`ALTER TABLE events_3 REPLICA IDENTITY FULL`);
    await bench.sql(`DELETE FROM events WHERE id = 202`);
    const entries = await bench.collect(['events']);
    expect(rereadsOf(entries)).toEqual(Array.from({ length: 3 }, () => `events: ${full}`));
    expect(
      changesOf(entries)
        .slice(3)
        .map(({ operation, before }) => [operation, before]),
    ).toEqual([['delete', '{"id":202,"name":"d","note":null}']]);
  });
});

const events = `CREATE TABLE events (id int PRIMARY KEY, name text, note text) PARTITION BY RANGE (id);
  CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100);
  CREATE TABLE events_2 (note text, dropped int, name text, id int NOT NULL);
  ALTER TABLE events_2 DROP COLUMN dropped;
  ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM (100) TO (200);
  ALTER TABLE events REPLICA IDENTITY FULL; ALTER TABLE events_1 REPLICA IDENTITY FULL;
  ALTER TABLE events_2 REPLICA IDENTITY FULL;`;
