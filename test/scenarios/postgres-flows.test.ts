import { describe, expect, test } from 'vitest';
import { put } from 'tallystick';
import { systemClock } from '../../src/runtime/clock.ts';
import { ended } from '../support/ended.ts';
import { ask as request, tempDir } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import {
  applied,
  ask,
  converged,
  eventually,
  ITEMS,
  openCopy,
  put1,
  rows,
  type CopyApp,
  type CopyParts,
} from '../support/postgres-app.ts';

const path = tempDir();
const kept = ended();
const retryAll = {
  of: 'flow',
  flow: 'copy',
  request: { kind: 'retry-parked', unit: undefined },
} as const;

async function parts(): Promise<CopyParts> {
  const owner = kept(await freshDatabase());
  await ask(owner.url, ITEMS);
  const slot = { slot: `tally_${owner.name}` };
  return { dir: path('tally'), from: owner.url, to: kept(await freshDatabase()).url, source: slot };
}

async function confirmed(all: CopyParts): Promise<number> {
  const [row] = await ask(
    all.from,
    `SELECT (confirmed_flush_lsn - '0/0')::float8 AS lsn FROM pg_replication_slots WHERE slot_name = '${String(all.source?.slot)}'`,
  );
  return Number(row?.['lsn']);
}

describe.skipIf(!hasPostgres)('flows between PostgreSQL databases', () => {
  test('T5 T13 a projection that throws parks its row and all later changes of it; others go on, the slot too; a retry applies them in order', async () => {
    const all = await parts();
    const healing = { isHealed: false };
    const app = kept(
      await openCopy({
        ...all,
        flow: {
          project: (row) => {
            if (!healing.isHealed && row['id'] === 13) throw new Error('no such category');
            const { id = null, name = null, n = null } = row;
            return put('copies', [id as number], { id, name, n });
          },
        },
      }),
    );
    await applied(app, await put1(app, 9, 'first'));
    for (let id = 10; id < 20; id += 1) await put1(app, id, 'first');
    const at = await confirmed(all);
    for (let id = 10; id < 20; id += 1) await put1(app, id, 'second');
    const last = await put1(app, 14, 'third');
    const others = { table: 'items', key: [14] };
    expect(await app.barrier('search', { after: last, within: '60s', keys: [others] })).toEqual({
      kind: 'fresh',
    });
    expect((await app.barrier('search', { after: last, within: 0 })).kind).toBe('blocked');
    const target = await rows(all.to, 'copies');
    expect(target).toHaveLength(10);
    expect(target).not.toContainEqual(expect.objectContaining({ id: 13 }));
    expect(target[4]).toEqual({ id: 14, name: 'third', n: 2 });
    await eventually(async () => ((await confirmed(all)) > at ? true : undefined), 'the slot');
    healing.isHealed = true;
    expect(await request(app, retryAll)).toBe(2);
    await converged(app, all);
  }, 120_000);

  test('T13 a row that the target refuses is parked alone, and those that follow it are not applied before it', async () => {
    const all = await parts();
    const app = kept(await openCopy(all));
    await applied(app, await put1(app, 1, 'first'));
    await ask(all.to, `ALTER TABLE copies ADD CONSTRAINT good CHECK (name <> 'bad')`);
    await put1(app, 2, 'bad');
    const next = await put1(app, 2, 'good again');
    const other = await put1(app, 1, 'second');
    const one = { table: 'items', key: [1] };
    expect(await app.barrier('search', { after: other, within: '60s', keys: [one] })).toEqual({
      kind: 'fresh',
    });
    // It was in the same batch as what mended it, or it waits; either way nothing older shows.
    const { kind } = await app.barrier('search', { after: next, within: 0 });
    expect(['fresh', 'blocked']).toContain(kind);
    await ask(all.to, 'ALTER TABLE copies DROP CONSTRAINT good');
    if (kind === 'blocked') await request(app, retryAll);
    await converged(app, all);
  }, 120_000);

  test('T15 tables that change while no worker runs are read as they were, then as they are', async () => {
    const all = await parts();
    const first = await openCopy(all);
    await applied(first, await put1(first, 1, 'before'));
    await first.close();
    await ask(all.from, `INSERT INTO items VALUES (2, 'old shape')`);
    await ask(
      all.from,
      `ALTER TABLE items ADD COLUMN note text DEFAULT 'none', ALTER COLUMN n TYPE bigint`,
    );
    await ask(all.from, `INSERT INTO items VALUES (3, 'new shape', 3, 'note')`);
    await ask(all.from, `UPDATE items SET name = name || '!', n = n + 1 WHERE id = 2`);
    await ask(
      all.from,
      `ALTER TABLE items DROP COLUMN note; ALTER TABLE items ALTER COLUMN n TYPE int`,
    );
    await ask(all.from, `DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (4, 'last', 4)`);
    const app = kept(await openCopy(all));
    await converged(app, all);
    expect((await app.status()).lanes[0]?.worker.kind).toBe('running');
  }, 120_000);

  test('T20 waiters: an idle owner, what was applied already, several of one client, and a limit that says why', async () => {
    const all = await parts();
    await ask(all.from, 'CREATE TABLE unread (id int)');
    const app = kept(await openCopy(all));
    const within = '60s';
    const first = await put1(app, 1, 'first');
    await applied(app, first);
    // Nothing that the flow reads: it passes all the same, and nobody writes after it.
    const { evidence: idle } = await app.write('orders', (tx) =>
      tx.query('INSERT INTO unread VALUES (1)'),
    );
    await applied(app, idle);
    const { evidence: empty } = await app.write('orders', () => undefined);
    await applied(app, empty);
    // Registered after it was applied: answered at once, without a limit to wait for.
    expect(await app.barrier('search', { after: first, within: 0 })).toEqual({ kind: 'fresh' });
    const later = await put1(app, 2, 'second');
    const both = await Promise.all([
      app.barrier('search', { after: later, within }),
      app.barrier('search', { after: first, within }),
      app.barrier('search', { after: later, within }),
    ]);
    expect(both).toEqual([{ kind: 'fresh' }, { kind: 'fresh' }, { kind: 'fresh' }]);
    // A driver that tries again leaves evidence of what it has done the second time.
    const tried = { count: 0 };
    const again = async (): Promise<ReturnType<typeof put1>> =>
      app
        .write('orders', async (tx) => {
          await tx.query(`INSERT INTO items VALUES (3, 'third') ON CONFLICT DO NOTHING`);
          if ((tried.count += 1) === 1)
            await tx.query('SELECT pg_terminate_backend(pg_backend_pid())');
        })
        .then(({ evidence }) => evidence);
    await expect(again()).rejects.toMatchObject({ retryable: true });
    await applied(app, await again());
    expect(await rows(all.to, 'copies')).toHaveLength(3);
    await app.close();

    const web = kept(await openCopy(all, { run: false }));
    const unseen = await put1(web, 4, 'nobody carries it');
    await expect(
      web.read('search', { after: unseen, within: '50ms' }, () => undefined),
    ).rejects.toMatchObject({
      code: 'BARRIER_TIMEOUT',
      message: expect.stringMatching(/flow copy has seen \d+\.\d+ of \d+\.\d+/),
    });
  }, 120_000);

  test('T21 a clock that goes back by a day changes no winner', async () => {
    const all = await parts();
    const step = { ms: 0 };
    const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + step.ms };
    const app = kept(await openCopy(all, { clock }));
    await applied(app, await put1(app, 1, 'before the step'));
    step.ms = -86_400_000;
    await applied(app, await put1(app, 1, 'after the step'));
    expect(await rows(all.to, 'copies')).toEqual([{ id: 1, name: 'after the step', n: 1 }]);
    step.ms = 86_400_000;
    await converged(app, all);
  }, 120_000);

  test('T22 a backfill by several readers, while money moves between rows, has every transfer once', async () => {
    const all = await parts();
    await ask(
      all.from,
      `INSERT INTO items SELECT n, 'account', 100 FROM generate_series(1, 10000) n`,
    );
    const app = kept(await openCopy({ ...all, source: { ...all.source, readers: 4 } }));
    let last: Awaited<ReturnType<typeof put1>> | undefined;
    for (let count = 1; count <= 200; count += 1)
      last = (await transfer(app, count, 10_001 - count)).evidence;
    if (last !== undefined) await applied(app, last);
    const sum = 'SELECT sum(n)::int AS sum, count(*)::int AS count FROM copies';
    expect(await ask(all.to, sum)).toEqual([{ sum: 1_000_000, count: 10_000 }]);
    expect(await rows(all.to, 'copies')).toEqual(await rows(all.from, 'items'));
  }, 120_000);
});

function transfer(app: CopyApp, from: number, to: number) {
  return app.write('orders', async (tx) => {
    await tx.query('UPDATE items SET n = n - 1 WHERE id = $1', [from]);
    await tx.query('UPDATE items SET n = n + 1 WHERE id = $1', [to]);
  });
}
