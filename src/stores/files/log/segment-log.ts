import { mkdir, rm, stat, unlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOneOf, checkOptions, checkString } from '../../../core/options.ts';
import { point } from '../../../observe/point.ts';
import type { Log, LogAppender, LogBatch, LogSupports, ReadOptions } from '../../../ports/log.ts';
import type { StoreContext } from '../../../ports/store.ts';
import { closed, fencedOut, systemCode, truncated, unreachableDisk } from './failures.ts';
import { ReadCursor } from './read-cursor.ts';
import { SegmentAppender, type AppenderOptions } from './segment-appender.ts';
import {
  claim,
  compareRanks,
  createSegment,
  list,
  syncDirectory,
  type Rank,
  type Segment,
} from './segment-files.ts';
import { SegmentList } from './segment-list.ts';
import { scanTail, type TailScan } from './tail-scan.ts';

const SEGMENT_BYTES_DEFAULT = 64 * 1024 * 1024;
const SEGMENT_BYTES_MIN = 1024;
/** A log over its bound holds its source's own log back; eight segments let it be freed in steps. */
const SEGMENTS_PER_LOG = 8;
/** Readers whose place is kept open: each holds a file and up to a mebibyte. */
const CURSORS_MAX = 8;

export interface SegmentLogOptions {
  /** The directory of this log alone; created if it is not there. */
  readonly dir: string;
  /** A segment is closed once a flush would take it over this size. 64 MiB, or an eighth of `bytesMax`. */
  readonly segmentBytes?: number;
  /** The most that the log keeps on disk; beyond, appends fail with LOG_FULL. Unbounded if not given. */
  readonly bytesMax?: number;
  /**
   * `always` (the default) syncs every flush: what was appended survives the loss of power.
   * `os` leaves it to the operating system: it survives the process, but not the machine, and after
   * a loss of power the log may be found shorter or damaged.
   */
  readonly sync?: 'always' | 'os';
}

/** What {@link segmentLog} returns: how to open the log, without opening it. */
export interface SegmentLogDefinition {
  /** Opens the log. Throws STORE_UNREACHABLE or CONFIG_INVALID. */
  open(context: StoreContext): Promise<Log>;
}

/*
 * Why segments and not SQLite, which is there anyway: bench/log.ts runs both against a raw writer,
 * at the same durability and with the same batches. On two busy cores, against a table in WAL mode
 * with synchronous = FULL, segments appended 1.5 to 3.5 times as much, from batches of one record
 * to batches of 4 096, and gave 2.9 to 4 million records a second to a reader where SQLite gave 0.5
 * to 0.8 million. SQLite's calls also block the thread that makes them, for the sync too. Retention
 * is the deletion of files, where a table has to find, delete and reuse its pages.
 */

/**
 * A durable log in a directory of append-only segments. Many may open it, in any processes; one
 * appends at a time, and opening an appender fences every older one. Concurrent appends share one
 * write and one sync. Readers in the process of the appender wait without polling and see only
 * what is durable; a log opened in another process sees the records that are there, and knows of
 * new ones when it asks again, but is not woken by them.
 *
 * A torn last write is left out on opening; damage anywhere else is STORE_CORRUPT with the file and
 * the byte, on opening or on reading. Only damage to the very last frame of a log that was not
 * closed cannot be told from a torn write; the source's confirmed position shows that it is gone.
 *
 * Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 */
export function segmentLog(options: SegmentLogOptions): SegmentLogDefinition {
  checkOptions(options, ['dir', 'segmentBytes', 'bytesMax', 'sync'], '');
  const dir = resolve(checkString(options.dir, 'dir'));
  const bytesMax = options.bytesMax ?? Infinity;
  const segmentBytes =
    options.segmentBytes ??
    Math.max(
      SEGMENT_BYTES_MIN,
      Math.min(SEGMENT_BYTES_DEFAULT, Math.floor(bytesMax / SEGMENTS_PER_LOG)),
    );
  checkNumber(segmentBytes, 'segmentBytes', { min: SEGMENT_BYTES_MIN, integer: true });
  if (options.bytesMax !== undefined)
    checkNumber(options.bytesMax, 'bytesMax', { min: 2 * segmentBytes, integer: true });
  const sync = checkOneOf(options.sync ?? 'always', 'sync', ['always', 'os']);
  const settings: AppenderOptions = { dir, segmentBytes, bytesMax, sync };
  return {
    open: async () => {
      try {
        await mkdir(dir, { recursive: true });
        await syncDirectory(dirname(dir));
        await list(dir);
      } catch (error) {
        throw unreachableDisk(dir, error);
      }
      return new SegmentLog(settings);
    },
  };
}

