import { TallyError, type ErrorCode } from '../../core/errors.ts';

/** The primary result codes of SQLite that somebody can decide about (sqlite.org/rescode.html). */
const failures: Readonly<Record<number, { code: ErrorCode; what: string; mend: string }>> = {
  5: {
    code: 'STORE_BUSY',
    what: 'the database is locked by another writer',
    mend: 'try again, or look for a program that keeps a transaction open',
  },
  6: {
    code: 'STORE_BUSY',
    what: 'a table is locked inside this process',
    mend: 'finish the statement that is still being read, then try again',
  },
  8: {
    code: 'STORE_UNREACHABLE',
    what: 'the database may not be written',
    mend: 'give this process write permission to the file and its directory',
  },
  10: {
    code: 'STORE_UNREACHABLE',
    what: 'the disk under the database answered with an error',
    mend: 'look at the disk and the system log',
  },
  11: {
    code: 'STORE_CORRUPT',
    what: 'the database file is damaged',
    mend: 'restore it from a backup; PRAGMA integrity_check says what is hurt',
  },
  13: {
    code: 'STORE_FULL',
    what: 'the disk or the page limit under the database is full',
    mend: 'free space or raise PRAGMA max_page_count; nothing of the transaction was kept',
  },
  14: {
    code: 'STORE_UNREACHABLE',
    what: 'the database file cannot be opened',
    mend: 'check that the directory exists and that this process may write in it',
  },
  18: {
    code: 'ROW_TOO_LARGE',
    what: 'a value or a row is over the limit of SQLite',
    mend: 'keep large content in an object store and its address in the row',
  },
  26: {
    code: 'STORE_CORRUPT',
    what: 'the file is not an SQLite database',
    mend: 'check the path; a file of another kind is never overwritten',
  },
};

/** The primary result code of an error of node:sqlite, or undefined for any other value. */
export function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

/**
 * A failure of the store itself as a TallyError (STORE_BUSY, STORE_FULL, STORE_UNREACHABLE,
 * STORE_CORRUPT, ROW_TOO_LARGE). Whatever else was thrown (a constraint, a mistake in the SQL, an
 * error of the application) is returned as it is: it belongs to whoever wrote the statement.
 */
export function sqliteError(error: unknown, where: string): unknown {
  const code = resultCode(error);
  const failure = code === undefined ? undefined : failures[code];
  if (failure === undefined) return error;
  return new TallyError(failure.code, {
    what: failure.what,
    where,
    mend: failure.mend,
    details: { sqlite: code },
    cause: error,
  });
}
