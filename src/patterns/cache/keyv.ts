import { decodeValue, encodeValue } from '../../core/codec.ts';
import { must, TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, DURATION_MAX_MS } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import type { CacheEntry, Caches, CacheTier, CacheValue } from '../../ports/cache.ts';

/** One value of `setMany`. `ttl` is in milliseconds. */
export interface KeyvItem {
  readonly key: string;
  readonly value: unknown;
  readonly ttl?: number;
}

/**
 * What keyv 5 asks of a store. It is described here and not imported: keyv is yours to install. cache-manager 7 takes keyv
 * instances, so it is one of its stores, too: `createCache({ stores: [new Keyv({ store })] })`.
 */
export interface KeyvStore extends AsyncDisposable {
  readonly opts: Record<string, unknown>;
  namespace?: string | undefined;
  get<Stored>(key: string): Promise<Stored | undefined>;
  getMany<Stored>(keys: string[]): Promise<(Stored | undefined)[]>;
  set(key: string, value: unknown, ttl?: number): Promise<boolean>;
  setMany(items: KeyvItem[]): Promise<void>;
  delete(key: string): Promise<boolean>;
  deleteMany(keys: string[]): Promise<boolean>;
  has(key: string): Promise<boolean>;
  hasMany(keys: string[]): Promise<boolean[]>;
  clear(): Promise<void>;
  disconnect(): Promise<void>;
  /** Errors are thrown by the calls, and by these events nothing is told. */
  on(event: string, listener: (...values: unknown[]) => void): KeyvStore;
}

export interface KeyvStoreOptions {
  /** Names the cache in its store. A {@link cache} of the same name is another thing: give it another name. */
  readonly name: string;
}

/** Nobody asks a keyv store for the right to load. */
const LEASE_MS = 1;
const LOOK = { lease: 'none', early: 0 } as const;
/** How a payload was made of the value: a text as it is, or the canonical text of anything else. */
const TEXT_NOTE = 't';

/**
 * Keeps the entries of a keyv (or, through it, of a cache-manager) in an open store: memory, sqlite, redis or memcached. For
 * moving over step by step: what is cached under keyv's contract is get, set and delete, and has what those can have. It has no
 * loads, so nobody is held back while another loads, and a value that was read before a delete can be set after it; that needs
 * {@link cache}. `clear` empties this cache, all namespaces of keyv in it. Without a ttl an entry is kept for ten years.
 *
 * Throws CAPABILITY_MISSING for a store that keeps no caches, CONFIG_INVALID; the calls throw STORE_UNREACHABLE,
 * VALUE_UNSUPPORTED, ROW_TOO_LARGE.
 */
export async function keyvStore(
  store: { readonly caches?: Caches },
  options: KeyvStoreOptions,
): Promise<KeyvStore> {
  checkOptions(options, ['name'], 'keyvStore');
  if (store.caches === undefined)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'this store keeps no caches',
      where: 'keyvStore',
      mend: 'use memory, sqlite, redis or memcached, opened',
    });
  const { name } = options;
  return new TierStore(
    await store.caches.open({ name: `keyv.${name}`, payload: 'text', leaseMs: LEASE_MS }),
  );
}

class TierStore implements KeyvStore {
  readonly opts: Record<string, unknown> = { dialect: 'tallystick' };
  namespace?: string | undefined;
  readonly #tier: CacheTier;

  constructor(tier: CacheTier) {
    this.#tier = tier;
  }

  async get<Stored>(key: string): Promise<Stored | undefined> {
    return (await this.getMany<Stored>([key]))[0];
  }

  async getMany<Stored>(keys: string[]): Promise<(Stored | undefined)[]> {
    const entries = await this.#entries(keys);
    return keys.map((key) => valueIn(entries.get(key)) as Stored | undefined);
  }

  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    await this.setMany([{ key, value, ...(ttl === undefined ? {} : { ttl }) }]);
    return true;
  }

  async setMany(items: KeyvItem[]): Promise<void> {
    await this.#tier.putMany(items.map(cacheValue));
  }

  async delete(key: string): Promise<boolean> {
    return this.deleteMany([key]);
  }

  /** Whether all of them were there. */
  async deleteMany(keys: string[]): Promise<boolean> {
    const entries = await this.#entries(keys);
    await this.#tier.invalidate([...new Set(keys)]);
    return keys.every((key) => entries.get(key) !== undefined);
  }

  async has(key: string): Promise<boolean> {
    return (await this.hasMany([key]))[0] === true;
  }

  async hasMany(keys: string[]): Promise<boolean[]> {
    const entries = await this.#entries(keys);
    return keys.map((key) => entries.get(key) !== undefined);
  }

  clear(): Promise<void> {
    return this.#tier.invalidateAll();
  }

  disconnect(): Promise<void> {
    return this.#tier.close();
  }

  on(): KeyvStore {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  async #entries(keys: readonly string[]): Promise<ReadonlyMap<string, CacheEntry>> {
    const distinct = [...new Set(keys)];
    const answers = await this.#tier.getMany(distinct, LOOK);
    return new Map(
      distinct.flatMap((key, place) => {
        const { entry } = must(answers[place], 'the answer');
        return entry === undefined ? [] : [[key, entry] as const];
      }),
    );
  }
}

function cacheValue({ key, value, ttl }: KeyvItem): CacheValue {
  if (ttl !== undefined) checkNumber(ttl, 'keyvStore.ttl', { min: 1, max: DURATION_MAX_MS });
  const keepMs = ttl ?? DURATION_MAX_MS;
  const isText = typeof value === 'string';
  return {
    key,
    payload: isText ? value : encodeValue(value as Value),
    note: isText ? TEXT_NOTE : '',
    freshMs: keepMs,
    keepMs,
    loadMs: 0,
    tags: [],
  };
}

function valueIn(entry: CacheEntry | undefined): unknown {
  if (entry === undefined) return undefined;
  const text = String(entry.payload);
  return entry.note === TEXT_NOTE ? text : decodeValue(text);
}
