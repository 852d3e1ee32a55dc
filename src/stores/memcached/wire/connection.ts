import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import { refusalError, unreachableError } from '../errors.ts';
import type { MetaReply, Reply } from './reply.ts';
import { ReplyReader } from './reply-reader.ts';
import { bytesOf, headOf, type MetaRequest } from './request.ts';

/** Where a Memcached listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

export interface ConnectionOptions {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  /** For messages, e.g. `store sessions`. */
  readonly where: string;
  /** Silence after which a connection with commands under way is dead. */
  readonly timeoutMs: number;
}

/** Commands under way at once. A caller who has more than these waiting has lost the race against its own load. */
const COMMANDS_MAX = 65_536;
/** Bytes that wait to be sent: some seconds of a gigabit, and no more memory than this if nobody reads at the other end. */
const UNSENT_BYTES_MAX = 64 * 1024 * 1024;

interface Waiting {
  /** Returns whether this was the last line of the answer. */
  readonly take: (reply: Reply) => boolean;
  readonly reject: (error: unknown) => void;
}

/** Opaque numbers wrap here: far more than can be under way. */
const OPAQUE_MAX = 1_000_000;

/**
 * One connection. Commands are sent in the order in which they were given, those of one turn of the event loop in one
 * write, and are answered in that order. Each answer of the meta protocol brings the opaque number of its command back; one
 * that does not match ends the connection, for a cache that answers with the value of another key is worse than none.
 *
 * A command that was under way when the connection was lost is rejected and never sent a second time.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #reader = new ReplyReader();
  #waiting: Waiting[] = [];
  /** The first of {@link #waiting} that is not answered yet. */
  #head = 0;
  #opaque = 0;
  #unsent: (string | Uint8Array)[] = [];
  #unsentBytes = 0;
  #heardAtMs = 0;
  #stopWatching: (() => void) | undefined;
  #ended: TallyError | undefined;
  readonly #onEnd: (error: TallyError) => void;

  private constructor(
    socket: Socket,
    options: ConnectionOptions,
    onEnd: (error: TallyError) => void,
  ) {
    this.#socket = socket;
    this.#options = options;
    this.#onEnd = onEnd;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.destroy(lost(error, options.where)));
    socket.on('close', () =>
      this.destroy(unreachableError('the connection was closed', options.where)),
    );
  }

  /** Connects; `onEnd` is called once, when the connection is gone, however that comes about. Throws STORE_UNREACHABLE. */
  static async open(
    options: ConnectionOptions,
    onEnd: (error: TallyError) => void = () => undefined,
  ): Promise<Connection> {
    const { host, port, tls } = options.endpoint;
    const socket = tls
      ? connectTls({ host, port, servername: host })
      : connectPlain({ host, port });
    const connected = Promise.withResolvers<void>();
    const stop = options.clock.after(options.timeoutMs, () =>
      connected.reject(unreachableError('no answer to the attempt to connect', options.where)),
    );
    socket.once(tls ? 'secureConnect' : 'connect', () => connected.resolve());
    socket.once('error', (error) => connected.reject(lost(error, options.where)));
    try {
      await connected.promise;
    } catch (error) {
      socket.on('error', () => undefined);
      socket.destroy();
      throw error;
    } finally {
      stop();
    }
    return new Connection(socket, options, onEnd);
  }

  /** Why there is no connection any more; undefined while there is. */
  get ended(): TallyError | undefined {
    return this.#ended;
  }

  /** Sends one command of the meta protocol. Throws what {@link refusalError} says, STORE_UNREACHABLE, STORE_BUSY. */
  send(request: MetaRequest): Promise<MetaReply> {
    return new Promise((resolve, reject) => {
      const { value } = request;
      const opaque = (this.#opaque = (this.#opaque + 1) % OPAQUE_MAX);
      const head = headOf(request, opaque);
      const take = (reply: Reply): boolean => {
        if (reply.kind === 'meta') {
          this.#checkOpaque(reply, opaque);
          resolve(reply);
        } else if (reply.kind === 'error') reject(this.#refused(reply.text));
        else throw strange(reply.text, this.#options.where);
        return true;
      };
      this.#give({ take, reject }, value === undefined ? [head] : [head, value, '\r\n']);
    });
  }

  /** Sends commands and resolves with all their answers, in order. Throws as {@link send}, after all were answered. */
  sendMany(requests: readonly MetaRequest[]): Promise<readonly MetaReply[]> {
    if (requests.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const replies: MetaReply[] = [];
      let answered = 0;
      let refused: TallyError | undefined;
      const first = this.#opaque;
      const take = (reply: Reply): boolean => {
        if (reply.kind === 'meta') {
          this.#checkOpaque(reply, (first + answered + 1) % OPAQUE_MAX);
          replies.push(reply);
        } else if (reply.kind === 'error') refused ??= this.#refused(reply.text);
        else throw strange(reply.text, this.#options.where);
        answered += 1;
        if (answered < requests.length) return false;
        if (refused === undefined) resolve(replies);
        else reject(refused);
        return true;
      };
      const parts: (string | Uint8Array)[] = [];
      for (const request of requests) {
        const opaque = (this.#opaque = (this.#opaque + 1) % OPAQUE_MAX);
        parts.push(headOf(request, opaque));
        if (request.value !== undefined) parts.push(request.value, '\r\n');
      }
      this.#give({ take, reject }, parts);
    });
  }

  /**
   * Sends a classic command, such as `stats`. Lines before the last one go to `onLine`; resolves with the last, such as
   * `END`. Throws as {@link send}.
   */
  command(text: string, onLine: (line: string) => void = () => undefined): Promise<string> {
    return new Promise((resolve, reject) => {
      const take = (reply: Reply): boolean => {
        if (reply.kind === 'error') reject(this.#refused(reply.text));
        else if (reply.kind === 'meta') throw strange(reply.status, this.#options.where);
        else if (/^(STAT |key=)/.test(reply.text)) {
          onLine(reply.text);
          return false;
        } else resolve(reply.text);
        return true;
      };
      this.#give({ take, reject }, [`${text}\r\n`]);
    });
  }

  /** Ends the connection; commands under way are rejected with `error`. Idempotent. */
  destroy(error: TallyError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#stopWatching?.();
    this.#socket.destroy();
    const waiting = this.#waiting.slice(this.#head);
    this.#waiting = [];
    this.#head = 0;
    this.#unsent = [];
    for (const { reject } of waiting) reject(error);
    this.#onEnd(error);
  }

  #give(waiting: Waiting, parts: readonly (string | Uint8Array)[]): void {
    if (this.#ended !== undefined) return waiting.reject(this.#ended);
    let bytes = 0;
    for (const part of parts) bytes += bytesOf(part);
    const underWay = this.#waiting.length - this.#head;
    if (
      underWay >= COMMANDS_MAX ||
      this.#unsentBytes + this.#socket.writableLength + bytes > UNSENT_BYTES_MAX
    )
      return waiting.reject(tooMany(this.#options.where));
    if (underWay === 0) {
      this.#heardAtMs = this.#options.clock.monotonicMs();
      if (this.#stopWatching === undefined) this.#watch(this.#options.timeoutMs);
    }
    this.#waiting.push(waiting);
    // After the callers that go on in this turn have given theirs.
    if (this.#unsent.length === 0) process.nextTick(() => this.#flush());
    for (const part of parts) this.#unsent.push(part);
    this.#unsentBytes += bytes;
  }

  #flush(): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    this.#unsentBytes = 0;
    if (this.#ended !== undefined) return;
    let text = '';
    // Bytes and texts go out in one system call.
    this.#socket.cork();
    for (const part of unsent) {
      if (typeof part === 'string') text += part;
      else {
        this.#socket.write(text);
        this.#socket.write(part);
        text = '';
      }
    }
    if (text !== '') this.#socket.write(text);
    this.#socket.uncork();
  }

  #read(chunk: Buffer): void {
    this.#heardAtMs = this.#options.clock.monotonicMs();
    this.#reader.push(chunk);
    try {
      for (;;) {
        const reply = this.#reader.next();
        if (reply === undefined) return;
        const waiting = this.#waiting[this.#head];
        if (waiting === undefined)
          throw strange('something that was not asked for', this.#options.where);
        if (waiting.take(reply)) this.#answered();
      }
    } catch (error) {
      this.destroy(
        error instanceof TallyError ? error : strange(String(error), this.#options.where),
      );
    }
  }

  #answered(): void {
    this.#head += 1;
    if (this.#head < this.#waiting.length && this.#head < 1_024) return;
    this.#waiting.splice(0, this.#head);
    this.#head = 0;
  }

  /** `EN` has no flags; all other answers must be those of their command. */
  #checkOpaque(reply: MetaReply, opaque: number): void {
    if (reply.status === 'EN' || reply.status === 'MN') return;
    if (!reply.flags.includes(`O${opaque}`))
      throw strange('the answer to another command', this.#options.where);
  }

  /** After a command that was not understood nobody knows whether its value was taken for the next one. */
  #refused(text: string): TallyError {
    const { where } = this.#options;
    if (!text.startsWith('SERVER_ERROR'))
      process.nextTick(() =>
        this.destroy(unreachableError('a command on the connection was not understood', where)),
      );
    return refusalError(text, where);
  }

  /** A peer that vanished without a word leaves an open connection on which nothing is ever answered. */
  #watch(delayMs: number): void {
    const { clock, timeoutMs, where } = this.#options;
    this.#stopWatching = clock.after(delayMs, () => {
      this.#stopWatching = undefined;
      if (this.#ended !== undefined || this.#waiting.length === this.#head) return;
      const leftMs = this.#heardAtMs + timeoutMs - clock.monotonicMs();
      if (leftMs > 0) this.#watch(leftMs);
      else this.destroy(unreachableError(`no answer within ${timeoutMs} ms`, where));
    });
  }
}

function lost(error: Error, where: string): TallyError {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.message;
  return unreachableError(code, where, error);
}

function strange(what: string, where: string): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `Memcached answered with what was not asked for: ${what.slice(0, 100)}`,
    where,
    mend: 'check that the address is that of a Memcached 1.6, and what stands between',
  });
}

function tooMany(where: string): TallyError {
  return new TallyError('STORE_BUSY', {
    what: 'too much is under way on the connection to Memcached',
    where,
    mend: 'ask for less at once',
    details: { commandsMax: COMMANDS_MAX, bytesMax: UNSENT_BYTES_MAX },
  });
}
