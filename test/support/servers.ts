import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { createClient } from 'redis';
import { freshPrefix } from './prefix.ts';
import { isThere, sharedServer, urlOf } from './shared.ts';

export { freshPrefix } from './prefix.ts';

// The first file that gets here starts the servers; the others find them running.
const [postgres, redis, memcached] = await Promise.all([
  sharedServer('postgres'),
  sharedServer('redis'),
  sharedServer('memcached'),
]);

/** Whether the servers can be had: `describe.skipIf(!hasPostgres)`. With TALLY_REQUIRE_SERVERS=1 a missing one fails instead. */
export const hasPostgres: boolean = isThere('PostgreSQL', postgres);
export const hasRedis: boolean = isThere('Redis', redis);
export const hasMemcached: boolean = isThere('Memcached', memcached);

/** The PostgreSQL that all tests of this run share, as its superuser. Make a database of your own there: `freshDatabase`. */
export function postgresUrl(): string {
  return urlOf('PostgreSQL', postgres);
}

/** The Redis that all tests of this run share. Take keys of your own there: `freshRedis` or `freshPrefix`. */
export function redisUrl(): string {
  return urlOf('Redis', redis);
}

export interface FreshDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
}

export interface DatabaseOptions {
  /** `SQL_ASCII`, for text that no encoding vouches for. Default: the cluster's. */
  readonly encoding?: 'SQL_ASCII' | 'UTF8' | 'LATIN1';
}

/** Creates an empty database. Disposing drops it with its replication slots and ends whoever still uses either. */
export async function freshDatabase(options: DatabaseOptions = {}): Promise<FreshDatabase> {
  const name = `tally_${randomBytes(6).toString('hex')}`;
  const encoding =
    options.encoding === undefined ? '' : ` ENCODING '${options.encoding}' LOCALE 'C'`;
  await asSuperuser((client) =>
    client.query(`CREATE DATABASE ${name} TEMPLATE template0${encoding}`),
  );
  const url = new URL(postgresUrl());
  url.pathname = `/${name}`;
  return {
    url: url.href,
    name,
    [Symbol.asyncDispose]: () => asSuperuser((client) => drop(client, name)),
  };
}

async function asSuperuser(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: postgresUrl() });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

const SLOT_DROP_MS = 10_000;

async function drop(client: Client, name: string): Promise<void> {
  // Nobody new comes in; who is there is sent away until the slots are free, since a worker may still be reconnecting.
  await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
  const deadline = Date.now() + SLOT_DROP_MS;
  for (;;) {
    const { rows } = await client.query<{ slot_name: string; active_pid: number | null }>(
      `SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = $1`,
      [name],
    );
    if (rows.length === 0) break;
    if (Date.now() > deadline) throw new Error(`slots of ${name} stay in use`);
    for (const { slot_name, active_pid } of rows) {
      if (active_pid === null) {
        await client
          .query('SELECT pg_drop_replication_slot($1)', [slot_name])
          .catch(unlessTakenOrGone);
      } else {
        await client.query('SELECT pg_terminate_backend($1, 1000)', [active_pid]);
      }
    }
  }
  await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
}

function unlessTakenOrGone(error: unknown): void {
  const { code } = error as { readonly code?: string };
  if (code !== '55006' && code !== '42704') throw error;
}

export interface FreshRedis extends AsyncDisposable {
  /** Of an empty logical database of its own, or, on a server from the environment, of the database named there. */
  readonly url: string;
  /** To begin every key with: the server may be somebody's. */
  readonly prefix: string;
}

const DATABASES = 511;

/** Takes keys that nobody else uses. Disposing removes them. */
export async function freshRedis(): Promise<FreshRedis> {
  const url = new URL(redisUrl());
  const prefix = freshPrefix();
  const own = 'owner' in redis && redis.owner === 'run';
  if (own) {
    // Database 0 counts, and belongs to those who use `redisUrl` as it is.
    const taken = await onRedis(url.href, (client) => client.incr('tally-test:databases'));
    url.pathname = `/${((taken - 1) % DATABASES) + 1}`;
  }
  return {
    url: url.href,
    prefix,
    [Symbol.asyncDispose]: () =>
      onRedis(url.href, async (client) => {
        if (own) {
          await client.flushDb();
          return;
        }
        for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1_000 })) {
          if (keys.length > 0) await client.unlink(keys);
        }
      }),
  };
}

/** Keys of one's own in the Memcached that all tests of this run share: it forgets them by itself. */
export function freshMemcached(): { readonly url: string; readonly prefix: string } {
  return { url: urlOf('Memcached', memcached), prefix: freshPrefix() };
}

type RedisClient = ReturnType<typeof createClient>;

async function onRedis<Result>(
  url: string,
  work: (client: RedisClient) => Promise<Result>,
): Promise<Result> {
  const client: RedisClient = createClient({ url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    client.destroy();
  }
}
