import { describe, expect, test } from 'vitest';
import { startPostgres } from '../../servers/index.ts';
import { ended } from '../support/ended.ts';
import { openStore } from '../support/postgres-source.ts';
import { ask as request, tempDir } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import {
  applied,
  ask,
  converged,
  eventually,
  ITEMS,
  laneIs,
  openCopy,
  put1,
  verdict,
  type CopyParts,
} from '../support/postgres-app.ts';

const path = tempDir();
const kept = ended();
const resnapshot = { of: 'lane', lane: 'orders', request: 'resnapshot' } as const;
const BOUNDED = { max_slot_wal_keep_size: '96MB', max_wal_size: '32MB', min_wal_size: '32MB' };

async function parts(settings: Readonly<Record<string, string>> = {}): Promise<CopyParts> {
  const owner = kept(await startPostgres({ settings }));
  await ask(owner.url, ITEMS);
  const target = kept(await freshDatabase());
  return { dir: path('tally'), from: owner.url, to: target.url };
}

/** Fills the rest of a segment of the log, 16 MiB, and ends it. */
async function churn(url: string): Promise<void> {
  await ask(url, `SELECT pg_logical_emit_message(false, 'noise', 'x'); SELECT pg_switch_wal()`);
}

describe.skipIf(!hasPostgres)('the slot of a flow', () => {
  test('T6 dropped under a running worker: it says so, and goes on only after a resnapshot', async () => {
    const all = await parts();
    const app = kept(await openCopy(all));
    const before = await put1(app, 1, 'before');
    await applied(app, before);
    // The worker connects again at once: ended and dropped in one go, until the drop comes first.
    await eventually(
      () =>
        ask(
          all.from,
          `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active;
           SELECT pg_drop_replication_slot('tally_shop')`,
        ),
      'the drop of the slot',
    );
    const gap = await put1(app, 2, 'in the gap');
    expect(await laneIs(app, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
    await request(app, resnapshot);
    await converged(app, all);
    for (const evidence of [before, gap])
      expect(['incomparable', 'fresh']).toContain(await verdict(app, evidence));
  }, 120_000);

  test('T6 made again by hand while no worker ran: what lay between is missed by nobody', async () => {
    const all = await parts();
    const first = kept(await openCopy(all));
    const before = await put1(first, 1, 'before');
    await applied(first, before);
    await first.close();
    await eventually(
      () => ask(all.from, `SELECT pg_drop_replication_slot('tally_shop')`),
      'the drop of the slot',
    );
    await ask(all.from, `UPDATE items SET name = 'in the gap'`);
    await ask(all.from, `SELECT pg_create_logical_replication_slot('tally_shop', 'pgoutput')`);
    const app = kept(await openCopy(all));
    expect(await laneIs(app, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
    await request(app, resnapshot);
    await converged(app, all);
    expect(await verdict(app, before)).toBe('incomparable');
  }, 120_000);

  test('T6 dropped again before the resnapshot: one resnapshot is enough', async () => {
    const all = await parts();
    const first = kept(await openCopy(all));
    await applied(first, await put1(first, 1, 'before'));
    await first.close();
    const drop = (): Promise<unknown> =>
      eventually(
        () => ask(all.from, `SELECT pg_drop_replication_slot('tally_shop')`),
        'the drop of the slot',
      );
    await drop();
    const app = kept(await openCopy(all));
    await laneIs(app, 'failed', 'HISTORY_LOST');
    await drop();
    await request(app, resnapshot);
    await converged(app, all);
  }, 120_000);

  test('T25 T6 held too long by a stopped worker: source and doctor say so before, then it is lost by name, and mended', async () => {
    const all = await parts(BOUNDED);
    const first = kept(await openCopy(all));
    await applied(first, await put1(first, 1, 'before'));
    await first.close();
    const store = kept(await openStore(all.from, { slot: 'tally_shop' }));
    expect((await store.source.retained()).risk).toBeUndefined();
    await ask(all.from, `UPDATE items SET name = 'while nobody looked'`);
    const risks: string[] = [];
    const warned: string[] = [];
    for (let segments = 0; segments < 10; segments += 1) {
      await churn(all.from);
      const { risk } = await store.source.retained();
      if (risk !== undefined && !risks.includes(risk)) risks.push(risk);
      const findings = await store.diagnose({ tables: ['items'], targets: [] });
      for (const { check, level } of findings)
        if (check === 'slot tally_shop' && level !== 'ok') warned.push(level);
    }
    expect(risks[0]).toMatch(/lost after \d+ MiB more of log: max_slot_wal_keep_size is 96 MiB/);
    expect(warned).toContain('warn');
    await ask(all.from, 'CHECKPOINT');
    await eventually(async () => {
      const { risk } = await store.source.retained();
      return risk?.includes('given the slot up') === true ? true : undefined;
    }, 'the end of the slot');
    await store.close();

    const app = kept(await openCopy(all));
    expect(await laneIs(app, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
    await request(app, resnapshot);
    await converged(app, all);
  }, 120_000);

  test('T8 moves on while only other tables are written, 100 MB of them, and the status tells how much is kept', async () => {
    const all = await parts();
    await ask(all.from, 'CREATE TABLE noise (text text)');
    const app = kept(await openCopy({ ...all, source: { heartbeatBytes: 1024 * 1024 } }));
    await applied(app, await put1(app, 1, 'the only one'));
    const lag = async (): Promise<number> => {
      const [row] = await ask(
        all.from,
        `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::float8 AS bytes
         FROM pg_replication_slots WHERE slot_name = 'tally_shop'`,
      );
      return Number(row?.['bytes']);
    };
    for (let megabytes = 0; megabytes < 120; megabytes += 12)
      await ask(
        all.from,
        `INSERT INTO noise SELECT repeat(md5(n::text), 32) FROM generate_series(1, 12000) n`,
      );
    await eventually(async () => ((await lag()) < 16 * 1024 * 1024 ? true : undefined), 'the slot');
    await eventually(async () => {
      const bytes = (await app.status()).lanes[0]?.retained?.bytes ?? Infinity;
      return bytes < 16 * 1024 * 1024 ? true : undefined;
    }, 'the status');
    await converged(app, all);
  }, 120_000);
});
