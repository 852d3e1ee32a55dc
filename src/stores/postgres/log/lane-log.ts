import { checkNumber } from '../../../core/options.ts';
import { point } from '../../../observe/point.ts';
import type { Log, LogAppender, LogBatch, LogSupports, ReadOptions } from '../../../ports/log.ts';
import type { Database } from '../database.ts';
import { toStored } from '../ledger/plain-text.ts';
import { logSupports } from '../supports.ts';
import { openAppender, type PostgresAppender } from './appender.ts';
import { closed, gap, truncated } from './failures.ts';
import { RecentRows, RowCursor, type SegmentRow } from './rows.ts';
import { channelOf, Waker } from './waker.ts';

/** What was appended here last and is not fetched again to be read. */
const RECENT_BYTES_MAX = 8 * 1024 * 1024;
/** Readers whose place is kept: each holds what it fetched and has not read yet. */
const CURSORS_MAX = 8;
/** Rows fetched at a time. */
const FETCH_ROWS_MAX = 256;
/** Rows released in one transaction: some tens of milliseconds. */
const RELEASE_ROWS_MAX = 1_000;

interface Extent {
  readonly first: number;
  readonly next: number;
  readonly bytes: number;
}

/** What a log is opened with. */
export interface LaneLogSettings {
  readonly lane: string;
  readonly bytesMax: number;
  readonly answerTimeoutMs: number;
}

/** The log of one lane, as one process has it open. */
export class LaneLog implements Log {
  readonly supports: LogSupports = logSupports;
  readonly #database: Database;
  readonly #lane: string;
  readonly #where: string;
  readonly #settings: LaneLogSettings;
  readonly #channel: string;
  readonly #waker: Waker;
  readonly #recent = new RecentRows(RECENT_BYTES_MAX);
  /** Places of readers by the log offset that they come to next; the oldest first. */
  readonly #cursors = new Map<number, RowCursor>();
  readonly #appenders = new Set<PostgresAppender>();
  readonly #fetch: string;
  readonly #release: string;
  #closing: Promise<void> | undefined;

  constructor(database: Database, settings: LaneLogSettings) {
    const { schema } = database;
    const { lane } = settings;
    this.#database = database;
    this.#lane = toStored(lane);
    this.#where = `log of ${lane}, ${database.where}`;
    this.#settings = settings;
    this.#channel = channelOf(schema, lane);
    this.#waker = new Waker(database, this.#channel);
    this.#fetch = fetchStatement(schema);
    this.#release = releaseStatement(schema);
  }

