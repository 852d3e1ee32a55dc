import { TallyError } from '../../core/errors.ts';
import type { LedgerOperation } from '../../ports/ledger.ts';
import { decodeEntry, type JournalEntry, type SagaEnd } from './journal.ts';
import { PAGES, RECORDS } from './spaces.ts';

/** Where a saga is, as lists show it. `ready`: it waits for a worker. `waiting`: for a timer, a signal or a child. */
export type SagaStatus = 'ready' | 'running' | 'waiting' | 'parked' | SagaEnd;

/** A failed attempt after which there will be another. */
export type RetryEntry = Extract<JournalEntry, { readonly kind: 'failed' | 'undo-failed' }>;

/** What of a saga is written anew at each transition. */
export interface Head {
  readonly id: string;
  readonly saga: string;
  readonly version: number;
  readonly fingerprint: string;
  status: SagaStatus;
  direction: 'forward' | 'back';
  /** The worker that has it; null while nobody has. */
  owner: string | null;
  /** Grows with each change of hands. */
  epoch: number;
  readonly priority: number;
  readonly startedAtMs: number;
  changedAtMs: number;
  readonly deadlineAtMs?: number;
  readonly parent?: { readonly id: string; readonly path: string };
  /** Its place in {@link TIMERS}, if it has one. */
  timerKey: string | null;
  /** The place of its key that it takes, under {@link SLOTS}. */
  slot: string | null;
  /** What it must have a place of before it runs: a prefix under {@link SLOTS}. */
  readonly slots?: { readonly prefix: string; readonly max: number };
  /** Earlier parts of its journal. */
  pages: number;
  /**
   * The newest failed attempt of each step that has failed often: one line each, replaced, where a step that is tried
   * for weeks would else fill the journal.
   */
  retries?: readonly RetryEntry[];
}

/** Whether nothing will happen to a saga any more. */
export function isEnd(status: SagaStatus): status is SagaEnd {
  return status === 'completed' || status === 'compensated' || status === 'abandoned';
}

/** A saga's record, as it was read. */
export interface SagaRecord {
  readonly head: Head;
  /** The lines of the journal since the last page. */
  readonly tail: string;
  readonly version: number;
}

/**
 * Journals are cut into pages of this size, so that what is written at each transition does not grow with all that
 * went before.
 */
export const PAGE_BYTES: number = 16 * 1024;

/** The text of a record: the head, and a line for each entry. */
export function recordText(head: Head, tail: string): string {
  return `${JSON.stringify(head)}\n${tail}`;
}

/** Reads a record. Throws STORE_CORRUPT if it is none. */
export function parseRecord(record: {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}): SagaRecord {
  const end = record.value.indexOf('\n');
  try {
    const head = JSON.parse(record.value.slice(0, end)) as Head;
    return { head, tail: record.value.slice(end + 1), version: record.version };
  } catch (cause) {
    throw new TallyError('STORE_CORRUPT', {
      what: 'the record of a saga cannot be read',
      where: `ledger space ${RECORDS}, key ${record.key}`,
      mend: 'restore the ledger from a backup',
      cause,
    });
  }
}

/** The entries of a piece of a journal. */
export function parseJournal(text: string): readonly JournalEntry[] {
  const entries: JournalEntry[] = [];
  for (const line of text.split('\n')) if (line !== '') entries.push(decodeEntry(line));
  return entries;
}

/** The key of page `number` of a saga; pages are listed in order. */
export function pageKey(id: string, number: number): string {
  return `${id}/${String(number).padStart(6, '0')}`;
}

/** Keeps a full tail as a page of its own. */
export function pageOperation(head: Head, tail: string): LedgerOperation {
  return { kind: 'put', space: PAGES, key: pageKey(head.id, head.pages), value: tail };
}
