import type { Position } from '../core/position.ts';

/** What a cache tier can and cannot do, as data. */
export interface CacheSupports {
  /** The finest time that an entry may be fresh or kept, in milliseconds; others are rounded down to it, never below one step. */
  readonly ttlResolutionMs: number;
  readonly keyBytesMax: number;
  /** Of payload and note together, as bytes. */
  readonly payloadBytesMax: number;
  /** How `settled` learns that a lease is over: it is told at once, or has to ask again and again. */
  readonly wakes: 'told' | 'asks';
  /** How long after the death of a holder's process somebody else may have its lease, at most. */
  readonly deathNoticedMs: number;
  /** A holder that lives but cannot run (a long synchronous step, a stopped process) keeps its lease until that ends. */
  readonly keepsBlockedHolder: boolean;
  /** `watch` tells of what others change. */
  readonly watches: boolean;
  /** Fences are compared; if false, giving one is CAPABILITY_MISSING. */
  readonly fences: boolean;
  /** Entries may carry tags; if false, giving one is CAPABILITY_MISSING. */
  readonly tags: boolean;
}

/** Whether an answer may come with the right to load. */
export type LeaseWish =
  /** Only look. */
  | 'none'
  /** If there is no entry, it is past its fresh time, or an early refresh is due. */
  | 'due'
  /** Whatever is there: its reader needs a newer one. */
  | 'always';

export interface CacheAsk {
  readonly lease: LeaseWish;
  /**
   * For early refresh (XFetch, Vattani et al., VLDB 2015): `-beta * ln(random)` of the caller's. Due is what stays fresh
   * for less than this many times the time that its load took. 0: never early.
   */
  readonly early: number;
}

/** An entry as a tier holds it. All times are by the tier's own clock, or durations: no caller's clock is compared with it. */
export interface CacheEntry {
  readonly payload: string | Uint8Array;
  /** What the pattern noted beside it, such as the evidence that it contains. */
  readonly note: string;
  /** How much longer it is fresh; at or below zero it is stale. */
  readonly freshForMs: number;
  /** How long ago it was stored. */
  readonly ageMs: number;
  /** How long its load took. */
  readonly loadMs: number;
  readonly tags: readonly string[];
  readonly fence: Position | undefined;
}

/** What became of the wish for a lease. */
export type LeaseAnswer =
  /** None was asked for, or none was due. */
  | { readonly kind: 'none' }
  /** The caller loads. Nobody else is given a lease on the key until this one is over. */
  | { readonly kind: 'granted'; readonly lease: string }
  /** Somebody else loads; `settled` waits for that. */
  | { readonly kind: 'held'; readonly lease: string }
  /** The key is held for a write: what is loaded now may be the value before it, and cannot be stored. */
  | { readonly kind: 'barred' }
  /** A load failed a moment ago, and is not to be tried again before `forMs` have passed. */
  | { readonly kind: 'failed'; readonly reason: string; readonly forMs: number };

export interface CacheAnswer {
  readonly entry: CacheEntry | undefined;
  readonly lease: LeaseAnswer;
}

/** What is to be stored. */
export interface CacheValue {
  readonly key: string;
  readonly payload: string | Uint8Array;
  readonly note: string;
  /** For how long it is fresh. */
  readonly freshMs: number;
  /** For how long it is kept at all; not below `freshMs`. */
  readonly keepMs: number;
  readonly loadMs: number;
  readonly tags: readonly string[];
  /** The place in the source's history that the value is of. */
  readonly fence?: Position;
}

/** A loaded value, under the lease that it was loaded under. */
export interface CacheFill extends CacheValue {
  readonly lease: string;
}

export type StoreOutcome =
  | 'stored'
  /** The lease is over: the key or a tag was invalidated, set, loaded by somebody else, or its time has run out. */
  | 'voided'
  /** The fence is older than what is there, or than an invalidation. */
  | 'older';

