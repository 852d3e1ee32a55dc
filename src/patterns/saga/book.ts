import { errorText, isTallyError, must, TallyError } from '../../core/errors.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type { Ledger, LedgerOperation } from '../../ports/ledger.ts';
import { BACKOFF_DEFAULT, backoffMs } from '../../runtime/backoff.ts';
import { encodeEntry, type JournalEntry, type NewEntry } from './journal.ts';
import {
  type Head,
  PAGE_BYTES,
  pageKey,
  pageOperation,
  parseJournal,
  recordText,
  type RetryEntry,
  type SagaRecord,
} from './record.ts';
import { PAGES, RECORDS } from './spaces.ts';
import { applyEntry, emptyState, type SagaState } from './state.ts';

/** Failed attempts of one step that are kept one by one. */
const RETRIES_IN_JOURNAL_MAX = 16;

export interface BookParts {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
}

/** The state of a saga from its record and its pages. */
export async function readState(ledger: Ledger, record: SagaRecord): Promise<SagaState> {
  return stateOf(await readJournal(ledger, record));
}

/** What the entries of a journal add up to. */
export function stateOf(entries: readonly JournalEntry[]): SagaState {
  const state = emptyState();
  for (const entry of entries) applyEntry(state, entry);
  return state;
}

/** The whole journal of a saga, in order. */
export async function readJournal(
  ledger: Ledger,
  { head, tail }: SagaRecord,
): Promise<readonly JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for (let page = 0; page < head.pages; page += 1) {
    const text = must(await ledger.get(PAGES, pageKey(head.id, page)), 'a page of a saga').value;
    entries.push(...parseJournal(text));
  }
  entries.push(...parseJournal(tail), ...(head.retries ?? []));
  return entries;
}

/**
 * The journal of one saga in the hands of the worker that has it. Entries are added at once and become durable
 * together at the next flush; nothing with an effect is begun before its flush is answered.
 *
 * Every flush replaces the version that it was read or written as. That is the fence: who lost the saga, knowingly or
 * not, replaces nothing. Otherwise: 1. a worker is paused in a step  2. another takes the saga over and compensates
 * it  3. the first goes on and records the step as done.
 */
export class SagaBook {
  readonly head: Head;
  readonly state: SagaState;
  readonly #parts: BookParts;
  #version: number;
  #tail: string;
  #pending: string[] = [];
  #operations: LedgerOperation[] = [];
  #committing: Promise<void> | undefined;
  #isHeadChanged = false;
  #lost: TallyError | undefined;

  constructor(parts: BookParts, record: SagaRecord, state: SagaState) {
    this.#parts = parts;
    this.head = record.head;
    this.state = state;
    this.#tail = record.tail;
    this.#version = record.version;
  }

  /** Whether there is something that is not yet durable. */
  get isDirty(): boolean {
    return this.#pending.length > 0 || this.#operations.length > 0 || this.#isHeadChanged;
  }

  /** Adds an entry, durable with the next flush. Throws SAGA_RESULT_INVALID, adding nothing. */
  add(entry: NewEntry, bytesMax: number = Infinity): void {
    const whole = { ...entry, atMs: this.#parts.clock.nowMs() } as JournalEntry;
    const line = encodeEntry(whole, bytesMax);
    applyEntry(this.state, whole);
    if ('path' in whole) this.#forgetRetries(whole.path);
    this.#pending.push(`${line}\n`);
  }

  /** Notes a failed attempt after which there will be another; from the seventeenth on in place of the one before. */
  addRetry(
    entry: NewEntry & { readonly kind: RetryEntry['kind']; readonly attempt: number },
  ): void {
    if (entry.attempt <= RETRIES_IN_JOURNAL_MAX) {
      this.add(entry);
      return;
    }
    const whole = { ...entry, atMs: this.#parts.clock.nowMs() } as RetryEntry;
    applyEntry(this.state, whole);
    this.#forgetRetries(whole.path);
    this.head.retries = [...(this.head.retries ?? []), whole];
    this.#isHeadChanged = true;
  }

  #forgetRetries(path: string | undefined): void {
    const left = this.head.retries?.filter((entry) => entry.path !== path);
    if (left?.length === 0) delete this.head.retries;
    else if (left !== undefined) this.head.retries = left;
  }

  /** Has this done in the same step as the next flush. */
  also(operation: LedgerOperation): void {
    this.#operations.push(operation);
  }

  /** From now on nothing is written. */
  lose(error: TallyError): void {
    this.#lost ??= error;
  }

  /**
   * Makes durable what was added. While the ledger is full or away it is tried again; throws FENCED_OUT once somebody
   * else has the saga.
   */
  async flush(): Promise<void> {
    while (this.#committing !== undefined) await this.#committing;
    if (this.#lost !== undefined) throw this.#lost;
    if (!this.isDirty) return;
    this.#committing = this.#commit().finally(() => {
      this.#committing = undefined;
    });
    await this.#committing;
  }

  async #commit(): Promise<void> {
    const { head } = this;
    let tail = this.#tail + this.#pending.join('');
    const operations = this.#operations;
    this.#pending = [];
    this.#operations = [];
    this.#isHeadChanged = false;
    if (tail.length > PAGE_BYTES) {
      operations.push(pageOperation(head, tail));
      head.pages += 1;
      tail = '';
    }
    head.direction = this.state.direction;
    head.changedAtMs = this.#parts.clock.nowMs();
    const text = recordText(head, tail);
    this.#version = await this.#replace(text, operations);
    this.#tail = tail;
  }

  async #replace(text: string, operations: readonly LedgerOperation[]): Promise<number> {
    const { ledger, clock, random } = this.#parts;
    const put: LedgerOperation = {
      kind: 'put',
      space: RECORDS,
      key: this.head.id,
      value: text,
      ifVersion: this.#version,
    };
    for (let attempt = 1; ; attempt += 1) {
      if (this.#lost !== undefined) throw this.#lost;
      try {
        const [version = 0] = await ledger.commit([put, ...operations]);
        return version;
      } catch (error) {
        if (isTallyError(error, 'LEDGER_CONFLICT', 'COMMIT_UNKNOWN')) {
          const version = await this.#written(text, error).catch((later: unknown) => {
            // A ledger that cannot be read says nothing: it is asked again.
            if (isTallyError(later) && later.retryable) return undefined;
            throw later;
          });
          if (version !== undefined) return version;
        } else if (!isTallyError(error) || !error.retryable) throw error;
      }
      await clock.sleep(backoffMs(attempt, BACKOFF_DEFAULT, random));
    }
  }

  /**
   * The version of our text, if it is there; undefined if the one before it still is. Throws FENCED_OUT. A conflict is
   * looked into as well: it may be our own write, whose answer was lost, that is in the way.
   */
  async #written(text: string, cause: TallyError): Promise<number | undefined> {
    const record = await this.#parts.ledger.get(RECORDS, this.head.id);
    if (record?.value === text) return record.version;
    if (record?.version === this.#version) return undefined;
    this.#lost = new TallyError('FENCED_OUT', {
      what: `saga ${this.head.id} is in other hands: ${errorText(cause, 200)}`,
      mend: 'nothing; the newer worker goes on',
      cause,
    });
    throw this.#lost;
  }
}
