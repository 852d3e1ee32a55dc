import type { Value } from '../core/row.ts';

export interface KeyValueSupports {
  /** The finest time to live, in milliseconds; undefined if the store has none. */
  readonly ttlResolutionMs: number | undefined;
  readonly compareAndSet: boolean;
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
}

export interface KeyValueEntry {
  readonly value: Value;
  /** Grows with each write of the key; for `ifVersion`. */
  readonly version: number;
  /** Milliseconds since 1970, or undefined: does not expire. */
  readonly expiresAtMs: number | undefined;
}

export interface SetOptions {
  readonly ttlMs?: number;
  /** Write only if the present version is this one; 0 means: only if there is none. */
  readonly ifVersion?: number;
}

/** A map with expiry. An expired key is absent from the moment it expires, swept or not. */
export interface KeyValue {
  readonly supports: KeyValueSupports;
  get(key: string): Promise<KeyValueEntry | undefined>;
  getMany(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]>;
  /** Returns the new version. Throws CONDITION_FAILED, ROW_TOO_LARGE. */
  set(key: string, value: Value, options?: SetOptions): Promise<number>;
  /** Whether there was something to delete. */
  delete(key: string): Promise<boolean>;
  /** Keys with a prefix in byte order, expired ones left out. */
  keys(prefix: string, options?: { readonly limit?: number }): AsyncIterable<string>;
  /** Removes what has expired; returns how many. */
  sweep(limit?: number): Promise<number>;
}
