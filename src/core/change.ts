import type { Identity } from './position.ts';
import type { Key, Row } from './row.ts';

/**
 * What happened to a row. `read` is a row seen by a snapshot, not a change; a primary key that
 * changed arrives as a delete of the old key and a create of the new one in one transaction.
 */
export type Operation = 'create' | 'update' | 'delete' | 'read';

/** One row, document or event that changed in its owning store. */
export interface Change extends Identity {
  /** The lane the change is ordered in, e.g. `orders`. */
  readonly lane: string;
  readonly table: string;
  readonly operation: Operation;
  readonly key: Key;
  /** The row before; null for `create` and `read`. */
  readonly before: Row | null;
  /** The row after; null for `delete`. */
  readonly after: Row | null;
}