class SegmentLog implements Log {
  readonly supports: LogSupports;
  readonly #options: AppenderOptions;
  readonly #list: SegmentList = new SegmentList();
  /** Places of readers by the log offset that they come to next; the oldest first. */
  readonly #cursors: Map<number, ReadCursor> = new Map();
  #appender: SegmentAppender | undefined;
  /** Whether the list was read from the directory at least once. */
  #known = false;
  #closed = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: AppenderOptions) {
    this.#options = options;
    this.supports = { durable: options.sync === 'always' };
  }

  async openAppender(workerEpoch: number): Promise<LogAppender> {
    checkNumber(workerEpoch, 'workerEpoch', { min: 0, integer: true });
    return await this.#inTurn(async () => {
      const current = this.#appender;
      if (current !== undefined && workerEpoch < current.rank.epoch)
        throw fencedOut(this.#options.dir, workerEpoch, current.rank.epoch);
      await current?.supersede();
      return await this.#takeOver(workerEpoch);
    });
  }

  async read({ from, recordsMax, bytesMax, signal }: ReadOptions): Promise<LogBatch> {
    this.#checkOpen();
    if (!this.#known || (this.#appender === undefined && from >= this.#list.next))
      await this.#refresh();
    if (!(await this.#list.beyond(from, signal))) return { first: from, next: from, records: [] };
    try {
      return await this.#readNow(from, recordsMax, bytesMax);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw unreachableDisk(this.#options.dir, error);
      // Another process released the segment since the directory was listed.
      await this.#refresh();
      this.#checkKept(from);
      throw unreachableDisk(this.#options.dir, error);
    }
  }

  async extent(): Promise<{
    readonly first: number;
    readonly next: number;
    readonly bytes: number;
  }> {
    this.#checkOpen();
    await this.#refresh();
    const { first, next, bytes } = this.#list;
    return { first, next, bytes };
  }

  async release(before: number): Promise<void> {
    this.#checkOpen();
    await this.#refresh();
    await this.#inTurn(async () => {
      let released = false;
      for (;;) {
        const oldest = this.#list.releasable(before);
        if (oldest === undefined) break;
        point('log.before-segment-delete');
        // Off the list first: whoever reads it from now on learns LOG_TRUNCATED, not a lost file.
        this.#list.shift();
        await rm(oldest.path, { force: true });
        released = true;
      }
      if (!released) return;
      await syncDirectory(this.#options.dir);
      // An open file keeps its disk space even when its name is gone.
      for (const cursor of this.#cursors.values())
        if (cursor.next < this.#list.first) await this.#forget(cursor);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#turn;
    await this.#appender?.close();
    this.#list.fail(closed(this.#options.dir));
    for (const cursor of this.#cursors.values()) await this.#forget(cursor);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #readNow(from: number, recordsMax: number, bytesMax: number): Promise<LogBatch> {
    this.#checkOpen();
    this.#checkKept(from);
    const cursor = this.#cursors.get(from) ?? new ReadCursor(this.#list, from);
    // A place in use belongs to one read: another from the same offset makes its own.
    this.#cursors.delete(from);
    let records;
    try {
      records = await cursor.read(Math.max(1, recordsMax), bytesMax);
    } catch (error) {
      await cursor.close();
      this.#checkKept(from);
      throw error;
    }
    await this.#keep(cursor);
    return { first: from, next: from + records.length, records };
  }

  async #keep(cursor: ReadCursor): Promise<void> {
    if (this.#closed) return await cursor.close();
    // Put in its place before anything is awaited: of two that come to one place, each is closed.
    const replaced = this.#cursors.get(cursor.next);
    this.#cursors.delete(cursor.next);
    this.#cursors.set(cursor.next, cursor);
    await replaced?.close();
    const [oldest] = this.#cursors.values();
    if (this.#cursors.size > CURSORS_MAX && oldest !== undefined) await this.#forget(oldest);
  }

  async #forget(cursor: ReadCursor): Promise<void> {
    this.#cursors.delete(cursor.next);
    await cursor.close();
  }

  /**
   * Becomes the appender: claim, then find the end, then begin a new segment there. Nothing is cut
   * off the old segment. Where the new one begins is where the old one ends, for every reader, so
   * an appender that is still writing to it, and whatever a crash left there, do no harm.
   */
  async #takeOver(epoch: number): Promise<SegmentAppender> {
    const { dir } = this.#options;
    const claimed = await claim(dir, epoch);
    const { segments, tail } = await this.#readDirectory();
    const newer = segments.findLast((segment) => compareRanks(segment, claimed.rank) > 0);
    if (newer !== undefined) throw fencedOut(dir, epoch, newer.epoch);
    const head = { last: tail?.last, commit: tail?.commit, commitAt: tail?.commitAt };
    const made = await createSegment(dir, tail?.next ?? 0, claimed.rank, head);
    point('log.after-new-segment');
    await this.#clean(claimed.rank);
    const last = segments.at(-1);
    // What is after its end still takes up the disk; no reader goes there.
    if (last !== undefined && tail !== undefined) last.bytes = tail.fileBytes;
    this.#list.replace(segments);
    this.#list.push(made.segment);
    this.#known = true;
    const appender = new SegmentAppender(this.#options, this.#list, {
      rank: claimed.rank,
      claimPath: claimed.path,
      handle: made.handle,
      head,
      onEnd: () => {
        if (this.#appender === appender) this.#appender = undefined;
      },
    });
    this.#appender = appender;
    return appender;
  }

  /** Deletes what older appenders left and nobody reads; never what a newer one is making. */
  async #clean(rank: Rank): Promise<void> {
    const { dead } = await list(this.#options.dir);
    for (const file of dead)
      if (compareRanks(file, rank) < 0) await unlink(file.path).catch(() => undefined);
  }

  /** Reads the list from the directory, unless the appender is here and knows it better. */
  async #refresh(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#appender !== undefined) return;
      const { segments } = await this.#readDirectory();
      this.#list.replace(segments);
      this.#known = true;
    });
  }

  async #readDirectory(): Promise<{ segments: Segment[]; tail: TailScan | undefined }> {
    for (;;) {
      const { live } = await list(this.#options.dir);
      try {
        const last = live.at(-1);
        const tail = last === undefined ? undefined : await scanTail(last);
        const segments: Segment[] = [];
        for (const [index, segment] of live.entries()) {
          const after = live[index + 1];
          if (after === undefined && tail !== undefined)
            segments.push({ ...segment, next: tail.next, bytes: tail.bytes });
          else if (after !== undefined)
            segments.push({
              ...segment,
              next: after.first,
              bytes: (await stat(segment.path)).size,
            });
        }
        return { segments, tail };
      } catch (error) {
        // A segment was released or taken over after it was listed: there is a newer one to read.
        if (systemCode(error) !== 'ENOENT') throw error;
      }
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw closed(this.#options.dir);
  }

  #checkKept(from: number): void {
    if (from < this.#list.first) throw truncated(this.#options.dir, from, this.#list.first);
  }

  /** One change of the directory's state at a time within this process. */
  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const before = this.#turn;
    const { promise, resolve: done } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    try {
      this.#checkOpen();
      return await work();
    } catch (error) {
      throw error instanceof TallyError ? error : unreachableDisk(this.#options.dir, error);
    } finally {
      done();
    }
  }
}
