import { isTallyError, must, TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type {
  LeaseRecord,
  Ledger,
  LedgerOperation,
  LedgerRecord,
  LedgerResult,
  LedgerSupports,
} from '../../../ports/ledger.ts';
import type { Database, Queryable, Session } from '../database.ts';
import { isConflict, isConnectionLost, sqlState } from '../errors.ts';
import { ledgerSupports } from '../supports.ts';
import {
  flushOutcomes,
  flushStatement,
  flushValues,
  type FlushRow,
  type StepOutcome,
} from './flush.ts';
import { checkName, checkStep } from './limits.ts';
import { type PlainRow, plainFlush, plainOutcomes, plainStatement, plainValues } from './plain.ts';
import { afterPrefix, fromStored, toStored } from './plain-text.ts';
import { durableSession, endSession } from './session.ts';
import { endAtServer, identify, type SessionIdentity } from './unanswered.ts';

/** Steps that may wait; beyond it callers are sent back instead of filling the memory. */
const WAITING_MAX = 100_000;
const WAITING_BYTES_MAX: number = 256 * 1024 * 1024;
/** One flush takes this much at most, so that nobody waits for a transaction without end. */
const FLUSH_STEPS_MAX = 2_048;
const FLUSH_OPERATIONS_MAX = 10_000;
const FLUSH_BYTES_MAX = 16 * 1024 * 1024;
/** The SQLSTATE of a lock table, or a memory, that is full. */
const NO_ROOM = '53200';
/** How often a flush that did not get its locks is sent again. */
const TRIES_MAX = 20;
const RETRY_MS = 20;

interface Waiting {
  readonly operations: readonly LedgerOperation[];
  readonly bytes: number;
  readonly resolve: (result: LedgerResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The ledger of one process. While a flush is under way later callers queue, and the next one carries all of them:
 * the slower the server, the more steps share a commit. One flush at a time, so that the steps of a caller happen in
 * the order of its calls.
 */
export class GroupLedger implements Ledger {
  readonly supports: LedgerSupports = ledgerSupports;
  readonly #database: Database;
  readonly #where: string;
  readonly #statement: string;
  readonly #plainStatement: string;
  readonly #answerTimeoutMs: number;
  #session: Session | undefined;
  #identity: SessionIdentity | undefined;
  /** A session whose last flush was not answered: nothing is read or committed until it is at its end. */
  #unanswered: SessionIdentity | undefined;
  #settling: Promise<void> | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #running: Promise<void> | undefined;
  #reads = 0;
  #readsEnded: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(database: Database, answerTimeoutMs: number) {
    this.#database = database;
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#where = `ledger ${database.name}, ${database.where}`;
    this.#statement = flushStatement(database.schema);
    this.#plainStatement = plainStatement(database.schema);
  }

  async commit(operations: readonly LedgerOperation[]): Promise<LedgerResult> {
    this.#assertOpen();
    const bytes = checkStep(operations, this.#where);
    if (operations.length === 0) return [];
    const isCrowded = this.#waiting.length >= WAITING_MAX;
    if (isCrowded || this.#waitingBytes + bytes > WAITING_BYTES_MAX) throw this.#crowded();
    return new Promise((resolve, reject) => {
      this.#waitingBytes += bytes;
      this.#waiting.push({ operations, bytes, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async get(space: string, key: string): Promise<LedgerRecord | undefined> {
    checkName(space, 'a space', this.#where);
    checkName(key, 'a key', this.#where);
    const { schema } = this.#database;
    const [row] = await this.#read<LedgerRecord>(
      `SELECT key, value, version FROM ${schema}.ledger_record WHERE space = $1 AND key = $2`,
      [toStored(space), toStored(key)],
    );
    return row === undefined ? undefined : recordOf(row);
  }

  async list(
    space: string,
    options: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly LedgerRecord[]> {
    const { prefix = '', after, limit } = options;
    checkName(space, 'a space', this.#where);
    for (const text of [prefix, after])
      if (text !== undefined) checkName(text, 'a prefix or key', this.#where);
    const { schema } = this.#database;
    const values: (string | number)[] = [toStored(space), toStored(prefix)];
    const bind = (value: string | number): string => `$${values.push(value)}`;
    const end = afterPrefix(toStored(prefix));
    const conditions = [
      'space = $1 AND key >= $2',
      ...(end === undefined ? [] : [`key < ${bind(end)}`]),
      ...(after === undefined ? [] : [`key > ${bind(toStored(after))}`]),
    ].join(' AND ');
    const bound = limit === undefined ? '' : ` LIMIT ${bind(limit)}`;
    const rows = await this.#read<LedgerRecord>(
      `SELECT key, value, version FROM ${schema}.ledger_record WHERE ${conditions} ORDER BY key${bound}`,
      values,
    );
    return rows.map(recordOf);
  }

  async leases(): Promise<readonly LeaseRecord[]> {
    const rows = await this.#read<LeaseRecord>(
      `SELECT lease, owner, epoch, expires_at_ms AS "expiresAtMs"
       FROM ${this.#database.schema}.ledger_lease WHERE owner IS NOT NULL ORDER BY lease`,
      [],
    );
    return rows.map(({ lease, owner, epoch, expiresAtMs }) => ({
      lease: fromStored(lease),
      owner: fromStored(owner),
      epoch,
      expiresAtMs,
    }));
  }

  /** Lets what waits come to its end, then closes the connections. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#running;
    if (this.#reads > 0) await new Promise<void>((resolve) => (this.#readsEnded = resolve));
    if (this.#session !== undefined) await endSession(this.#session, this.#database.clock);
    await this.#database.close();
  }

  async #read<Row extends object>(
    text: string,
    values: readonly (string | number)[],
  ): Promise<readonly Row[]> {
    this.#assertOpen();
    this.#reads += 1;
    try {
      await this.#settle(this.#database);
      return await this.#database.query<Row>(text, values);
    } finally {
      this.#reads -= 1;
      if (this.#reads === 0) this.#readsEnded?.();
    }
  }

  async #run(): Promise<void> {
    // The 64 who were answered together ask again together: each has its say before the flush is sent.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    while (this.#waiting.length > 0) {
      const steps = this.#take();
      try {
        const outcomes = await this.#flush(steps.map(({ operations }) => operations));
        for (const [index, { resolve, reject }] of steps.entries()) {
          const outcome = outcomes[index];
          if (outcome instanceof TallyError || outcome === undefined) reject(outcome);
          else resolve(outcome);
        }
      } catch (error) {
        for (const { reject } of steps) reject(error);
      }
      // Who was answered may ask again before the next flush is sent.
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    this.#running = undefined;
  }

  /** The steps of the next flush, in the order of the calls. */
  #take(): readonly Waiting[] {
    let [count, operations, bytes] = [0, 0, 0];
    for (const step of this.#waiting) {
      operations += step.operations.length;
      const isFull =
        count >= FLUSH_STEPS_MAX ||
        operations > FLUSH_OPERATIONS_MAX ||
        bytes + step.bytes > FLUSH_BYTES_MAX;
      if (count > 0 && isFull) break;
      count += 1;
      bytes += step.bytes;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  async #flush(steps: readonly (readonly LedgerOperation[])[]): Promise<StepOutcome[]> {
    const { clock, random } = this.#database;
    const plain = plainFlush(steps);
    const values = plain === undefined ? flushValues(steps) : plainValues(plain);
    const statement = plain === undefined ? this.#statement : this.#plainStatement;
    for (let tries = 1; ; tries += 1) {
      const session = await this.#connected();
      point('ledger.before-commit');
      try {
        const answer = session.query<FlushRow | PlainRow>(statement, values);
        point('ledger.after-send-before-answer');
        const rows = await answer;
        point('ledger.after-commit-before-answer');
        return plain === undefined
          ? flushOutcomes(steps, rows as FlushRow[], this.#where)
          : plainOutcomes(
              steps,
              plain,
              must(rows[0] as PlainRow | undefined, 'an answer'),
              this.#where,
            );
      } catch (error) {
        // The server has undone all of it, so it may be sent again: whoever was in the way has gone on.
        if ((isConflict(error) || sqlState(error) === NO_ROOM) && tries < TRIES_MAX) {
          // No room for so many locks: one for everything needs none.
          if (!isConflict(error)) values[0] = true;
          await clock.sleep(RETRY_MS * (0.5 + random.next()));
          continue;
        }
        throw this.#failed(error, session);
      }
    }
  }

  async #connected(): Promise<Session> {
    if (this.#session !== undefined) return this.#session;
    const session = await durableSession(this.#database, this.#answerTimeoutMs);
    try {
      await this.#settle(session);
      this.#identity = await identify(session);
    } catch (error) {
      void endSession(session, this.#database.clock);
      throw error;
    }
    this.#session = session;
    // One that breaks while nothing is under way leaves nothing unknown: the next flush opens another.
    session.client.once('end', () => {
      if (this.#session === session) this.#session = undefined;
    });
    return session;
  }

  /** Sees to it that what was not answered is over. */
  async #settle(over: Queryable): Promise<void> {
    const unanswered = this.#unanswered;
    if (unanswered === undefined) return;
    this.#settling ??= endAtServer(over, unanswered, this.#where).finally(() => {
      this.#settling = undefined;
    });
    await this.#settling;
    if (this.#unanswered === unanswered) this.#unanswered = undefined;
  }

  /** What a flush that failed is for those who wait; a connection that broke is given up. */
  #failed(error: unknown, session: Session): unknown {
    if (!isConnectionLost(error)) return error;
    this.#session = undefined;
    this.#unanswered = this.#identity;
    void endSession(session, this.#database.clock);
    return new TallyError('COMMIT_UNKNOWN', {
      what: 'the connection ended while the ledger was committing',
      where: this.#where,
      mend: 'read the records again before deciding; the ledger connects anew by itself',
      cause: isTallyError(error) ? error.cause : error,
    });
  }

  #assertOpen(): void {
    if (this.#closing === undefined) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the ledger was used after it was closed',
      where: this.#where,
      mend: 'stop what uses the ledger before closing it',
    });
  }

  #crowded(): TallyError {
    return new TallyError('STORE_BUSY', {
      what: `${this.#waiting.length} steps already wait for the ledger`,
      where: this.#where,
      mend: 'let callers wait for their answers before they ask again',
      details: { waitingMax: WAITING_MAX, waitingBytesMax: WAITING_BYTES_MAX },
    });
  }
}

function recordOf({ key, value, version }: LedgerRecord): LedgerRecord {
  return { key: fromStored(key), value: fromStored(value), version };
}
