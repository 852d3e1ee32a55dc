import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { startPostgres, type PostgresServer } from '../../servers/index.ts';
import { findPostgres } from '../../servers/postgres-binaries.ts';
import { isProgram, unprivileged } from '../../servers/place.ts';
import { ended } from '../support/ended.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import { ask as request, tempDir } from '../support/scenario.ts';
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

const run = promisify(execFile);
const path = tempDir();
const kept = ended();
const resnapshot = { of: 'lane', lane: 'orders', request: 'resnapshot' } as const;

/** Not in the packages of npm. */
const bin = hasPostgres ? (await findPostgres(await unprivileged())).bin : '';
const hasDump = await isProgram(join(bin, 'pg_dump'));

async function parts(from: string): Promise<CopyParts> {
  const target = kept(await freshDatabase());
  return { dir: path('tally'), from, to: target.url };
}

/** Puts the files of `server`, as they were when `copy` was made, under it again. */
async function restoreFiles(server: PostgresServer, copy: string): Promise<void> {
  await server.kill();
  await rm(server.dir, { recursive: true });
  await run('cp', ['-a', copy, server.dir]);
  await rm(join(server.dir, 'postmaster.pid'), { force: true });
  await server.restart();
}

async function copyFiles(server: PostgresServer, name: string): Promise<string> {
  const copy = join(server.dir, '..', name);
  await server.kill();
  await run('cp', ['-a', server.dir, copy]);
  await server.restart();
  return copy;
}

