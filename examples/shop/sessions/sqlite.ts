import type { SqliteStore } from 'tallystick/sqlite';
import type { ShownOrder } from '../schema.ts';
import { CART_TTL_MS, SESSION_TTL_MS, type Sessions } from './sessions.ts';

// The sessions in SQLite. `redis.ts` is the same for Redis.

/** SQLite knows no expiry: the store's key-value entries add it. */
export function sessionsInSqlite({ keyValue, query }: SqliteStore): Sessions {
  return {
    noteVisit: (customerId, at) =>
      keyValue.set(`session/${customerId}`, { at }, { ttlMs: SESSION_TTL_MS }),
    keepCart: (orderId, lines) =>
      keyValue.set(`cart/${orderId}`, { lines }, { ttlMs: CART_TTL_MS }),
    emptyCart: (orderId) => keyValue.delete(`cart/${orderId}`),
    // What has expired is not shown any more, and takes up space until it is swept.
    forgetExpired: () => keyValue.sweep(),
    recentOrders: async (customerId) => {
      const row = await query.get('recentOrders', [customerId]);
      return (row?.['orders'] ?? []) as unknown as readonly ShownOrder[];
    },
  };
}
