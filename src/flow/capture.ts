import { errorText, isTallyError } from '../core/errors.ts';
import { compareIdentities, type Identity } from '../core/position.ts';
import { point } from '../observe/point.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log, LogAppender, LogRecord } from '../ports/log.ts';
import type { Source, SourceCursor, SourceEntry } from '../ports/source.ts';
import { workUnderLease, type HeldLease } from '../runtime/lease.ts';
import { Acknowledger, confirmedCursor } from './acknowledger.ts';
import { claimEpoch, descends, historyLost, type Epoch } from './epochs.ts';
import { commitOf, recordOf } from './record.ts';

/**
 * Rows and bytes of one read of the source; both bound what capture holds in memory. More gains nothing:
 * one batch is read while the one before becomes durable, and what outlives a collection of the young
 * generation costs several times its size until an old one comes.
 */
const BATCH_ROWS_MAX = 1_000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** How long to wait before asking a full log again. */
const LOG_FULL_RETRY_MS = 200;

export interface CaptureOptions {
  /** The lane, which is the name of the store. */
  readonly lane: string;
  readonly source: Source<unknown>;
  readonly tables: readonly string[];
  readonly log: Log;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
  readonly observer: CaptureObserver;
  readonly signal: AbortSignal;
}

/** What capture tells the screens. */
export interface CaptureObserver {
  state(state: 'starting' | 'streaming' | 'log-full'): void;
  captured(changes: number, head: { epoch: number; offset: number; committedAtMs: number }): void;
}

/**
 * Carries changes from a source into the log until the signal aborts, under a lease.
 *
 * Invariants:
 * - a record is appended once: what is at or below the log's last identity is dropped;
 * - the source is acknowledged only up to commits that the log has made durable, never before.
 *   Otherwise: 1. acknowledged 42  2. the source forgets 42  3. crash  4. the log ends at 41.
 */
export async function capture(options: CaptureOptions): Promise<void> {
  const { lane, ledger, clock, owner, isDead, observer, signal } = options;
  observer.state('starting');
  await workUnderLease(
    { ledger, clock, lease: `capture/${lane}`, owner, isDead, signal },
    (lease) => captureUnder(lease, options),
  );
}

async function captureUnder(lease: HeldLease, options: CaptureOptions): Promise<void> {
  const { lane, ledger, clock, source, log, signal } = options;
  try {
    await source.prepare(options.tables);
    await source.claim(lease.epoch);
    await using appender = await log.openAppender(lease.epoch);
    point('capture.after-claim-before-epoch');
    const present = await claimEpoch(ledger, lane, await source.history(), {
      guard: lease.guard,
      continues: (before) => continuation(source, appender, before),
    });
    const { epoch } = present;
    const start = await startOf(options, appender, present);
    const failing = new AbortController();
    await using acknowledger = new Acknowledger({
      lane,
      source,
      ledger,
      clock,
      lease,
      epoch,
      onFailure: (error) => failing.abort(error),
    });
    await mark(options, appender, epoch, start);
    await stream(options, { appender, acknowledger, epoch, lease, failing, ...start });
  } catch (error) {
    // 1. a worker is suspended  2. another captures and acknowledges  3. the first goes on, and what it wants to
    // read is gone: that is no lost history. Whoever lost the lease stands by, whatever failed.
    if (!signal.aborted) await lease.check();
    throw named(error, lane);
  } finally {
    await lease.release();
  }
}

/** A source knows its file, not its name in the application: the remedy has to name the lane. */
function named(error: unknown, lane: string): unknown {
  return isTallyError(error, 'HISTORY_LOST') && error.details['lane'] === undefined
    ? historyLost(lane, errorText(error), error.details, error)
    : error;
}

interface Start {
  readonly cursor: SourceCursor | undefined;
  readonly last: Identity | undefined;
}

/** What the source's history shares with the one before, if the log is all of that. */
async function continuation(
  source: Source<unknown>,
  { tail: { commit, last } }: LogAppender,
  before: Epoch,
): Promise<{ readonly upTo: number; readonly captured: number } | undefined> {
  if (commit?.epoch !== before.epoch || last?.epoch !== before.epoch) return undefined;
  const { tok } = commitOf(commit);
  if (tok === '') return undefined;
  const upTo = await source.continues?.(before.history, { offset: commit.offset, token: tok });
  if (upTo === undefined || upTo < last.offset) return undefined;
  return { upTo, captured: last.offset };
}

/**
 * Where to go on: after the log's last commit of this epoch (or of one that it goes on from without a gap),
 * dropping what of the next transaction is there already.
 */
async function startOf(
  options: CaptureOptions,
  appender: LogAppender,
  { epoch, forks }: Epoch,
): Promise<Start> {
  const { commit, last } = appender.tail;
  const joined = commit !== undefined && descends(forks, epoch, commit.epoch);
  const cursor = joined ? { offset: commit.offset, token: commitOf(commit).tok } : undefined;
  const confirmed = await confirmedCursor(options.ledger, options.lane);
  // The source was told that it may forget up to `confirmed`; a log that ends before that has lost records.
  if (
    confirmed !== undefined &&
    descends(forks, epoch, confirmed.epoch) &&
    (cursor === undefined || cursor.offset < confirmed.offset)
  )
    throw historyLost(options.lane, 'the log ends before what the source was told is safe', {
      confirmed: confirmed.offset,
      logged: cursor?.offset ?? null,
    });
  // Of a transaction that the log has half of in the epoch before, only the rest is appended in this one.
  const known = last !== undefined && descends(forks, epoch, last.epoch);
  return { cursor, last: known ? { ...last, epoch } : undefined };
}