export interface InvalidateOptions {
  /**
   * The place in the source's history at which the keys changed. An entry of that place or a later one stays, and so do
   * the leases on its key. Until {@link TOMBSTONE_MS} have passed, nothing with an older fence is stored.
   */
  readonly fence?: Position;
  /** `delete` (not given): no reader finds it again. `expire`: it is stale from now on, for readers who accept that. */
  readonly as?: 'delete' | 'expire';
  /** For so long no lease is granted on the keys, or until they are invalidated without this: a write is under way. */
  readonly barMs?: number;
}

/** How long a tier remembers the fence of an invalidation: longer than any load may take. */
export const TOMBSTONE_MS = 600_000;

/** What a watch tells, in the order in which it came to know. Changes of the cache's own process may be told as well. */
export type CacheEvent =
  /** From now on every change is told. */
  | { readonly kind: 'watching' }
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'tag'; readonly tag: string }
  /** Everything was invalidated. */
  | { readonly kind: 'all' }
  /** Changes were or may be missed: no copy is to be believed, and none to be kept until `watching`. */
  | { readonly kind: 'gap' };

/** One cache in a store: entries, and who may load them. */
export interface CacheTier extends AsyncDisposable {
  readonly supports: CacheSupports;
  /**
   * Looks for the keys and grants leases, in one round trip, in one atomic step for each key. Answers are in the order of
   * the keys, which are distinct. Throws STORE_UNREACHABLE; then a lease may have been granted that nobody knows of, which
   * ends with this tier's connection or its time.
   */
  getMany(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]>;
  /** Stores what was loaded, each if its lease still stands, and ends the lease. Those who wait for it are woken. */
  fillMany(fills: readonly CacheFill[]): Promise<readonly StoreOutcome[]>;
  /**
   * Stores values that nobody loaded: a write of the application's. Leases on the keys become void. Of two at the same
   * time the tier knows no order but their fences. Never answers `voided`.
   */
  putMany(values: readonly CacheValue[]): Promise<readonly StoreOutcome[]>;
  /**
   * Gives a lease back without a value, if it still stands. With `failure` nobody is granted one on the key for that long,
   * and is told the reason instead. Those who wait are woken.
   */
  release(
    key: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void>;
  /**
   * Waits while this lease is held: resolves once it was filled, released, voided, has run out, or its holder is dead. May
   * resolve early, never late by more than `deathNoticedMs`; whoever waited asks again. Rejects with ABORTED, STORE_CLOSED.
   */
  settled(key: string, lease: string, signal?: AbortSignal): Promise<void>;
  /**
   * Once this is answered, no reader is given what the keys held before, and what is loaded under a lease granted before
   * is never stored. Those who wait are woken.
   */
  invalidate(keys: readonly string[], options?: InvalidateOptions): Promise<void>;
  /**
   * The same for every entry that carries one of the tags, or is loaded under a lease granted before and will carry it.
   */
  invalidateTags(tags: readonly string[]): Promise<void>;
  /** The same for every entry of this cache. */
  invalidateAll(): Promise<void>;
  /**
   * Tells of changes until the returned function is called, beginning with `watching` before it resolves. `onEvent` must
   * not throw. Throws CAPABILITY_MISSING without `watches`.
   */
  watch(onEvent: (event: CacheEvent) => void): Promise<() => Promise<void>>;
  /** Removes what is past its keeping time; returns how many, 0 where the store does it by itself. */
  sweep(limit?: number): Promise<number>;
  /** Leases held here are given back. Idempotent. */
  close(): Promise<void>;
}

export interface OpenCacheOptions {
  /** Names the cache in its store: other names see nothing of it. */
  readonly name: string;
  /** What every payload of this cache is. */
  readonly payload: 'text' | 'bytes';
  /** How long a lease lasts at most: longer than a load may take. */
  readonly leaseMs: number;
}

/** The side of a store that keeps caches. */
export interface Caches {
  readonly supports: CacheSupports;
  /** Throws STORE_UNREACHABLE, CONFIG_INVALID. Each call is a holder of its own, and dies with the process. */
  open(options: OpenCacheOptions): Promise<CacheTier>;
}
