import type { DatabaseSync } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Committed } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { resultCode, sqliteError } from '../errors.ts';
import { markOwnEnd } from './marks.ts';

/**
 * Runs the application's transaction and takes its evidence: one small row more in the same commit
 * (marks.ts). On a connection that nobody else uses meanwhile (Connection.exclusive). `since` is a
 * mark that the caller knows of. Synchronous work is done when this returns.
 */
export function writeMarked<Result>(
  connection: Connection,
  clock: Clock,
  work: (tx: DatabaseSync) => Result | Promise<Result>,
  since: number,
): Committed<Result> | Promise<Committed<Result>> {
  return writeWhole(connection, work, () => markOwnEnd(connection, clock.nowMs(), since));
}

/**
 * Runs the application's transaction; `end` is its last act, and says its offset. Synchronous work is done when this
 * returns.
 */
export function writeWhole<Result>(
  connection: Connection,
  work: (tx: DatabaseSync) => Result | Promise<Result>,
  end: () => number,
): Committed<Result> | Promise<Committed<Result>> {
  begin(connection);
  const finish = (value: Result): Committed<Result> => {
    if (!connection.database.isTransaction) throw endedByWork(connection);
    const offset = end();
    commit(connection);
    return { value, offset };
  };
  try {
    const result = work(connection.database);
    if (!(result instanceof Promise)) return finish(result);
    return result.then(finish).catch((error: unknown) => {
      throw rolledBack(connection, error);
    });
  } catch (error) {
    throw rolledBack(connection, error);
  }
}

function rolledBack(connection: Connection, error: unknown): unknown {
  const { database } = connection;
  // A full disk may already have rolled it back; what work() ended itself cannot be undone.
  if (database.isOpen && database.isTransaction) connection.prepare('ROLLBACK').run();
  return sqliteError(error, connection.file);
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
    retryable: false,
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
