import { errorText, TallyError, type ErrorCode } from '../../core/errors.ts';

interface Meaning {
  readonly code: ErrorCode;
  readonly what: string;
  readonly mend: string;
}

const restarting: Meaning = {
  code: 'STORE_UNREACHABLE',
  what: 'the server ended the connection, or does not take new ones yet',
  mend: 'wait until the server is up; it is tried again',
};
const cut: Meaning = {
  code: 'STORE_UNREACHABLE',
  what: 'the server cannot be reached, or the connection to it broke',
  mend: 'check that the server runs and that host and port of the URL are right',
};
const refused: Meaning = {
  code: 'STORE_UNREACHABLE',
  what: 'the server refused the user or the password',
  mend: 'check user and password of the URL; where passwords rotate, give `password` or `url` as a function: it is asked at every connection',
};
const contended: Meaning = {
  code: 'STORE_BUSY',
  what: 'another transaction stands in the way',
  mend: 'try again',
};
const corrupt: Meaning = {
  code: 'STORE_CORRUPT',
  what: 'the server reports damaged data',
  mend: 'check the disk of the server and restore from a backup',
};

/** SQLSTATE, or its class of two characters, to what it means for a caller. */
const meanings: Readonly<Record<string, Meaning>> = {
  '08': cut,
  '28': refused,
  '3D000': {
    code: 'CONFIG_INVALID',
    what: 'the database does not exist',
    mend: 'correct the database name of the URL, or create it with CREATE DATABASE',
  },
  '25006': {
    code: 'STORE_UNREACHABLE',
    what: 'the server takes no writes: it is a standby, or read-only for this user or database',
    mend: 'point the URL to the primary; on a primary look at default_transaction_read_only, and run ALTER ROLE … SET default_transaction_read_only = off for this user',
  },
  '40001': contended,
  '40P01': contended,
  '55006': contended,
  '55P03': contended,
  '57014': {
    code: 'STORE_BUSY',
    what: 'the statement was cancelled, or ran into statement_timeout',
    mend: 'try again, or raise statement_timeout for this user',
  },
  '53100': {
    code: 'STORE_FULL',
    what: 'the disk of the server is full',
    mend: 'free space on the server; nothing of the transaction was kept',
  },
  '53200': {
    code: 'STORE_BUSY',
    what: 'the server is out of memory',
    mend: 'try again with smaller batches, or give the server more memory',
  },
  '53300': {
    code: 'STORE_UNREACHABLE',
    what: 'the server has no connection left',
    mend: 'raise max_connections, or lower `pool.max`',
  },
  '57P01': restarting,
  '57P02': restarting,
  '57P03': restarting,
  '57P05': restarting,
  '58030': corrupt,
  '42501': {
    code: 'CAPABILITY_MISSING',
    what: 'the user may not do this',
    mend: 'grant what the details name, or use a user that has it',
  },
  ERR_STRING_TOO_LONG: {
    code: 'ROW_TOO_LARGE',
    what: 'a value is longer than 536,870,888 characters, which is as much as a text may have here (bytea has two for each byte)',
    mend: 'keep large content in an object store and its address in the row',
  },
  XX001: corrupt,
  XX002: corrupt,
};

/** Failures of the network as Node names them. */
const networkCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
]);

/** The driver gives its own failures no code; their text is all there is. */
const driverTexts =
  /^(Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client was closed|Cannot use a pool after calling end)/;

/** The SQLSTATE of an error of the server, or the code of Node's; undefined if it has none. */
export function sqlState(error: unknown): string | undefined {
  if (error instanceof TallyError) return sqlState(error.cause);
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * A failure of the store itself as a TallyError. Whatever else was thrown (a mistake in the SQL, a constraint, an
 * error of the application) is returned as it is. `where` never holds a password.
 */
export function postgresError(error: unknown, where: string): unknown {
  if (error instanceof TallyError) return error;
  const meaning = meaningOf(error);
  if (meaning === undefined) return error;
  const state = sqlState(error);
  return new TallyError(meaning.code, {
    what: meaning.what,
    where,
    mend: meaning.mend,
    details: { postgres: errorText(error, 500), ...(state === undefined ? {} : { state }) },
    cause: error,
  });
}

/** Whether a statement failed because of the values in it, so that a part of them can still go in. */
export function isDataError(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && /^(22|23|42804$|54000$|54001$)/.test(state);
}

/** Whether two transactions met at one row; the loser may simply begin again. */
export function isConflict(error: unknown): boolean {
  const state = sqlState(error);
  return state === '40001' || state === '40P01';
}

/** Whether the connection is gone, so that what the server did with the last statement is not known. */
export function isConnectionLost(error: unknown): boolean {
  if (error instanceof TallyError) return isConnectionLost(error.cause);
  const state = sqlState(error);
  if (state === undefined) return driverTexts.test(errorText(error));
  return /^(08|57P0)/.test(state) || networkCodes.has(state);
}

function meaningOf(error: unknown): Meaning | undefined {
  const state = sqlState(error);
  const text = errorText(error, 500);
  if (/no pg_hba\.conf entry .*no encryption|SSL (is )?required|requires SSL/i.test(text))
    return {
      ...refused,
      what: 'the server asks for an encrypted connection',
      mend: 'give `ssl: true` (or `ssl: { ca }`), or put `?sslmode=verify-full` into the URL; it may also be that no line of pg_hba.conf lets this user in',
    };
  if (/server does not support SSL/i.test(text))
    return {
      ...cut,
      what: 'the server does not encrypt connections, and `ssl` asks for it',
      mend: 'turn `ssl` on at the server, or leave `ssl` and `sslmode` out',
    };
  if (/self.signed certificate|unable to verify|certificate|altnames/i.test(text) && !isSql(state))
    return {
      ...cut,
      what: 'the certificate of the server cannot be verified',
      mend: 'give its authority as `ssl: { ca }`, and a host name that the certificate names',
    };
  if (state === undefined)
    return /SASL|password must be a string/i.test(text)
      ? refused
      : driverTexts.test(text)
        ? cut
        : undefined;
  if (networkCodes.has(state)) return cut;
  return meanings[state] ?? (isSql(state) ? meanings[state.slice(0, 2)] : undefined);
}

function isSql(state: string | undefined): boolean {
  return state !== undefined && /^[0-9A-Z]{5}$/.test(state) && !networkCodes.has(state);
}
