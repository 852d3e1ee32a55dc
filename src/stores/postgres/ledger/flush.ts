import { TallyError, unreachable } from '../../../core/errors.ts';
import type { LedgerOperation, LedgerResult } from '../../../ports/ledger.ts';
import { float8Array, int2Array, int4Array, int8Array, textArray } from './arrays.ts';
import { toStored } from './plain-text.ts';
import { operationKinds } from './schema.ts';

/** Operations of one step, as the caller gave them. */
export type Step = readonly LedgerOperation[];

/** What became of one step: the results of its operations, or why it left nothing. */
export type StepOutcome = LedgerResult | TallyError;

/** A flush of more operations locks the ledger instead of each record: the server has room for some thousands. */
export const LOCKS_MAX: number = 512;

/** The statement that commits many steps. */
export function flushStatement(schema: string): string {
  return `SELECT operation, result, refusal FROM ${schema}.ledger_commit_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`;
}

/** Whether to lock all; the operations of many steps as columns, in order; the ranges to be undone by themselves. */
export function flushValues(steps: readonly Step[]): (Buffer | boolean)[] {
  const low: number[] = [];
  const high: number[] = [];
  const undone: number[] = [];
  const step: number[] = [];
  const columns: Columns = { kind: [], a: [], b: [], c: [], n: [], now: [], until: [] };
  for (const [index, operations] of steps.entries()) {
    const first = step.length + 1;
    for (const operation of operations) {
      step.push(index);
      add(columns, operation);
    }
    if (step.length < first) continue;
    const isUndone = mayFailAfterWriting(operations);
    // Steps that need nothing undone stand together in one range.
    if (!isUndone && undone.at(-1) === 0) high[high.length - 1] = step.length;
    else {
      low.push(first);
      high.push(step.length);
      undone.push(isUndone ? 1 : 0);
    }
  }
  const { kind, a, b, c, n, now, until } = columns;
  return [
    step.length > LOCKS_MAX,
    ...[low, high].map(int4Array),
    int2Array(undone),
    int4Array(step),
    int2Array(kind),
    ...[a, b, c].map(textArray),
    int8Array(n),
    float8Array(now),
    float8Array(until),
  ];
}

/** A row of the statement's answer: the version or epoch an operation resulted in, or why its step was refused. */
export interface FlushRow {
  /** Counted from 1 through all steps. */
  readonly operation: number;
  readonly result: number | null;
  readonly refusal: string | null;
}

/** What became of each step, from the rows that speak of some of their operations. */
export function flushOutcomes(
  steps: readonly Step[],
  rows: readonly FlushRow[],
  where: string,
): StepOutcome[] {
  const results = new Map(rows.map((row) => [row.operation, row]));
  let before = 0;
  return steps.map((operations) => {
    const outcome: number[] = [];
    let refusal: TallyError | undefined;
    for (const operation of operations) {
      before += 1;
      const row = results.get(before);
      if (row?.refusal != null)
        refusal = refusedBy(operation, JSON.parse(row.refusal) as Refusal, where);
      outcome.push(row?.result ?? 0);
    }
    return refusal ?? outcome;
  });
}

/** Whether an operation that can be refused comes after one that writes. */
function mayFailAfterWriting(step: Step): boolean {
  let wrote = false;
  for (const operation of step) {
    const isRecord = operation.kind === 'put' || operation.kind === 'delete';
    if (wrote && (!isRecord || operation.ifVersion !== undefined)) return true;
    if (operation.kind !== 'guard') wrote = true;
  }
  return false;
}

interface Columns {
  readonly kind: number[];
  readonly a: string[];
  readonly b: (string | null)[];
  readonly c: (string | null)[];
  readonly n: number[];
  readonly now: number[];
  readonly until: number[];
}

/** `n`: the version expected, the epoch held, or the floor; -1 where none is given. */
function add(columns: Columns, operation: LedgerOperation): void {
  let a: string;
  let b: string | null = null;
  let c: string | null = null;
  let [n, now, until] = [-1, 0, 0];
  switch (operation.kind) {
    case 'put':
    case 'delete':
      a = operation.space;
      b = operation.key;
      c = operation.kind === 'put' ? operation.value : null;
      n = operation.ifVersion ?? -1;
      break;
    case 'acquire':
      a = operation.lease;
      b = operation.owner;
      c = operation.breakOwner ?? null;
      n = operation.floor ?? -1;
      now = operation.nowMs;
      until = operation.nowMs + operation.ttlMs;
      break;
    case 'renew':
      until = operation.nowMs + operation.ttlMs;
      a = operation.lease;
      n = operation.epoch;
      break;
    case 'guard':
    case 'release':
      a = operation.lease;
      n = operation.epoch;
      break;
    default:
      return unreachable(operation);
  }
  columns.kind.push(operationKinds[operation.kind]);
  columns.a.push(toStored(a));
  columns.b.push(b === null ? null : toStored(b));
  columns.c.push(c === null ? null : toStored(c));
  columns.n.push(n);
  columns.now.push(now);
  columns.until.push(until);
}

/** What stands in the way of an operation. */
export interface Refusal {
  readonly version?: number;
  readonly owner?: string | null;
  readonly epoch?: number | null;
  readonly expiresAtMs?: number | null;
}

/** The error of a refused operation. */
export function refusedBy(
  operation: LedgerOperation,
  { version, owner, epoch, expiresAtMs }: Refusal,
  where: string,
): TallyError {
  switch (operation.kind) {
    case 'put':
    case 'delete': {
      const { space, key, ifVersion } = operation;
      return new TallyError('LEDGER_CONFLICT', {
        what: `the record has version ${version}, not ${ifVersion}`,
        where: `${where}, space ${space}, key ${key}`,
        mend: 'read the record again and decide anew',
        details: { space, key, ifVersion, version },
      });
    }
    case 'acquire':
      return new TallyError('LEASE_HELD', {
        what: `the lease is held by ${owner}`,
        where: `lease ${operation.lease}`,
        mend: 'wait until it is released or expires, or stop its holder',
        details: { lease: operation.lease, owner, epoch, expiresAtMs },
      });
    default:
      return new TallyError('FENCED_OUT', {
        what: `the lease is no longer held under epoch ${operation.epoch}`,
        where: `lease ${operation.lease}`,
        mend: 'stop this work: whoever holds the lease now goes on with it',
        details: {
          lease: operation.lease,
          epoch: operation.epoch,
          ...(epoch === null ? {} : { owner, currentEpoch: epoch }),
        },
      });
  }
}
