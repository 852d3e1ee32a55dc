/** One native measurement of a store: WAL size, offsets, tombstones, segments, page counts. */
export interface Vital {
  /** In the words of the store itself, e.g. `wal_pages`, `freelist_count`. */
  readonly name: string;
  readonly value: number | string;
  readonly unit?: 'bytes' | 'rows' | 'ms' | 'count' | 'position';
  /** One sentence: what it tells. */
  readonly about?: string;
}

/** The native evidence of a store, as it says itself. */
export interface Vitals {
  readonly system: string;
  readonly version: string;
  readonly measures: readonly Vital[];
}
