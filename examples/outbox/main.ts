import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/node-postgres';
import { Kysely, PostgresDialect } from 'kysely';
import { Client, type Pool } from 'pg';
import { open } from 'tallystick';
import { createOutbox, pruneOutbox } from 'tallystick/postgres';
import { outboxApp } from './app.ts';
import * as withDrizzle from './drizzle.ts';
import * as withKysely from './kysely.ts';
import { ordersSql, type NewOrder } from './order.ts';
import * as withPg from './pg.ts';
import * as withPrisma from './prisma.ts';

// Places an order with each client, and shows the messages as they arrive in the inbox of another database. It makes
// two databases on the server of TALLY_POSTGRES_URL (wal_level = logical; a user who may create databases and
// replicate) and drops them at the end.

/** One message as billing finds it. */
export interface Arrived {
  readonly key: string;
  readonly payload: { readonly customer: string; readonly total: string };
}

/** Runs the example against a server; returns what arrived. */
export async function run(
  server: string,
  say: (line: string) => void,
): Promise<readonly Arrived[]> {
  const suffix = randomBytes(4).toString('hex');
  const names = { orders: `tally_orders_${suffix}`, billing: `tally_billing_${suffix}` };
  const admin = new Client({ connectionString: server });
  await admin.connect();
  const dir = await mkdtemp(join(tmpdir(), 'tally-outbox-'));
  try {
    for (const name of Object.values(names)) await admin.query(`CREATE DATABASE ${name}`);
    return await carry(
      { orders: of(server, names.orders), billing: of(server, names.billing), dir },
      say,
    );
  } finally {
    await admin.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1`,
      [names.orders],
    );
    for (const name of Object.values(names))
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await admin.end();
    await rm(dir, { recursive: true, force: true });
  }
}

async function carry(
  urls: { readonly orders: string; readonly billing: string; readonly dir: string },
  say: (line: string) => void,
): Promise<readonly Arrived[]> {
  const migration = new Client({ connectionString: urls.orders });
  await migration.connect();
  await migration.query(ordersSql);
  await createOutbox(migration);

  await using app = await open(outboxApp(urls));
  const pool = app.stores.orders.client;
  const prisma = await generatedPrisma(urls.orders);
  if (prisma === undefined)
    say('prisma: left out; schema.prisma says how its client is installed and generated');
  for (const [name, place] of Object.entries(clients(pool, prisma))) {
    const id = await place({ customer: name, total: '12.50' });
    say(`${name}: order ${id} placed`);
  }
  await prisma?.$disconnect();
  // One that is rolled back leaves neither an order nor a message.
  await withPg
    .placeOrder(pool, { customer: 'nobody', total: 'free of charge' })
    .catch((error: unknown) => say(`pg: refused: ${String(error)}`));

  // What other clients wrote has no evidence of its own; an empty write is after all of it.
  const { evidence } = await app.write('orders', () => undefined);
  const { value } = await app.read('billing', { after: evidence, within: '30s' }, (billing) =>
    billing.query<Arrived>('SELECT key, payload FROM inbox ORDER BY _fence, _ordinal, ord'),
  );
  for (const { key, payload } of value.rows)
    say(`inbox: order ${key} of ${payload.customer}, ${payload.total}`);
  // What was captured needs no row any more. A service keeps them for longer than its worker may ever be down.
  say(`pruned: ${await pruneOutbox(migration, { keep: 0 })} rows of the outbox`);
  await migration.end();
  return value.rows;
}

type Place = (order: NewOrder) => Promise<string>;

/** The same order, by each client in its own transaction. They share the pool of the store. */
function clients(
  pool: Pool,
  prisma: withPrisma.OrdersClient | undefined,
): Readonly<Record<string, Place>> {
  const kysely = new Kysely<withKysely.Tables>({ dialect: new PostgresDialect({ pool }) });
  return {
    pg: (order) => withPg.placeOrder(pool, order),
    kysely: (order) => withKysely.placeOrder(kysely, order),
    drizzle: (order) => withDrizzle.placeOrder(drizzle(pool), order),
    ...(prisma === undefined
      ? {}
      : { prisma: (order: NewOrder) => withPrisma.placeOrder(prisma, order) }),
  };
}

/** The client that Prisma generates from schema.prisma, if it has been. */
async function generatedPrisma(url: string): Promise<withPrisma.OrdersClient | undefined> {
  // Names in variables: neither is there unless somebody has installed and generated it.
  const names = { adapter: '@prisma/adapter-pg', client: './generated/client.ts' };
  try {
    const { PrismaPg } = (await import(names.adapter)) as {
      readonly PrismaPg: new (config: object) => unknown;
    };
    const { PrismaClient } = (await import(names.client)) as {
      readonly PrismaClient: new (options: object) => withPrisma.OrdersClient;
    };
    return new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) });
  } catch (error) {
    if ((error as { readonly code?: string }).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

function of(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

if (import.meta.main) {
  const server = process.env['TALLY_POSTGRES_URL'];
  if (server === undefined) {
    console.error(
      'set TALLY_POSTGRES_URL to a PostgreSQL server with wal_level = logical, such as postgres://postgres@localhost/postgres',
    );
    process.exitCode = 2;
  } else await run(server, (line) => console.log(line));
}
