import { errorText, TallyError, type ErrorCode } from '../../core/errors.ts';

interface Failure {
  readonly matches: RegExp;
  readonly code: ErrorCode;
  readonly what: string;
  readonly mend: string;
}

// DuckDB's driver gives its errors no number: the text, whose first words are the class, is all there is.
const failures: readonly Failure[] = [
  {
    matches: /Could not set lock on file/,
    code: 'STORE_BUSY',
    what: 'another process has the database file open, and DuckDB lets in one process at a time',
    mend: 'stop that process (its id is in the details), or ask it instead: a status or a barrier is answered by the process that runs the flow',
  },
  {
    matches: /different configuration than existing connections/,
    code: 'CONFIG_INVALID',
    what: 'this process already has the file open with other options',
    mend: 'give every duckdb() of one file the same memoryLimit and threads',
  },
  {
    matches: /not a valid DuckDB database file/,
    code: 'STORE_CORRUPT',
    what: 'the file is not a DuckDB database',
    mend: 'check the path; a file of another kind is never overwritten',
  },
  {
    matches:
      /No space left on device|max_temp_directory_size|Out of Memory Error: failed to offload/,
    code: 'STORE_FULL',
    what: 'the disk, or the directory it spills to, is full',
    mend: 'free space beside the database file; nothing of the transaction was kept',
  },
  {
    matches: /^Out of Memory Error/,
    code: 'STORE_FULL',
    what: 'a batch does not fit the memory limit',
    mend: 'raise memoryLimit of duckdb(), or lower the rows of a batch',
  },
  {
    matches: /Conflict on|Transaction conflict|write-write conflict|transaction conflict/i,
    code: 'STORE_BUSY',
    what: 'another transaction changed the same rows',
    mend: 'try again',
  },
  {
    matches: /database has been invalidated|^FATAL Error/,
    code: 'STORE_UNREACHABLE',
    what: 'the database stopped after an error it could not go on from',
    mend: 'close the store and open it again; what was committed is in the file',
  },
  {
    matches: /^(Serialization|Internal) Error|[Cc]hecksum/,
    code: 'STORE_CORRUPT',
    what: 'the database file cannot be read as it should',
    mend: 'restore it from a backup, or remove it and rebuild its flows from the log',
  },
  {
    matches: /^IO Error/,
    code: 'STORE_UNREACHABLE',
    what: 'the database file cannot be opened, read or written',
    mend: 'check that the directory exists and that this process may write in it',
  },
  {
    matches: /Failed to set config|^Invalid Input Error: Unrecognized configuration/,
    code: 'CONFIG_INVALID',
    what: 'DuckDB does not accept the options',
    mend: "give memoryLimit as text such as '512MB' and threads as a whole number",
  },
];

/**
 * A failure of the store itself as a TallyError. Whatever else was thrown (a mistake in the SQL, a
 * constraint, an error of the application) is returned as it is.
 */
export function duckdbError(error: unknown, where: string): unknown {
  if (error instanceof TallyError) return error;
  const text = errorText(error);
  const failure = failures.find(({ matches }) => matches.test(text));
  if (failure === undefined) return error;
  const process = /\(PID (\d+)\)/.exec(text)?.[1];
  return new TallyError(failure.code, {
    what: failure.what,
    where,
    mend: failure.mend,
    details: { duckdb: text, ...(process === undefined ? {} : { process: Number(process) }) },
    cause: error,
  });
}

/** Whether a statement failed because of the values in it, so that a part of them can still go in. */
export function isDataError(error: unknown): boolean {
  if (error instanceof TallyError) return false;
  return /^(Constraint|Conversion|Out of Range|Invalid Input|Mismatch Type) Error/.test(
    errorText(error),
  );
}

/** Whether two transactions met at one row; the loser may simply begin again. */
export function isConflict(error: unknown): boolean {
  const cause = error instanceof TallyError ? error.cause : error;
  return /Conflict on|Transaction conflict|write-write conflict/i.test(errorText(cause));
}
