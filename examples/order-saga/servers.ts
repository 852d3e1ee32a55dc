import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { startPostgres, startRedis } from '../../servers/index.ts';
import type { Servers } from './app.ts';

/** Servers for `--servers`; disposing stops those of its own, and removes what it made on others. */
export interface FoundServers extends AsyncDisposable {
  readonly servers: Servers;
}

/**
 * The servers that TALLY_POSTGRES_URL and TALLY_REDIS_URL name, or some of its own. Everything is in a database and under
 * a prefix of a new name.
 */
export async function findServers(): Promise<FoundServers> {
  await using opened = new AsyncDisposableStack();
  const name = `orders_${randomBytes(4).toString('hex')}`;
  const base = process.env['TALLY_POSTGRES_URL'] ?? opened.use(await startPostgres()).url;
  const redisUrl = process.env['TALLY_REDIS_URL'] ?? opened.use(await startRedis()).url;
  await ask(base, `CREATE DATABASE ${name}`);
  opened.defer(() => ask(base, `DROP DATABASE ${name} WITH (FORCE)`));
  const url = new URL(base);
  url.pathname = `/${name}`;
  const kept = opened.move();
  return {
    servers: { postgresUrl: url.href, redisUrl, prefix: `${name}:` },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function ask(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
