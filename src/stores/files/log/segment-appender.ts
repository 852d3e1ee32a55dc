import { access, type FileHandle } from 'node:fs/promises';
import { TallyError } from '../../../core/errors.ts';
import { EPOCH_MAX, OFFSET_MAX, ORDINAL_MAX } from '../../../core/position.ts';
import { point } from '../../../observe/point.ts';
import type { LogAppender, LogRecord, LogTail } from '../../../ports/log.ts';
import {
  closed,
  diskFull,
  fencedOut,
  isDiskFull,
  logFull,
  systemCode,
  unreachableDisk,
} from './failures.ts';
import { encodeFrame, frameKinds, FrameWriter } from './frame.ts';
import {
  createSegment,
  identityOf,
  writeAll,
  type Rank,
  type SegmentHead,
} from './segment-files.ts';
import type { SegmentList } from './segment-list.ts';

/** Calls that wait are put into one flush up to about this size; a larger call is a flush alone. */
const FLUSH_BYTES_MAX = 4 * 1024 * 1024;
/** One call becomes one write, and the system writes at most 2 GiB; a character is up to 3 bytes. */
const CALL_CHARACTERS_MAX = 512 * 1024 * 1024;
/** Kept free below the bound for the head and the seal of a segment, beside the last commit. */
const HEAD_BYTES_MAX = 1024;

/**
 * Small frames are written into room that was filled with zeros before: a sync is then one of data
 * alone, without the journal commit that a growing file costs, which more than halves its time.
 */
const ROOM_BYTES = 256 * 1024;

export interface AppenderOptions {
  readonly dir: string;
  readonly segmentBytes: number;
  readonly bytesMax: number;
  readonly sync: 'always' | 'os';
}

interface Call {
  readonly records: readonly LogRecord[];
  readonly resolve: (result: { readonly next: number }) => void;
  readonly reject: (error: unknown) => void;
  /** The log offset after the call's last record, once it is in a frame. */
  next: number;
}

interface OpenFrame {
  readonly writer: FrameWriter;
  readonly calls: Call[];
  /** Whether the next call would go over the bound. */
  full: boolean;
}

/**
 * The one writer of a log.
 *
 * Invariant: an append that resolved is readable for ever, whoever takes over at whatever moment.
 * The newer appender N publishes its claim by withdrawing the claim file of this one, Z, and *then*
 * reads where the log ends; Z writes, and *then* looks whether its claim is still there.
 *   a. Z wrote and found its claim; so N withdrew it after the write; so N's reading of the tail,
 *      which is later still, sees the frame, and N's segment begins after it. Z resolves.
 *   b. N withdrew the claim before Z looked; N may or may not have seen the frame. Z rejects with
 *      FENCED_OUT whether or not the frame is read: that is the caller's unknown outcome, answered
 *      by the tail that N found.
 * Were the claim looked at before the write, Z could write and resolve after N read the tail, and
 * N's segment would begin before the frame: acknowledged and gone.
 * The look needs to come after the write, not after the sync, so the two run at the same time: N
 * sees what was written, synced or not, and syncs that file itself before it goes on after it.
 *
 * If a call fails, the calls that already wait behind it fail too: a source's transactions are
 * appended one after the other without waiting, and a log that held the second but not the first
 * would pass for complete.
 */
export class SegmentAppender implements LogAppender {
  readonly rank: Rank;
  readonly #options: AppenderOptions;
  readonly #list: SegmentList;
  readonly #claimPath: string;
  readonly #onEnd: () => void;
  /** The frame that calls are put into now; the spare one is being written, or rests. */
  #open: OpenFrame = { writer: new FrameWriter(), calls: [], full: false };
  #spare: FrameWriter = new FrameWriter();
  /** Bytes of the frame that is being written. */
  #flushing = 0;
  #handle: FileHandle;
  #head: SegmentHead;
  #queue: Call[] = [];
  #running: Promise<void> | undefined;
  #ended: unknown;
  #closing: Promise<void> | undefined;
  /** Bytes past the end may be there from a write that failed. */
  #torn = false;
  /** The end of the file: of its frames, or of the zeros after them. */
  #fileBytes: number;
  readonly #roomBytes: number;

  constructor(
    options: AppenderOptions,
    list: SegmentList,
    opened: {
      readonly rank: Rank;
      readonly claimPath: string;
      readonly handle: FileHandle;
      readonly head: SegmentHead;
      readonly onEnd: () => void;
    },
  ) {
    this.#options = options;
    this.#list = list;
    this.rank = opened.rank;
    this.#claimPath = opened.claimPath;
    this.#handle = opened.handle;
    this.#head = opened.head;
    this.#onEnd = opened.onEnd;
    this.#fileBytes = list.last?.bytes ?? 0;
    this.#open.writer.begin(list.next, opened.head.commitAt);
    this.#roomBytes = Math.min(ROOM_BYTES, Math.floor(options.segmentBytes / 4));
  }

