import { TallyError } from '../../../core/errors.ts';
import type { SourceCursor } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { newestSeq, readNumber, readText } from './schema.ts';

/**
 * The proof that a cursor still stands in the history it was taken from: each change row has a
 * random tag, and the row at the newest acknowledged offset is never pruned.
 *
 * The history id alone cannot prove it: a file that is copied or restored keeps its id. After a
 * restore the file *went back* (its newest seq is below the cursor: no row) or *forked* (other changes
 * were written since, under the same seqs: another tag, but for one in 2^53). In both cases what
 * followed the cursor is not what follows it now, and the only honest answer is HISTORY_LOST.
 * A restore to exactly the cursor's state is the same history, and goes on. The tag says
 * nothing about rows before it, which is right: they were read, and are durable in the log.
 */
export function tokenOf(history: string, tag: number): string {
  return `${history}:${tag.toString(36)}`;
}

/**
 * Where to read on from: after the cursor, or without one after what was acknowledged. Throws
 * HISTORY_LOST unless the cursor's row is there with its tag.
 */
export function resumeAfter(connection: Connection, cursor: SourceCursor | undefined): number {
  const acknowledged = readNumber(connection, 'acknowledged');
  if (cursor === undefined) return acknowledged;
  if (cursor.offset < acknowledged) {
    throw lost(connection, cursor, `changes up to ${acknowledged} were acknowledged and let go`);
  }
  const row = connection.prepare('SELECT tag FROM _tally_changes WHERE seq = ?').get(cursor.offset);
  if (row === undefined) {
    throw lost(connection, cursor, `the newest change in the file is ${newestSeq(connection)}`);
  }
  const token = tokenOf(readText(connection, 'history'), Number(row['tag']));
  if (token !== cursor.token) {
    throw lost(connection, cursor, 'the file holds another change at this place');
  }
  return cursor.offset;
}

function lost(connection: Connection, cursor: SourceCursor, why: string): TallyError {
  return new TallyError('HISTORY_LOST', {
    what: `what follows offset ${cursor.offset} is not in the database: ${why}`,
    where: connection.file,
    mend: 'the file was restored, replaced or its capture removed; take a new snapshot of its tables',
    details: { offset: cursor.offset },
  });
}
