import { describe, expect, test } from 'vitest';
import { startPostgres, startStandby } from '../../../../servers/index.ts';
import { hasPostgres } from '../../../../test/support/servers.ts';
import {
  collectThrough,
  cursorOf,
  keysOf,
  openStore,
  runSql,
} from '../../../../test/support/postgres-source.ts';

const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY)';

describe.skipIf(!hasPostgres)('a standby that was promoted', () => {
  test('T7: goes on without a gap when it had all that was captured, and its copy of the slot', async () => {
    await using primary = await startPostgres({ version: '18' });
    await runSql(primary.url, ITEMS);
    await using store = await openStore(primary.url, { slot: 'tally_shop' });
    await store.source.prepare(['items']);
    await using standby = await startStandby(primary, {
      settings: { sync_replication_slots: 'on', hot_standby_feedback: 'on' },
    });
    const before = await store.source.history();
    await store.source.claim(1);
    const { offset } = await store.source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    let cursor = cursorOf(await collectThrough(store, undefined, offset));
    const synced = `SELECT count(*)::int AS n FROM pg_replication_slots WHERE slot_name = 'tally_shop' AND synced AND NOT temporary`;
    // A copy is kept only once the slot has moved on past where the standby began to keep the log.
    const moveOn = async (): Promise<unknown> => {
      await runSql(primary.url, 'SELECT pg_log_standby_snapshot()');
      await store.source.heartbeat();
      cursor = cursorOf(await collectThrough(store, cursor, await store.source.head()));
      await store.source.acknowledge(cursor, 1);
      return runSql(standby.url, synced);
    };
    await expect.poll(moveOn, { timeout: 60_000, interval: 200 }).toEqual([{ n: 1 }]);
    const replayed = `SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') > ${cursor.offset} AS ok`;
    await expect.poll(() => runSql(standby.url, replayed)).toEqual([{ ok: true }]);
    await store.close();
    await primary.kill();
    await standby.promote();

    await using next = await openStore(standby.url, { slot: 'tally_shop' });
    await next.source.prepare(['items']);
    const now = await next.source.history();
    expect(now).not.toBe(before);
    expect(now.split('/')[2]).toBe(before.split('/')[2]);
    const upTo = await next.source.continues?.(before, cursor);
    expect(upTo).toBeGreaterThanOrEqual(cursor.offset);
    await next.source.claim(2);
    const written = await next.source.write((tx) => tx.query('INSERT INTO items VALUES (2)'));
    expect(keysOf(await collectThrough(next, cursor, written.offset))).toEqual(['[2]']);
    // What was captured beyond the fork is not in it.
    const beyond = { offset: (upTo ?? 0) + 1, token: cursor.token };
    expect(await next.source.continues?.(before, beyond)).toBeUndefined();
    expect(await next.source.continues?.('1/1/other', cursor)).toBeUndefined();
    expect(await next.source.continues?.(now, cursor)).toBeUndefined();
  }, 120_000);

  test('T7: without the slot it is another history', async () => {
    await using primary = await startPostgres();
    await runSql(primary.url, ITEMS);
    await using store = await openStore(primary.url);
    await store.source.prepare(['items']);
    const before = await store.source.history();
    const { offset } = await store.source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    const cursor = cursorOf(await collectThrough(store, undefined, offset));
    await using standby = await startStandby(primary);
    await runSql(primary.url, `SELECT pg_drop_replication_slot('${store.source.slot}')`);
    await store.close();
    await standby.promote();
    await using next = await openStore(standby.url);
    await next.source.prepare(['items']);
    expect(await next.source.continues?.(before, cursor)).toBeUndefined();
    await expect(collectThrough(next, cursor, offset)).rejects.toMatchObject({
      code: 'HISTORY_LOST',
    });
  }, 120_000);
});
