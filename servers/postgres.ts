import { execFile } from 'node:child_process';
import { chown, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import {
  announce,
  canReach,
  endOf,
  freePort,
  privateFolder,
  ServerUnavailable,
  unprivileged,
} from './place.ts';
import { findPostgres, type PostgresBinaries, type PostgresVersion } from './postgres-binaries.ts';
import { type ServerProcess, startProcess, type User } from './process.ts';

const run = promisify(execFile);

export type PostgresSettings = Readonly<Record<string, string>>;

export interface PostgresOptions {
  /** The major version; the first that is found without it. */
  readonly version?: PostgresVersion;
  /** As in postgresql.conf, over the defaults below. */
  readonly settings?: PostgresSettings;
  /** The data directory: initialized if it is empty or missing, and kept when the server stops. A folder of our own without it. */
  readonly dir?: string;
  /** The data directory of a server that is down, to start from a copy of it: a restore from a file system's backup. */
  readonly from?: string;
  readonly port?: number;
  /** Name of the superuser. Default `postgres`. */
  readonly superuser?: string;
  /** With a password every connection needs one (scram-sha-256); without, none does. */
  readonly password?: string;
  /** Encoding and locale of the cluster. Default UTF8 and C. */
  readonly encoding?: string;
  readonly locale?: string;
  /** `'outlives-us'` leaves the server running when this process ends. Default: it ends with it, however that comes about. */
  readonly life?: 'ours' | 'outlives-us';
}

export interface PostgresServer extends AsyncDisposable {
  /** To the database `postgres`, as the superuser. */
  readonly url: string;
  readonly version: string;
  readonly port: number;
  readonly dir: string;
  /** Of the postmaster that runs now. */
  readonly pid: number;
  /** Where its binaries come from. */
  readonly how: string;
  readonly superuser: string;
  readonly password: string | undefined;
  /** Stops it and removes its data, unless `dir` was given. */
  readonly stop: () => Promise<void>;
  /** kill -9 of the postmaster and of all its children. The data stay, for `restart`. */
  readonly kill: () => Promise<void>;
  /** Stops it in order if it runs, and starts it again on the same port and data; settings are added to those it had. */
  readonly restart: (settings?: PostgresSettings) => Promise<void>;
}

/** Made for tests: many slots and connections, no wait for the disk (a killed server loses nothing: the system still has it). */
const defaults: PostgresSettings = {
  wal_level: 'logical',
  fsync: 'off',
  track_commit_timestamp: 'on',
  max_replication_slots: '100',
  max_wal_senders: '100',
  max_connections: '300',
  shared_buffers: '32MB',
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // In the data directory, where nothing of it is left after kill -9.
  dynamic_shared_memory_type: 'mmap',
};

const READY_MS = 60_000;
const STOP_MS = 10_000;
const PORTS_TRIED = 5;

/** Starts a PostgreSQL of its own and waits until it answers. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const began = Date.now();
  const user = await unprivileged();
  const binaries = await findPostgres(user, options.version);
  const folder = await privateFolder('postgres', user);
  const dir = options.dir ?? join(folder, 'data');
  try {
    if (options.from !== undefined) await copyData(options.from, dir, user);
    else await initialize(binaries, dir, folder, user, options);
    const server = new Postgres({ binaries, folder, dir, user, options });
    await server.start();
    announce('PostgreSQL', binaries.version, binaries.how, began);
    return server;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

export interface Parts {
  readonly binaries: PostgresBinaries;
  readonly folder: string;
  readonly dir: string;
  readonly user: User | undefined;
  readonly options: PostgresOptions;
}

export class Postgres implements PostgresServer {
  readonly dir: string;
  readonly superuser: string;
  readonly #parts: Parts;
  #settings: PostgresSettings;
  #process: ServerProcess | undefined;
  #port = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.dir = parts.dir;
    this.superuser = parts.options.superuser ?? 'postgres';
    this.#settings = { ...defaults, ...parts.options.settings };
  }

  get version(): string {
    return this.#parts.binaries.version;
  }

  get password(): string | undefined {
    return this.#parts.options.password;
  }

  get how(): string {
    return this.#parts.binaries.how;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get url(): string {
    const secret = this.password === undefined ? '' : `:${encodeURIComponent(this.password)}`;
    return `postgres://${encodeURIComponent(this.superuser)}${secret}@127.0.0.1:${this.#port}/postgres`;
  }

  async start(): Promise<void> {
    const given = this.#port === 0 ? this.#parts.options.port : this.#port;
    for (let tried = 1; ; tried += 1) {
      this.#port = given ?? (await freePort());
      try {
        return await this.#startHere();
      } catch (error) {
        // Somebody else took the port between our look at it and the server's.
        const taken = error instanceof Error && error.message.includes('Address already in use');
        if (!taken || given !== undefined || tried === PORTS_TRIED) throw error;
      }
    }
  }

  readonly stop = async (): Promise<void> => {
    // Data that are removed next need no checkpoint.
    const kept = this.#parts.options.dir !== undefined;
    await this.#process?.end(kept ? 'SIGINT' : 'SIGQUIT', STOP_MS);
    if (!kept) await removeSharedMemory(this.dir);
    await rm(this.#parts.folder, { recursive: true, force: true });
  };

  readonly kill = async (): Promise<void> => {
    await this.#process?.kill();
  };

  readonly restart = async (settings: PostgresSettings = {}): Promise<void> => {
    await this.#process?.end('SIGINT', STOP_MS);
    this.#settings = { ...this.#settings, ...settings };
    await this.start();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #startHere(): Promise<void> {
    const { binaries, folder, dir, user, options } = this.#parts;
    const log = join(folder, 'server.log');
    const settings = Object.entries({ ...this.#settings, port: String(this.#port) });
    await writeFile(log, '');
    this.#process = await startProcess({
      command: join(binaries.bin, 'postgres'),
      args: ['-D', dir, ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      cwd: folder,
      log,
      user,
      guard: options.life === 'outlives-us' ? 'none' : { remove: folder },
    });
    const started = this.#process;
    const deadline = Date.now() + READY_MS;
    for (;;) {
      if (started.ended()) {
        throw new Error(`PostgreSQL ${binaries.version} did not start:\n${await endOf(log)}`);
      }
      // Another server that sits on the port may keep us waiting for its answer.
      if (await Promise.race([this.#answers(), started.exit.then(() => false)])) return;
      if (Date.now() > deadline) {
        await started.kill();
        throw new Error(`PostgreSQL ${binaries.version} does not answer:\n${await endOf(log)}`);
      }
      await sleep(10);
    }
  }

  /** Whether it is this very server that answers there. */
  async #answers(): Promise<boolean> {
    const rows = await query(this.url, 'SHOW data_directory').catch(() => []);
    return rows[0]?.['data_directory'] === this.dir;
  }
}

