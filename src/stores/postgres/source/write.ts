import type pg from 'pg';
import { must, TallyError } from '../../../core/errors.ts';
import type { Committed } from '../../../ports/source.ts';
import { rollBack, rolledBack, type Database } from '../database.ts';
import { isConnectionLost, postgresError, sqlState } from '../errors.ts';
import { ownTypes } from '../types.ts';
import { endOffset, parseLsn } from './lsn.ts';
import { RUN } from './witness.ts';

/** How long a COMMIT whose connection broke is asked after. The server's own process notices within that. */
const ASK_MS = 15_000;
const ASK_AGAIN_MS = 50;
/** Of the pages of the write-ahead log, and of what each begins with. */
const PAGE_BYTES = 8_192;
const PAGE_HEADER_BYTES = 24;

/** One message: a transaction has its id from the start, so that what became of it can be asked by whoever lost it. */
const BEGIN = 'BEGIN; SELECT pg_current_xact_id()::text AS xid';
/** When the server last had to recover from a crash, of its own or of one of its processes: it then counts from nothing. */
const RECOVERED = `(SELECT stats_reset::text FROM pg_catalog.pg_stat_bgwriter)`;
/** {@link BEGIN} on a connection that is new: the run of a server that takes writes lasts as long as its connections. */
const BEGIN_FIRST = `${BEGIN}, ${RUN} AS run, ${RECOVERED} AS recovered`;
const runs = new WeakMap<pg.ClientBase, Run>();

/**
 * One message. The setting is read before the end, where it may be SET LOCAL; the places after it, where they are at
 * or after the end of the commit record. A place read before COMMIT would be before it, and worth nothing.
 */
const COMMIT = `SHOW synchronous_commit; COMMIT; SELECT pg_current_wal_flush_lsn()::text AS flushed, pg_current_wal_insert_lsn()::text AS inserted`;

interface Run {
  readonly run: string;
  readonly recovered: string;
}

interface Begun extends Run {
  readonly xid: string;
}

/** What a transaction left behind, and in which run of the server; undefined if the connection broke in between. */
export interface Measured<Result> extends Committed<Result> {
  readonly run: string | undefined;
}

/**
 * Runs the application's transaction on a connection of the pool and takes its evidence. What `work` throws is thrown
 * as it is, after ROLLBACK; the connection goes back to the pool healthy, or not at all. Throws COMMIT_UNKNOWN only if
 * the connection broke during COMMIT and the server could not say within a bounded time what became of it.
 */
export async function writeMeasured<Result>(
  database: Database,
  work: (tx: pg.PoolClient) => Result | Promise<Result>,
): Promise<Measured<Result>> {
  const { where } = database;
  const client = await guarded(where, () => database.pool.connect());
  let broken: Error | undefined;
  try {
    const begun = await begin(client, where);
    let value: Result;
    try {
      value = await work(client);
      assertOpen(client, where);
    } catch (error) {
      broken = await rollBack(client);
      // An error of the application's own may have a code that looks like one of the network.
      throw broken !== undefined || isServerError(error) ? postgresError(error, where) : error;
    }
    try {
      return { value, offset: await commit(client), run: begun.run };
    } catch (error) {
      // An error of the server (a deferred constraint) has ended the transaction; only silence leaves it open.
      if (!isConnectionLost(error)) {
        broken = await rollBack(client);
        throw sqlState(error) === IN_FAILED_TRANSACTION
          ? rolledBack(where)
          : postgresError(error, where);
      }
      broken = error instanceof Error ? error : new Error('the connection is lost');
      return { value, offset: await afterLostCommit(database, begun, error), run: undefined };
    }
  } catch (error) {
    if (isConnectionLost(error)) broken ??= new Error('the connection is lost');
    throw error;
  } finally {
    client.release(broken);
  }
}

/**
 * The evidence offset of a transaction by the id that the application's own client returned (`pg_current_xact_id()`
 * within the transaction). Waits until it has ended, at most `withinMs`. Throws BARRIER_TIMEOUT if it is still running
 * then (an id that was taken outside of the transaction that wrote ends with nothing), INPUT_INVALID if it was rolled
 * back or never was, STORE_UNREACHABLE.
 */
