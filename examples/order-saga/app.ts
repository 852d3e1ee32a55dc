import { join } from 'node:path';
import { open, tally, type OpenApp, type OpenOptions } from 'tallystick';
import { files } from 'tallystick/files';
import { postgres } from 'tallystick/postgres';
import { redis } from 'tallystick/redis';
import type { SagaDefinition, SagaEngine } from 'tallystick/saga';
import { sqlite } from 'tallystick/sqlite';
import type { Faults } from './faults.ts';
import type { Order, Participants } from './order.ts';
import { inventory, prepareInventory } from './participants/inventory.ts';
import { ordersInPostgres, prepareTable } from './participants/orders-postgres.ts';
import { ordersInSqlite, prepareOrders } from './participants/orders-sqlite.ts';
import { paymentsInEntries, prepareAccounts } from './participants/payments-entries.ts';
import { paymentsInRedis, prepareHashes } from './participants/payments-redis.ts';
import { shipping } from './participants/shipping.ts';
import { orderSaga, type Patience } from './saga.ts';

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

/** How a shop is opened. */
export interface ShopOptions {
  /** Makes tables, and fills shelves and wallets, once. */
  readonly prepare?: boolean;
  /** Whether this process runs sagas; one that does not starts them and waits. */
  readonly run?: boolean;
  readonly faults?: Faults;
  readonly patience?: Patience;
  /** For tests: what becomes of those who take part, and which workers are taken for dead. */
  readonly wrap?: (participants: Participants) => Participants;
  readonly isDead?: (owner: string) => boolean;
}

/** An open shop, and who takes part in its sagas. */
export interface Shop extends AsyncDisposable {
  readonly definition: SagaDefinition<Order>;
  readonly sagas: SagaEngine;
  readonly participants: Participants;
}

/**
 * Opens the four stores. Each service has one of its own kind, and no two share a transaction: that is why there is a
 * saga.
 */
export async function openShop(place: Place, options: ShopOptions = {}): Promise<Shop> {
  const { run = false, faults, patience, wrap = asTheyAre, isDead } = options;
  // The saga is declared before the stores are open; its steps wait for that.
  const opening = Promise.withResolvers<Participants>();
  const definition = orderSaga(opening.promise, faults, patience);
  const opened = { run, ...(isDead === undefined ? {} : { isDead }) };
  const shop = await (place.servers === undefined
    ? openEmbedded(place.dir, definition, opened)
    : openOnServers(place.dir, place.servers, definition, opened));
  if (options.prepare === true) await shop.prepare();
  const participants = wrap(shop.participants);
  opening.resolve(participants);
  const { app } = shop;
  return {
    definition,
    participants,
    sagas: app.sagas,
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

interface Opened {
  readonly app: Pick<OpenApp, 'sagas'> & AsyncDisposable;
  readonly participants: Participants;
  readonly prepare: () => Promise<void>;
}

async function openEmbedded(
  dir: string,
  definition: SagaDefinition<Order>,
  options: OpenOptions,
): Promise<Opened> {
  const stores = {
    inventory: sqlite({ file: join(dir, 'inventory.db') }),
    payments: sqlite({ file: join(dir, 'payments.db') }),
    shipping: files({ dir: join(dir, 'labels') }),
    orders: sqlite({ file: join(dir, 'orders.db') }),
  };
  const declared = tally({ ...nameIn(dir), stores, sagas: [definition] });
  const app = await open(declared, options);
  const { stores: opened } = app;
  return {
    app,
    participants: {
      inventory: inventory(opened.inventory),
      payments: paymentsInEntries(opened.payments),
      shipping: shipping(opened.shipping),
      orders: ordersInSqlite(opened.orders),
    },
    prepare: async () => {
      prepareInventory(opened.inventory);
      prepareOrders(opened.orders);
      await prepareAccounts(opened.payments);
    },
  };
}

async function openOnServers(
  dir: string,
  { postgresUrl, redisUrl, prefix }: Servers,
  definition: SagaDefinition<Order>,
  options: OpenOptions,
): Promise<Opened> {
  const stores = {
    inventory: sqlite({ file: join(dir, 'inventory.db') }),
    payments: redis({ url: redisUrl, prefix }),
    shipping: files({ dir: join(dir, 'labels') }),
    orders: postgres({ url: postgresUrl }),
  };
  const declared = tally({ ...nameIn(dir), stores, sagas: [definition] });
  const app = await open(declared, options);
  const { stores: opened } = app;
  return {
    app,
    participants: {
      inventory: inventory(opened.inventory),
      payments: paymentsInRedis(opened.payments, prefix),
      shipping: shipping(opened.shipping),
      orders: ordersInPostgres(opened.orders),
    },
    prepare: async () => {
      prepareInventory(opened.inventory);
      await prepareTable(opened.orders);
      await prepareHashes(opened.payments, prefix);
    },
  };
}

function nameIn(dir: string) {
  return { name: 'order-saga', dir: join(dir, 'coordinator') };
}

function asTheyAre(participants: Participants): Participants {
  return participants;
}
