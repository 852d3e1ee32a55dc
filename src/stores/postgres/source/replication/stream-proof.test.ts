import { describe, expect, test } from 'vitest';
import {
  changesOf,
  commitsOf,
  cursorOf,
  SlotBench,
} from '../../../../../test/support/replication.ts';
import { startPostgres } from '../../../../../servers/index.ts';
import { hasPostgres } from '../../../../../test/support/servers.ts';
import type { SourceCursor } from '../../../../ports/source.ts';
import { systemClock } from '../../../../runtime/clock.ts';
import { parseLsn } from '../lsn.ts';
import { readToken, tokenOf } from './proof.ts';
import { acknowledgedLsn, ReplicationStream } from './stream.ts';

const orders = `CREATE TABLE orders (id int PRIMARY KEY, name text);
  ALTER TABLE orders REPLICA IDENTITY FULL;`;

/** A slot with three transactions, all read. */
async function threeRead(bench: SlotBench): Promise<readonly SourceCursor[]> {
  for (const id of [1, 2, 3]) await bench.sql(`INSERT INTO orders VALUES (${id}, 'a')`);
  return commitsOf(await bench.collect(['orders'])).map(cursorOf);
}

const lost = { code: 'HISTORY_LOST' };

describe.skipIf(!hasPostgres)('the proof that a history is the same', () => {
  test('T1 goes on after each commit with exactly what follows, which was sent again from it on', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const cursors = await threeRead(bench);
    for (const [index, after] of cursors.entries()) {
      const acknowledged = acknowledgedLsn(after.token);
      const entries = await bench.collect(['orders'], {
        after,
        onBatch: (_, stream) => stream.acknowledge(acknowledged),
      });
      expect(changesOf(entries).map(({ key }) => key)).toEqual(['[2]', '[3]'].slice(index));
    }
  });

  test('T4 confirms what was acknowledged, and nothing that was only received', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const start = await bench.confirmedLsn();
    const [first, second] = await threeRead(bench);
    expect(await bench.confirmedLsn()).toBe(start);
    const stream = new ReplicationStream(
      await bench.parts(['orders'], { times: { statusEveryMs: 20, silentMaxMs: 1_000 } }),
    );
    const ending = new AbortController();
    const options = { after: first, rowsMax: 100, bytesMax: 2 ** 20, signal: ending.signal };
    let batches = 0;
    const reading = (async () => {
      for await (const _ of stream.entries(options)) batches++;
    })();
    await expect.poll(() => batches).toBeGreaterThan(0);
    const acknowledged = acknowledgedLsn(first?.token ?? '');
    stream.acknowledge(acknowledged);
    // Many status updates and keepalives, with more log written and nothing else acknowledged.
    const end = await bench.mark();
    await expect.poll(() => stream.walEnd).toBeGreaterThan(end);
    for (let round = 0; round < 20; round++) {
      await bench.sql(`SELECT pg_logical_emit_message(false, 'test', 'noise')`);
      await systemClock.sleep(20);
    }
    await expect.poll(() => bench.confirmedLsn()).toBe(acknowledged);
    // An older acknowledgement that comes late moves nothing back.
    stream.acknowledge(start);
    ending.abort();
    await reading;
    expect(await bench.confirmedLsn()).toBe(acknowledged);
    // What was received and not acknowledged comes again.
    const again = await bench.collect(['orders'], { after: first });
    expect(changesOf(again).map(({ key }) => key)).toEqual(['[2]', '[3]']);
    expect(acknowledgedLsn(second?.token ?? '')).toBeGreaterThan(acknowledged);
  });

  test('T6 refuses a cursor whose transaction is not the one that the slot sends', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const [, second] = await threeRead(bench);
    const { offset = 0, token = '' } = second ?? {};
    const right = readToken(token);
    for (const doctored of [
      { ...right, xid: right.xid + 1 },
      { ...right, commitMicros: right.commitMicros + 1 },
      { ...right, startLsn: right.startLsn - 8 },
      { ...right, startLsn: right.startLsn + 8 },
    ]) {
      const after = { offset, token: tokenOf(doctored) };
      await expect(bench.collect(['orders'], { after })).rejects.toMatchObject(lost);
    }
    const nonsense = { offset, token: 'not a token' };
    await expect(bench.collect(['orders'], { after: nonsense })).rejects.toMatchObject(lost);
  });

  test('T6 refuses a cursor that the server has sent past without meeting it, if nothing follows', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const [, , third] = await threeRead(bench);
    const right = readToken(third?.token ?? '');
    // As after a restore to the second transaction, with other log written up to here.
    const after = {
      offset: (third?.offset ?? 0) + 8,
      token: tokenOf({ ...right, startLsn: right.startLsn + 8 }),
    };
    await bench.sql(`CREATE TABLE noise AS SELECT generate_series(1, 1000) n`);
    await expect(
      bench.collect(['orders'], { after, through: Number.MAX_SAFE_INTEGER }),
    ).rejects.toMatchObject(lost);
  });

  test('T6 refuses a slot that is gone, that was made again, or that somebody else moved', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const [first, , third] = await threeRead(bench);
    const consistent = bench.consistentLsn;
    await bench.untilIdle();
    await bench.database.query(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, [
      bench.slot,
    ]);
    await expect(bench.collect(['orders'], { after: first })).rejects.toMatchObject(lost);
    await expect(bench.collect(['orders'])).rejects.toMatchObject(lost);
    await bench.dropSlot();
    await expect(bench.collect(['orders'], { after: third })).rejects.toMatchObject(lost);
    await bench.makeSlot();
    await bench.sql(`INSERT INTO orders VALUES (4, 'a')`);
    await expect(bench.collect(['orders'], { after: third })).rejects.toMatchObject(lost);
    await expect(
      bench.collect(['orders'], { parts: { consistentLsn: consistent } }),
    ).rejects.toMatchObject(lost);
  });

  test('T7 refuses a cursor that lies beyond the end of the log', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const [, , third] = await threeRead(bench);
    const right = readToken(third?.token ?? '');
    const startLsn = parseLsn('FFF/0');
    const after = { offset: startLsn + 100, token: tokenOf({ ...right, startLsn }) };
    await expect(bench.collect(['orders'], { after })).rejects.toMatchObject(lost);
  });

  test('T6 says so if the publication is gone', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`DROP PUBLICATION "tally pub""lication"`);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await expect(bench.collect(['orders'])).rejects.toMatchObject(lost);
  });

  test('T25 names why the server gave a slot up that held more log than it may', async () => {
    await using server = await startPostgres({
      settings: { max_slot_wal_keep_size: '1MB', max_wal_size: '64MB', min_wal_size: '32MB' },
    });
    await using bench = await SlotBench.open(['orders'], orders, { url: server.url });
    const [first] = await threeRead(bench);
    await bench.untilIdle();
    for (let round = 0; round < 4; round++) {
      await bench.sql(`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))`);
      await bench.sql(`SELECT pg_switch_wal()`);
    }
    await bench.sql(`CHECKPOINT`);
    await expect(bench.collect(['orders'], { after: first })).rejects.toMatchObject({
      ...lost,
      details: { invalid: 'wal_removed' },
      message: expect.stringContaining('max_slot_wal_keep_size') as string,
    });
  });

  test('waits for a slot that the stream before it is still letting go of', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const [first] = await threeRead(bench);
    for (let round = 0; round < 5; round++) {
      const entries = await bench.collect(['orders'], { after: first });
      expect(changesOf(entries)).toHaveLength(2);
    }
  });
});
