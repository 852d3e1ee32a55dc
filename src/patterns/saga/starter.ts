import { encodeEvidence } from '../../core/evidence-token.ts';
import { isTallyError } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';
import { checkNumber, checkString } from '../../core/options.ts';
import { point } from '../../observe/point.ts';
import type { Ledger, LedgerOperation } from '../../ports/ledger.ts';
import { currentEvidence } from '../../runtime/context.ts';
import { type BookParts, SagaBook } from './book.ts';
import type { SagaDefinition } from './definition.ts';
import { encodeEntry, type JournalEntry } from './journal.ts';
import { type Head, parseRecord, recordText } from './record.ts';
import { checkSagaId, OWNED, READY, RECORDS, readyKey } from './spaces.ts';
import { applyEntry, emptyState } from './state.ts';

/** Priorities go from 0 to 9, the greater first. */
const PRIORITY_DEFAULT = 5;
/** Characters of the key that sagas share a limit by. */
const KEY_CHARACTERS_MAX = 200;

export interface StartOptions {
  readonly id: string;
  readonly input: unknown;
  readonly priority?: number;
  readonly parent?: Head['parent'];
  /** Of the worker that would run it; undefined if none here can. */
  readonly worker: string | undefined;
}

/** A saga that is in the ledger: its head, and the journal to go on with if it was started here. */
export type Started =
  | { readonly kind: 'created'; readonly head: Head; readonly book: SagaBook | undefined }
  | { readonly kind: 'existed'; readonly head: Head };

/** Records a saga's beginning, unless there is one of this id. */
export async function startSaga(
  parts: BookParts,
  definition: SagaDefinition,
  options: StartOptions,
): Promise<Started> {
  const { ledger, clock } = parts;
  const { id, worker } = options;
  const nowMs = clock.nowMs();
  const entry = startedEntry(definition, options, nowMs);
  const tail = `${encodeEntry(entry, definition.resultBytesMax)}\n`;
  const runsHere = worker !== undefined && definition.concurrency === undefined;
  const head = headOf(definition, options, entry, runsHere ? worker : undefined, nowMs);
  const value = recordText(head, tail);
  const key = readyKey(head.priority, nowMs, id);
  const operations: LedgerOperation[] = [
    { kind: 'put', space: RECORDS, key: id, value, ifVersion: 0 },
    runsHere
      ? { kind: 'put', space: OWNED, key: `${worker}/${id}`, value: id }
      : { kind: 'put', space: READY, key, value: id },
  ];
  const version = await create(ledger, operations, id, value);
  if (typeof version !== 'number') return { kind: 'existed', head: version };
  point('saga.after-start');
  if (!runsHere) return { kind: 'created', head, book: undefined };
  const state = emptyState();
  applyEntry(state, entry);
  return { kind: 'created', head, book: new SagaBook(parts, { head, tail, version }, state) };
}

/** The version of the new record, or the head of the one that is there. */
async function create(
  ledger: Ledger,
  operations: readonly LedgerOperation[],
  id: string,
  value: string,
): Promise<number | Head> {
  try {
    const [version = 0] = await ledger.commit(operations);
    return version;
  } catch (error) {
    if (!isTallyError(error, 'LEDGER_CONFLICT', 'COMMIT_UNKNOWN')) throw error;
    const found = await ledger.get(RECORDS, id);
    if (found === undefined) throw error;
    // Two starts of one millisecond write the same text: only an open outcome may be one's own.
    const isOwn = isTallyError(error, 'COMMIT_UNKNOWN') && found.value === value;
    return isOwn ? found.version : parseRecord(found).head;
  }
}

function startedEntry(
  definition: SagaDefinition,
  { input: given }: StartOptions,
  atMs: number,
): Extract<JournalEntry, { kind: 'started' }> {
  const checked = definition.checkInput(given);
  const { redact } = definition;
  const input = redact === undefined ? checked : redact(checked, { kind: 'input', path: '' });
  const evidence = currentEvidence();
  return {
    kind: 'started',
    atMs,
    ...(input === undefined ? {} : { input: input as Value }),
    ...(evidence.size === 0 ? {} : { evidence: encodeEvidence(evidence) }),
  };
}

function headOf(
  definition: SagaDefinition,
  { id, priority = PRIORITY_DEFAULT, parent }: StartOptions,
  { input }: Extract<JournalEntry, { kind: 'started' }>,
  owner: string | undefined,
  nowMs: number,
): Head {
  checkNumber(priority, 'priority', { min: 0, max: 9, integer: true });
  const { name: saga, version, fingerprint, deadlineMs, concurrency } = definition;
  return {
    id: checkSagaId(id),
    saga,
    version,
    fingerprint,
    status: owner === undefined ? 'ready' : 'running',
    direction: 'forward',
    owner: owner ?? null,
    epoch: 1,
    priority,
    startedAtMs: nowMs,
    changedAtMs: nowMs,
    ...(deadlineMs === undefined ? {} : { deadlineAtMs: Math.ceil(nowMs + deadlineMs) }),
    ...(parent === undefined ? {} : { parent }),
    timerKey: null,
    slot: null,
    ...(concurrency === undefined ? {} : { slots: slotsOf(saga, concurrency, input) }),
    pages: 0,
  };
}

function slotsOf(
  saga: string,
  { key, max }: NonNullable<SagaDefinition['concurrency']>,
  input: unknown,
): NonNullable<Head['slots']> {
  const text = checkString(key(input), `saga ${saga}.concurrency.key, its answer`, {
    charactersMax: KEY_CHARACTERS_MAX,
  });
  return { prefix: `${saga}/${encodeURIComponent(text.toWellFormed())}/`, max };
}
