import type { Evidence } from '../../core/evidence.ts';
import type { CacheEntry } from '../../ports/cache.ts';
import { Changer, type Invalidation } from './changer.ts';
import { Core } from './core.ts';
import type { CacheStats } from './events.ts';
import { Filler } from './filler.ts';
import { Feed, type CacheFeed } from './feed.ts';
import type { CacheRead } from './flights.ts';
import {
  checkCacheOptions,
  type CacheOptions,
  type Duration,
  type LoadedOptions,
} from './options.ts';
import { OwnTier } from './own-tier.ts';
import { Pending } from './pending.ts';
import { Reader } from './reader.ts';
import { View } from './view.ts';
import type { WarmOptions, WarmProgress } from './warm.ts';

export interface CacheReadOptions {
  /** The answer contains this, or is loaded now. */
  readonly after?: Evidence;
}

export interface WriteOptions<Result, Value> {
  /**
   * What happens once the write has committed. `invalidate` (default): the next reader loads. `load`: it is loaded at once.
   * A function: what it makes of the result is put into the cache (write-through); for caches with a `lane`, whose fences
   * keep two writers from overtaking each other.
   */
  readonly afterwards?: 'invalidate' | 'load' | ((result: Result) => Value | undefined);
  /**
   * Before the write begins nobody may load the keys any more, for so long at most: a process that dies between the commit
   * and the invalidation then leaves nothing stale. Longer than the write takes. If the shared tier cannot be reached, the
   * write is not begun (STORE_UNREACHABLE).
   */
  readonly guard?: Duration;
  readonly tags?: readonly string[];
}

/** The result of a write, and whether the cache knows of it. */
export interface CacheWritten<Result> {
  readonly value: Result;
  readonly invalidation: Invalidation;
}

/** A look at one key that loads nothing. */
export interface CacheInspection {
  readonly key: string;
  readonly entry: CacheEntry | undefined;
  /** Whether this process has a copy. */
  readonly isNear: boolean;
}

/** What people and the command line do with a cache, whatever its keys and values are. */
export interface CacheControl extends AsyncDisposable {
  readonly name: string;
  /** What a flow of an application tells of changes at the source; the application connects it. */
  readonly feed: CacheFeed;
  stats(): CacheStats;
  /** Looks, and loads nothing. `key` is the text of a key. Throws STORE_UNREACHABLE. */
  inspect(key: string): Promise<CacheInspection>;
  /** Keys as their texts. */
  invalidateKeys(keys: readonly string[]): Promise<Invalidation>;
  invalidateTags(tags: readonly string[]): Promise<Invalidation>;
  invalidateAll(): Promise<Invalidation>;
  close(): Promise<void>;
}

/** Values that are loaded once, kept for a while, and never kept past a change that the cache was told of. */
export interface Cache<Key, Value> extends CacheControl {
  /**
   * The value, or `undefined` if there is none. May be stale where `grace` or `loads.otherwise` allow it: {@link read} says
   * so. The object is shared by all who ask: treat it as frozen. Throws what the loader throws, DEADLINE_EXCEEDED, OVERLOADED,
   * LOAD_FAILED, VALUE_UNSUPPORTED or ROW_TOO_LARGE for a key that cannot be one.
   */
  get(key: Key, options?: CacheReadOptions): Promise<Value | undefined>;
  /** The same, with what there is to know of the answer. */
  read(key: Key, options?: CacheReadOptions): Promise<CacheRead<Value>>;
  /** Values in the order of the keys. One round trip asks for all of them. */
  getMany(keys: readonly Key[]): Promise<readonly (Value | undefined)[]>;
  /**
   * Stores a value, or with `undefined` that there is none. Of two at the same time the order is that of their fences; without
   * fences it is that in which they arrive, whatever the database says: prefer {@link write}.
   */
  set(
    key: Key,
    value: Value | undefined,
    options?: LoadedOptions,
  ): Promise<Invalidation | { readonly kind: 'older' }>;
  /** Once it is answered `done`, no reader is given what was there before, and what is being loaded is not kept. */
  delete(key: Key | readonly Key[]): Promise<Invalidation>;
  /** Stale from now on: who asks gets the next value, or within the grace this one while it is loaded. */
  expire(key: Key | readonly Key[]): Promise<Invalidation>;
  /**
   * Writes to the database, then invalidates. `work` is the write, such as `() => app.write('orders', tx => …)`; the evidence
   * in its result is the fence where the cache has a `lane`. Whatever `work` throws is thrown, after the keys were
   * invalidated: it may have committed.
   */
  write<Result>(
    key: Key | readonly Key[],
    work: () => Result | Promise<Result>,
    options?: WriteOptions<Result, Value>,
  ): Promise<CacheWritten<Result>>;
  /** Loads what is not there, so many at a time as `loads.concurrency` says. */
  warm(keys: Iterable<Key> | AsyncIterable<Key>, options?: WarmOptions): Promise<WarmProgress>;
  /** A part of this cache: keys of its own, which are invalidated together. */
  namespace(name: string): Cache<Key, Value>;
}

/**
 * Opens a cache. In one process a key is loaded once for all who ask at the same time; with a store, in all processes.
 * What was loaded before an invalidation is never stored after it.
 *
 * Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION, CAPABILITY_MISSING for a store that keeps no caches, STORE_UNREACHABLE.
 */
export async function cache<Key, Value>(
  options: CacheOptions<Key, Value>,
): Promise<Cache<Key, Value>> {
  const settings = checkCacheOptions(options);
  const { clock, caches, name, serialise, loads } = settings;
  // A load may take its whole time, and its value has to be stored after that.
  const leaseMs = loads.timeoutMs + LEASE_MARGIN_MS;
  const tier =
    caches === undefined
      ? new OwnTier(() => clock.monotonicMs())
      : await caches.open({ name, payload: serialise.payload, leaseMs });
  const core = new Core<Key, Value>(settings, tier);
  await core.watch();
  const filler = new Filler(core);
  const pending: Pending = new Pending({
    clock,
    random: settings.random,
    deliver: (work) => changer.deliver(work),
    onDone: (keys) => core.emit({ kind: 'invalidation-done', keys }),
  });
  const changer = new Changer(core, filler, pending);
  const reader = new Reader(core, filler, pending);
  const feed = new Feed(core, changer, reader);
  return new View({ core, reader, changer, pending, feed }, '');
}

const LEASE_MARGIN_MS = 1_000;
