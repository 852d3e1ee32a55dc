import { join } from 'node:path';
import { open, tally, type OpenApp } from 'tallystick';
import { files } from 'tallystick/files';
import { postgres } from 'tallystick/postgres';
import { redis } from 'tallystick/redis';
import { sqlite } from 'tallystick/sqlite';
import type { Participants } from './order.ts';
import { inventory, prepareInventory } from './participants/inventory.ts';
import { ordersInPostgres, prepareTable } from './participants/orders-postgres.ts';
import { ordersInSqlite, prepareOrders } from './participants/orders-sqlite.ts';
import { paymentsInEntries, prepareAccounts } from './participants/payments-entries.ts';
import { paymentsInRedis, prepareHashes } from './participants/payments-redis.ts';
import { shipping } from './participants/shipping.ts';

/** Real servers for two of the stores. */
export interface Servers {
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly prefix: string;
}

/** Where a shop is. */
export interface Place {
  readonly dir: string;
  readonly servers?: Servers;
}

/** An open shop, and who takes part in its sagas. */
export interface Shop extends AsyncDisposable {
  readonly app: Pick<OpenApp, 'ledger'>;
  readonly participants: Participants;
}

/**
 * Opens the four stores. Each service has one of its own kind, and no two share a transaction: that is why there is a
 * saga. `prepare` makes tables and fills shelves and wallets, once.
 */
export async function openShop({ dir, servers }: Place, prepare: boolean): Promise<Shop> {
  const embedded = {
    inventory: sqlite({ file: join(dir, 'inventory.db') }),
    shipping: files({ dir: join(dir, 'labels') }),
  };
  const common = { name: 'order-saga', dir: join(dir, 'coordinator') };
  if (servers === undefined) {
    const stores = {
      ...embedded,
      payments: sqlite({ file: join(dir, 'payments.db') }),
      orders: sqlite({ file: join(dir, 'orders.db') }),
    };
    const app = await open(tally({ ...common, stores }), { run: false });
    const { stores: opened } = app;
    if (prepare) {
      prepareInventory(opened.inventory);
      prepareOrders(opened.orders);
      await prepareAccounts(opened.payments);
    }
    return shopOf(app, {
      inventory: inventory(opened.inventory),
      payments: paymentsInEntries(opened.payments),
      shipping: shipping(opened.shipping),
      orders: ordersInSqlite(opened.orders),
    });
  }
  const { postgresUrl, redisUrl, prefix } = servers;
  const stores = {
    ...embedded,
    payments: redis({ url: redisUrl, prefix }),
    orders: postgres({ url: postgresUrl }),
  };
  const app = await open(tally({ ...common, stores }), { run: false });
  const { stores: opened } = app;
  if (prepare) {
    prepareInventory(opened.inventory);
    await prepareTable(opened.orders);
    await prepareHashes(opened.payments, prefix);
  }
  return shopOf(app, {
    inventory: inventory(opened.inventory),
    payments: paymentsInRedis(opened.payments, prefix),
    shipping: shipping(opened.shipping),
    orders: ordersInPostgres(opened.orders),
  });
}

function shopOf(app: Pick<OpenApp, 'ledger'> & AsyncDisposable, participants: Participants): Shop {
  return { app, participants, [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() };
}
