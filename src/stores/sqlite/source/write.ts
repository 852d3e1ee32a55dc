import type { DatabaseSync } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Committed } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { resultCode, sqliteError } from '../errors.ts';
import { newestSeq } from './schema.ts';

/**
 * Marks the newest change as the end of a transaction. Inside `write()` nobody else can have written
 * since BEGIN IMMEDIATE, so it is the last change of this transaction, or (without changes) an end
 * that exists already: then the mark is there, or is put behind another program's transaction, whose
 * end it is.
 */
const MARK =
  'INSERT INTO _tally_commits (seq, at) SELECT seq, ? FROM (SELECT seq FROM _tally_changes ORDER BY seq DESC LIMIT 1) WHERE true ON CONFLICT DO NOTHING';

/**
 * Runs the application's transaction and takes its evidence: one small row more in the same commit. On a
 * connection that nobody else uses meanwhile (Connection.exclusive).
 */
export async function writeMarked<Result>(
  connection: Connection,
  clock: Clock,
  work: (tx: DatabaseSync) => Result | Promise<Result>,
): Promise<Committed<Result>> {
  const { database } = connection;
  begin(connection);
  try {
    const result = work(database);
    const value = result instanceof Promise ? await result : result;
    if (!database.isTransaction) throw endedByWork(connection);
    const mark = connection.prepare(MARK).run(clock.nowMs());
    const offset = mark.changes === 1 ? Number(mark.lastInsertRowid) : newestSeq(connection);
    commit(connection);
    return { value, offset };
  } catch (error) {
    // A full disk may already have rolled it back; what work() ended itself cannot be undone.
    if (database.isOpen && database.isTransaction) connection.prepare('ROLLBACK').run();
    throw sqliteError(error, connection.file);
  }
}

function begin(connection: Connection): void {
  if (connection.database.isTransaction) {
    throw new TallyError('STORE_BUSY', {
      what: 'a transaction that was begun by hand is still open on the store’s client',
      where: connection.file,
      mend: 'end it before calling write(), or run its statements inside write()',
    });
  }
  connection.guard(() => connection.prepare('BEGIN IMMEDIATE').run());
}

function commit(connection: Connection): void {
  try {
    connection.prepare('COMMIT').run();
  } catch (error) {
    throw commitError(error, connection.file);
  }
}

/**
 * What a failed COMMIT means. A full disk or a lock means that nothing was kept. After an I/O error the
 * commit may be in the write-ahead log, and come to life when the file is opened again.
 */
export function commitError(error: unknown, file: string): unknown {
  if (resultCode(error) !== SQLITE_IOERR) return sqliteError(error, file);
  return new TallyError('COMMIT_UNKNOWN', {
    what: 'the disk failed during COMMIT, so the transaction may be kept or not',
    where: file,
    mend: 'open the store again and look whether its rows are there',
    cause: error,
  });
}

const SQLITE_IOERR = 10;

function endedByWork(connection: Connection): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: 'the work given to write() ended the transaction itself',
    where: connection.file,
    mend: 'leave BEGIN, COMMIT and ROLLBACK to write(); throw to roll back, or use SAVEPOINT inside',
  });
}
