import type { Percentiles } from '../../observe/histogram.ts';

/** Where an answer came from. */
export type CacheSource =
  /** A copy in this process. */
  | 'near'
  /** The shared tier. */
  | 'shared'
  /** The loader: now, or that of a caller in this process who asked at the same time. */
  | 'load';

/** Why an answer is older than it should be. */
export type StaleBecause =
  /** Somebody is loading the next one. */
  | 'refreshing'
  /** The load failed, was shed or ran out of time. */
  | 'load-failed'
  /** Nobody may try again yet after a load that failed. */
  | 'load-failed-lately'
  /** The loader read a place that does not have a known change yet. */
  | 'source-behind';

/** What a cache does that is worth a line. No values, and keys as their texts. */
export type CacheHappening =
  | {
      readonly kind: 'loaded';
      readonly key: string;
      readonly tookMs: number;
      readonly stored: Stored;
    }
  | { readonly kind: 'load-failed'; readonly key: string; readonly error: unknown }
  | { readonly kind: 'load-shed'; readonly key: string }
  /** A value that could not be kept: not serialisable, or too large. */
  | { readonly kind: 'not-kept'; readonly key: string; readonly error: unknown }
  /** An entry that could not be read; it is loaded anew. */
  | { readonly kind: 'unreadable'; readonly key: string; readonly error: unknown }
  | { readonly kind: 'stale-answer'; readonly key: string; readonly because: StaleBecause }
  /** The shared tier is passed by from now on. */
  | { readonly kind: 'shared-down'; readonly error: unknown }
  | { readonly kind: 'shared-up' }
  /** An invalidation that has not reached the shared tier yet; it is tried until it has. */
  | { readonly kind: 'invalidation-pending'; readonly keys: number; readonly error: unknown }
  | { readonly kind: 'invalidation-done'; readonly keys: number }
  /** A flow could not tell what was changed: everything was invalidated. `reason` is of the application's own code. */
  | { readonly kind: 'told-unclear'; readonly reason: string }
  /** Changes may have been missed: copies in this process are dropped. */
  | { readonly kind: 'watch-gap' };

/** What became of a loaded value. */
export type Stored =
  | 'stored'
  /** The key was invalidated or set meanwhile. */
  | 'voided'
  | 'older'
  /** The shared tier could not be asked, or not in time. */
  | 'unreachable'
  /** It was loaded without a lease, or is not to be kept. */
  | 'not-kept';

/** What a cache has done since it was made. */
export interface CacheStats {
  readonly name: string;
  readonly hits: { readonly near: number; readonly shared: number };
  /** Answers that needed a load, own or somebody else's. */
  readonly misses: number;
  readonly loads: number;
  readonly loadsFailed: number;
  readonly loadsShed: number;
  /** Loads started before a value had ended. */
  readonly early: number;
  readonly stale: number;
  /** Callers who waited for a load of another process. */
  readonly heldBack: number;
  /** Loaded values that an invalidation kept from being stored. */
  readonly voided: number;
  readonly older: number;
  readonly invalidations: number;
  /** Keys and tags that a flow running in this process has told of. */
  readonly told: number;
  /** Invalidations that the shared tier has not taken yet. */
  readonly pending: number;
  /** Calls that passed the shared tier by, or found it unreachable. */
  readonly bypassed: number;
  readonly sharedState: 'up' | 'down' | 'none';
  readonly watching: boolean;
  readonly nearEntries: number;
  readonly loading: number;
  readonly queued: number;
  readonly loadMs: Percentiles;
  /** Of the answers from the shared tier: how long ago they were stored. */
  readonly ageMs: Percentiles;
}
