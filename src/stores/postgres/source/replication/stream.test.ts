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
    expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([2, 2]);
    expect(cursorOf(commitsOf(entries)[0]).token).toMatch(/^0\/[0-9A-F]+\/\d+\/\d+$/);
    expect(rereadsOf(entries)).toEqual([]);
  });
});
