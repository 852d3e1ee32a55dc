import type { Identity } from './position.ts';
import type { Key, Row } from './row.ts';

/** Which way a write came: they share one path, but a repair alone may overwrite an equal fence. */
export type WriteMode = 'stream' | 'snapshot' | 'repair';

/**
 * One write for a target, with its fence: the source position and, within the transaction, the
 * ordinal. The target applies it only if (epoch, offset, ordinal) is newer than what it holds.
 */
export interface Write extends Identity {
  /** The table, index, collection or prefix inside the target store. */
  readonly target: string;
  readonly key: Key;
  /** The whole new row, or null: delete, leaving a fenced tombstone. */
  readonly row: Row | null;
  readonly mode: WriteMode;
}
