import type { Duplex } from 'node:stream';
import { must, TallyError } from '../../../../core/errors.ts';
import type { Clock } from '../../../../ports/clock.ts';
import { postgresError, sqlState } from '../server.ts';
import { FrameReader } from './frames.ts';

/** What may wait unread before the socket is paused, and at how little it goes on. */
const BUFFERED_MAX = 512 * 1024;
const BUFFERED_LOW = 128 * 1024;

/** Milliseconds from 1970 to 2000, where the server's clock begins. */
const EPOCH_MS = 946_684_800_000;

const COPY_BOTH = 0x57; // W
const ERROR = 0x45; // E
const READY = 0x5a; // Z
const NOTICE = 0x4e; // N
const COPY_DONE = 0x63; // c
const COMMAND_COMPLETE = 0x43; // C
const COPY_DATA = 0x64; // d

export interface CopyBothOptions {
  /** A socket whose session is idle; nothing else reads it any more. */
  readonly socket: Duplex;
  readonly clock: Clock;
  readonly where: string;
  /** How often the server is told where we are, and asked for a sign of life. */
  readonly statusEveryMs: number;
  /** Silence after which the connection is taken for dead. */
  readonly silentMaxMs: number;
  /** The place that periodic status updates confirm. */
  readonly confirmedLsn: () => number;
}

/**
 * A connection in copy-both mode, read by pull: the socket is paused while the reader is behind. **Status updates
 * go out all the same**, on a timer of their own. Otherwise:
 *   1. the log is full, and the reader waits  2. the server hears nothing for wal_sender_timeout
 *   3. it ends the connection, and the slot is read again from its start, as often as that lasts.
 */
export class CopyBoth {
  readonly frames: FrameReader = new FrameReader();
  readonly #options: CopyBothOptions;
  #failure: unknown;
  #wake: (() => void) | undefined;
  #paused = false;
  #heardMs: number;
  #cancelTick: (() => void) | undefined;

