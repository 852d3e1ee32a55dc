import { join } from 'node:path';
import { flow, tally, type OpenApp, type StoreDefinition, type TallyApp } from 'tallystick';
import { columnar, duckdb, type DuckdbStore } from 'tallystick/duckdb';
import { aggregates, keyValueSnapshots, type Aggregates } from 'tallystick/events';
import { postgres, type PostgresEventsStore } from 'tallystick/postgres';
import { json, redis, type RedisClient, type RedisStore } from 'tallystick/redis';
import {
  edges,
  fullText,
  keyValue,
  sqlite,
  type SqliteEventsStore,
  type SqliteStore,
} from 'tallystick/sqlite';
import { orderDecider, type OrderTypes } from './order.ts';
import { purchases, revenue, search, status } from './views.ts';

/** The stores: one holds what happened, four hold what is read of it. */
export type OrderStores = {
  readonly orders: StoreDefinition<SqliteEventsStore | PostgresEventsStore>;
  readonly status: StoreDefinition<SqliteStore | RedisStore<RedisClient>>;
  readonly search: StoreDefinition<SqliteStore>;
  readonly graph: StoreDefinition<SqliteStore>;
  readonly reports: StoreDefinition<DuckdbStore>;
};

export type OpenOrders = OpenApp<OrderStores>;

/** Servers that take the place of two of the files. */
export interface Servers {
  readonly postgresUrl: string;
  readonly redisUrl: string;
  /** What keys begin with in Redis. */
  readonly prefix: string;
}

/** The orders of a shop as events, and four flows that make four read models of them. */
export function ordersApp(dir: string, servers?: Servers): TallyApp<OrderStores> {
  const file = (name: string): string => join(dir, name);
  const events = { from: 'orders', tables: ['events'] } as const;
  return tally({
    name: 'shop-events',
    dir: file('tally'),
    stores: {
      // the truth: what happened to each order, append-only
      orders:
        servers === undefined
          ? sqlite({ file: file('orders.db'), capture: 'events' })
          : postgres({ url: servers.postgresUrl, capture: 'events' }),
      // by key: an order as its customer sees it
      status:
        servers === undefined
          ? sqlite({ file: file('status.db'), targets: { orders: keyValue() } })
          : redis({
              url: servers.redisUrl,
              prefix: servers.prefix,
              targets: { orders: json() },
            }),
      // full text: open orders by what is in them
      search: sqlite({
        file: file('search.db'),
        targets: { contents: fullText({ columns: ['customer', 'titles'] }) },
      }),
      // graph: who bought what, less what came back
      graph: sqlite({ file: file('graph.db'), targets: { purchases: edges() } }),
      // columnar: every movement of money
      reports: duckdb({
        file: file('reports.duckdb'),
        memoryLimit: '256MB',
        targets: {
          revenue: columnar({
            key: ['orderId', 'version'],
            columns: { orderId: 'VARCHAR', version: 'INTEGER', kind: 'VARCHAR', cents: 'BIGINT' },
            appendOnly: true,
          }),
        },
      }),
    },
    flows: {
      status: flow({ ...events, to: 'status', into: 'orders', fold: status }),
      search: flow({ ...events, to: 'search', into: 'contents', project: search }),
      purchases: flow({ ...events, to: 'graph', into: 'purchases', fold: purchases }),
      revenue: flow({ ...events, to: 'reports', into: 'revenue', fold: revenue }),
    },
    deciders: { orders: [orderDecider] },
  });
}

/** The orders of an open shop: commands go in here. */
export function ordersOf(app: OpenOrders): Aggregates<OrderTypes> {
  return aggregates<OrderTypes, unknown>(orderDecider, {
    events: app.stores.orders.events,
    evidenceAt: (position) => app.evidenceAt('orders', position),
    snapshots: keyValueSnapshots(app.stores.search.keyValue),
  });
}
