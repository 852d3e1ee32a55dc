import { createClient } from 'redis';
import { describe, expect, test } from 'vitest';
import { flow, open, put, tally } from 'tallystick';
import { postgres, table } from 'tallystick/postgres';
import { redis } from 'tallystick/redis';
import { startProxy, type Proxy } from '../../servers/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ended } from '../support/ended.ts';
import { tempDir } from '../support/scenario.ts';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from '../support/servers.ts';
import { ask, eventually, ITEMS, rows } from '../support/postgres-app.ts';

const path = tempDir();
const kept = ended();
const copies = table({ key: ['id'], columns: { id: 'int4', name: 'text', n: 'int4' } });

async function proxied(url: string): Promise<{ readonly url: string; readonly network: Proxy }> {
  const through = new URL(url);
  const network = kept(await startProxy(Number(through.port)));
  through.port = String(network.port);
  return { url: through.href, network };
}

async function inRedis(url: string): Promise<readonly unknown[]> {
  const client = createClient({ url });
  await client.connect();
  try {
    const keys = await client.keys('copies:*');
    const texts = keys.length === 0 ? [] : await client.mGet(keys);
    return texts
      .map((text) => JSON.parse(text ?? 'null') as { readonly id: number })
      .toSorted((one, other) => one.id - other.id);
  } finally {
    client.destroy();
  }
}

/** Cuts owner and targets off from the application, while the owner is written all the time. */
async function survives(harm: (networks: readonly Proxy[]) => Promise<void>): Promise<void> {
  const owner = kept(await freshDatabase());
  const target = kept(await freshDatabase());
  const cache = kept(await freshRedis());
  await ask(owner.url, ITEMS);
  const [orders, search, keys] = await Promise.all([owner.url, target.url, cache.url].map(proxied));
  if (orders === undefined || search === undefined || keys === undefined) throw new Error('none');
  const toPut = (row: Readonly<Record<string, unknown>>) =>
    put('copies', [row['id'] as number], {
      id: row['id'] as number,
      name: row['name'] as string,
      n: row['n'] as number,
    });
  const copy = { from: 'orders', tables: ['items'], into: 'copies', batchRows: 50, project: toPut };
  const app = kept(
    await open(
      tally({
        name: 'shop',
        dir: path('tally'),
        stores: {
          orders: postgres({ url: orders.url }),
          search: postgres({ url: search.url, targets: { copies } }),
          cache: redis({ url: keys.url }),
        },
        flows: {
          toSearch: flow({ ...copy, to: 'search' }),
          toCache: flow({ ...copy, to: 'cache' }),
        },
      }),
    ),
  );
  const write = (id: number): Promise<unknown> =>
    ask(
      owner.url,
      `INSERT INTO items VALUES (${id}, 'new ${id}'); UPDATE items SET n = n + 1 WHERE id = ${id - 3};
       DELETE FROM items WHERE id = ${id - 20} AND id % 2 = 0`,
    );
  let id = 0;
  for (; id < 50; id += 1) await write(id);
  const state = { isOver: false };
  const harming = harm([orders.network, search.network, keys.network]).finally(
    () => (state.isOver = true),
  );
  while (!state.isOver) {
    await write((id += 1));
    await systemClock.sleep(20);
  }
  await harming;
  for (let more = 0; more < 50; more += 1) await write((id += 1));
  const { evidence } = await eventually(
    () => app.write('orders', (tx) => tx.query(`INSERT INTO items VALUES (1000000, 'last')`)),
    'a write through the application',
  );
  for (const store of ['search', 'cache'] as const)
    expect(
      await app.barrier(store, { after: evidence, within: '90s' }),
      JSON.stringify(await app.status()),
    ).toEqual({ kind: 'fresh' });
  const owned = await rows(owner.url, 'items');
  expect(await rows(target.url, 'copies')).toEqual(owned);
  expect(await inRedis(cache.url)).toEqual(owned);
}

describe.skipIf(!hasPostgres || !hasRedis)('a network that fails under writes', () => {
  test('T18 cut for 30 s, owner and targets are carried on with by themselves', async () => {
    await survives(async (networks) => {
      await Promise.all(networks.map((network) => network.cut()));
      await systemClock.sleep(30_000);
      await Promise.all(networks.map((network) => network.heal()));
    });
  }, 240_000);

  test('T18 half-open for longer than a silence is believed, it is given up, and carried on with', async () => {
    await survives(async (networks) => {
      for (const network of networks) network.blackhole();
      await systemClock.sleep(35_000);
      await Promise.all(networks.map((network) => network.heal()));
    });
  }, 240_000);
});
