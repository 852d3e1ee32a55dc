import { isTallyError } from 'tallystick';
import { probed, resultOf, settled } from 'tallystick/effects';
import type { RedisClient, RedisStore } from 'tallystick/redis';
import { refused } from 'tallystick/saga';
import { CUSTOMERS, WALLET, type Participant } from '../order.ts';

/** Gives each customer of a new shop a wallet, once. */
export async function prepareHashes(
  { client }: RedisStore<RedisClient>,
  prefix: string,
): Promise<void> {
  for (const customer of CUSTOMERS)
    await client.hSetNX(`${prefix}account:${customer}`, 'wallet', String(WALLET));
}

const CHARGE = `
local wallet, total = tonumber(redis.call('HGET', KEYS[1], 'wallet') or 0), tonumber(ARGV[2])
if wallet < total then return nil, 'not enough money' end
redis.call('HINCRBY', KEYS[1], 'paid:' .. ARGV[1], total)
return cjson.encode({ wallet = redis.call('HINCRBY', KEYS[1], 'wallet', -total) })`;

const REFUND = `
redis.call('HDEL', KEYS[1], 'paid:' .. ARGV[1])
redis.call('HINCRBY', KEYS[1], 'wallet', ARGV[2])`;

/** Accounts as hashes in Redis: one script changes the account and sets the marker. */
export function paymentsInRedis({ effects }: RedisStore, prefix: string): Participant {
  const keyOf = (customer: string): string => `${prefix}account:${customer}`;
  return {
    do: async (key, { id, customer, total }) => {
      const keys = [keyOf(customer)] as const;
      try {
        return resultOf(await effects.do(key, { lua: CHARGE, keys, args: [id, String(total)] }));
      } catch (error) {
        if (!isTallyError(error, 'WRITE_REFUSED')) throw error;
        throw refused(`${customer} has not enough money`, { cause: error });
      }
    },
    undo: async (key, { id, customer, total }) => {
      const keys = [keyOf(customer)] as const;
      settled(await effects.undo(key, { lua: REFUND, keys, args: [id, String(total)] }));
    },
    probe: async (key, { customer }) => probed(await effects.probe(key, keyOf(customer))),
  };
}
