import { TallyError } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Ledger, LedgerOperation } from '../../ports/ledger.ts';
import { readState } from './book.ts';
import { encodeEntry, type JournalEntry, type NewEntry, type SagaOperation } from './journal.ts';
import { type Head, parseRecord, recordText, type SagaRecord } from './record.ts';
import { ENDED, PARKED, READY, RECORDS, readyKey, SLOTS, timedKey } from './spaces.ts';
import type { SagaState } from './state.ts';

/** A person's decision about a parked saga. */
export interface Decision {
  readonly operation: SagaOperation;
  /** Who decided; part of the audit line. */
  readonly by: string;
  /** Why; part of the audit line. */
  readonly reason: string;
  /** For `mark`: whether the step took effect, and what it would have returned. */
  readonly took?: 'effect' | 'none';
  readonly result?: Value;
}

/** How long an abandoned saga is kept: what `saga()` has for one that ended by itself. Thirty days. */
const ABANDONED_RETENTION_MS: number = 30 * 24 * 3_600_000;

/**
 * Records a person's decision about a parked saga, and lets a worker go on with it. In one step with the version that
 * was looked at: two people who decide at the same time do not both. Throws SAGA_UNKNOWN, SAGA_STATE if it is not
 * parked or cannot go on so, and LEDGER_CONFLICT.
 */
export async function decide(
  ledger: Ledger,
  clock: Clock,
  id: string,
  decision: Decision,
): Promise<Head> {
  const record = await findRecord(ledger, id);
  const state = await readState(ledger, record);
  const { parked } = state;
  if (record.head.status !== 'parked' || parked === undefined)
    throw new TallyError('SAGA_STATE', {
      what: `saga ${id} is ${record.head.status}, not parked`,
      mend: 'only a parked saga waits for a decision; see tally saga show',
      details: { id, status: record.head.status },
    });
  const nowMs = clock.nowMs();
  const entries = entriesFor(id, decision, parked, state, nowMs);
  const head: Head = { ...record.head, changedAtMs: nowMs };
  const operations: LedgerOperation[] = [{ kind: 'delete', space: PARKED, key: id }];
  if (decision.operation === 'abandon') end(head, nowMs, operations);
  else {
    head.status = 'ready';
    const key = readyKey(head.priority, nowMs, id);
    operations.push({ kind: 'put', space: READY, key, value: id });
  }
  const tail = record.tail + entries.map((entry) => `${encodeEntry(entry)}\n`).join('');
  const value = recordText(head, tail);
  await ledger.commit([
    { kind: 'put', space: RECORDS, key: id, value, ifVersion: record.version },
    ...operations,
  ]);
  return head;
}

/** The record of a saga. Throws SAGA_UNKNOWN. */
export async function findRecord(ledger: Ledger, id: string): Promise<SagaRecord> {
  const found = await ledger.get(RECORDS, id);
  if (found !== undefined) return parseRecord(found);
  throw new TallyError('SAGA_UNKNOWN', {
    what: `there is no saga ${JSON.stringify(id)}`,
    mend: 'see tally saga list; one that ended is forgotten after its retention',
    details: { id },
  });
}

function entriesFor(
  id: string,
  decision: Decision,
  parked: NonNullable<SagaState['parked']>,
  state: SagaState,
  atMs: number,
): readonly JournalEntry[] {
  const { operation, by, reason, took = 'effect', result } = decision;
  const { path, during, error } = parked;
  const isPivot = during === 'do' && !state.committed;
  if (operation === 'mark' && took === 'none' && during === 'do' && state.committed)
    throw new TallyError('SAGA_STATE', {
      what: `step ${path} of saga ${id} comes after the point of no return: that it did not happen leads nowhere`,
      mend: 'retry it, skip it, or mark it as done once it is',
    });
  const entries: NewEntry[] = [
    {
      kind: 'operated',
      operation,
      path,
      by,
      reason,
      ...(operation === 'mark' ? { took, ...(result === undefined ? {} : { result }) } : {}),
    },
  ];
  if (operation === 'mark' && took === 'none' && isPivot)
    entries.push({ kind: 'failing', why: 'step', path, error });
  if (operation === 'abandon') entries.push({ kind: 'ended', end: 'abandoned' });
  return entries.map((entry) => ({ ...entry, atMs }));
}

function end(head: Head, nowMs: number, operations: LedgerOperation[]): void {
  head.status = 'abandoned';
  const key = timedKey(nowMs + ABANDONED_RETENTION_MS, head.id);
  operations.push({ kind: 'put', space: ENDED, key, value: head.id });
  if (head.slot !== null) operations.push({ kind: 'delete', space: SLOTS, key: head.slot });
  head.slot = null;
  const { parent, priority } = head;
  if (parent === undefined) return;
  const parentKey = readyKey(priority, nowMs, parent.id, head.id);
  operations.push({ kind: 'put', space: READY, key: parentKey, value: parent.id });
}
