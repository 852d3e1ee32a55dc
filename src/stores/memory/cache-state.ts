import type { Position } from '../../core/position.ts';
import type { CacheEvent, CacheValue } from '../../ports/cache.ts';

/** An entry with the times of its life, by the clock of the store. */
export interface CachedEntry extends CacheValue {
  readonly storedAtMs: number;
  readonly freshUntilMs: number;
  readonly keptUntilMs: number;
  /** The cache's sequence when its lease was granted: invalidations of tags up to it are older than the value. */
  readonly born: number;
}

export interface CachedLease {
  readonly lease: string;
  readonly born: number;
  readonly untilMs: number;
  /** Whether whoever holds it is still there. */
  readonly isAlive: () => boolean;
}

/** All that there is of one key. */
export interface CacheRecord {
  entry: CachedEntry | undefined;
  lease: CachedLease | undefined;
  barredUntilMs: number;
  failure: { readonly reason: string; readonly untilMs: number } | undefined;
  tombstone: { readonly fence: Position; readonly untilMs: number } | undefined;
}

/** What one cache keeps over a crash. */
export interface CacheState {
  /** The one that was used last is at the end. */
  readonly records: Map<string, CacheRecord>;
  /** Of each tag that was invalidated, the sequence at that moment. */
  readonly tags: Map<string, number>;
  /** Of everything. */
  all: number;
  sequence: number;
  readonly waiting: Map<string, Set<() => void>>;
  readonly watchers: Set<(event: CacheEvent) => void>;
}

export function createCacheState(): CacheState {
  return {
    records: new Map(),
    tags: new Map(),
    all: 0,
    sequence: 0,
    waiting: new Map(),
    watchers: new Set(),
  };
}
