import { must, TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import {
  isAsExpected,
  isRepeated,
  streamConflict,
  type AppendTexts,
  type StoredText,
} from '../../../ports/append.ts';
import type { Appended } from '../../../ports/events.ts';
import type { Database, Session } from '../database.ts';
import { isConflict, isConnectionLost, sqlState } from '../errors.ts';
import { ANSWER_TIMEOUT_MS, durableSession, endSession } from '../ledger/session.ts';
import { callStatement, callValues, numbersOf, type CallRow } from './call.ts';
import { idsOf, isHopeless, planFlush, type Flush, type Request } from './plan.ts';
import { placeWaiting } from './place.ts';
import { eventsOfIds, repeatedOf } from './rows.ts';
import { Solo } from './solo.ts';

/** Appends that may wait; beyond it callers are sent back instead of filling the memory. */
const WAITING_MAX = 100_000;
const WAITING_BYTES_MAX: number = 256 * 1024 * 1024;
/** How long an append that was sent and not answered is asked after before its caller is told so. */
const DOUBT_MS = 15_000;
const RETRY_MS = 100;
/** The SQLSTATE of a lock that was not there in time. */
const LOCK_TIMEOUT = '55P03';

type Versions = ReadonlyMap<string, number>;

/**
 * Appends of one process, sharing commits: while a flush is under way later callers queue, and the next one carries
 * all that can go together. One flush at a time; other processes take turns under the lock of the order.
 */
export class Appender {
  readonly #database: Database;
  readonly #statement: string;
  readonly #onAppended: () => void;
  readonly #solo: Solo;
  #session: Session | undefined;
  #waiting: Request[] = [];
  #waitingBytes = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(database: Database, onAppended: () => void) {
    this.#database = database;
    this.#statement = callStatement(database.schema, 'events_append_1');
    this.#onAppended = onAppended;
    this.#solo = new Solo(database, onAppended);
  }

  /** Appends; resolves when it is durable. */
  append(texts: AppendTexts): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      this.#assertOpen();
      const isCrowded = this.#waiting.length >= WAITING_MAX;
      if (isCrowded || this.#waitingBytes + texts.bytes > WAITING_BYTES_MAX) throw this.#crowded();
      this.#waitingBytes += texts.bytes;
      this.#waiting.push({ texts, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Lets what waits come to its end. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    await this.#solo.idle();
    if (this.#session !== undefined) await endSession(this.#session, this.#database.clock);
    this.#session = undefined;
  }

  async #run(): Promise<void> {
    // The 64 who were answered together ask again together: each has its say before the flush is sent.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    while (this.#waiting.length > 0) {
      const { flush, rest, heldUp } = planFlush(this.#waiting, (stream) => this.#solo.has(stream));
      this.#waiting = rest;
      for (const request of heldUp) this.#alone(request);
      if (flush.requests.length > 0) {
        try {
          await this.#flush(flush);
        } catch (error) {
          await this.#failed(flush, error);
        }
      }
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    this.#running = undefined;
  }

  async #flush(flush: Flush): Promise<void> {
    const session = await this.#connected();
    point('events.before-commit');
    const answer = session.query<CallRow>(this.#statement, callValues(flush));
    point('events.after-send-before-answer');
    const row = must((await answer)[0], 'the answer of the event store');
    point('events.after-commit-before-answer');
    switch (row.outcome) {
      case 'done':
        return this.#done(flush, row);
      case 'busy': {
        const busy = new Set(numbersOf(row.busy).map((number) => flush.streams[number - 1]));
        return this.#again(flush.requests, (request) => {
          const isBusy = request.texts.appends.some(({ stream }) => busy.has(stream));
          if (isBusy) this.#alone(request);
          return isBusy;
        });
      }
      default:
        return this.#refused(flush, versionsOf(flush, row));
    }
  }

  async #done(flush: Flush, row: CallRow): Promise<void> {
    const versions = new Map(versionsOf(flush, row));
    let position = must(row.newest, 'the newest position');
    for (const request of flush.requests) {
      const done = request.texts.appends.map(({ stream, events }): Appended => {
        const before = versions.get(stream) ?? 0;
        const version = before + events.length;
        versions.set(stream, version);
        position += events.length;
        const ids = events.map(({ id }) => id);
        return {
          stream,
          firstVersion: before + 1,
          version,
          ids,
          repeated: false,
          position,
          offset: position,
        };
      });
      this.#settle(request, done);
    }
    this.#onAppended();
    await this.#judgeWaiting(versions);
  }

  /**
   * The flush wrote nothing: an id of it is there, or a stream is not as expected. Whoever that concerns is told; the
   * others go again.
   */
  async #refused({ requests }: Flush, heads: Versions): Promise<void> {
    const known = await this.#known(requests);
    const versions = new Map(heads);
    const touched = new Set<string>();
    this.#again(requests, (request) => {
      const { appends } = request.texts;
      if (this.#settleKnown(request, known)) return true;
      const wrong = appends.find(
        ({ stream, expected }) => !isAsExpected(expected, versions.get(stream) ?? 0),
      );
      if (wrong === undefined) {
        for (const { stream, events } of appends) {
          touched.add(stream);
          versions.set(stream, (versions.get(stream) ?? 0) + events.length);
        }
        return false;
      }
      // What depends on a request before it that has not happened yet is judged when that has.
      const actual = heads.get(wrong.stream) ?? 0;
      if (appends.some(({ stream }) => touched.has(stream)) && !isHopeless(wrong.expected, actual))
        return false;
      this.#settle(request, streamConflict(this.#database.where, wrong, actual));
      return true;
    });
    await this.#judgeWaiting(heads);
  }

  /**
   * Tells those who wait for what can never be any more: their stream has passed the version that they expect. So of
   * many who contend for one version, all but one are told after one flush, and not one after each.
   */
  async #judgeWaiting(versions: Versions): Promise<void> {
    const hopeless = new Map<Request, TallyError>();
    for (const request of this.#waiting) {
      const wrong = request.texts.appends.find(({ stream, expected }) => {
        const version = versions.get(stream);
        return version !== undefined && isHopeless(expected, version);
      });
      if (wrong !== undefined)
        hopeless.set(
          request,
          streamConflict(this.#database.where, wrong, versions.get(wrong.stream) ?? 0),
        );
    }
    if (hopeless.size === 0) return;
    // If that cannot be asked now, their own flush will tell them.
    const known = await this.#known([...hopeless.keys()]).catch(() => undefined);
    if (known === undefined) return;
    this.#waiting = this.#waiting.filter((request) => {
      const conflict = hopeless.get(request);
      if (conflict === undefined) return true;
      if (!this.#settleKnown(request, known)) this.#settle(request, conflict);
      return false;
    });
  }

  /** What is stored under the ids that may have been there before. */
  async #known(requests: readonly Request[]): Promise<ReadonlyMap<string, StoredText>> {
    const ids = requests.flatMap((request) =>
      request.inDoubtMs === undefined ? request.texts.givenIds : idsOf(request),
    );
    if (ids.length === 0) return new Map();
    const session = await this.#connected();
    const { schema } = this.#database;
    const found = await eventsOfIds(session, schema, ids);
    if (!Array.from(found.values()).some(({ position }) => position === 0)) return found;
    await placeWaiting(session, schema);
    return eventsOfIds(session, schema, ids);
  }

  /** Whether the append was there already, or never can be: then its caller has been told. */
  #settleKnown(request: Request, known: ReadonlyMap<string, StoredText>): boolean {
    try {
      if (!isRepeated(this.#database.where, request.texts.appends, known)) return false;
      // What this very call had sent before is no repetition to its caller.
      this.#settle(request, repeatedOf(request.texts, known, request.inDoubtMs === undefined));
    } catch (error) {
      this.#settle(request, error instanceof TallyError ? error : new Error(String(error)));
    }
    return true;
  }

  /** Puts requests back in front of those that wait, without those that `isSettled`. */
  #again(requests: readonly Request[], isSettled: (request: Request) => boolean): void {
    const left = requests.filter((request) => !isSettled(request));
    this.#waiting = [...left, ...this.#waiting];
  }

  #settle({ texts, resolve, reject }: Request, outcome: readonly Appended[] | Error): void {
    this.#waitingBytes -= texts.bytes;
    if (outcome instanceof Error) reject(outcome);
    else resolve(outcome);
  }

  /** Takes a request out of the flushes: its stream is held by a transaction that is still open. */
  #alone(request: Request): void {
    this.#solo.append(request.texts, request.inDoubtMs !== undefined).then(
      (done) => this.#settle(request, done),
      (error: unknown) =>
        this.#settle(request, error instanceof Error ? error : new Error(String(error))),
    );
  }

  async #failed({ requests }: Flush, error: unknown): Promise<void> {
    if (isConnectionLost(error)) return this.#doubt(requests, error);
    if (sqlState(error) === LOCK_TIMEOUT && requests.some(hasGivenIds))
      return this.#again(requests, (request) => {
        if (hasGivenIds(request)) this.#alone(request);
        return hasGivenIds(request);
      });
    if (isConflict(error)) return this.#again(requests, () => false);
    const reason = error instanceof Error ? error : new Error(String(error));
    for (const request of requests) this.#settle(request, reason);
  }

  /**
   * The connection ended before the answer: it was committed or not. Sending it again finds out, because its ids can
   * be in the store once only, whichever of the two calls is the one that arrives.
   */
  async #doubt(requests: readonly Request[], cause: unknown): Promise<void> {
    const session = this.#session;
    const wasSent = session !== undefined;
    this.#session = undefined;
    if (wasSent) void endSession(session, this.#database.clock);
    const nowMs = this.#database.clock.monotonicMs();
    this.#again(requests, (request) => {
      if (!wasSent && request.inDoubtMs === undefined) {
        this.#settle(request, cause instanceof Error ? cause : new Error(String(cause)));
        return true;
      }
      request.inDoubtMs ??= nowMs;
      if (nowMs - request.inDoubtMs < DOUBT_MS) return false;
      this.#settle(request, this.#unknown(cause));
      return true;
    });
    if (this.#waiting.length > 0) await this.#database.clock.sleep(RETRY_MS);
  }

  async #connected(): Promise<Session> {
    if (this.#session !== undefined) return this.#session;
    const session = await durableSession(this.#database, ANSWER_TIMEOUT_MS);
    this.#session = session;
    session.client.once('end', () => {
      if (this.#session === session) this.#session = undefined;
    });
    return session;
  }

  #unknown(cause: unknown): TallyError {
    return new TallyError('COMMIT_UNKNOWN', {
      what: 'the connection ended while events were being appended, and the server has not been back to say whether they were',
      where: this.#database.where,
      mend: 'append the same events with the same ids again: if they are there, that answers with their place',
      cause,
    });
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the event store was used after it was closed',
      where: this.#database.where,
      mend: 'stop what uses the store before closing it',
    });
  }

  #crowded(): TallyError {
    return new TallyError('STORE_BUSY', {
      what: `${this.#waiting.length} appends already wait`,
      where: this.#database.where,
      mend: 'let callers wait for their answers before they append again',
      details: { waitingMax: WAITING_MAX, waitingBytesMax: WAITING_BYTES_MAX },
    });
  }
}

function hasGivenIds({ texts, inDoubtMs }: Request): boolean {
  return texts.givenIds.length > 0 || inDoubtMs !== undefined;
}

function versionsOf({ streams }: Flush, { versions }: CallRow): Versions {
  const numbers = numbersOf(versions);
  return new Map(streams.map((stream, index) => [stream, numbers[index] ?? 0]));
}
