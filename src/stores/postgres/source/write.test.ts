import { describe, expect, test } from 'vitest';
import { startProxy } from '../../../../servers/index.ts';
import { hasPostgres } from '../../../../test/support/servers.ts';
import {
  collectThrough,
  keysOf,
  openStore,
  StoreBench,
} from '../../../../test/support/postgres-source.ts';
import type { Clock } from '../../../ports/clock.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { postgres } from '../store.ts';
import { recordEnd } from './write.ts';

const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY, name text)';
/** A commit that takes its time: what is to happen during COMMIT can be made to happen. */
const SLOW_COMMIT = `
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`;
const COMMITTING = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%; COMMIT;%' AND wait_event = 'PgSleep'`;

/** Waits until a transaction is in its COMMIT; the server's process of it. */
async function committing(bench: StoreBench): Promise<number> {
  for (;;) {
    const [row] = await bench.sql(COMMITTING);
    if (row !== undefined) return Number(row['pid']);
  }
}

function through(url: string, port: number): string {
  const address = new URL(url);
  address.host = `127.0.0.1:${port}`;
  return address.href;
}

describe.skipIf(!hasPostgres)('writes', () => {
  test('give evidence that the stream reaches, also of a commit that is not flushed at once', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { source } = bench.store;
    await source.prepare(['items']);
    for (const [id, durability] of ['on', 'off', 'local'].entries()) {
      const { offset } = await source.write(async (tx) => {
        await tx.query(`SET LOCAL synchronous_commit = ${durability}`);
        await tx.query('INSERT INTO items VALUES ($1, $2)', [id, durability]);
      });
      const keys = keysOf(await collectThrough(bench.store, undefined, offset));
      expect(keys).toContain(`[${id}]`);
    }
  });

  test('leave the only connection of the pool healthy, whatever the work does', async () => {
    await using bench = await StoreBench.open(
      `${ITEMS}; CREATE TABLE lines (item int REFERENCES items DEFERRABLE INITIALLY DEFERRED)`,
      { pool: { max: 1 } },
    );
    const { source } = bench.store;
    const fromDisk = Object.assign(new Error('no such file'), { code: 'ENOENT' });
    await expect(source.write(() => Promise.reject(fromDisk))).rejects.toBe(fromDisk);
    await expect(source.write((tx) => tx.query('SELEC 1'))).rejects.toMatchObject({
      code: '42601',
    });
    // Checked at COMMIT, so that COMMIT is what fails.
    const orphan = source.write((tx) => tx.query('INSERT INTO lines VALUES (7)'));
    await expect(orphan).rejects.toMatchObject({ code: '23503' });
    const swallowed = source.write(async (tx) => {
      await tx.query('INSERT INTO items VALUES (1)');
      await tx.query('SELECT 1 / 0').catch(() => undefined);
    });
    await expect(swallowed).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    const ended = source.write((tx) => tx.query('COMMIT'));
    await expect(ended).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(
      (await source.write((tx) => tx.query('SELECT count(*)::int AS n FROM items'))).value.rows,
    ).toEqual([{ n: 0 }]);
    expect(bench.store.client.totalCount).toBe(1);
  });

  test('a connection that breaks before COMMIT keeps nothing, and the next write has a new one', async () => {
    await using bench = await StoreBench.open(ITEMS, { pool: { max: 1 } });
    const { source } = bench.store;
    const broken = source.write(async (tx) => {
      await tx.query('INSERT INTO items VALUES (1)');
      const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await bench.sql(`SELECT pg_terminate_backend(${Number(rows[0]?.pid)}, 5000)`);
      await tx.query('SELECT 1');
    });
    await expect(broken).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retryable: true });
    await source.write((tx) => tx.query('INSERT INTO items VALUES (2)'));
    expect(await bench.sql('SELECT id FROM items')).toEqual([{ id: 2 }]);
  });

  test('a connection lost during a COMMIT that took effect is a success, with its evidence', async () => {
    await using bench = await StoreBench.open(`${ITEMS}; ${SLOW_COMMIT}`);
    await using proxy = await startProxy(Number(new URL(bench.url).port));
    await using store = await openStore(through(bench.url, proxy.port));
    await store.source.prepare(['items']);
    const writing = store.source.write(async (tx) => {
      await tx.query(`INSERT INTO items VALUES (1, 'a')`);
      return 'placed';
    });
    await committing(bench);
    await proxy.cut();
    await proxy.heal();
    const { value, offset } = await writing;
    expect(value).toBe('placed');
    expect(keysOf(await collectThrough(store, undefined, offset))).toEqual(['[1]']);
  });

  test('a connection lost during a COMMIT that came to nothing is retryable', async () => {
    await using bench = await StoreBench.open(`${ITEMS}; ${SLOW_COMMIT}`);
    const writing = expect(
      bench.store.source.write((tx) => tx.query(`INSERT INTO items VALUES (1, 'a')`)),
    ).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      retryable: true,
      details: { kept: false },
    });
    const pid = await committing(bench);
    await bench.sql(`SELECT pg_terminate_backend(${pid}, 5000)`);
    await writing;
    expect(await bench.sql('SELECT id FROM items')).toEqual([]);
  });

  test('a COMMIT that nobody can be asked after is COMMIT_UNKNOWN', async () => {
    await using bench = await StoreBench.open(`${ITEMS}; ${SLOW_COMMIT}`);
    await using proxy = await startProxy(Number(new URL(bench.url).port));
    // A minute passes in a second.
    const hasty: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 60 };
    await using store = await postgres({ url: through(bench.url, proxy.port) }).open({
      name: 'owner',
      clock: hasty,
      random: systemRandom,
    });
    const writing = store.source.write((tx) => tx.query(`INSERT INTO items VALUES (1, 'a')`));
    await committing(bench);
    await proxy.cut();
    // Whoever repeats what is retryable would write twice.
    await expect(writing).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN', retryable: false });
    await expect.poll(() => bench.sql('SELECT id FROM items')).toEqual([{ id: 1 }]);
  });
});

