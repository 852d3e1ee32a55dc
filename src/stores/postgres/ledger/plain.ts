import { TallyError } from '../../../core/errors.ts';
import type { LedgerOperation } from '../../../ports/ledger.ts';
import { int4Array, int8Array, textArray } from './arrays.ts';
import { LOCKS_MAX, type Refusal, refusedBy, type Step, type StepOutcome } from './flush.ts';
import { toStored } from './plain-text.ts';

/** The statement that commits many plain steps. */
export function plainStatement(schema: string): string {
  const parameters = Array.from({ length: 30 }, (_, index) => `$${index + 1}`).join(', ');
  return `SELECT versions, refusals FROM ${schema}.ledger_plain_1(${parameters})`;
}

/** The answer of that statement. */
export interface PlainRow {
  readonly versions: string | null;
  readonly refusals: string | null;
}

/** One kind of operation, as columns. */
class Columns {
  readonly space: string[] = [];
  readonly key: string[] = [];
  readonly value: string[] = [];
  readonly version: number[] = [];
  readonly at: number[] = [];
  readonly step: number[] = [];
}

/** Operations by what the statement does with them. */
export interface PlainFlush {
  readonly touched: ReadonlySet<string>;
  readonly guards: Columns;
  readonly updates: Columns;
  readonly inserts: Columns;
  readonly removes: Columns;
  readonly puts: Columns;
  readonly drops: Columns;
}

/**
 * The operations of these steps by kind, if they are plain: no record twice, leases only looked at, at most one write
 * of each step with a condition. Undefined if they have to be done one after the other.
 */
export function plainFlush(steps: readonly Step[]): PlainFlush | undefined {
  const touched = new Set<string>();
  const flush: PlainFlush = {
    touched,
    guards: new Columns(),
    updates: new Columns(),
    inserts: new Columns(),
    removes: new Columns(),
    puts: new Columns(),
    drops: new Columns(),
  };
  let at = 0;
  for (const [step, operations] of steps.entries()) {
    let conditions = 0;
    for (const operation of operations) {
      at += 1;
      if (operation.kind === 'guard') {
        const lease = toStored(operation.lease);
        touched.add(lease);
        flush.guards.space.push(lease);
        flush.guards.version.push(operation.epoch);
        flush.guards.at.push(at);
        flush.guards.step.push(step);
        continue;
      }
      if (operation.kind !== 'put' && operation.kind !== 'delete') return undefined;
      if (operation.ifVersion !== undefined) conditions += 1;
      if (conditions > 1) return undefined;
      const space = toStored(operation.space);
      const key = toStored(operation.key);
      const name = `${space}/${key}`;
      // As the other statement names it: both lock the same. Two records may share a name; then they are no longer plain.
      if (touched.has(name)) return undefined;
      touched.add(name);
      const columns = columnsOf(flush, operation);
      columns.space.push(space);
      columns.key.push(key);
      columns.at.push(at);
      columns.step.push(step);
      columns.version.push(operation.ifVersion ?? 0);
      if (operation.kind === 'put') columns.value.push(toStored(operation.value));
    }
  }
  return flush;
}

function columnsOf(
  flush: PlainFlush,
  operation: Extract<LedgerOperation, { readonly kind: 'put' | 'delete' }>,
): Columns {
  const { kind, ifVersion } = operation;
  if (kind === 'delete') return ifVersion === undefined ? flush.drops : flush.removes;
  if (ifVersion === undefined) return flush.puts;
  return ifVersion === 0 ? flush.inserts : flush.updates;
}

/** The parameters of the statement. */
export function plainValues(flush: PlainFlush): (Buffer | boolean)[] {
  const { touched, guards, updates, inserts, removes, puts, drops } = flush;
  const names = ({ space, key }: Columns): Buffer[] => [textArray(space), textArray(key)];
  const places = ({ at, step }: Columns): Buffer[] => [int4Array(at), int4Array(step)];
  return [
    touched.size > LOCKS_MAX,
    textArray([...touched]),
    textArray(guards.space),
    int8Array(guards.version),
    ...places(guards),
    ...names(updates),
    textArray(updates.value),
    int8Array(updates.version),
    ...places(updates),
    ...names(inserts),
    textArray(inserts.value),
    ...places(inserts),
    ...names(removes),
    int8Array(removes.version),
    ...places(removes),
    ...names(puts),
    textArray(puts.value),
    ...places(puts),
    ...names(drops),
    int4Array(drops.step),
  ];
}

/** What became of each step. */
export function plainOutcomes(
  steps: readonly Step[],
  { updates, inserts, puts }: PlainFlush,
  { versions, refusals }: PlainRow,
  where: string,
): StepOutcome[] {
  const given = versions === null || versions === '' ? [] : versions.split(',');
  const results = new Map<number, number>();
  const written = [...updates.at, ...inserts.at, ...puts.at];
  for (const [index, at] of written.entries()) results.set(at, Number(given[index]));
  const why = JSON.parse(refusals ?? '[]') as readonly (Refusal & { readonly at: number })[];
  const refused = new Map(why.map((refusal) => [refusal.at, refusal]));
  let before = 0;
  return steps.map((operations) => {
    const outcome: number[] = [];
    let refusal: TallyError | undefined;
    for (const operation of operations) {
      before += 1;
      const found = refused.get(before);
      if (found !== undefined) refusal ??= refusedBy(operation, found, where);
      outcome.push(results.get(before) ?? 0);
    }
    return refusal ?? outcome;
  });
}
