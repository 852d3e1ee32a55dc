import { join } from 'node:path';
import { flow, tally, type OpenApp, type StoreDefinition, type TallyApp } from 'tallystick';
import { columnar, duckdb } from 'tallystick/duckdb';
import { files } from 'tallystick/files';
import { postgres, type PostgresStore } from 'tallystick/postgres';
import { hash, json, redis, type RedisClient, type RedisStore } from 'tallystick/redis';
import { edges, fullText, keyValue, sqlite, table, type SqliteStore } from 'tallystick/sqlite';
import { boughtTogether, recentOrders, salesMetrics } from './folds.ts';
import { availability, domainEvent, receipt, saleFacts, searchDocument } from './projections.ts';

/** The stores of the shop, each for what it is good at. Two of them may be servers. */
export type ShopStores = {
  readonly orders: StoreDefinition<SqliteStore | PostgresStore>;
  readonly sessions: StoreDefinition<SqliteStore | RedisStore<RedisClient>>;
  readonly events: ReturnType<typeof sqlite>;
  readonly search: ReturnType<typeof sqlite>;
  readonly graph: ReturnType<typeof sqlite>;
  readonly metrics: ReturnType<typeof sqlite>;
  readonly reports: ReturnType<typeof duckdb>;
  readonly objects: ReturnType<typeof files>;
};

/** The shop, open. */
export type OpenShop = OpenApp<ShopStores>;

/** Servers that take the place of two of the files. */
export interface Servers {
  /** Of a database that belongs to the shop. */
  readonly postgresUrl: string;
  readonly redisUrl: string;
  /** What the shop's keys begin with in Redis. */
  readonly prefix: string;
}

/**
 * The whole shop: eight stores, and the eight boundaries between them. All stores are in one folder; with
 * servers, `orders` and `sessions` are there instead, and nothing else of this declaration changes.
 *
 * It writes facts to the stores that own them, and to no other: orders, inventory and customers to
 * `orders`; sessions and carts to `sessions`; images to `objects`. Flows carry the rest.
 */
export function shop(dir: string, servers?: Servers): TallyApp<ShopStores> {
  const file = (name: string): string => join(dir, name);
  return tally({
    name: 'shop',
    dir: file('tally'),

    stores: {
      // relational: who bought what; the only store that flows read from
      orders:
        servers === undefined
          ? sqlite({ file: file('orders.db') })
          : postgres({ url: servers.postgresUrl }),
      // key-value with a time to live: sessions and carts, and what flows keep at hand for them
      sessions:
        servers === undefined
          ? sqlite({
              file: file('sessions.db'),
              targets: { stock: keyValue(), recentOrders: keyValue({ ttl: '30d' }) },
            })
          : redis({
              url: servers.redisUrl,
              prefix: servers.prefix,
              targets: { stock: hash(), recentOrders: json({ ttl: '30d' }) },
            }),
      // log: everything that happened, in order
      events: sqlite({
        file: file('events.db'),
        targets: {
          stream: table({
            key: ['id'],
            columns: { id: 'INTEGER', kind: 'TEXT', orderId: 'TEXT', at: 'INTEGER', data: 'TEXT' },
          }),
        },
      }),
      // full text: what customers look for
      search: sqlite({
        file: file('search.db'),
        targets: { products: fullText({ columns: ['title', 'category'], tokenize: 'porter' }) },
      }),
      // graph: who bought what, and what is bought together
      graph: sqlite({ file: file('graph.db'), targets: { purchases: edges() } }),
      // time series: one row per metric and minute
      metrics: sqlite({
        file: file('metrics.db'),
        targets: {
          minutes: table({
            key: ['metric', 'minute'],
            columns: { metric: 'TEXT', minute: 'INTEGER', value: 'INTEGER' },
          }),
        },
      }),
      // columnar: every line ever sold, for reports over all of them
      reports: duckdb({
        file: file('reports.duckdb'),
        memoryLimit: '256MB',
        targets: {
          lines: columnar({
            key: ['orderId', 'line'],
            columns: {
              orderId: 'VARCHAR',
              line: 'INTEGER',
              sku: 'VARCHAR',
              quantity: 'INTEGER',
              priceMilli: 'BIGINT',
              revenueMilli: 'BIGINT',
            },
            appendOnly: true,
          }),
        },
      }),
      // objects: product images, which the shop writes; receipts, which a flow writes
      objects: files({ dir: file('objects') }),
    },

    flows: {
      productSearch: flow({
        from: 'orders',
        tables: ['products'],
        to: 'search',
        into: 'products',
        project: searchDocument,
      }),
      stock: flow({
        from: 'orders',
        tables: ['inventory'],
        to: 'sessions',
        into: 'stock',
        project: availability,
      }),
      recentOrders: flow({
        from: 'orders',
        tables: ['orders'],
        to: 'sessions',
        into: 'recentOrders',
        fold: recentOrders,
      }),
      eventStream: flow({
        from: 'orders',
        tables: ['events'],
        to: 'events',
        into: 'stream',
        project: domainEvent,
      }),
      boughtTogether: flow({
        from: 'orders',
        tables: ['events'],
        to: 'graph',
        into: 'purchases',
        fold: boughtTogether,
      }),
      salesMetrics: flow({
        from: 'orders',
        tables: ['events'],
        to: 'metrics',
        into: 'minutes',
        fold: salesMetrics,
      }),
      salesReports: flow({
        from: 'orders',
        tables: ['order_lines'],
        to: 'reports',
        into: 'lines',
        project: saleFacts,
      }),
      receipts: flow({
        from: 'orders',
        tables: ['events'],
        to: 'objects',
        into: 'receipts',
        project: receipt,
      }),
    },
  });
}