  constructor(options: CopyBothOptions) {
    this.#options = options;
    this.#heardMs = options.clock.monotonicMs();
    const { socket } = options;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(undefined));
    socket.resume();
  }

  /** Sends the command and waits until the server streams. Throws what the server answers; it may be tried again. */
  async start(command: string): Promise<void> {
    const text = Buffer.from(`${command}\0`);
    const message = Buffer.alloc(5 + text.length);
    message.writeUInt8(0x51); // Q
    message.writeUInt32BE(4 + text.length, 1);
    text.copy(message, 5);
    this.#options.socket.write(message);
    let refusal: Error | undefined;
    for (;;) {
      while (!this.frames.next()) await this.wait();
      const { type } = this.frames;
      if (type === COPY_BOTH) break;
      if (type === ERROR) refusal = this.#serverError();
      if (type === READY) throw must(refusal, 'the answer of the server');
    }
    this.#tick();
  }

  /** Moves to the next content of a COPY DATA message; false if none is there. Throws what the server ended with. */
  next(): boolean {
    while (this.frames.next()) {
      const { type } = this.frames;
      if (type === COPY_DATA) return true;
      if (type === ERROR) throw postgresError(this.#serverError(), this.#options.where);
      if (type === NOTICE) this.#refuseSkipping();
      if (type === COPY_DONE || type === COMMAND_COMPLETE) throw this.#ended('it shuts down');
    }
    this.#relieve();
    return false;
  }

  /**
   * Resolves when there may be something new, after {@link wake}, or after `maxMs`. Throws STORE_UNREACHABLE once
   * the connection is gone and all that came before is read.
   */
  async wait(maxMs?: number): Promise<void> {
    this.#relieve();
    if (this.#failure !== undefined) throw this.#failure;
    let cancel: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (maxMs !== undefined) cancel = this.#options.clock.after(maxMs, resolve);
    });
    cancel?.();
    this.#wake = undefined;
  }

  /** Lets {@link wait} return. */
  wake(): void {
    this.#wake?.();
  }

  /**
   * Tells the server where we are. `flushedLsn` is what it may forget; 0 says nothing about that. `writtenLsn` is
   * what has arrived, and moves no slot.
   */
  status(writtenLsn: number, flushedLsn: number, reply: 'reply' | 'no-reply'): void {
    const { socket, clock } = this.#options;
    if (!socket.writable) return;
    const message = Buffer.alloc(39);
    message.writeUInt8(COPY_DATA, 0);
    message.writeUInt32BE(38, 1);
    message.writeUInt8(0x72, 5); // r
    message.writeBigUInt64BE(BigInt(writtenLsn), 6);
    message.writeBigUInt64BE(BigInt(flushedLsn), 14);
    message.writeBigUInt64BE(BigInt(flushedLsn), 22);
    message.writeBigInt64BE(BigInt(Math.floor(clock.nowMs()) - EPOCH_MS) * 1000n, 30);
    message.writeUInt8(reply === 'reply' ? 1 : 0, 38);
    socket.write(message);
  }

  /** Ends the connection. Idempotent; a reader that waits is woken. */
  close(): void {
    const { socket } = this.#options;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#failure ??= this.#ended('this process ended it');
    this.wake();
    // A server that waits for room in the socket never reads Terminate, but notices that it is gone.
    if (socket.writable) socket.end(Buffer.from([0x58, 0, 0, 0, 4]));
    socket.destroy();
  }

  #received(chunk: Buffer): void {
    this.#heardMs = this.#options.clock.monotonicMs();
    this.frames.push(chunk);
    const { buffered, needed } = this.frames;
    if (buffered >= Math.max(BUFFERED_MAX, needed)) {
      this.#paused = true;
      this.#options.socket.pause();
    }
    this.#wake?.();
  }

  #relieve(): void {
    if (!this.#paused) return;
    const { buffered, needed } = this.frames;
    if (buffered > BUFFERED_LOW && buffered >= needed) return;
    this.#paused = false;
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#options.socket.resume();
  }

  #tick(): void {
    const { clock, statusEveryMs, silentMaxMs, confirmedLsn, socket } = this.#options;
    this.#cancelTick = clock.after(statusEveryMs, () => {
      // A paused socket hears nothing because we do not listen.
      if (!this.#paused && clock.monotonicMs() - this.#heardMs > silentMaxMs) {
        this.#failure ??= this.#ended(`nothing came for ${silentMaxMs} ms`);
        socket.destroy();
        this.wake();
        return;
      }
      const confirmed = confirmedLsn();
      this.status(confirmed, confirmed, 'reply');
      this.#tick();
    });
  }

  /**
   * From PostgreSQL 18 on, a publication that does not exist at a place in the log is left out with a warning:
   * the changes there are never sent. Before, that was an error.
   */
  #refuseSkipping(): void {
    const warning = this.#serverError();
    if (sqlState(warning) !== '55000') return;
    throw new TallyError('HISTORY_LOST', {
      what: `the server leaves changes out: ${warning.message}`,
      where: this.#options.where,
      mend: 'do not drop the publication while its slot is in use; drop both, and take a new snapshot of the tables',
      cause: warning,
    });
  }

  #fail(error: Error | undefined): void {
    this.#cancelTick?.();
    this.#failure ??=
      error === undefined
        ? this.#ended('the server closed it')
        : postgresError(error, this.#options.where);
    this.wake();
  }

  #ended(why: string): TallyError {
    return new TallyError('STORE_UNREACHABLE', {
      what: `the replication connection ended: ${why}`,
      where: this.#options.where,
      mend: 'wait until the server is up and can be reached; it is tried again',
    });
  }

  /** The present message, an ErrorResponse or NoticeResponse, as an error with the fields that those of the driver have. */
  #serverError(): Error {
    const { bytes, start, end } = this.frames;
    const fields = new Map(
      bytes
        .toString('utf8', start, end)
        .split('\0')
        .map((field) => [field.slice(0, 1), field.slice(1)]),
    );
    const error = new Error(fields.get('M') ?? 'the server answered with an error');
    return Object.assign(error, { code: fields.get('C'), detail: fields.get('D') });
  }
}