describe.skipIf(!hasPostgres)('transaction ids of other clients', () => {
  test.each(['on', 'off'])(
    'resolve to evidence that the stream reaches, with synchronous_commit %s',
    async (durability) => {
      await using bench = await StoreBench.open(ITEMS);
      const { source } = bench.store;
      await source.prepare(['items']);
      // As an ORM would: its own connection, its own transaction.
      const client = await bench.store.client.connect();
      await client.query('BEGIN');
      await client.query(`SET LOCAL synchronous_commit = ${durability}`);
      const { rows } = await client.query<{ xid: string }>(
        `INSERT INTO items VALUES (1, 'a') RETURNING pg_current_xact_id()::text AS xid`,
      );
      await client.query('COMMIT');
      client.release();
      const offset = await source.resolve(String(rows[0]?.xid));
      expect(keysOf(await collectThrough(bench.store, undefined, offset))).toEqual(['[1]']);
    },
  );

  test('wait until the transaction has ended, and say so when it does not', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { source } = bench.store;
    await source.prepare(['items']);
    let xid = '';
    let resolving: Promise<number> | undefined;
    await source.write(async (tx) => {
      await tx.query(`INSERT INTO items VALUES (1, 'a')`);
      const { rows } = await tx.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
      xid = String(rows[0]?.xid);
      await expect(source.resolve(xid, { withinMs: 60 })).rejects.toMatchObject({
        code: 'BARRIER_TIMEOUT',
        details: { xid },
      });
      resolving = source.resolve(xid);
    });
    expect(keysOf(await collectThrough(bench.store, undefined, (await resolving) ?? 0))).toEqual([
      '[1]',
    ]);
  });

  test('refuse one that was rolled back, is of the future, or is none', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { source } = bench.store;
    let xid = '';
    const failing = source.write(async (tx) => {
      const { rows } = await tx.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
      xid = String(rows[0]?.xid);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    for (const bad of [
      xid,
      '9'.repeat(15),
      '9'.repeat(20),
      '',
      'x',
      '1; DROP TABLE items',
      -1,
      1.5,
    ])
      await expect(source.resolve(bad)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });
});

test('the place after a record that fills its page is the end of that record', () => {
  expect(recordEnd(8_192 * 5 + 24)).toBe(8_192 * 5);
  expect(recordEnd(8_192 * 5 + 32)).toBe(8_192 * 5 + 32);
  expect(recordEnd(8_192 * 5)).toBe(8_192 * 5);
});
