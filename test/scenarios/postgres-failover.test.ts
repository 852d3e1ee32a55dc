import { describe, expect, test } from 'vitest';
import {
  startPostgres,
  startProxy,
  startStandby,
  type PostgresVersion,
  type Proxy,
  type StandbyServer,
} from '../../servers/index.ts';
import { flow, open, put, tally } from 'tallystick';
import { postgres, table } from 'tallystick/postgres';
import { ended } from '../support/ended.ts';
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
  rows,
  verdict,
  type CopyApp,
  type CopyParts,
} from '../support/postgres-app.ts';

const path = tempDir();
const kept = ended();
const resnapshot = { of: 'lane', lane: 'orders', request: 'resnapshot' } as const;

/** The address of whoever is the primary. */
function through(url: string, { port }: Proxy): string {
  const other = new URL(url);
  other.port = String(port);
  return other.href;
}

async function caughtUp(standby: StandbyServer, primary: string): Promise<void> {
  const [end] = await ask(primary, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
  await eventually(async () => {
    const [row] = await ask(
      standby.url,
      `SELECT pg_last_wal_replay_lsn() >= '${String(end?.['lsn'])}' AS ok`,
    );
    return row?.['ok'] === true ? true : undefined;
  }, 'the standby');
}

describe.skipIf(!hasPostgres)('a standby that takes over', () => {
  test('T7 promoted without what was captured already, it is another history; what was lost is never called fresh, what came later is', async () => {
    const primary = kept(await startPostgres());
    await ask(primary.url, ITEMS);
    const network = kept(await startProxy(primary.port));
    const standby = kept(await startStandby(primary, { through: network.port }));
    const target = kept(await freshDatabase());
    const all: CopyParts = { dir: path('tally'), from: primary.url, to: target.url };
    const app = kept(await openCopy(all));
    const survived = await put1(app, 1, 'on both');
    await applied(app, survived);
    await caughtUp(standby, primary.url);
    // From here on nothing reaches the standby; the flow has it all the same.
    await network.cut();
    let lost = survived;
    for (let id = 2; id < 200; id += 1) lost = await put1(app, id, 'only on the primary');
    await applied(app, lost);
    await app.close();
    const web = await openCopy(all, { run: false });
    const unapplied = await put1(web, 200, 'only on the primary');
    await web.close();
    await primary.kill();
    await standby.promote();

    const moved = { ...all, from: standby.url };
    const next = kept(await openCopy(moved));
    const early = await put1(next, 300, 'on the new primary');
    expect(await verdict(next, early)).not.toBe('fresh');
    expect(await laneIs(next, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
    // The new log grows past the places that were given out before.
    for (let id = 301; id < 700; id += 1) await put1(next, id, 'more');
    // What was applied before it was lost is shown until a person decides; the others are nowhere.
    for (const evidence of [unapplied, early])
      expect(await verdict(next, evidence)).not.toBe('fresh');
    expect(await rows(target.url, 'copies')).toHaveLength(199);
    await request(next, resnapshot);
    await converged(next, moved);
    expect(
      await ask(target.url, `SELECT 1 FROM copies WHERE name = 'only on the primary'`),
    ).toEqual([]);
    for (const evidence of [survived, lost, unapplied, early])
      expect(await verdict(next, evidence)).toBe('incomparable');
    await applied(next, await put1(next, 1, 'after all'));
  }, 180_000);

  test.each<PostgresVersion>(['17', '18'])(
    'T7 PostgreSQL %s: with a synchronized slot that had everything, the flow goes on without a snapshot, and nothing is lost or doubled',
    async (version) => {
      const primary = kept(await startPostgres({ version }));
      await ask(primary.url, ITEMS);
      const address = kept(await startProxy(primary.port));
      const target = kept(await freshDatabase());
      const from = through(primary.url, address);
      const all: CopyParts = { dir: path('tally'), from, to: target.url };
      const app = kept(await openCopy(all));
      const standby = kept(
        await startStandby(primary, { settings: { sync_replication_slots: 'on' } }),
      );
      await ask(primary.url, `ALTER SYSTEM SET synchronized_standby_slots = '${standby.slot}'`);
      await ask(primary.url, 'SELECT pg_reload_conf()');
      const first = await put1(app, 1, 'before');
      await applied(app, first);
      await slotSynced(standby, app);
      let last = first;
      for (let id = 2; id < 100; id += 1) last = await put1(app, id, 'before');
      await applied(app, last);
      await caughtUp(standby, primary.url);
      const snapshots = await snapshotEpoch(target.url);

      // The address now leads to the standby.
      await address.cut();
      await primary.kill();
      await standby.promote();
      const moved = kept(await startProxy(standby.port));
      await app.close();
      const next = kept(await openCopy({ ...all, from: through(standby.url, moved) }));
      const later = await eventually(async () => {
        const evidence = await put1(next, 100, 'after');
        return evidence.get('orders')?.at(-1)?.epoch === 2 ? evidence : undefined;
      }, 'evidence of the new epoch');
      await applied(next, later);
      for (const evidence of [first, last]) expect(await verdict(next, evidence)).toBe('fresh');
      await converged(next, { ...all, from: standby.url });
      expect(await snapshotEpoch(target.url)).toEqual(snapshots);
      expect((await next.status()).lanes[0]?.worker.kind).toBe('running');
    },
    240_000,
  );
});

/** The slot of the flow is on the standby, and not only for now. */
async function slotSynced(standby: StandbyServer, app: CopyApp): Promise<void> {
  await eventually(async () => {
    await put1(app, 0, 'so that the slot moves');
    const [row] = await ask(
      standby.url,
      `SELECT synced AND NOT temporary AS ok FROM pg_replication_slots WHERE slot_name = 'tally_shop'`,
    );
    return row?.['ok'] === true ? true : undefined;
  }, 'the copy of the slot');
}

/** What the checkpoint in the target says of its snapshot. */
async function snapshotEpoch(url: string): Promise<unknown> {
  const [row] = await ask(
    url,
    `SELECT c.checkpoint::jsonb->'backfill' AS backfill FROM _tally.sink_checkpoints c`,
  );
  expect(row?.['backfill']).toBeTruthy();
  return row?.['backfill'];
}

describe.skipIf(!hasPostgres)('a read replica', () => {
  test('T7 is waited for, says how far it is, and once promoted compares with nothing', async () => {
    const primary = kept(await startPostgres());
    await ask(primary.url, ITEMS);
    const network = kept(await startProxy(primary.port));
    const standby = kept(await startStandby(primary, { through: network.port }));
    const target = kept(await freshDatabase());
    const copies = table({ key: ['id'], columns: { id: 'int4' } });
    const app = kept(
      await open(
        tally({
          name: 'shop',
          dir: path('tally'),
          stores: {
            orders: postgres({ url: primary.url }),
            ordersReplica: postgres({ url: standby.url, replicaOf: 'orders' }),
            search: postgres({ url: target.url, targets: { copies } }),
          },
          flows: {
            copy: flow({
              from: 'orders',
              tables: ['items'],
              to: 'search',
              into: 'copies',
              project: (row) => put('copies', [row['id'] as number], { id: row['id'] ?? null }),
            }),
          },
        }),
      ),
    );
    const write = async (id: number) =>
      (await app.write('orders', (tx) => tx.query('INSERT INTO items VALUES ($1)', [id]))).evidence;
    const count = (
      after: ReadonlyMap<string, never> | Awaited<ReturnType<typeof write>>,
      within: string | number,
    ) =>
      app.read('ordersReplica', { after, within, otherwise: 'stale' }, async (client) =>
        Number((await client.query('SELECT count(*) AS n FROM items')).rows[0].n),
      );

    expect(await count(await write(1), '30s')).toEqual({ value: 1, freshness: { kind: 'fresh' } });
    network.blackhole();
    const second = await write(2);
    expect(await count(second, 0)).toMatchObject({ value: 1, freshness: { kind: 'stale' } });
    expect(await count(second, '100ms')).toMatchObject({
      value: 1,
      freshness: { kind: 'timeout', seen: [{ flow: 'ordersReplica' }] },
    });
    await network.heal();
    expect(await count(second, '60s')).toEqual({ value: 2, freshness: { kind: 'fresh' } });
    await network.cut();
    const third = await write(3);
    await standby.promote();
    expect(await count(third, '2s')).toMatchObject({
      value: 2,
      freshness: { kind: 'incomparable' },
    });
    // Also when it has grown past that place by itself, and for what it does have.
    await ask(standby.url, 'INSERT INTO items SELECT generate_series(10, 5000)');
    for (const evidence of [second, third])
      expect((await count(evidence, 0)).freshness.kind).toBe('incomparable');
  }, 180_000);
});
