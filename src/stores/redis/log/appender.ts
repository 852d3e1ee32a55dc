import { isTallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type { LogAppender, LogRecord, LogTail } from '../../../ports/log.ts';
import { closedStore } from '../errors.ts';
import type { RedisLink } from '../link.ts';
import { fencedOut, logFull, recordsLost } from './failures.ts';
import { checkRecords, encodeRecord, identityOf } from './records.ts';
import { APPEND } from './scripts.ts';

/** Calls that wait go into one script up to about this much; Redis serves nobody else for some milliseconds. */
const SCRIPT_CHARACTERS_MAX = 2 * 1024 * 1024;
const SCRIPT_RECORDS_MAX = 2_000;

export interface AppenderOptions {
  readonly link: RedisLink;
  /** The hash and the stream. */
  readonly keys: readonly [string, string];
  readonly bytesMax: number;
  readonly where: string;
  readonly epoch: number;
  /** By which Redis knows this appender from every other, of the same epoch too. */
  readonly token: string;
  readonly tail: LogTail;
  /** Told how far the log reaches. */
  readonly onNext: (next: number) => void;
}

interface Call {
  readonly records: readonly LogRecord[];
  readonly characters: number;
  readonly resolve: (result: { readonly next: number }) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The one writer of a log in Redis. Each script checks, in the step that appends, that this is still the newest
 * appender and that the log ends where it left off. An answer that is lost ends the appender: whether the
 * records are there is what the tail tells that the next one opens with.
 *
 * If a call fails, the calls that wait behind it fail too: a log that held the second but not the first would pass
 * for complete.
 */
export class RedisAppender implements LogAppender {
  readonly #options: AppenderOptions;
  #tail: LogTail;
  #queue: Call[] = [];
  #running: Promise<void> | undefined;
  #ended: unknown;

  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#tail = options.tail;
  }

  get tail(): LogTail {
    return this.#tail;
  }

  async append(records: readonly LogRecord[]): Promise<{ readonly next: number }> {
    if (this.#ended !== undefined) throw this.#ended;
    const characters = checkRecords(records);
    return await new Promise((resolve, reject) => {
      this.#queue.push({ records, characters, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async close(): Promise<void> {
    this.#ended ??= closedStore(this.#options.where);
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    // Calls made in the same turn of the caller share the first script.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const calls = this.#take();
      try {
        await this.#append(calls);
      } catch (error) {
        // What Redis refused before it did anything may succeed later; of all else the outcome is not known.
        if (!isTallyError(error, 'STORE_FULL', 'STORE_BUSY', 'LOG_FULL')) this.#ended ??= error;
        for (const { reject } of [...calls, ...this.#queue.splice(0)]) reject(error);
      }
    }
    this.#running = undefined;
  }

  #take(): readonly Call[] {
    let [characters, records, count] = [0, 0, 0];
    for (const call of this.#queue) {
      characters += call.characters;
      records += call.records.length;
      if (count > 0 && (characters > SCRIPT_CHARACTERS_MAX || records > SCRIPT_RECORDS_MAX)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #append(calls: readonly Call[]): Promise<void> {
    const { link, keys, bytesMax, where, epoch, token } = this.#options;
    point('log.before-write');
    const [outcome, ...answer] = (await APPEND.run(link, keys, [
      token,
      String(this.#tail.next),
      bytesMax === Infinity ? '0' : String(bytesMax),
      String(calls.length),
      ...calls.map(({ records }) => String(records.length)),
      ...calls.flatMap(({ records }) => records.flatMap(encodeRecord)),
    ])) as readonly [string, ...(string | number)[]];
    if (outcome === 'fenced') throw fencedOut(where, epoch, Number(answer[0]));
    if (outcome === 'lost')
      throw recordsLost(where, { expected: this.#tail.next, found: Number(answer[0]) });
    point('log.after-sync-before-resolve');
    const [done, , bytes] = answer.map(Number);
    const appended = calls.slice(0, done);
    for (const call of appended) this.#resolve(call);
    if (appended.length === calls.length) return;
    const full = logFull(where, bytesMax, Number(bytes));
    for (const { reject } of [...calls.slice(done), ...this.#queue.splice(0)]) reject(full);
  }

  #resolve({ records, resolve }: Call): void {
    const last = records.at(-1);
    const next = this.#tail.next + records.length;
    this.#tail = {
      next,
      last: last === undefined ? this.#tail.last : identityOf(last),
      commit: records.findLast(({ kind }) => kind === 'commit') ?? this.#tail.commit,
    };
    this.#options.onNext(next);
    resolve({ next });
  }
}