export async function resolveTransaction(
  database: Database,
  xid: string | number | bigint,
  options: { readonly withinMs: number; readonly signal?: AbortSignal },
): Promise<number> {
  const id = String(xid);
  if (!/^[0-9]{1,20}$/.test(id)) throw noTransaction(database.where, id, 'is not a transaction id');
  const deadlineMs = database.clock.monotonicMs() + options.withinMs;
  for (;;) {
    const status = await statusOf(database, id);
    switch (status) {
      case 'aborted':
        throw noTransaction(database.where, id, 'was rolled back, and left nothing behind');
      case 'in the future':
        throw noTransaction(database.where, id, 'was never begun on this server');
      case 'in progress':
        break;
      default:
        // Committed; or so long ago that the server does not know any more: then it is before the present end too.
        return flushedEnd(database);
    }
    if (database.clock.monotonicMs() >= deadlineMs)
      throw new TallyError('BARRIER_TIMEOUT', {
        what: `transaction ${id} is still running after ${options.withinMs} ms`,
        where: database.where,
        mend: 'resolve the id after its COMMIT, and take it within the transaction that writes (RETURNING pg_current_xact_id()::text)',
        details: { xid: id },
      });
    await database.clock.sleep(ASK_AGAIN_MS, options.signal);
  }
}

/** SQLSTATE of a statement in a transaction that has failed. */
const IN_FAILED_TRANSACTION = '25P02';

type Status = 'committed' | 'aborted' | 'in progress' | 'in the future' | 'forgotten';

async function statusOf(database: Database, xid: string): Promise<Status> {
  try {
    const rows = await database.query<{ status: Status | null }>(
      'SELECT pg_xact_status($1::text::xid8) AS status',
      [xid],
    );
    return rows[0]?.status ?? 'forgotten';
  } catch (error) {
    if (isOfNoTransaction(error)) return 'in the future';
    throw error;
  }
}

/** `transaction ID is in the future`; and one that does not fit 64 bits never was either. */
function isOfNoTransaction(error: unknown): boolean {
  return ['22023', '22003', '22P02'].includes(sqlState(error) ?? '');
}

/**
 * A place at or after every commit record so far, and flushed. With synchronous_commit off a commit is visible before
 * it is flushed: then a message of our own takes everything before it to the disk.
 */
async function flushedEnd(database: Database): Promise<number> {
  const ends = async (): Promise<{ inserted: number; flushed: number }> => {
    const [row] = await database.query<{ inserted: string; flushed: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS inserted, pg_current_wal_flush_lsn()::text AS flushed',
    );
    const { inserted, flushed } = must(row, 'the places of the log');
    return { inserted: recordEnd(parseLsn(inserted)), flushed: parseLsn(flushed) };
  };
  const first = await ends();
  if (first.flushed >= first.inserted) return endOffset(first.flushed);
  await database.transaction(async (tx) => {
    await tx.run('SET LOCAL synchronous_commit = local');
    await tx.query(`SELECT pg_logical_emit_message(true, 'tally', '')`);
  });
  return endOffset((await ends()).flushed);
}

/** The insert position after a record that fills its page is behind the header of the next: no record ends there. */
export function recordEnd(lsn: number): number {
  return lsn % PAGE_BYTES === PAGE_HEADER_BYTES ? lsn - PAGE_HEADER_BYTES : lsn;
}

async function begin(client: pg.PoolClient, where: string): Promise<Begun> {
  try {
    const known = runs.get(client);
    const results = await statements(client, known === undefined ? BEGIN_FIRST : BEGIN);
    const row = must(results.at(-1)?.rows[0] as Partial<Begun> | undefined, 'the transaction id');
    const run = must(known?.run ?? row.run, 'the run of the server');
    const recovered = must(known?.recovered ?? row.recovered, 'the last recovery of the server');
    if (known === undefined) runs.set(client, { run, recovered });
    return { xid: must(row.xid, 'the transaction id'), run, recovered };
  } catch (error) {
    await rollBack(client);
    throw postgresError(error, where);
  }
}

async function commit(client: pg.PoolClient): Promise<number> {
  const [before, , after] = await statements(client, COMMIT);
  const { synchronous_commit: durability } = must(
    before?.rows[0] as { synchronous_commit: string } | undefined,
    'a setting',
  );
  const { flushed, inserted } = must(
    after?.rows[0] as { flushed: string; inserted: string } | undefined,
    'the end of the commit',
  );
  return endOffset(durability === 'off' ? recordEnd(parseLsn(inserted)) : parseLsn(flushed));
}

