import { execFile } from 'node:child_process';
import { constants, copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { announce, privateFolder, unprivileged } from './place.ts';
import { findPostgres, type PostgresVersion } from './postgres-binaries.ts';
import { Postgres, type PostgresServer, type PostgresSettings, query } from './postgres.ts';

const run = promisify(execFile);

export interface StandbyOptions {
  /** Settings of the standby: `{ recovery_min_apply_delay: '10s' }`, `{ sync_replication_slots: 'on' }`. */
  readonly settings?: PostgresSettings;
  /** Its `application_name`, for `synchronous_standby_names`. Default: the name of its slot. */
  readonly name?: string;
  /** A port that leads to the primary: a proxy that can cut the replication. Default: the primary's own. */
  readonly through?: number;
}

export interface StandbyServer extends PostgresServer {
  /** Its physical replication slot on the primary, which is dropped when the standby stops. */
  readonly slot: string;
  /** Ends the recovery with what was replayed until then, on a timeline of its own, and waits until it takes writes. */
  readonly promote: () => Promise<void>;
}

let counter = 0;

/**
 * Starts a hot standby that streams from a primary of `startPostgres` (or from a promoted standby).
 *
 * The base backup is made with SQL and copied files: pg_basebackup is not in the npm packages, and that of another version refuses
 * the server. The slot holds the WAL from before the backup on. Tablespaces are not copied.
 */
export async function startStandby(
  primary: PostgresServer,
  options: StandbyOptions = {},
): Promise<StandbyServer> {
  const began = Date.now();
  const user = await unprivileged();
  const [major] = primary.version.split('.');
  const binaries = await findPostgres(user, major as PostgresVersion);
  const folder = await privateFolder('standby', user);
  const dir = join(folder, 'data');
  counter += 1;
  const slot = `standby_${process.pid}_${counter}`;
  try {
    await query(primary.url, 'SELECT pg_create_physical_replication_slot($1, true)', [slot]);
    await backUp(primary, dir);
    await writeFile(join(dir, 'standby.signal'), '');
    await run('chmod', ['-R', 'u=rwX,go=', dir]);
    if (user !== undefined) await run('chown', ['-R', `${user.uid}:${user.gid}`, dir]);
    const settings: PostgresSettings = {
      hot_standby_feedback: 'on',
      primary_slot_name: slot,
      primary_conninfo: connectionTo(
        primary,
        options.through ?? primary.port,
        options.name ?? slot,
      ),
      wal_retrieve_retry_interval: '100ms',
      ...options.settings,
    };
    const { superuser, password } = primary;
    const login = { superuser, ...(password === undefined ? {} : { password }) };
    const server = new Postgres({ binaries, folder, dir, user, options: { settings, ...login } });
    await server.start();
    announce('PostgreSQL standby', binaries.version, binaries.how, began);
    const { stop } = server;
    return Object.assign(server, {
      slot,
      promote: async () => {
        await query(server.url, 'SELECT pg_promote(true, 60)');
      },
      stop: async () => {
        await stop();
        await dropSlot(primary, slot);
      },
    });
  } catch (error) {
    await dropSlot(primary, slot);
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The primary may be gone, or may not have noticed yet that the standby is. */
async function dropSlot(primary: PostgresServer, slot: string): Promise<void> {
  const end = `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
    WHERE slot_name = $1 AND active_pid IS NOT NULL`;
  await query(primary.url, end, [slot]).catch(() => undefined);
  await query(primary.url, 'SELECT pg_drop_replication_slot($1)', [slot]).catch(() => undefined);
}

/** With the name of a database, which the synchronization of logical slots wants. */
function connectionTo(primary: PostgresServer, port: number, name: string): string {
  const secret = primary.password === undefined ? '' : ` password=${quoted(primary.password)}`;
  return `host=127.0.0.1 port=${port} user=${quoted(primary.superuser)}${secret} dbname=postgres application_name=${quoted(name)}`;
}

function quoted(value: string): string {
  return `'${value.replaceAll(/[\\']/g, '\\$&')}'`;
}

async function backUp(primary: PostgresServer, dir: string): Promise<void> {
  const client = new Client({ connectionString: primary.url });
  await client.connect();
  try {
    // A backup belongs to its connection: both calls are made on this one.
    await client.query(`SELECT pg_backup_start('standby', true)`);
    await copyTree(primary.dir, dir, '');
    // Last, as pg_basebackup does it.
    await copyIfThere(join(primary.dir, CONTROL), join(dir, CONTROL));
    const { rows } = await client.query<{ labelfile: string }>(
      'SELECT labelfile FROM pg_backup_stop(false)',
    );
    await writeFile(join(dir, 'backup_label'), rows[0]?.labelfile ?? '');
  } finally {
    await client.end();
  }
}

const CONTROL = 'global/pg_control';

/** What belongs to the running primary alone; of these folders only themselves are copied. */
const emptied = new Set([
  'pg_wal',
  'pg_replslot',
  'pg_dynshmem',
  'pg_notify',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
]);
const left = /^(postmaster\.(pid|opts)|pg_internal\.init.*|pgsql_tmp.*|.*\.signal|backup_label.*)$/;

async function copyTree(from: string, to: string, path: string): Promise<void> {
  await mkdir(join(to, path), { recursive: true });
  if (path === 'pg_wal') await mkdir(join(to, path, 'archive_status'), { recursive: true });
  if (emptied.has(path)) return;
  // A folder or file may vanish while the primary works; recovery knows.
  const entries = await readdir(join(from, path), { withFileTypes: true }).catch(unlessGone);
  for (const entry of entries ?? []) {
    const inner = join(path, entry.name);
    if (left.test(entry.name) || inner === CONTROL) continue;
    if (entry.isDirectory()) await copyTree(from, to, inner);
    else if (entry.isFile()) await copyIfThere(join(from, inner), join(to, inner));
  }
}

async function copyIfThere(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE).catch(unlessGone);
}

function unlessGone(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOENT') throw error;
  return undefined;
}
