import type { Key, Row } from '../core/row.ts';

export interface ScanOptions {
  /** Start after this key. */
  readonly after?: Key;
  readonly rowsMax: number;
  readonly signal?: AbortSignal;
}

/** Reads a whole target in key order, in bounded pages: for drift checks and extracts. */
export interface Scan {
  /** Pages of rows without the coordinator's own columns. */
  scan(
    target: string,
    options: ScanOptions,
  ): AsyncIterable<readonly { readonly key: Key; readonly row: Row }[]>;
  count(target: string): Promise<number>;
}