/** Several statements in one message, whatever parsers the application has set. */
async function statements(
  client: pg.ClientBase,
  text: string,
): Promise<readonly { readonly rows: readonly unknown[] }[]> {
  const results: unknown = await client.query({ text, types: ownTypes });
  return Array.isArray(results) ? (results as { rows: unknown[] }[]) : [];
}

function isServerError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'severity' in error;
}

function assertOpen(client: pg.PoolClient, where: string): void {
  const status = client.getTransactionStatus();
  if (status === 'E') throw rolledBack(where);
  if (status !== 'I') return;
  throw new TallyError('CONFIG_INVALID', {
    what: 'the work given to write() ended the transaction itself',
    where,
    mend: 'leave BEGIN, COMMIT and ROLLBACK to write(); throw to roll back, or use SAVEPOINT inside',
  });
}

/**
 * The connection broke during COMMIT: the server knows what became of it. The timeline must still be the same: a
 * standby that was promoted meanwhile may have given the same id to another transaction.
 *
 * So may the server itself, after a crash: 1. a transaction gets the id 42  2. the server crashes before anything of
 * it has left its memory  3. it recovers, and the next transaction gets the id 42 too, and commits. So what is
 * committed after a crash is not known to be this one; what is not committed cannot be it.
 */
async function afterLostCommit(
  database: Database,
  { xid, run, recovered }: Begun,
  cause: unknown,
): Promise<number> {
  const deadlineMs = database.clock.monotonicMs() + ASK_MS;
  let why = 'the server did not say in time what became of it';
  do {
    try {
      const seen = await askAfter(database, xid);
      if (seen.timeline !== run.split('/')[1]) {
        why = 'another server has taken over, and may not know of it';
        break;
      }
      const crashed = seen.recovered !== recovered;
      const { status } = seen;
      if (status === 'committed' && !crashed) return await flushedEnd(database);
      if (status === 'aborted' || (crashed && ['in progress', 'in the future'].includes(status)))
        throw new TallyError('STORE_UNREACHABLE', {
          what: 'the connection broke before COMMIT took effect: nothing of the transaction was kept',
          where: database.where,
          mend: 'try again',
          details: { xid, kept: false },
          cause,
        });
      if (crashed) why = 'the server crashed, and may have given its id to another transaction';
      if (status !== 'in progress') break;
    } catch (error) {
      if (error instanceof TallyError && error.details['kept'] === false) throw error;
      if (!(error instanceof TallyError && error.retryable)) throw error;
    }
    await database.clock.sleep(ASK_AGAIN_MS);
  } while (database.clock.monotonicMs() < deadlineMs);
  throw new TallyError('COMMIT_UNKNOWN', {
    what: `the connection broke during COMMIT, and ${why}`,
    where: database.where,
    mend: 'look whether the rows are there before writing them again',
    retryable: false,
    details: { xid },
    cause,
  });
}

interface Seen {
  readonly timeline: string;
  readonly recovered: string;
  readonly status: Status;
}

/** Of one moment: a crash between two questions would make the answers those of two servers. */
async function askAfter(database: Database, xid: string): Promise<Seen> {
  const places = `left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline, ${RECOVERED} AS recovered`;
  try {
    const rows = await database.query<Seen>(
      `SELECT ${places}, coalesce(pg_xact_status($1::text::xid8), 'forgotten') AS status`,
      [xid],
    );
    return must(rows[0], 'what became of the transaction');
  } catch (error) {
    if (!isOfNoTransaction(error)) throw error;
    const rows = await database.query<Omit<Seen, 'status'>>(`SELECT ${places}`);
    return { ...must(rows[0], 'the state of the server'), status: 'in the future' };
  }
}

function noTransaction(where: string, xid: string, why: string): TallyError {
  return new TallyError('INPUT_INVALID', {
    what: `transaction ${xid.slice(0, 40)} ${why}`,
    where,
    mend: 'take the id within the transaction that writes, as text: SELECT pg_current_xact_id()::text',
    details: { xid: xid.slice(0, 40) },
  });
}

async function guarded<Value>(where: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw postgresError(error, where);
  }
}
