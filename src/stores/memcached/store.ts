import type { Diagnose } from '../../ports/diagnose.ts';
import type { Caches } from '../../ports/cache.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import type { MemcachedClient } from './client.ts';
import { openCaches } from './cache/caches.ts';
import { openDiagnose } from './diagnose.ts';
import { openKeyValue } from './key-value/key-value.ts';
import { openLink, type MemcachedLink } from './link.ts';
import type { MemcachedParts } from './parts.ts';
import { checkMemcachedOptions, type MemcachedOptions } from './options.ts';
import { readVitals } from './vitals.ts';

/** An open Memcached: a client of its meta protocol, and the ports that coordinate it. */
export interface MemcachedStore extends Store<MemcachedClient> {
  readonly system: 'memcached';
  readonly keyValue: KeyValue;
  readonly caches: Caches;
  readonly diagnose: Diagnose;
}

/**
 * Declares a store in Memcached 1.6 or newer. It is for what can be had again: Memcached forgets what it has no memory for,
 * and everything when it ends. So it is no source and no sink, and a flow to it is refused. Throws CONFIG_INVALID,
 * CONFIG_UNKNOWN_OPTION; `open` throws STORE_UNREACHABLE, CONFIG_INVALID (started with `-C`), CAPABILITY_MISSING (a proxy,
 * or older than 1.6).
 */
export function memcached(options: MemcachedOptions): StoreDefinition<MemcachedStore> {
  const checked = checkMemcachedOptions(options);
  return {
    system: 'memcached',
    open: async (context) => {
      const { clock, random, name } = context;
      const where = `store ${name}`;
      const connect = (): Promise<MemcachedLink> => openLink({ ...checked, clock, random, where });
      const link = await connect();
      try {
        // The application's own commands do not stand before the coordinator's.
        const client = await connect();
        return new OpenStore(context, client, { link, prefix: checked.prefix, clock, where });
      } catch (error) {
        await link.close();
        throw error;
      }
    },
  };
}

class OpenStore implements MemcachedStore {
  readonly name: string;
  readonly system = 'memcached';
  readonly keyValue: KeyValue;
  readonly caches: Caches;
  readonly diagnose: Diagnose;
  readonly #parts: MemcachedParts;
  readonly #client: MemcachedLink;

  constructor(context: StoreContext, client: MemcachedLink, parts: MemcachedParts) {
    this.name = context.name;
    this.#client = client;
    this.#parts = parts;
    this.keyValue = openKeyValue(parts);
    this.caches = openCaches(parts, context.random);
    this.diagnose = openDiagnose(parts.link);
  }

  get client(): MemcachedClient {
    return this.#client;
  }

  async vitals(): Promise<Vitals> {
    return readVitals(this.#parts.link);
  }

  async close(): Promise<void> {
    await this.#client.close();
    await this.#parts.link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
