import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import {
  loadDriver,
  makeClient,
  makeCluster,
  type RedisClient,
  type RedisCluster,
} from './driver.ts';
import { connectFirst, destroy, openLink } from './link.ts';
import { checkRedisOptions, type RedisClusterOptions, type RedisServerOptions } from './options.ts';
import type { RedisParts } from './parts.ts';

/** An open Redis: the driver's own client, and the ports that coordinate it. */
export interface RedisStore<Client = RedisClient | RedisCluster> extends Store<Client> {
  readonly system: 'redis';
}

/**
 * Declares a store in Redis 7 (or a server that speaks as it does), through the driver `redis` (node-redis),
 * which has to be installed. `client` is that driver's own client (RESP3): `createClient` for a `url`,
 * `createCluster` for `cluster`. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION; `open` throws DRIVER_MISSING,
 * STORE_UNREACHABLE, CONFIG_INVALID.
 */
export function redis(options: RedisServerOptions): StoreDefinition<RedisStore<RedisClient>>;
export function redis(options: RedisClusterOptions): StoreDefinition<RedisStore<RedisCluster>>;
export function redis(
  options: RedisServerOptions | RedisClusterOptions,
): StoreDefinition<RedisStore> {
  const checked = checkRedisOptions(options);
  return {
    system: 'redis',
    open: async (context) => {
      const driver = await loadDriver();
      const { clock, random } = context;
      const { address, prefix } = checked;
      const where = `store ${context.name}`;
      const client =
        address.kind === 'server'
          ? makeClient(driver, address.url)
          : makeCluster(driver, address.urls);
      await connectFirst(client, where);
      const connect: RedisParts['connect'] = () => openLink({ driver, address, clock, where });
      try {
        const link = await connect();
        return new OpenStore(context, client, {
          link,
          connect,
          driver,
          address,
          prefix,
          clock,
          random,
          where,
        });
      } catch (error) {
        destroy(client);
        throw error;
      }
    },
  };
}

class OpenStore implements RedisStore {
  readonly name: string;
  readonly system = 'redis';
  readonly client: RedisClient | RedisCluster;
  readonly #parts: RedisParts;

  constructor(context: StoreContext, client: RedisClient | RedisCluster, parts: RedisParts) {
    this.name = context.name;
    this.client = client;
    this.#parts = parts;
  }

  async vitals(): Promise<Vitals> {
    return { system: 'redis', version: '', measures: [] };
  }

  async close(): Promise<void> {
    await this.#parts.link.close();
    destroy(this.client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