/** A server that was killed leaves a few bytes of shared memory, which are freed at its next start: there will be none. */
async function removeSharedMemory(dir: string): Promise<void> {
  const lines = (await readFile(join(dir, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
  const id = lines[6]?.trim().split(/\s+/)[1];
  if (id !== undefined) await run('ipcrm', ['-m', id]).catch(() => undefined);
}

/** Runs one statement on a connection of its own. */
export async function query(
  url: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // A connection that breaks while nothing runs on it says so here, and would otherwise end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<Record<string, unknown>>(text, [...values]);
    return rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function initialize(
  { bin }: PostgresBinaries,
  dir: string,
  folder: string,
  user: User | undefined,
  options: PostgresOptions,
): Promise<void> {
  const { superuser = 'postgres', password, encoding = 'UTF8', locale = 'C' } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (!(await canReach(dirname(dir), user))) {
    throw new Error(
      `the user nobody, as which PostgreSQL runs, cannot reach ${dir}: chmod a+x the folders above it`,
    );
  }
  if (user !== undefined) await chown(dir, user.uid, user.gid);
  const secret = join(folder, 'password');
  const args = ['-D', dir, '-U', superuser, '-E', encoding, `--locale=${locale}`, '--no-sync'];
  if (password === undefined) args.push('--auth=trust');
  else {
    await writeFile(secret, `${password}\n`);
    args.push('--auth=scram-sha-256', `--pwfile=${secret}`);
  }
  try {
    await run(join(bin, 'initdb'), args, { cwd: folder, ...user, env: { LC_ALL: 'C', TZ: 'UTC' } });
  } catch (error) {
    const { stderr } = error as { readonly stderr?: string };
    if (stderr?.includes('exists but is not empty') === true) return;
    const said = (stderr ?? String(error)).trim().replaceAll(/\s*\n\s*/g, ' ');
    throw new ServerUnavailable(`initdb failed: ${said}`);
  } finally {
    await rm(secret, { force: true });
  }
}

async function copyData(from: string, dir: string, user: User | undefined): Promise<void> {
  await cp(from, dir, { recursive: true, preserveTimestamps: true });
  await rm(join(dir, 'postmaster.pid'), { force: true });
  if (user !== undefined) await run('chown', ['-R', `${user.uid}:${user.gid}`, dir]);
  await run('chmod', ['-R', 'u=rwX,go=', dir]);
}
