import type { Clock } from '../../../ports/clock.ts';
import type { Connection } from '../connection.ts';
import { resultCode, sqliteError } from '../errors.ts';

/**
 * The connection that the sink, key-value, scan and query ports share. It is theirs alone: every
 * use runs from BEGIN to COMMIT without waiting, so they can never meet inside a transaction.
 */
export interface Host {
  /** Opened with a busy timeout of 0: see {@link transaction}. */
  readonly connection: Connection;
  readonly clock: Clock;
  /** How long a transaction waits for another writer of the file before STORE_BUSY. */
  readonly busyTimeoutMs: number;
}

/** The longest pause between two attempts to begin: shorter than what a person notices. */
const BUSY_PAUSE_MAX_MS = 50;

const SQLITE_BUSY = 5;
const SQLITE_TOOBIG = 18;

/**
 * Runs `work` between BEGIN IMMEDIATE and COMMIT; if it throws, or `keep` says no to its result,
 * everything is rolled back. Waits for other writers on the clock, never inside SQLite: a wait that
 * blocks the thread would stop the very application transaction it waits for. Throws STORE_BUSY,
 * STORE_FULL, STORE_UNREACHABLE, STORE_CORRUPT, STORE_CLOSED and what `work` throws.
 */
export async function transaction<Result>(
  host: Host,
  work: () => Result,
  keep?: (result: Result) => boolean,
): Promise<Result> {
  const { connection, clock, busyTimeoutMs } = host;
  const from = clock.monotonicMs();
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, BUSY_PAUSE_MAX_MS)) {
    const begin = connection.prepare('BEGIN IMMEDIATE');
    try {
      begin.run();
    } catch (error) {
      if (resultCode(error) !== SQLITE_BUSY || clock.monotonicMs() - from >= busyTimeoutMs)
        throw sqliteError(error, connection.file);
      await clock.sleep(pauseMs);
      continue;
    }
    return finish(connection, work, keep);
  }
}

/** Runs `work`, which only reads, on one state of the file. Throws what {@link transaction} does. */
export function snapshot<Result>({ connection }: Host, work: () => Result): Result {
  return connection.guard(() => {
    connection.prepare('BEGIN').run();
    try {
      return work();
    } finally {
      if (connection.database.isTransaction) connection.prepare('COMMIT').run();
    }
  });
}

function finish<Result>(
  connection: Connection,
  work: () => Result,
  keep: ((result: Result) => boolean) | undefined,
): Result {
  try {
    const result = work();
    if (keep === undefined || keep(result)) connection.prepare('COMMIT').run();
    return result;
  } catch (error) {
    throw sqliteError(error, connection.file);
  } finally {
    // SQLite has already rolled back after some failures (a full disk); then there is nothing to undo.
    if (connection.database.isTransaction) connection.prepare('ROLLBACK').run();
  }
}

/** Whether an error is about the store and not about one statement: then all of a batch waits. */
export function isWhole(error: unknown): boolean {
  return !isTooBig(error) && sqliteError(error, '') !== error;
}

/** Whether SQLite refused a value for its size. */
export function isTooBig(error: unknown): boolean {
  return resultCode(error) === SQLITE_TOOBIG;
}