  async openAppender(workerEpoch: number): Promise<LogAppender> {
    this.#checkOpen();
    checkNumber(workerEpoch, 'workerEpoch', { min: 0, integer: true });
    const appender = await openAppender({
      database: this.#database,
      lane: this.#lane,
      channel: this.#channel,
      where: this.#where,
      bytesMax: this.#settings.bytesMax,
      answerTimeoutMs: this.#settings.answerTimeoutMs,
      workerEpoch,
      onAppended: (rows) => {
        this.#recent.push(rows);
        this.#waker.wakeAll();
      },
    });
    // The server has fenced the older ones out; their connections are worth nothing any more.
    for (const older of this.#appenders) void older.supersede(workerEpoch);
    this.#appenders.clear();
    this.#appenders.add(appender);
    return appender;
  }

  async read({ from, recordsMax, bytesMax, signal }: ReadOptions): Promise<LogBatch> {
    for (let why = ''; ;) {
      this.#checkOpen();
      const told = this.#waker.told;
      const cursor = await this.#cursorAt(from, bytesMax);
      if (cursor !== undefined) {
        const records = cursor.take(Math.max(1, recordsMax), bytesMax);
        if (why === 'time to look') void this.#waker.renew();
        this.#keep(cursor);
        return { first: from, next: from + records.length, records };
      }
      if (signal.aborted) return { first: from, next: from, records: [] };
      if (await this.#waker.listen()) why = await this.#waker.wait(told, signal);
    }
  }

  async extent(): Promise<Extent> {
    this.#checkOpen();
    const [row] = await this.#database.query<Extent>(
      `SELECT first, next, bytes FROM ${this.#database.schema}.log_lane WHERE lane = $1`,
      [this.#lane],
    );
    return { first: row?.first ?? 0, next: row?.next ?? 0, bytes: row?.bytes ?? 0 };
  }

  async release(before: number): Promise<void> {
    this.#checkOpen();
    for (;;) {
      point('log.before-segment-delete');
      const [row] = await this.#database.query<{ first: number; rows: number }>(this.#release, [
        this.#lane,
        Number.isFinite(before) ? Math.floor(before) : Number.MAX_SAFE_INTEGER,
        RELEASE_ROWS_MAX,
      ]);
      if (row === undefined) return;
      this.#recent.release(row.first);
      for (const cursor of this.#cursors.values())
        if (cursor.next < row.first) this.#cursors.delete(cursor.next);
      if (row.rows < RELEASE_ROWS_MAX) return;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#appenders].map((appender) => appender.close()));
    await this.#waker.close();
    await this.#database.close();
  }

  /** A place at `from` with at least one record after it; undefined at the end. Throws LOG_TRUNCATED. */
  async #cursorAt(from: number, bytesMax: number): Promise<RowCursor | undefined> {
    const kept = this.#cursors.get(from);
    // A place in use belongs to one read: another from the same offset makes its own.
    this.#cursors.delete(from);
    if (kept !== undefined) return kept;
    const recent = this.#recent.from(from, bytesMax);
    if (recent.length > 0) return new RowCursor(recent, from);
    const rows = await this.#database.query<SegmentRow>(this.#fetch, [
      this.#lane,
      from,
      bytesMax,
      FETCH_ROWS_MAX,
    ]);
    const [oldest] = rows;
    if (oldest !== undefined && oldest.first <= from && from < oldest.next)
      return new RowCursor(rows, from);
    const { first, next } = await this.extent();
    if (from < first) throw truncated(this.#where, from, first);
    // Either it was appended since the rows were asked for, or a row is missing: who asks again learns which.
    if (from < next) return this.#appendedMeanwhile(from, bytesMax);
    return undefined;
  }

  async #appendedMeanwhile(from: number, bytesMax: number): Promise<RowCursor> {
    const rows = await this.#database.query<SegmentRow>(this.#fetch, [
      this.#lane,
      from,
      bytesMax,
      FETCH_ROWS_MAX,
    ]);
    const [oldest] = rows;
    if (oldest !== undefined && oldest.first <= from && from < oldest.next)
      return new RowCursor(rows, from);
    const { first } = await this.extent();
    throw from < first ? truncated(this.#where, from, first) : gap(this.#where, from);
  }

  #keep(cursor: RowCursor): void {
    if (cursor.isSpent) return;
    this.#cursors.delete(cursor.next);
    this.#cursors.set(cursor.next, cursor);
    const [oldest] = this.#cursors.keys();
    if (this.#cursors.size > CURSORS_MAX && oldest !== undefined) this.#cursors.delete(oldest);
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closed(this.#where);
  }
}

/** The row that holds an offset and those after it, as many as the bound of bytes asks for. */
function fetchStatement(schema: string): string {
  return `
SELECT first, next, records FROM (
  SELECT first, next, records, sum(bytes) OVER (ORDER BY first) - bytes AS before FROM (
    SELECT first, next, bytes, records FROM ${schema}.log_segment
    WHERE lane = $1 AND first >= coalesce(
      (SELECT max(first) FROM ${schema}.log_segment WHERE lane = $1 AND first <= $2), $2)
    ORDER BY first LIMIT $4
  ) AS found
) AS bounded
WHERE before < $3 ORDER BY first`;
}

/** Deletes the oldest rows before an offset; the last commit stays in the row of the lane. */
function releaseStatement(schema: string): string {
  return `
WITH gone AS (
  DELETE FROM ${schema}.log_segment WHERE lane = $1 AND first IN (
    SELECT first FROM ${schema}.log_segment WHERE lane = $1 AND first < $2 AND next <= $2 ORDER BY first LIMIT $3)
  RETURNING next, bytes
), total AS (
  SELECT max(next) AS next, sum(bytes) AS bytes, count(*) AS rows FROM gone
)
UPDATE ${schema}.log_lane l SET first = greatest(l.first, total.next), bytes = l.bytes - total.bytes
FROM total WHERE l.lane = $1 AND total.rows > 0
RETURNING l.first, total.rows`;
}
