import { checkNumber, checkOneOf, checkOptions } from '../../core/options.ts';
import type { Ledger } from '../../ports/ledger.ts';
import { readJournal, stateOf } from './book.ts';
import type { JournalEntry } from './journal.ts';
import { findRecord } from './operations.ts';
import { outcomeOf, type SagaOutcome } from './outcome.ts';
import { type Head, parseRecord, type SagaStatus } from './record.ts';
import { PARKED, RECORDS } from './spaces.ts';

/** Sagas of one page of a list, unless told otherwise. */
const PAGE_DEFAULT = 100;
const PAGE_MAX = 1_000;

/** Which sagas to list. */
export interface ListOptions {
  readonly status?: SagaStatus | 'compensating';
  /** Of this definition only. */
  readonly saga?: string;
  /** Only ids after this one, in the order of their bytes: the last one of the page before. */
  readonly after?: string;
  /** At most so many. Default 100. */
  readonly limit?: number;
}

/** One line of a list. */
export interface SagaSummary {
  readonly id: string;
  readonly saga: string;
  readonly version: number;
  readonly fingerprint: string;
  readonly status: SagaStatus | 'compensating';
  readonly startedAtMs: number;
  readonly changedAtMs: number;
  /** The worker that has it; null while nobody has. */
  readonly worker: string | null;
}

/** One saga in full. */
export interface SagaView extends SagaSummary {
  readonly priority: number;
  readonly deadlineAtMs: number | undefined;
  readonly parent: string | undefined;
  readonly input: unknown;
  readonly outcome: SagaOutcome;
  /** Everything that happened, in order. */
  readonly history: readonly JournalEntry[];
}

const statuses = [
  'ready',
  'running',
  'waiting',
  'compensating',
  'parked',
  'completed',
  'compensated',
  'abandoned',
] as const;

/** Lists sagas in the order of their ids. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION. */
export async function listSagas(
  ledger: Ledger,
  options: ListOptions = {},
): Promise<readonly SagaSummary[]> {
  checkOptions(options, ['status', 'saga', 'after', 'limit'], 'list');
  const { status, saga, limit = PAGE_DEFAULT } = options;
  if (status !== undefined) checkOneOf(status, 'list.status', statuses);
  checkNumber(limit, 'list.limit', { min: 1, max: PAGE_MAX, integer: true });
  const found: SagaSummary[] = [];
  let { after } = options;
  while (found.length < limit) {
    const page = await ledger.list(status === 'parked' ? PARKED : RECORDS, {
      limit: PAGE_DEFAULT,
      ...(after === undefined ? {} : { after }),
    });
    for (const record of page) {
      const whole = status === 'parked' ? await ledger.get(RECORDS, record.key) : record;
      if (whole === undefined) continue;
      const summary = summaryOf(parseRecord(whole).head);
      const isWanted =
        (status === undefined || summary.status === status) &&
        (saga === undefined || summary.saga === saga);
      if (isWanted && found.length < limit) found.push(summary);
    }
    after = page.at(-1)?.key;
    if (page.length < PAGE_DEFAULT) break;
  }
  return found;
}

/** One saga with its history. Throws SAGA_UNKNOWN. */
export async function showSaga(ledger: Ledger, id: string): Promise<SagaView> {
  const record = await findRecord(ledger, id);
  const { head } = record;
  const history = await readJournal(ledger, record);
  const state = stateOf(history);
  return {
    ...summaryOf(head),
    priority: head.priority,
    deadlineAtMs: head.deadlineAtMs,
    parent: head.parent?.id,
    input: state.input,
    outcome: outcomeOf(head, state, undefined),
    history,
  };
}

function summaryOf(head: Head): SagaSummary {
  const { id, saga, version, fingerprint, startedAtMs, changedAtMs, owner } = head;
  const isGoingBack =
    head.direction === 'back' && ['ready', 'running', 'waiting'].includes(head.status);
  const status = isGoingBack ? 'compensating' : head.status;
  return { id, saga, version, fingerprint, status, startedAtMs, changedAtMs, worker: owner };
}
