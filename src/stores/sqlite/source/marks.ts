import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import { openConnection, type Connection } from '../connection.ts';
import type { Keeper } from './keeper.ts';
import { newestSeq } from './schema.ts';

/**
 * Marks: rows of `_tally_changes` with op `m` that stand behind the last change of a transaction. A mark's seq is
 * the offset of the transaction's commit, its `key` the time, its tag the token of a cursor.
 *
 * A mark is a row of the same b-tree as the changes: it goes into the page that the last change has just
 * been written to, so that the evidence of a write costs no page of its own in the write-ahead log.
 * The reader must know the commit of a change before it has read to it; for that, the marks behind
 * more than LONG rows are listed in `_tally_commits`, and those behind fewer are found by looking ahead.
 */
const LONG = 1_000;

/**
 * Marks the end of what other programs wrote, and returns its offset: that of the new mark, of the
 * newest one if nothing was written since, or 0 in an empty history. The caller holds the write lock, so
 * that nobody is in the middle of anything: unmarked rows are whole transactions.
 */
export function markForeignEnd(connection: Connection, nowMs: number): number {
  const { changes, lastInsertRowid } = connection
    .prepare(
      "INSERT INTO _tally_changes (op, key) SELECT 'm', ? WHERE (SELECT op FROM _tally_changes ORDER BY seq DESC LIMIT 1) <> 'm'",
    )
    .run(nowMs);
  if (changes === 0) return newestSeq(connection);
  list(connection, Number(lastInsertRowid));
  return Number(lastInsertRowid);
}

/**
 * Marks the end of this very transaction, and returns its offset. `since` is a mark that the caller knows of, 0
 * if none. This is the price of evidence on the write path: one statement, and no look at what is there.
 * A transaction that changed nothing has no mark if it directly follows `since`; otherwise it may have one,
 * a commit without changes.
 */
export function markOwnEnd(connection: Connection, nowMs: number, since: number): number {
  const offset = Number(
    connection.prepare("INSERT INTO _tally_changes (op, key) VALUES ('m', ?)").run(nowMs)
      .lastInsertRowid,
  );
  if (offset === since + 1) {
    connection.prepare('DELETE FROM _tally_changes WHERE seq = ?').run(offset);
    return since;
  }
  // Counted from an older mark than the last one it is too many, never too few.
  if (offset - since > LONG) list(connection, offset);
  return offset;
}

function list(connection: Connection, offset: number): void {
  connection.prepare('INSERT INTO _tally_commits (seq) VALUES (?)').run(offset);
}

/** The newest row, and a mark that nothing before it is missing of: the newest one, if it is near. */
export function newestEnd(connection: Connection): { readonly seq: number; readonly mark: number } {
  const newest = connection
    .prepareArrays('SELECT seq, op FROM _tally_changes ORDER BY seq DESC LIMIT 1')
    .get() as unknown as readonly [number, string] | undefined;
  if (newest === undefined) return { seq: 0, mark: 0 };
  const [seq, op] = newest;
  if (op === 'm') return { seq, mark: seq };
  const near = connection
    .prepare("SELECT seq FROM _tally_changes WHERE seq > ? AND op = 'm' ORDER BY seq DESC LIMIT 1")
    .get(seq - LONG);
  if (near !== undefined) return { seq, mark: Number(near['seq']) };
  const listed = connection.prepare('SELECT max(seq) AS seq FROM _tally_commits').get();
  return { seq, mark: Number(listed?.['seq'] ?? 0) };
}

/** The first mark after a change; undefined if it has none. */
export function markAfter(connection: Connection, seq: number): number | undefined {
  const near = connection
    .prepare(
      "SELECT seq FROM _tally_changes WHERE seq > ? AND seq <= ? AND op = 'm' ORDER BY seq LIMIT 1",
    )
    .get(seq, seq + LONG);
  if (near !== undefined) return Number(near['seq']);
  const listed = connection
    .prepare('SELECT seq FROM _tally_commits WHERE seq > ? ORDER BY seq LIMIT 1')
    .get(seq);
  return listed === undefined ? undefined : Number(listed['seq']);
}

/** How often {@link readAtMark} tries before it gives up: other programs wrote in between each time. */
const TRIES_MAX = 100;

/**
 * A connection in a read transaction that sees exactly the changes up to a mark, and its offset. The
 * end must be a mark: what a snapshot at 2 has seen would otherwise be streamed again, as a transaction
 * that ends at 4, because other programs wrote 1–2 and then 3 before anything was marked.
 */
export async function readAtMark(
  file: string,
  keeper: Keeper,
  clock: Clock,
): Promise<{ readonly reader: Connection; readonly at: number }> {
  const reader = openConnection({ file, readOnly: true });
  try {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      reader.exec('BEGIN');
      const { seq, mark } = newestEnd(reader);
      if (seq === mark) return { reader, at: mark };
      reader.exec('ROLLBACK');
      await keeper.run((connection) =>
        connection.transaction(() => markForeignEnd(connection, clock.nowMs())),
      );
    }
    throw new TallyError('STORE_BUSY', {
      what: 'other programs write without a pause, so no position to read at was found',
      where: file,
      mend: 'try again',
    });
  } catch (error) {
    reader.close();
    throw error;
  }
}
