import { cp, rm } from 'node:fs/promises';
import { createClient } from 'redis';
import { afterEach, describe, expect, test } from 'vitest';
import { flow, open, put, tally, type OpenApp } from 'tallystick';
import { redis } from 'tallystick/redis';
import { sqlite } from 'tallystick/sqlite';
import { startRedis, type RedisServer, type RedisSettings } from '../../servers/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { hasRedis } from '../support/servers.ts';
import { fresh, rowsOf, sql, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();
const servers: RedisServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

async function start(settings: RedisSettings = {}, dir?: string): Promise<RedisServer> {
  const server = await startRedis({ settings, ...(dir === undefined ? {} : { dir }) });
  servers.push(server);
  return server;
}

function shop(url: string) {
  return tally({
    name: 'shop',
    dir: path('tally'),
    stores: { orders: sqlite({ file: path('orders.db') }), cache: redis({ url }) },
    flows: {
      copy: flow({
        from: 'orders',
        tables: ['items'],
        to: 'cache',
        into: 'items',
        batchRows: 50,
        project: (row) => put('items', [row['id'] as number], { name: row['name'] ?? null }),
      }),
    },
  });
}

type Shop = OpenApp<ReturnType<typeof shop>['stores']>;

type Client = ReturnType<typeof createClient>;

async function on<Result>(url: string, work: (client: Client) => Promise<Result>): Promise<Result> {
  const client: Client = createClient({ url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    client.destroy();
  }
}

/** What users of the target see, by a driver of their own. */
function seen(url: string): Promise<readonly unknown[]> {
  return on(url, async (client) => {
    const keys = await client.keys('items:*');
    const texts = keys.length === 0 ? [] : await client.mGet(keys);
    return keys
      .map((key, index) => `${key} ${JSON.parse(texts[index] ?? 'null').name as string}`)
      .toSorted();
  });
}

function stored(): readonly unknown[] {
  return rowsOf(path('orders.db'), 'SELECT id, name FROM items')
    .map((row) => row as { readonly id: number; readonly name: string })
    .map(({ id, name }) => `items:${id} ${name}`)
    .toSorted();
}

/** Inserts, changes and deletes while something happens to the target, and for a while after it. */
async function writeWhile(app: Shop, harm: () => Promise<void>): Promise<void> {
  let id = 1_000;
  const step = async (): Promise<void> => {
    id += 1;
    await app.write('orders', (db) => {
      db.prepare('INSERT INTO items VALUES (?, ?)').run(id, `new ${id}`);
      db.prepare('UPDATE items SET name = ? WHERE id = ?').run(`changed ${id}`, (id % 300) + 1);
      db.prepare('DELETE FROM items WHERE id = ?').run(id - 5);
    });
    await systemClock.sleep(1);
  };
  for (let count = 0; count < 100; count += 1) await step();
  const harming = { isOver: false };
  const harmed = harm().finally(() => (harming.isOver = true));
  while (!harming.isOver) await step();
  await harmed;
  for (let count = 0; count < 100; count += 1) await step();
}

function seed(): void {
  sql(
    path('orders.db'),
    `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
     INSERT INTO items SELECT i, 'seed ' || i FROM n`,
  );
}

async function survives(server: RedisServer, harm: () => Promise<void>): Promise<void> {
  seed();
  await using app = await open(shop(server.url));
  await fresh(app, 'cache', (await app.write('orders', () => undefined)).evidence);
  await writeWhile(app, harm);
  await fresh(app, 'cache', (await app.write('orders', () => undefined)).evidence);
  expect(await seen(server.url)).toEqual(stored());
}

describe.skipIf(!hasRedis)('what Redis lost is noticed and applied again', () => {
  test('T1 killed under writes and started again on its append-only file, it misses and doubles nothing', async () => {
    const server = await start();
    await survives(server, async () => {
      await server.kill();
      await systemClock.sleep(300);
      await server.restart();
      await systemClock.sleep(300);
    });
  });

  test('emptied with FLUSHALL under writes, it is filled anew', async () => {
    const server = await start();
    await survives(server, async () => {
      await on(server.url, (client) => client.flushAll());
    });
  });

  test('emptied with FLUSHALL while nobody writes, it is filled anew by itself', async () => {
    const server = await start();
    seed();
    await using app = await open(shop(server.url));
    const { evidence } = await app.write('orders', () => undefined);
    await fresh(app, 'cache', evidence);
    await on(server.url, (client) => client.flushAll());
    await waitFor(async () => ((await seen(server.url)).length === 300 ? true : undefined));
    await fresh(app, 'cache', evidence);
    expect(await seen(server.url)).toEqual(stored());
  });

  test('killed without persistence, it comes back empty and is filled anew', async () => {
    const server = await start({ appendonly: 'no' });
    await survives(server, async () => {
      await server.kill();
      await server.restart();
    });
  });

  test('restored from an older copy of its files, it gets what came since', async () => {
    const server = await start({}, path('redis'));
    await survives(server, async () => {
      await cp(path('redis'), path('copy'), { recursive: true });
      await systemClock.sleep(300);
      await server.kill();
      await rm(path('redis'), { recursive: true });
      await cp(path('copy'), path('redis'), { recursive: true });
      await server.restart();
    });
  });

  test('failed over to a replica that lacked the last writes, it gets them again', async () => {
    const server = await start();
    const replica = await start({ replicaof: `127.0.0.1 ${server.port}` });
    await survives(server, async () => {
      await on(replica.url, async (client) => {
        while (!(await client.info('replication')).includes('master_link_status:up'))
          await systemClock.sleep(20);
        await client.sendCommand(['REPLICAOF', 'NO', 'ONE']);
      });
      await systemClock.sleep(300);
      await server.kill();
      // The address now leads to what the replica has: read-only at first, then promoted.
      await server.restart({ replicaof: `127.0.0.1 ${replica.port}`, appendonly: 'no' });
      await on(server.url, async (client) => {
        while (!(await client.info('replication')).includes('master_link_status:up'))
          await systemClock.sleep(20);
        await systemClock.sleep(200);
        await client.sendCommand(['REPLICAOF', 'NO', 'ONE']);
      });
    });
  });
});
