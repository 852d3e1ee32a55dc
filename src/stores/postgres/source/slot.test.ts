import { describe, expect, test } from 'vitest';
import { startPostgres } from '../../../../servers/index.ts';
import { hasPostgres } from '../../../../test/support/servers.ts';
import {
  collectThrough,
  cursorOf,
  keysOf,
  StoreBench,
} from '../../../../test/support/postgres-source.ts';
import { parseLsn } from './lsn.ts';
import { acknowledgedLsn } from './replication/stream.ts';

const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY, name text)';

async function prepared(): Promise<StoreBench> {
  const bench = await StoreBench.open(ITEMS);
  await bench.store.source.prepare(['items']);
  return bench;
}

async function confirmed({ store }: StoreBench): Promise<number> {
  const { rows } = await store.client.query<{ lsn: string }>(
    `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1`,
    [store.source.slot],
  );
  return parseLsn(String(rows[0]?.lsn));
}

describe.skipIf(!hasPostgres)('the slot', () => {
  test('T4: moves to the start of the last transaction that was acknowledged, and never beyond', async () => {
    await using bench = await prepared();
    const { source } = bench.store;
    await source.claim(1);
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    await bench.sql(`INSERT INTO items VALUES (2, 'b')`);
    const before = await confirmed(bench);
    const cursor = cursorOf(await bench.collect());
    expect(await confirmed(bench)).toBe(before);
    await source.acknowledge(cursor, 1);
    expect(await confirmed(bench)).toBe(acknowledgedLsn(cursor.token));
    // Read on, not acknowledged: nothing moves, and all of it comes again.
    await bench.sql(`INSERT INTO items VALUES (3, 'c')`);
    expect(keysOf(await bench.collect(cursor))).toEqual(['[3]']);
    expect(await confirmed(bench)).toBe(acknowledgedLsn(cursor.token));
    expect(keysOf(await bench.collect(cursor))).toEqual(['[3]']);
    expect((await source.retained()).bytes).toBeGreaterThan(0);
  });

  test('T4: a worker that was replaced is ended, and can neither acknowledge nor stream again', async () => {
    await using bench = await prepared();
    const { source: old } = bench.store;
    await old.claim(1);
    const first = cursorOf(await bench.collect());
    const never = new AbortController();
    const stream = old.stream({ after: first, rowsMax: 10, bytesMax: 1e6, signal: never.signal });
    const iterator = stream[Symbol.asyncIterator]();
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    await iterator.next();
    const next = await bench.another();
    await next.source.claim(2);
    const ended = (async () => {
      for (;;) if ((await iterator.next()).done === true) return;
    })();
    await expect(ended).rejects.toMatchObject({ retryable: true });
    await expect(old.acknowledge(first, 1)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(old.claim(1)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(bench.collect(first)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    expect(keysOf(await bench.collect(first, next))).toEqual(['[1]']);
  });

  test('T6: a slot that was dropped is HISTORY_LOST for the stream, and a new history when it is prepared', async () => {
    await using bench = await prepared();
    const { source } = bench.store;
    const history = await source.history();
    const cursor = cursorOf(await bench.collect());
    await bench.sql(
      `SELECT pg_drop_replication_slot('${source.slot}'); INSERT INTO items VALUES (1, 'lost')`,
    );
    await expect(bench.collect(cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await expect(source.acknowledge(cursor, 0)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await source.prepare(['items']);
    expect(await source.history()).not.toBe(history);
    await expect(bench.collect(cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await bench.sql(`INSERT INTO items VALUES (2, 'b')`);
    expect(keysOf(await bench.collect())).toEqual(['[2]']);
  });

  test('T6: a slot that somebody dropped and made again is HISTORY_LOST, before and after the first acknowledgement', async () => {
    await using bench = await prepared();
    const { source } = bench.store;
    const again = `SELECT pg_drop_replication_slot('${source.slot}'); INSERT INTO items VALUES (1, 'lost');
      DELETE FROM items; SELECT pg_create_logical_replication_slot('${source.slot}', 'pgoutput')`;
    const cursor = cursorOf(await bench.collect());
    // The server lets go of a slot when it sees that its reader went away.
    await expect
      .poll(() =>
        bench.sql('SELECT active FROM pg_replication_slots WHERE database = current_database()'),
      )
      .toEqual([{ active: false }]);
    for (const statement of again.split(';')) await bench.sql(statement);
    await expect(bench.collect()).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await expect(bench.collect(cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    // A resnapshot takes the slot up from where it is: it begins without a cursor, after something was acknowledged.
    await bench.sql(
      `UPDATE _tally.capture SET acknowledged = true; INSERT INTO items VALUES (2, 'b')`,
    );
    expect(keysOf(await bench.collect())).toEqual(['[2]']);
  });

  test('T6: a publication that was dropped is a new history', async () => {
    await using bench = await prepared();
    const { source } = bench.store;
    const history = await source.history();
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    await bench.sql(`DROP PUBLICATION ${source.publication}`);
    await bench.sql(`INSERT INTO items VALUES (2, 'lost')`);
    await expect(bench.collect()).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await source.prepare(['items']);
    expect(await source.history()).not.toBe(history);
    await bench.sql(`INSERT INTO items VALUES (3, 'c')`);
    expect(keysOf(await bench.collect())).toEqual(['[3]']);
  });

  test('T6, T25: a slot that the server has given up is HISTORY_LOST, then replaced by a new history', async () => {
    await using server = await startPostgres({
      settings: { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '64MB' },
    });
    await using bench = await StoreBench.open(ITEMS, { url: server.url });
    const { source } = bench.store;
    await source.prepare(['items']);
    const history = await source.history();
    const cursor = cursorOf(await bench.collect());
    for (let round = 0; round < 4; round += 1) {
      await bench.sql(`SELECT pg_logical_emit_message(false, 'fill', 'x'), pg_switch_wal()`);
    }
    await bench.sql('CHECKPOINT');
    await expect(bench.collect(cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await expect(source.acknowledge(cursor, 0)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    await source.prepare(['items']);
    expect(await source.history()).not.toBe(history);
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    expect(keysOf(await bench.collect())).toEqual(['[1]']);
  }, 60_000);

  test('says which setting of the server is in the way, with the statement that mends it', async () => {
    await using server = await startPostgres({ settings: { wal_level: 'replica' } });
    await using bench = await StoreBench.open(ITEMS, { url: server.url });
    const { source } = bench.store;
    await expect(source.prepare(['items'])).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
    await expect(source.prepare(['items'])).rejects.toThrow(
      /ALTER SYSTEM SET wal_level = 'logical'/,
    );
    await server.restart({ wal_level: 'logical', max_replication_slots: '1' });
    await bench.sql(`SELECT pg_create_physical_replication_slot('other')`);
    await expect(source.prepare(['items'])).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
    await expect(source.prepare(['items'])).rejects.toThrow(/max_replication_slots/);
    await bench.sql(`SELECT pg_drop_replication_slot('other')`);
    await source.prepare(['items']);
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    expect(keysOf(await collectThrough(bench.store, undefined, await source.head()))).toEqual([
      '[1]',
    ]);
  }, 60_000);

  test('heartbeats let the slot of an idle table follow', async () => {
    await using bench = await prepared();
    const { source } = bench.store;
    await source.claim(1);
    const before = cursorOf(await bench.collect());
    await source.heartbeat();
    const entries = await bench.collect(before);
    expect(keysOf(entries)).toEqual([]);
    await source.acknowledge(cursorOf(entries), 1);
    expect(await confirmed(bench)).toBeGreaterThan(acknowledgedLsn(before.token));
  });
});
