import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { open } from 'tallystick';
import { decision } from 'tallystick/testing';
import { seededRandom } from '../../src/runtime/random.ts';
import { ask } from '../../test/support/ask.ts';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from '../../test/support/servers.ts';
import { ordersApp, ordersOf, type OpenOrders, type Servers } from './app.ts';
import { run } from './main.ts';
import { orderDecider, type OrderLine } from './order.ts';
import { traffic } from './traffic.ts';
import { audit, contents } from './verify.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-shop-events-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('an order that was just paid is there in every store that is asked for it', async () => {
  const said: string[] = [];
  expect(await run(dir, (text) => said.push(text))).toEqual([]);
  expect(said.slice(0, 3)).toEqual([
    'paid: paid; sent again by the same key: nothing is done',
    'orders with a lamp: 1000',
    'revenue: 98.00',
  ]);
}, 60_000);

/** Customers order, each projection is rebuilt while they go on, and all of it is what the events say. */
async function rebuiltIsIncremental(servers?: Servers): Promise<void> {
  await using app = await open(ordersApp(dir, servers));
  const orders = ordersOf(app);
  const random = seededRandom('the orders of a day');
  const next = (): number => random.next();
  const first = await traffic(orders, next, { count: 120 });
  expect(first.done).toBeGreaterThan(30);
  expect(first.refused).toBeGreaterThan(15);
  expect(await audit(app)).toEqual([]);
  const before = await contents(app);
  for (const rows of Object.values(before)) expect(Object.keys(rows).length).toBeGreaterThan(5);
  const again = rebuilders(app);
  for (const rebuild of again) await rebuild();
  expect(await audit(app)).toEqual([]);
  expect(await contents(app)).toEqual(before);

  const rebuilding = again.map((rebuild) => rebuild());
  const { done } = await traffic(orders, next, { from: 1_000, count: 40 });
  await Promise.all(rebuilding);
  expect(done).toBeGreaterThan(5);
  expect(await audit(app)).toEqual([]);
}

/** How each read model is made anew: beside the old one, or, where a store cannot switch (Redis), row by row in place. */
function rebuilders(app: OpenOrders): readonly (() => Promise<unknown>)[] {
  const rebuild = (flow: string) => () =>
    ask(app, { of: 'flow', flow, request: { kind: 'rebuild' } });
  const resnapshot = () => ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' });
  return [
    app.stores.status.sink.supports.switchOver ? rebuild('status') : resnapshot,
    ...['search', 'purchases', 'revenue'].map(rebuild),
  ];
}

test(
  'each read model that is rebuilt from all events is the one that was kept in step',
  () => rebuiltIsIncremental(),
  90_000,
);

test.skipIf(!hasPostgres || !hasRedis)(
  'with events in PostgreSQL and orders by key in Redis it is the same',
  async () => {
    await using database = await freshDatabase();
    await using cache = await freshRedis();
    const { url: redisUrl, prefix } = cache;
    await rebuiltIsIncremental({ postgresUrl: database.url, redisUrl, prefix });
  },
  90_000,
);

test('the auditor finds a row that is missing and one that is wrong', async () => {
  await using app = await open(ordersApp(dir));
  const orders = ordersOf(app);
  const lines = [line('lamp', 2)];
  for (const id of ['1', '2']) await orders.handle(id, { kind: 'place', customer: 'ada', lines });
  expect(await audit(app)).toEqual([]);
  app.stores.search.client.exec(
    `DELETE FROM contents WHERE customer = 'ada' AND rowid = (SELECT min(rowid) FROM contents)`,
  );
  expect(await audit(app)).toMatchObject([expect.stringMatching(/^contents \["[12]"\]: nothing/)]);
}, 30_000);

describe('an order', () => {
  test('is paid what its lines cost, once', async () => {
    await decision(orderDecider)
      .given(placed(line('lamp', 2), line('rug', 1)))
      .when({ kind: 'pay' })
      .thenDecides({ type: 'paid', data: { cents: 300 } });
    await decision(orderDecider)
      .given(placed(line('lamp', 1)), { type: 'paid', data: { cents: 100 } })
      .when({ kind: 'pay' })
      .thenRefuses('not-placed');
  });

  test('takes back no more than was bought', async () => {
    const shipped = [
      placed(line('lamp', 2)),
      { type: 'paid', data: { cents: 200 } },
      { type: 'shipped', data: {} },
      { type: 'sent-back', data: { sku: 'lamp', quantity: 1, cents: 100 } },
    ] as const;
    await decision(orderDecider)
      .given(...shipped)
      .when({ kind: 'send-back', sku: 'lamp', quantity: 2 })
      .thenRefuses('not-bought');
    await decision(orderDecider)
      .given(...shipped)
      .when({ kind: 'cancel' })
      .thenRefuses('too-late');
  });
});

function line(sku: string, quantity: number): OrderLine {
  return { sku, title: sku, quantity, cents: 100 };
}

function placed(...lines: OrderLine[]): {
  readonly type: 'placed';
  readonly data: { readonly customer: string; readonly lines: OrderLine[] };
} {
  return { type: 'placed', data: { customer: 'ada', lines } };
}