describe.skipIf(!hasPostgres)('an owner that was restored', () => {
  test('T6 a file-system copy put underneath an open application is noticed; a write right then is never covered by what was applied before', async () => {
    const server = kept(await startPostgres());
    const all = await parts(server.url);
    await ask(server.url, ITEMS);
    const app = kept(await openCopy(all));
    const web = kept(await openCopy(all, { run: false, owner: 'web' }));
    await applied(app, await put1(app, 1, 'before the copy'));
    const copy = await copyFiles(server, 'copy');
    await laneIs(app, 'running');
    let lost = await eventually(() => put1(app, 2, 'lost'), 'a write after the restart');
    for (let id = 3; id < 300; id += 1) lost = await put1(app, id, 'lost');
    await applied(app, lost);
    expect(await verdict(web, lost)).toBe('fresh');

    await restoreFiles(server, copy);
    // The newest commit is one of another history too: a bound on staleness is not kept by what is newer than that.
    const bound = { maxStale: 0, within: 0 };
    for (const process of [app, web]) {
      const now = await process.evidenceAt('orders', await process.stores.orders.source.head());
      expect(await verdict(process, now)).not.toBe('fresh');
      expect((await process.barrier('search', bound)).kind).not.toBe('fresh');
    }
    // The capture may not have noticed yet: neither process may call this fresh, then or later.
    for (const process of [app, web, app, web]) {
      const evidence = await eventually(() => put1(process, 900, 'after'), 'a write');
      expect(['incomparable', 'stale']).toContain(await verdict(app, evidence));
      expect(['incomparable', 'stale']).toContain(await verdict(web, evidence));
    }
    expect(await laneIs(app, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
    const early = await put1(web, 901, 'before it was accepted');
    await request(app, resnapshot);
    const late = await put1(web, 902, 'as it was accepted');
    expect(await verdict(web, early)).not.toBe('fresh');
    if ((await verdict(web, late)) === 'fresh')
      expect(await ask(all.to, 'SELECT 1 FROM copies WHERE id = 902')).toHaveLength(1);
    await converged(app, all);
    await converged(web, all);
    for (const evidence of [lost, early]) expect(await verdict(app, evidence)).toBe('incomparable');
  }, 180_000);

  test.skipIf(!hasDump)(
    'T6 dumped and loaded into another cluster behind the same address, it is another history, though its log is far behind',
    async () => {
      const old = kept(await startPostgres());
      const all = await parts(old.url);
      await ask(old.url, ITEMS);
      // Much was logged there: the new cluster's offsets are all smaller.
      await ask(old.url, `SELECT count(pg_switch_wal()) FROM generate_series(1, 1)`);
      await ask(
        old.url,
        `INSERT INTO items SELECT n, 'old ' || n FROM generate_series(1, 20000) n`,
      );
      const app = kept(await openCopy(all));
      const lost = await put1(app, 30_000, 'only there');
      await applied(app, lost);
      await app.close();

      const dump = path('dump.sql');
      await ask(old.url, `DELETE FROM items WHERE id = 30000; UPDATE items SET name = 'dumped'`);
      await run(join(bin, 'pg_dump'), ['-d', old.url, '-f', dump]);
      await old.kill();
      const fresh = kept(await startPostgres({ port: old.port }));
      await run(join(bin, 'psql'), ['-q', '-v', 'ON_ERROR_STOP=1', '-d', fresh.url, '-f', dump]);
      const next = kept(await openCopy(all));
      const early = await put1(next, 30_001, 'loaded');
      expect(await verdict(next, early)).not.toBe('fresh');
      expect(await laneIs(next, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
      expect(await verdict(next, early)).not.toBe('fresh');
      await request(next, resnapshot);
      await converged(next, all);
      for (const evidence of [lost, early])
        expect(await verdict(next, evidence)).toBe('incomparable');
    },
    180_000,
  );

  test('T7 restored twice to the same moment, on a timeline of the same number, the second is noticed as the first', async () => {
    const server = kept(await startPostgres());
    const all = await parts(server.url);
    await ask(server.url, ITEMS);
    const app = kept(await openCopy(all));
    await applied(app, await put1(app, 1, 'in the backup'));
    const base = await copyFiles(server, 'base');
    const beyond = await eventually(() => put1(app, 2, 'after the backup'), 'a write');
    await applied(app, beyond);

    const evidence = [beyond];
    for (const restore of ['first', 'second']) {
      await recoverTo(server, base);
      expect(await timeline(server)).toBe(2);
      const early = await eventually(() => put1(app, 100, restore), 'a write');
      expect(await verdict(app, early)).not.toBe('fresh');
      expect(await laneIs(app, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
      await request(app, resnapshot);
      await converged(app, all);
      evidence.push(early);
      for (const old of evidence) expect(await verdict(app, old)).toBe('incomparable');
      // So far that a log which began at the backup again stands behind it.
      for (let id = 200; id < 400; id += 1) evidence[0] = await put1(app, id, restore);
      await applied(app, evidence[0] ?? beyond);
    }
  }, 240_000);

  test('T6 upgraded by pg_upgrade, or as that leaves it, it is a new cluster: another history', async () => {
    const old = kept(await startPostgres());
    const all = await parts(old.url);
    await ask(old.url, ITEMS);
    const app = kept(await openCopy(all));
    const last = await put1(app, 1, 'kept');
    await applied(app, last);
    const recorded = await ask(old.url, 'SELECT * FROM _tally.capture');
    await app.close();
    await old.stop();
    // What an upgrade leaves: all tables, the coordinator's too; no slot; another system, and its log goes on behind
    // the place where the old one ended.
    const upgraded = kept(await startPostgres({ port: old.port, version: '18' }));
    await ask(upgraded.url, `${ITEMS}; INSERT INTO items VALUES (1, 'kept')`);
    const { history, consistent_point: at } = recorded[0] ?? {};
    await ask(
      upgraded.url,
      `CREATE SCHEMA _tally; CREATE TABLE _tally.parts (part text PRIMARY KEY, version integer NOT NULL);
       CREATE TABLE _tally.capture (slot text PRIMARY KEY, history text NOT NULL, consistent_point pg_lsn,
         acknowledged boolean NOT NULL DEFAULT false, worker_epoch bigint NOT NULL DEFAULT 0);
       INSERT INTO _tally.capture VALUES ('tally_shop', '${String(history)}', '${String(at)}', true, 1);
       CREATE PUBLICATION tally_shop FOR TABLE items`,
    );
    await ask(upgraded.url, `UPDATE items SET name = 'changed while nobody looked'`);
    const next = kept(await openCopy(all));
    const early = await put1(next, 2, 'early');
    expect(await verdict(next, early)).not.toBe('fresh');
    expect(await laneIs(next, 'failed', 'HISTORY_LOST')).toContain('tally resnapshot');
    await request(next, resnapshot);
    await converged(next, all);
    for (const evidence of [last, early])
      expect(await verdict(next, evidence)).toBe('incomparable');
  }, 180_000);
});

/** Recovers a server from the copy of its files, as from a backup with its log, and lets it take writes. */
async function recoverTo(server: PostgresServer, copy: string): Promise<void> {
  await server.kill();
  await rm(server.dir, { recursive: true });
  await run('cp', ['-a', copy, server.dir]);
  await rm(join(server.dir, 'postmaster.pid'), { force: true });
  await writeFile(join(server.dir, 'recovery.signal'), '');
  await run('chown', [
    '--reference',
    join(server.dir, 'PG_VERSION'),
    join(server.dir, 'recovery.signal'),
  ]);
  await server.restart({
    restore_command: 'false',
  });
  await eventually(
    async () =>
      (await ask(server.url, 'SELECT pg_is_in_recovery() AS r'))[0]?.['r'] === false
        ? true
        : undefined,
    'the end of the recovery',
  );
}

async function timeline(server: PostgresServer): Promise<number> {
  const [row] = await ask(server.url, 'SELECT pg_walfile_name(pg_current_wal_lsn()) AS file');
  return Number.parseInt(String(row?.['file']).slice(0, 8), 16);
}
