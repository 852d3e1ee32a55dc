import { TallyError } from '../../../../core/errors.ts';
import type { SourceCursor } from '../../../../ports/source.ts';
import { endLsn, endOffset, formatLsn, parseLsn } from '../lsn.ts';

/** What a cursor's token says: the last real transaction at or before it. */
export interface Token {
  readonly startLsn: number;
  readonly xid: number;
  readonly commitMicros: number;
}

/** What proves that a transaction is the same one: where its commit record starts, its id, its time. */
export function tokenOf({ startLsn, xid, commitMicros }: Token): string {
  return `${formatLsn(startLsn)}/${xid}/${commitMicros}`;
}

/** Reads the text of {@link tokenOf}. Throws HISTORY_LOST if it is none: nothing can be proved by it. */
export function readToken(text: string): Token {
  const match = /^([0-9A-F]+\/[0-9A-F]+)\/(\d{1,10})\/(-?\d{1,16})$/.exec(text);
  if (match === null)
    throw new TallyError('HISTORY_LOST', {
      what: `the place to go on from was not written by this source: '${text.slice(0, 60)}'`,
      mend: 'take a new snapshot of the tables',
      details: { token: text.slice(0, 60) },
    });
  return {
    startLsn: parseLsn(String(match[1])),
    xid: Number(match[2]),
    commitMicros: Number(match[3]),
  };
}

/** What is known of a slot before it is read. */
export interface SlotState {
  /** `confirmed_flush_lsn`: what starts before it is never sent again. */
  readonly confirmedLsn: number;
  /** Why it cannot be read any more, such as `wal_removed`; undefined if it can. */
  readonly invalid: string | undefined;
}

/**
 * The proof that what a slot sends is the history that the log was written from.
 *
 * **The slot is never confirmed beyond the start S of the last transaction that is durable in the log**, so that
 * any stream begins with that very transaction, or before. It is compared (place, id and time of commit) and left out;
 * only what follows it is new. Otherwise:
 *   1. the file system of the server is restored, same cluster, same timeline, same slot
 *   2. other transactions are written up to the same place of the log and beyond
 *   3. a stream that goes on "after S" sends what follows, and nobody sees that what came before is another history.
 */
export class Proof {
  readonly #token: Token;
  readonly #afterOffset: number;
  readonly #where: string;
  #met = false;

  constructor(after: SourceCursor, where: string) {
    this.#token = readToken(after.token);
    this.#afterOffset = after.offset;
    this.#where = where;
  }

  get isMet(): boolean {
    return this.#met;
  }

  /** The transaction that the log ends with: its changes need not be kept, whatever comes of the proof. */
  isAwaited(xid: number): boolean {
    return !this.#met && xid === this.#token.xid;
  }

  /** Throws HISTORY_LOST if the slot or the end of the server's log says already that the proof cannot come. */
  checkStart(slot: SlotState, walEnd: number): void {
    const { startLsn } = this.#token;
    if (slot.confirmedLsn > startLsn)
      throw this.#lost(
        `the slot stands at ${formatLsn(slot.confirmedLsn)}, after the last transaction that is here, ${formatLsn(startLsn)}`,
      );
    if (walEnd < startLsn || walEnd < endLsn(this.#afterOffset))
      throw this.#other(
        `the write-ahead log ends at ${formatLsn(walEnd)}, before ${formatLsn(endLsn(this.#afterOffset))}, which was read from it`,
      );
  }

  /** Whether a transaction is new. Throws HISTORY_LOST if it stands where another one was. */
  isNew(committing: Token): boolean {
    if (this.#met) return true;
    const { startLsn, xid, commitMicros } = this.#token;
    if (committing.startLsn < startLsn) return false;
    if (
      committing.startLsn !== startLsn ||
      committing.xid !== xid ||
      committing.commitMicros !== commitMicros
    )
      throw this.#other(
        `transaction ${xid} was read at ${formatLsn(startLsn)}, and now transaction ${committing.xid} comes first, at ${formatLsn(committing.startLsn)}`,
      );
    this.#met = true;
    return false;
  }

  /** The server has sent all that ends before `lsn`. Throws HISTORY_LOST if the proof should have been among it. */
  passed(lsn: number): void {
    if (this.#met || endOffset(lsn) < this.#afterOffset) return;
    throw this.#other(
      `the server sent everything up to ${formatLsn(lsn)}, and transaction ${this.#token.xid} at ${formatLsn(this.#token.startLsn)} was not there`,
    );
  }

  /** The server is not the one that was read, or went back: what it writes now stands where other things stood. */
  #other(what: string): TallyError {
    return this.#lost(what, { serves: 'another history' });
  }

  #lost(what: string, details: Readonly<Record<string, unknown>> = {}): TallyError {
    return new TallyError('HISTORY_LOST', {
      what: `the server does not hold what was read from it: ${what}`,
      where: this.#where,
      mend: 'the server was restored or failed over, or the slot was moved by somebody else; take a new snapshot of the tables',
      details: { offset: this.#afterOffset, token: tokenOf(this.#token), ...details },
    });
  }
}

/** Throws HISTORY_LOST unless a slot can be read from its beginning. */
export function checkUnread(slot: SlotState, consistentLsn: number, where: string): void {
  if (slot.confirmedLsn <= consistentLsn) return;
  throw new TallyError('HISTORY_LOST', {
    what: `the slot stands at ${formatLsn(slot.confirmedLsn)}, after ${formatLsn(consistentLsn)}, where it was made: what was between was given to somebody else`,
    where,
    mend: 'drop the slot and take a new snapshot of the tables; give each application a slot of its own',
    details: { confirmed: slot.confirmedLsn, consistent: consistentLsn },
  });
}
