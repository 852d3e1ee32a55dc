import { TallyError } from '../../../core/errors.ts';
import type { SourceCursor } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { resumeAfter } from './cursor.ts';
import { fencedOut } from './keeper.ts';
import { newestSeq, readNumber, writeSetting } from './schema.ts';

/** Changes removed in one transaction: it holds the write lock for some milliseconds at most. */
const PRUNE_ROWS = 5_000;

/**
 * Notes how far the log holds everything. False if that was known already: it never moves back. Throws
 * FENCED_OUT for the epoch of an older worker, HISTORY_LOST for a cursor of another history.
 */
export function recordAcknowledged(
  connection: Connection,
  cursor: SourceCursor,
  workerEpoch: number,
): boolean {
  return connection.transaction(() => {
    const holder = readNumber(connection, 'worker_epoch');
    if (workerEpoch < holder) throw fencedOut(workerEpoch, holder);
    if (cursor.offset <= readNumber(connection, 'acknowledged')) return false;
    if (cursor.offset > newestSeq(connection)) {
      throw new TallyError('HISTORY_LOST', {
        what: `offset ${cursor.offset} was acknowledged, but the newest change is ${newestSeq(connection)}`,
        where: connection.file,
        mend: 'the file went back (a restore); take a new snapshot of its tables',
      });
    }
    resumeAfter(connection, cursor);
    writeSetting(connection, 'acknowledged', cursor.offset);
    return true;
  });
}

/**
 * Removes a chunk of changes before `offset`, oldest first, and keeps the one at it (schema.ts says
 * why). Returns whether there is more. In a transaction of its own no other statement is running, so that
 * whatever candidates of displaced rows are left are of no use any more.
 */
export function pruneChanges(connection: Connection, offset: number): boolean {
  return connection.transaction(() => {
    const oldest = connection.prepare('SELECT min(seq) AS seq FROM _tally_changes').get()?.['seq'];
    const before = Math.min(offset, Number(oldest ?? offset) + PRUNE_ROWS);
    connection.prepare('DELETE FROM _tally_changes WHERE seq < ?').run(before);
    connection.prepare('DELETE FROM _tally_commits WHERE seq < ?').run(before);
    connection.prepare('DELETE FROM _tally_displaced').run();
    return before < offset;
  });
}
