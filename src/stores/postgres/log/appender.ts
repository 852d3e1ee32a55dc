import { must, TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type { LogAppender, LogRecord, LogTail } from '../../../ports/log.ts';
import type { Database, Session } from '../database.ts';
import { isConnectionLost } from '../errors.ts';
import { byteaArray, int4Array, int8Array } from '../ledger/arrays.ts';
import { durableSession, endSession } from '../ledger/session.ts';
import { decodeRecord, encodeParts, encodeRecord, PART_BYTES_MAX, type Part } from './codec.ts';
import { appendUnknown, closed, fencedOut, logFull } from './failures.ts';
import type { SegmentRow } from './rows.ts';

/** One flush takes this much at most, so that nobody waits for a transaction without end. */
const FLUSH_BYTES_MAX = 4 * 1024 * 1024;
/** What a row takes beside its records. */
const ROW_BYTES = 64;

/** What an appender is opened with. */
export interface AppenderSetup {
  readonly database: Database;
  readonly lane: string;
  readonly channel: string;
  readonly where: string;
  readonly bytesMax: number;
  readonly answerTimeoutMs: number;
  readonly workerEpoch: number;
  /** Called with what became durable, before the calls resolve. */
  readonly onAppended: (rows: readonly SegmentRow[]) => void;
}

interface Call {
  readonly parts: readonly Part[];
  readonly bytes: number;
  readonly last: LogRecord;
  readonly commit: LogRecord | undefined;
  readonly resolve: (answer: { readonly next: number }) => void;
  readonly reject: (error: unknown) => void;
}

interface LaneRow {
  readonly worker_epoch: number;
  readonly turn: number;
  readonly next: number;
  readonly bytes: number;
  readonly last_record: Buffer | null;
  readonly last_commit: Buffer | null;
}

/** Takes the lane: whoever appended before is fenced out by the turn. Throws FENCED_OUT. */
export async function openAppender(setup: AppenderSetup): Promise<PostgresAppender> {
  const { database, lane, workerEpoch, where } = setup;
  const { schema } = database;
  const session = await durableSession(database, setup.answerTimeoutMs);
  try {
    const [row] = await session.query<LaneRow>(
      `INSERT INTO ${schema}.log_lane AS l (lane, worker_epoch) VALUES ($1, $2)
       ON CONFLICT (lane) DO UPDATE SET worker_epoch = excluded.worker_epoch, turn = l.turn + 1
       WHERE l.worker_epoch <= excluded.worker_epoch
       RETURNING worker_epoch, turn, next, bytes, last_record, last_commit`,
      [lane, workerEpoch],
    );
    if (row === undefined) throw fencedOut(where, workerEpoch, await holderOf(setup, session));
    return new PostgresAppender(setup, session, row);
  } catch (error) {
    await session.close();
    throw error;
  }
}

async function holderOf(setup: AppenderSetup, session: Session): Promise<number> {
  const [row] = await session.query<{ worker_epoch: number }>(
    `SELECT worker_epoch FROM ${setup.database.schema}.log_lane WHERE lane = $1`,
    [setup.lane],
  );
  return row?.worker_epoch ?? 0;
}

/**
 * Appends to one lane under one turn. Calls are encoded as they come, while the flush before is on its way; a flush
 * is one statement, so one transaction: it moves the end of the lane if that is still where and whose it was, and
 * only then are there new rows.
 */
export class PostgresAppender implements LogAppender {
  readonly #setup: AppenderSetup;
  readonly #session: Session;
  readonly #turn: number;
  readonly #statement: string;
  #tail: LogTail;
  /** As of the last answer; what was released since makes it less, never more. */
  #bytes: number;
  #queue: Call[] = [];
  #running: Promise<void> | undefined;
  #ended: unknown;
  #closing: Promise<void> | undefined;

  constructor(setup: AppenderSetup, session: Session, row: LaneRow) {
    this.#setup = setup;
    this.#session = session;
    this.#turn = row.turn;
    this.#bytes = row.bytes;
    const last = row.last_record === null ? undefined : decodeRecord(row.last_record);
    this.#tail = {
      next: row.next,
      last: last === undefined ? undefined : identityOf(last),
      commit: row.last_commit === null ? undefined : decodeRecord(row.last_commit),
    };
    this.#statement = appendStatement(setup.database.schema);
  }

  get tail(): LogTail {
    return this.#tail;
  }

  async append(records: readonly LogRecord[]): Promise<{ readonly next: number }> {
    if (this.#ended !== undefined) throw this.#ended;
    const last = records.at(-1);
    if (last === undefined) return { next: this.#tail.next };
    const parts = encodeParts(records);
    const bytes = parts.reduce((sum, part) => sum + part.bytes.length + ROW_BYTES, 0);
    const commit = records.findLast(({ kind }) => kind === 'commit');
    return new Promise((resolve, reject) => {
      this.#queue.push({ parts, bytes, last, commit, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Ends this appender in favour of a newer one in the same process. */
  async supersede(holder: number): Promise<void> {
    this.#ended ??= fencedOut(this.#setup.where, this.#setup.workerEpoch, holder);
    await this.close();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#ended ??= closed(this.#setup.where);
    await this.#running;
    await endSession(this.#session, this.#setup.database.clock);
  }

  async #run(): Promise<void> {
    // Calls made in the same turn of the caller share the first flush too.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const calls = this.#take();
      try {
        if (calls.length === 0) await this.#checkFull();
        else await this.#flush(calls);
      } catch (error) {
        // All that wait behind it too: what follows a failed append would follow a gap.
        for (const { reject } of [...calls, ...this.#queue.splice(0)]) reject(error);
      }
    }
    this.#running = undefined;
  }

  /** The calls of the next flush, as far as they fit into the log. */
  #take(): readonly Call[] {
    const { bytesMax } = this.#setup;
    let [count, bytes] = [0, 0];
    for (const call of this.#queue) {
      const isEnough = count > 0 && bytes + call.bytes > FLUSH_BYTES_MAX;
      if (isEnough || this.#bytes + bytes + call.bytes > bytesMax) break;
      count += 1;
      bytes += call.bytes;
    }
    return this.#queue.splice(0, count);
  }

  /** The next call does not fit. Throws LOG_FULL, unless enough has been released meanwhile. */
  async #checkFull(): Promise<void> {
    const { database, lane, workerEpoch, where, bytesMax } = this.#setup;
    const [row] = await this.#ask(
      this.#session.query<{ worker_epoch: number; turn: number; bytes: number }>(
        `SELECT worker_epoch, turn, bytes FROM ${database.schema}.log_lane WHERE lane = $1`,
        [lane],
      ),
    );
    const { turn, bytes, worker_epoch } = must(row, 'the row of the lane');
    if (turn !== this.#turn) throw this.#end(fencedOut(where, workerEpoch, worker_epoch));
    this.#bytes = bytes;
    if (bytes + (this.#queue[0]?.bytes ?? 0) > bytesMax) throw logFull(where, bytesMax, bytes);
  }

  async #flush(calls: readonly Call[]): Promise<void> {
    const { lane, channel, workerEpoch, where, onAppended } = this.#setup;
    const { rows, ends, next } = layOut(calls, this.#tail.next);
    const bytes = rows.map(({ pieces }) => sizeOf(pieces) + ROW_BYTES);
    const last = must(calls.at(-1), 'a call').last;
    const commit = calls.findLast((call) => call.commit !== undefined)?.commit;
    point('log.before-write');
    const answer = this.#ask(
      this.#session.query<{ bytes: number }>(this.#statement, [
        lane,
        this.#turn,
        this.#tail.next,
        next,
        bytes.reduce((sum, size) => sum + size, 0),
        encodeRecord(last.payload === '' ? last : { ...last, payload: '' }),
        commit === undefined ? null : encodeRecord(commit),
        channel,
        int8Array(rows.map((segment) => segment.first)),
        int8Array(rows.map((segment) => segment.next)),
        int4Array(bytes),
        byteaArray(rows.map(({ pieces }) => pieces)),
      ]),
    );
    // Sent; the server may take it after this process has ended, while the next one asks where the log ends.
    point('log.after-write-before-sync');
    const [row] = await answer;
    point('log.after-sync-before-resolve');
    if (row === undefined)
      throw this.#end(
        fencedOut(where, workerEpoch, await this.#ask(holderOf(this.#setup, this.#session))),
      );
    this.#bytes = row.bytes;
    this.#tail = { next, last: identityOf(last), commit: commit ?? this.#tail.commit };
    onAppended(
      rows.map((segment) => ({
        first: segment.first,
        next: segment.next,
        records: oneBuffer(segment.pieces),
      })),
    );
    for (const [index, { resolve }] of calls.entries()) resolve({ next: ends[index] ?? next });
  }

  /** What the server refuses it has undone; only a connection that broke leaves open what is there. */
  async #ask<Answer>(answer: Promise<Answer>): Promise<Answer> {
    try {
      return await answer;
    } catch (error) {
      if (!isConnectionLost(error)) throw error;
      const cause = error instanceof TallyError ? error.cause : error;
      throw this.#end(appendUnknown(this.#setup.where, cause));
    }
  }

  #end(error: TallyError): TallyError {
    this.#ended ??= error;
    return error;
  }
}

/**
 * One statement: the lane's row is the fence, and the order. `SELECT … FROM moved` runs whether or not there is a
 * reader; who listens is told at COMMIT, never of what is not there.
 */
function appendStatement(schema: string): string {
  return `
WITH moved AS (
  UPDATE ${schema}.log_lane SET next = $4, bytes = bytes + $5, last_record = $6,
    last_commit = coalesce($7, last_commit)
  WHERE lane = $1 AND turn = $2 AND next = $3 RETURNING bytes
), kept AS (
  INSERT INTO ${schema}.log_segment (lane, first, next, bytes, records)
  SELECT $1, u.* FROM unnest($9::bigint[], $10::bigint[], $11::int[], $12::bytea[]) AS u, moved
)
SELECT bytes, pg_notify($8, '') FROM moved`;
}

interface NewRow {
  readonly first: number;
  next: number;
  readonly pieces: Buffer[];
}

/** Puts the parts of calls into rows of about one size; and where each call ends. */
function layOut(
  calls: readonly Call[],
  from: number,
): { readonly rows: readonly NewRow[]; readonly ends: readonly number[]; readonly next: number } {
  const rows: NewRow[] = [];
  const ends: number[] = [];
  let next = from;
  let room = 0;
  for (const { parts } of calls) {
    for (const { bytes, count } of parts) {
      let row = rows.at(-1);
      if (row === undefined || bytes.length > room) {
        row = { first: next, next, pieces: [] };
        rows.push(row);
        room = PART_BYTES_MAX;
      }
      row.pieces.push(bytes);
      next += count;
      row.next = next;
      room -= bytes.length;
    }
    ends.push(next);
  }
  return { rows, ends, next };
}

function sizeOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function oneBuffer(pieces: readonly Buffer[]): Buffer {
  const [first] = pieces;
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces);
}

function identityOf({ epoch, offset, ordinal }: LogRecord): LogTail['last'] {
  return { epoch, offset, ordinal };
}