/**
 * The first record of an epoch: no change, but it tells the flows that the lane is captured from here on. Where
 * the epoch goes on from the one before, it stands at the same place, unless the log ends within a transaction:
 * the rest of that is then what comes first.
 */
async function mark(
  options: CaptureOptions,
  appender: LogAppender,
  epoch: number,
  { cursor }: Start,
): Promise<void> {
  const { commit, last } = appender.tail;
  if (cursor !== undefined && (commit?.epoch === epoch || last?.offset !== commit?.offset)) return;
  const { offset, token } = cursor ?? { offset: 0, token: '' };
  const committedAtMs = options.clock.nowMs();
  await appender.append([
    recordOf({ kind: 'commit', offset, changes: 0, committedAtMs, token }, epoch),
  ]);
}

interface Streaming extends Start {
  readonly appender: LogAppender;
  readonly acknowledger: Acknowledger;
  readonly epoch: number;
  readonly lease: HeldLease;
  /** Aborts when an append or an acknowledgement failed. */
  readonly failing: AbortController;
}

async function stream(options: CaptureOptions, streaming: Streaming): Promise<void> {
  const { source, observer } = options;
  const { acknowledger, lease, epoch, failing } = streaming;
  const entries = source.stream({
    after: cursorOf(streaming),
    rowsMax: BATCH_ROWS_MAX,
    bytesMax: BATCH_BYTES_MAX,
    // A source that has nothing more to say must not keep what failed from being tried again.
    signal: AbortSignal.any([lease.signal, failing.signal]),
  });
  observer.state('streaming');
  // The next batch is read while this one becomes durable; but only one append is under way, so that
  // one that fails is never followed by one that succeeds, which would be a gap.
  let appending: Promise<void> = Promise.resolve();
  try {
    for await (const batch of entries) {
      await appending;
      acknowledger.check();
      lease.signal.throwIfAborted();
      const fresh = freshRecords(batch, epoch, streaming.last);
      if (fresh.length === 0) continue;
      point('capture.after-read-before-append');
      appending = append(options, streaming, fresh);
      appending.catch((error: unknown) => failing.abort(error));
    }
  } finally {
    await appending;
  }
  acknowledger.check();
  // The source ends its stream when the lease's signal aborts: say so if it was lost, not given up.
  if (!options.signal.aborted) lease.signal.throwIfAborted();
}

/** A cursor that is only the mark of an epoch stands for the oldest change that is kept. */
function cursorOf({ cursor }: Start): SourceCursor | undefined {
  return cursor === undefined || cursor.token === '' ? undefined : cursor;
}

/** The records of a batch that the log does not have yet. */
export function freshRecords(
  batch: readonly SourceEntry[],
  epoch: number,
  last: Identity | undefined,
): readonly LogRecord[] {
  const records = batch.map((entry) => recordOf(entry, epoch));
  if (last === undefined) return records;
  const tail = records.at(-1);
  const head = records[0];
  if (tail === undefined || head === undefined || compareIdentities(head, last) > 0) return records;
  return records.filter((record) => compareIdentities(record, last) > 0);
}

async function append(
  options: CaptureOptions,
  streaming: Streaming,
  records: readonly LogRecord[],
): Promise<void> {
  const { observer, clock } = options;
  let from = 0;
  let count = records.length;
  while (from < records.length) {
    try {
      await streaming.appender.append(
        count === records.length ? records : records.slice(from, from + count),
      );
      from += count;
      count = records.length - from;
    } catch (error) {
      if (!isTallyError(error, 'LOG_FULL')) throw error;
      // What fits goes in. Otherwise: 1. these records together are more than the log may hold  2. every flow
      // applies all that is there, and the log is empty  3. they still do not fit, and never will.
      if (count > 1) {
        count = Math.ceil(count / 2);
        continue;
      }
      // Full: the slowest flow holds the log back. Nothing is dropped; the changes wait at the source.
      observer.state('log-full');
      await clock.sleep(LOG_FULL_RETRY_MS, streaming.lease.signal);
    }
  }
  observer.state('streaming');
  point('capture.after-append-before-acknowledge');
  const commit = records.findLast((record) => record.kind === 'commit');
  if (commit === undefined) {
    observer.captured(records.length, { epoch: streaming.epoch, offset: 0, committedAtMs: 0 });
    return;
  }
  const { at, tok } = commitOf(commit);
  observer.captured(records.filter((record) => record.kind === 'change').length, {
    epoch: commit.epoch,
    offset: commit.offset,
    committedAtMs: at,
  });
  streaming.acknowledger.note({ offset: commit.offset, token: tok });
}
