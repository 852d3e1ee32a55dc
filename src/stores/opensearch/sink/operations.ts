import { isTallyError } from '../../../core/errors.ts';
import { packFence } from '../../../core/fence.ts';
import { ORDINAL_MAX, type Position } from '../../../core/position.ts';
import type { Write } from '../../../core/write.ts';
import type { FailedWrite } from '../../../ports/sink.ts';
import type { Operation } from './bulk.ts';
import { documentId, rowDocument, tombstoneDocument } from './document.ts';

/** Writes that can be sent, and those that cannot. */
export interface Encoded {
  readonly operations: readonly Operation[];
  readonly failed: readonly FailedWrite[];
}

/**
 * Writes as operations of a bulk, with the fence as the document's version: the server compares it in the same step in which
 * it writes. A delete writes a tombstone: of a document that is really deleted the
 * server forgets the version (`index.gc_deletes`), and an older write would bring it back.
 */
export function encodeWrites(
  writes: readonly Write[],
  writersOf: (target: string) => string,
  bytesMax: number,
): Encoded {
  const operations: Operation[] = [];
  const failed: FailedWrite[] = [];
  for (const [index, write] of writes.entries()) {
    try {
      operations.push(encodeWrite(write, writersOf(write.target), bytesMax, 'external'));
    } catch (error) {
      if (!isTallyError(error) || error.code === 'INTERNAL') throw error;
      failed.push({ index, error });
    }
  }
  return { operations, failed };
}

/** Deletes a document if it still has this version or an older one. */
export function removal(alias: string, id: string, version: bigint): Operation {
  return { action: actionOf('delete', alias, id, version, 'external_gte') };
}

/** Puts a tombstone where an older version is. */
export function burial(alias: string, id: string, before: Position): Operation {
  // The snapshot at `before` has seen all of that transaction: its own changes are older, too.
  const at = { ...before, ordinal: ORDINAL_MAX };
  return {
    action: actionOf('index', alias, id, packFence(at), 'external'),
    document: tombstoneDocument(id, at),
  };
}

/** A write as an operation: `external` takes newer versions only, `external_gte` the same one, too. */
export function encodeWrite(
  write: Write,
  alias: string,
  bytesMax: number,
  type: 'external' | 'external_gte',
): Operation {
  const version = packFence(write);
  const { key, row } = write;
  const id = documentId(key);
  return {
    action: actionOf('index', alias, id, version, type),
    document: row === null ? tombstoneDocument(id, write) : rowDocument(id, write, row, bytesMax),
  };
}

/** The version is written as digits: from epoch 8 on it is past what a double holds. */
function actionOf(
  kind: 'index' | 'delete',
  alias: string,
  id: string,
  version: bigint,
  type: 'external' | 'external_gte',
): string {
  return `{"${kind}":{"_index":"${alias}","_id":${JSON.stringify(id)},"version":${version},"version_type":"${type}"}}`;
}
