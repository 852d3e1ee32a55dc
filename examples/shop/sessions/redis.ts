import type { RedisClient, RedisStore } from 'tallystick/redis';
import type { ShownOrder } from '../schema.ts';
import { CART_TTL_MS, SESSION_TTL_MS, type Sessions } from './sessions.ts';

// The sessions in Redis. `sqlite.ts` is the same for SQLite.

/**
 * Redis forgets by itself: each entry is a key with a time to live. `rowKey` names a key as the store names
 * those of its flows, with its prefix; a row of a flow is JSON text under such a key.
 */
export function sessionsInRedis(store: RedisStore<RedisClient>): Sessions {
  const { client } = store;
  return {
    noteVisit: (customerId, at) =>
      client.set(store.rowKey('session', [customerId]), JSON.stringify({ at }), {
        expiration: { type: 'PX', value: SESSION_TTL_MS },
      }),
    keepCart: (orderId, lines) =>
      client.set(store.rowKey('cart', [orderId]), JSON.stringify({ lines }), {
        expiration: { type: 'PX', value: CART_TTL_MS },
      }),
    emptyCart: (orderId) => client.del(store.rowKey('cart', [orderId])),
    forgetExpired: async () => undefined,
    recentOrders: async (customerId) => {
      const text = await client.get(store.rowKey('recentOrders', [customerId]));
      if (text === null) return [];
      return (JSON.parse(text) as { readonly orders: readonly ShownOrder[] }).orders;
    },
  };
}

/** What the driver calls a command whose connection was lost, or was not there. */
const AWAY =
  /^(SocketClosedUnexpectedly|SocketTimeout|ConnectionTimeout|ClientOffline|DisconnectsClient)Error$/;

/** Whether the driver says that the server is away, or still reads its data. */
export function isRedisAway(error: Error): boolean {
  return AWAY.test(error.constructor.name) || error.message.startsWith('LOADING ');
}