  get tail(): LogTail {
    return { next: this.#list.next, last: this.#head.last, commit: this.#head.commit };
  }

  async append(records: readonly LogRecord[]): Promise<{ readonly next: number }> {
    if (this.#ended !== undefined) throw this.#ended;
    checkRecords(records);
    return await new Promise((resolve, reject) => {
      this.#queue.push({ records, resolve, reject, next: 0 });
      if (this.#running === undefined) this.#running = this.#run();
      else this.#pack();
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends this appender in favour of a newer one in the same process. */
  async supersede(): Promise<void> {
    if (this.#closing !== undefined) return await this.#closing;
    const error = fencedOut(this.#options.dir, this.rank.epoch);
    this.#ended ??= error;
    this.#rejectAll([], error);
    await this.#running;
    await this.#handle.close();
    this.#onEnd();
  }

  async #close(): Promise<void> {
    const alreadyEnded = this.#ended !== undefined;
    this.#ended ??= closed(this.#options.dir);
    await this.#running;
    if (alreadyEnded) return;
    await this.#seal();
    await this.#handle.close();
    this.#onEnd();
  }

  /**
   * An empty frame after the last one: it proves that the last was acknowledged, so that damage in
   * it is found on opening instead of being cut as torn. It is worth nothing more, so a disk that
   * has no room for it does not fail the close.
   */
  async #seal(): Promise<void> {
    const { last } = this.#list;
    if (last === undefined || last.next === last.first || this.#torn) return;
    const seal = encodeFrame(frameKinds.seal, last.next, this.#head.commitAt, Buffer.alloc(0));
    try {
      await writeAll(this.#handle, seal, last.bytes);
      await this.#handle.truncate(last.bytes + seal.length);
      await this.#handle.datasync();
      this.#list.extend(seal.length, last.next);
    } catch {
      await this.#handle.truncate(last.bytes).catch(() => undefined);
    }
  }

  async #run(): Promise<void> {
    // Calls made in the same turn of the caller share the first flush too.
    await Promise.resolve();
    while (this.#queue.length > 0 || this.#open.calls.length > 0) await this.#flush();
    this.#running = undefined;
  }

  async #flush(): Promise<void> {
    const { dir, bytesMax } = this.#options;
    this.#open.full = false;
    this.#pack();
    const { calls, writer } = this.#open;
    try {
      if (calls.length === 0) {
        if (!(await this.#ownsClaim())) throw fencedOut(dir, this.rank.epoch);
        await this.#makeReleasable();
        this.#rejectAll(calls, logFull(dir, bytesMax, this.#list.bytes));
        return;
      }
      this.#flushing = writer.bytes;
      this.#open = { writer: this.#spare, calls: [], full: false };
      this.#spare = writer;
      this.#open.writer.begin(writer.next, writer.commitAt);
      if (writer.count > 0) await this.#persist(writer);
      this.#flushing = 0;
      for (const call of calls) call.resolve({ next: call.next });
    } catch (error) {
      await this.#fail(calls, error);
    }
  }

  /**
   * Puts waiting calls into the next frame, as far as they fit. Also done while a flush is on its
   * way, so that records are encoded while the disk is busy with those before.
   */
  #pack(): void {
    const { bytesMax } = this.#options;
    const { writer, calls } = this.#open;
    const headBytes = HEAD_BYTES_MAX + 3 * (this.#head.commit?.payload.length ?? 0);
    const taken = this.#list.bytes + this.#flushing + this.#roomBytes + headBytes;
    while (!this.#open.full && (calls.length === 0 || writer.bytes < FLUSH_BYTES_MAX)) {
      const [call] = this.#queue;
      if (call === undefined) return;
      const mark = writer.mark();
      for (const record of call.records) writer.add(record);
      if (taken + writer.bytes > bytesMax && call.records.length > 0) {
        writer.rewind(mark);
        this.#open.full = true;
        return;
      }
      call.next = writer.next;
      calls.push(call);
      this.#queue.shift();
    }
  }

  async #persist(writer: FrameWriter): Promise<void> {
    const frame = writer.finish();
    await this.#cutTorn();
    const { last } = this.#list;
    const size = last?.bytes ?? 0;
    const hasRecords = last !== undefined && last.next > last.first;
    if (hasRecords && size + frame.length > this.#options.segmentBytes) await this.#roll();
    point('log.before-write');
    this.#torn = true;
    const at = this.#list.last?.bytes ?? 0;
    await this.#makeRoom(at, frame.length);
    await writeAll(this.#handle, frame, at);
    this.#fileBytes = Math.max(this.#fileBytes, at + frame.length);
    point('log.after-write-before-sync');
    const [, mine] = await Promise.all([
      this.#options.sync === 'always' ? this.#handle.datasync() : undefined,
      this.#ownsClaim(),
    ]);
    if (!mine) throw fencedOut(this.#options.dir, this.rank.epoch);
    point('log.after-sync-before-resolve');
    this.#torn = false;
    this.#head = {
      last: writer.last === undefined ? this.#head.last : identityOf(writer.last),
      commit: writer.commit ?? this.#head.commit,
      commitAt: writer.commitAt,
    };
    this.#list.extend(frame.length, writer.next);
  }

  /** Fills the place of a small frame, and of many after it, with zeros, if they are not there. */
  async #makeRoom(at: number, bytes: number): Promise<void> {
    if (bytes * 4 > this.#roomBytes || at + bytes <= this.#fileBytes) return;
    try {
      await writeAll(this.#handle, Buffer.alloc(this.#roomBytes), at);
      this.#fileBytes = at + this.#roomBytes;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      // There may still be room for the frame itself.
      await this.#handle.truncate(at);
    }
  }

  /** Goes on in a new segment. */
  async #roll(): Promise<void> {
    const { dir } = this.#options;
    const end = this.#list.last?.bytes ?? 0;
    const made = await createSegment(dir, this.#list.next, this.rank, this.#head);
    const previous = this.#handle;
    const hadRoom = this.#fileBytes > end;
    this.#handle = made.handle;
    this.#fileBytes = made.segment.bytes;
    this.#list.push(made.segment);
    if (hadRoom) await previous.truncate(end);
    await previous.close();
    point('log.after-new-segment');
  }

  /** At the bound, starts a new segment, so that all that is there can be released. */
  async #makeReleasable(): Promise<void> {
    const { last } = this.#list;
    if (last !== undefined && last.next > last.first) await this.#roll();
  }

  async #ownsClaim(): Promise<boolean> {
    try {
      await access(this.#claimPath);
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /** Removes what a failed write left, or nothing could be told from damage later. */
  async #cutTorn(): Promise<void> {
    if (!this.#torn) return;
    const end = this.#list.last?.bytes ?? 0;
    await this.#handle.truncate(end);
    this.#fileBytes = end;
    this.#torn = false;
  }

  /**
   * A full disk fails the calls and leaves the appender usable. Anything else ends it: after a
   * failed sync the system may have dropped what it could not write and call the next sync a
   * success, so only opening anew, in a new file, finds out what is there.
   */
  async #fail(calls: readonly Call[], cause: unknown): Promise<void> {
    const { dir } = this.#options;
    const fenced = !(await this.#ownsClaim().catch(() => true));
    if (isDiskFull(cause) && !fenced) {
      // A cut that fails as well is tried again before the next write.
      await this.#cutTorn().catch(() => undefined);
      this.#rejectAll(calls, diskFull(dir, cause));
      return;
    }
    const error = fenced ? fencedOut(dir, this.rank.epoch) : unreachableDisk(dir, cause);
    const handle = this.#ended === undefined ? this.#handle : undefined;
    this.#ended ??= error;
    // Before anybody is told: a caller that reads next must be shown the directory as it is, with
    // what the newer appender wrote, and no longer this appender's view of it.
    if (handle !== undefined) this.#onEnd();
    this.#rejectAll(calls, error);
    await handle?.close().catch(() => undefined);
  }

  #rejectAll(calls: readonly Call[], error: unknown): void {
    const waiting = [...calls, ...this.#open.calls, ...this.#queue];
    this.#queue = [];
    this.#flushing = 0;
    this.#open = { writer: this.#open.writer, calls: [], full: false };
    this.#open.writer.begin(this.#list.next, this.#head.commitAt);
    for (const call of new Set(waiting)) call.reject(error);
  }
}

function checkRecords(records: readonly LogRecord[]): void {
  let characters = 0;
  for (const { kind, epoch, offset, ordinal, payload } of records) {
    const identified =
      isWhole(epoch, EPOCH_MAX) && isWhole(offset, OFFSET_MAX) && isWhole(ordinal, ORDINAL_MAX);
    if (!identified || (kind !== 'change' && kind !== 'commit') || typeof payload !== 'string') {
      throw new TallyError('POSITION_OUT_OF_RANGE', {
        what: `a ${kind} with epoch ${epoch}, offset ${offset}, ordinal ${ordinal} is no record of a log`,
        mend: 'map the positions of the source to whole numbers within the limits, in its adapter',
        details: { epoch, offset, ordinal },
      });
    }
    characters += payload.length;
  }
  if (characters > CALL_CHARACTERS_MAX) {
    throw new TallyError('ROW_TOO_LARGE', {
      what: `one append has ${characters} characters, more than ${CALL_CHARACTERS_MAX}`,
      mend: 'append in several calls',
      details: { characters, charactersMax: CALL_CHARACTERS_MAX },
    });
  }
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
