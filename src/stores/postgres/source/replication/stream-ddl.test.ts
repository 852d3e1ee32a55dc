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

const orders = `CREATE TABLE orders (id int PRIMARY KEY, name text);
  ALTER TABLE orders REPLICA IDENTITY FULL;`;

describe.skipIf(!hasPostgres)('a table that is altered', () => {
  test('T15 is read as it was at each change, while nobody listened and within a transaction', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const before = await bench.parts(['orders']);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await bench.sql(`ALTER TABLE orders ADD COLUMN price numeric(10,2) DEFAULT 1.50`);
    await bench.sql(`UPDATE orders SET name = 'b'`);
    await bench.sql(`ALTER TABLE orders RENAME COLUMN name TO title; UPDATE orders SET title = 'c';
      ALTER TABLE orders DROP COLUMN title; UPDATE orders SET price = 2`);
    await bench.sql(`ALTER TABLE orders ALTER COLUMN price TYPE bigint USING 9007199254740993`);
    await bench.sql(`UPDATE orders SET id = id`);
    // Prepared before, or after: what the stream says of a change is the same.
    for (const { tables } of [before, await bench.parts(['orders'])]) {
      const entries = await bench.collect(['orders'], { parts: { tables } });
      expect(changesOf(entries).map(({ before: row, after }) => [row, after])).toEqual([
        [null, '{"id":1,"name":"a"}'],
        ['{"id":1,"name":"a","price":"1.50"}', '{"id":1,"name":"b","price":"1.50"}'],
        ['{"id":1,"title":"b","price":"1.50"}', '{"id":1,"title":"c","price":"1.50"}'],
        ['{"id":1,"price":"1.50"}', '{"id":1,"price":"2.00"}'],
        [
          '{"id":1,"price":{"$i":"9007199254740993"}}',
          '{"id":1,"price":{"$i":"9007199254740993"}}',
        ],
      ]);
      expect(rereadsOf(entries)).toEqual([]);
    }
  });

  test('T15 may be altered while the stream runs, with types that it did not know', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    let altered = false;
    const entries = await bench.collect(['orders'], {
      through: Number.MAX_SAFE_INTEGER,
      onBatch: async (batch) => {
        if (altered || changesOf(batch).length === 0) return;
        altered = true;
        await bench.sql(`CREATE DOMAIN cents AS bigint; CREATE TYPE mood AS ENUM ('ok', 'sad');
          ALTER TABLE orders ADD COLUMN sums cents[], ADD COLUMN mood mood, ADD COLUMN moods mood[];
          INSERT INTO orders VALUES (2, 'b', '{1,9007199254740993,NULL}', 'sad', '{ok,sad}')`);
      },
      stopAt: (batch) => batch.some((entry) => entry.kind === 'change' && entry.key === '[2]'),
    });
    expect(changesOf(entries).map(({ after }) => after)).toEqual([
      '{"id":1,"name":"a"}',
      '{"id":2,"name":"b","sums":[1,{"$i":"9007199254740993"},null],"mood":"sad","moods":["ok","sad"]}',
    ]);
  });

  test('T9 leaves out a generated column that it gets later', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const { tables } = await bench.parts(['orders']);
    await bench.sql(`ALTER TABLE orders ADD COLUMN twice int GENERATED ALWAYS AS (2 * id) STORED`);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    const entries = await bench.collect(['orders'], { parts: { tables } });
    expect(changesOf(entries).map(({ after }) => after)).toEqual(['{"id":1,"name":"a"}']);
  });

  test('T15 is read by the key that it has now, if a column of its key was renamed', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const { tables } = await bench.parts(['orders']);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await bench.sql(`ALTER TABLE orders RENAME COLUMN id TO number`);
    await bench.sql(`INSERT INTO orders VALUES (2, 'b')`);
    const entries = await bench.collect(['orders'], { parts: { tables } });
    expect(changesOf(entries).map(told)).toEqual([
      'create orders [1] {"id":1,"name":"a"}',
      'create orders [2] {"number":2,"name":"b"}',
    ]);
  });

  test('T15 is to be read again if its key was another one then', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    const end = await bench.mark();
    await bench.sql(`ALTER TABLE orders RENAME COLUMN id TO number`);
    await bench.sql(`INSERT INTO orders VALUES (2, 'b')`);
    const entries = await bench.collect(['orders']);
    expect(rereadsOf(entries)).toEqual(['orders: its key (number) was another one then']);
    expect(changesOf(entries).map(told)).toEqual(['create orders [2] {"number":2,"name":"b"}']);
    const after = cursorOf(commitsOf(entries)[0]);
    expect(after.offset).toBeLessThan(end);
    const rest = await bench.collect(['orders'], { after });
    expect(changesOf(rest).map(({ key }) => key)).toEqual(['[2]']);
  });

  test('T15 is to be read again if it was dropped and made again', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await bench.sql(
      `DROP TABLE orders; ${orders} ALTER PUBLICATION "tally pub""lication" ADD TABLE orders`,
    );
    await bench.sql(`INSERT INTO orders VALUES (2, 'b')`);
    const entries = await bench.collect(['orders']);
    expect(rereadsOf(entries)).toEqual(['orders: it was dropped and made again']);
    expect(changesOf(entries).map(({ key }) => key)).toEqual(['[2]']);
  });
});
