import { decodeCheckpoint } from '../../../ports/checkpoint.ts';
import type { Checkpoint } from '../../../ports/sink.ts';

/** A bucket's mark and checkpoint, as its record holds them. */
export interface BucketRecord {
  /** `number.session`: which batch was the last, and whose; empty before the first one. */
  readonly mark: string;
  readonly checkpoint: Checkpoint | undefined;
}

/**
 * The checkpoint of a flow: that of the bucket that is furthest behind. What the others hold already is older
 * when it comes again. None, if any bucket has none.
 */
export function earliest(records: readonly BucketRecord[]): Checkpoint | undefined {
  let first: BucketRecord | undefined;
  for (const record of records) {
    if (record.checkpoint === undefined) return undefined;
    if (first === undefined || markNumber(record.mark) < markNumber(first.mark)) first = record;
  }
  return first?.checkpoint;
}

/** The number in a mark; 0 in an empty one. */
export function markNumber(mark: string): number {
  return Number.parseInt(mark === '' ? '0' : mark, 10);
}

/** The checkpoint of a record; undefined in a new one. Throws STORE_CORRUPT. */
export function parseCheckpoint(text: string, where: string): Checkpoint | undefined {
  return text === '' ? undefined : decodeCheckpoint(text, where);
}
