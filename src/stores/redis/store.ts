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
import {
  checkRedisOptions,
  type CheckedOptions,
  type RedisClusterOptions,
  type RedisServerOptions,
} from './options.ts';
import type { RedisParts } from './parts.ts';
import type { Diagnose } from '../../ports/diagnose.ts';
import type { Caches } from '../../ports/cache.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import { openDiagnose } from './diagnose.ts';
import { openEffects, type RedisEffects } from './effects/effects.ts';
import { openCaches } from './cache/caches.ts';
import { openKeyValue } from './key-value/key-value.ts';
import { openScan } from './scan.ts';
import type { Key } from '../../core/row.ts';
import { keyText } from './sink/key-text.ts';
import type { Names } from './sink/names.ts';
import { RedisSink } from './sink/sink.ts';
import { readVitals } from './vitals.ts';

/** An open Redis: the driver's own client, and the ports that coordinate it. */
export interface RedisStore<Client = RedisClient | RedisCluster> extends Store<Client> {
  readonly system: 'redis';
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly caches: Caches;
  readonly scan: Scan;
  /** Effects of sagas' steps: Lua, which sets its marker in the same step. */
  readonly effects: RedisEffects;
  readonly diagnose: Diagnose;
  /** The Redis key of a row, for native commands: `GET` of it, or `HGETALL`. */
  rowKey(target: string, key: Key): string;
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
        const parts = { link, connect, driver, address, prefix, clock, random, where };
        return new OpenStore(context, client, parts, checked);
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
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly caches: Caches;
  readonly scan: Scan;
  readonly effects: RedisEffects;
  readonly diagnose: Diagnose;
  readonly #parts: RedisParts;
  readonly #names: Names;

  constructor(
    context: StoreContext,
    client: RedisClient | RedisCluster,
    parts: RedisParts,
    options: CheckedOptions,
  ) {
    const { names, catalogue, eviction, effectRetentionMs } = options;
    this.name = context.name;
    this.client = client;
    this.sink = new RedisSink({ parts, ...options });
    this.keyValue = openKeyValue(parts);
    this.caches = openCaches(parts);
    this.scan = openScan(parts, names, catalogue);
    this.effects = openEffects(parts, { retentionMs: effectRetentionMs, eviction });
    this.diagnose = openDiagnose(parts);
    this.#parts = parts;
    this.#names = names;
  }

  rowKey(target: string, key: Key): string {
    const text = keyText(key);
    return this.#names.rowPrefix(target, this.#names.bucketOf(text)) + text;
  }

  async vitals(): Promise<Vitals> {
    return readVitals(this.#parts.link);
  }

  async close(): Promise<void> {
    await this.#parts.link.close();
    destroy(this.client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
