import { TallyError } from '../../core/errors.ts';
import type { JoinParts } from './join.ts';

/** What a join does in one store. */
export interface JoinStep {
  readonly store: string;
  readonly does: 'drives' | 'looks up';
  /** What is looked up, and by which field of the driving row. */
  readonly name: string;
  readonly on: string | undefined;
  /** At most, if no row is dropped. */
  readonly calls: number;
  readonly rows: number;
}

/** What a join will do. */
export interface JoinPlan {
  readonly join: string;
  readonly limit: number;
  readonly steps: readonly JoinStep[];
  readonly calls: number;
  /** Whether rows without a match are dropped: it may then read on, as far as its bounds. */
  readonly readsOn: boolean;
  readonly bounds: { readonly rowsMax: number; readonly callsMax: number };
  /** Why it is not run; undefined: it is. */
  readonly refused: string | undefined;
  /** What to build instead of a join that is refused, or too slow. */
  readonly projection: string;
}

/** The plan of a run that yields `limit` rows. Pure. */
export function planOfJoin(parts: JoinParts, limit: number): JoinPlan {
  const { name, guard, pageRows, lookups, rowsMax, callsMax } = parts;
  const pages = Math.ceil(limit / pageRows);
  const steps: JoinStep[] = [
    { store: guard.name, does: 'drives', name, on: undefined, calls: pages, rows: limit },
  ];
  for (const { name: as, guard: from, on, keysMax } of lookups) {
    const full = Math.floor(limit / pageRows);
    const rest = limit - full * pageRows;
    const calls = full * Math.ceil(pageRows / keysMax) + Math.ceil(rest / keysMax);
    steps.push({ store: from.name, does: 'looks up', name: as, on, calls, rows: limit });
  }
  const calls = steps.reduce((sum, step) => sum + step.calls, 0);
  return {
    join: name,
    limit,
    steps,
    calls,
    readsOn: lookups.some(({ missing }) => missing === 'drop'),
    bounds: { rowsMax, callsMax },
    refused: refusalOf(limit, calls, parts),
    projection: projectionOf(parts),
  };
}

/** The error for a join that is over its bounds. */
export function tooLarge({ name }: JoinParts, why: string, projection: string): TallyError {
  return new TallyError('JOIN_TOO_LARGE', {
    what: why,
    where: `join ${name}`,
    mend: `give it a smaller limit, or ${projection}`,
    details: { join: name, projection },
  });
}

/** A plan as text, for people. */
export function explainText(plan: JoinPlan): string {
  const lines = plan.steps.map(({ store, does, name, on, calls, rows }) => {
    const what = on === undefined ? does : `${does} ${name} by ${on}`;
    return `  ${store}: ${what}, at most ${calls} ${calls === 1 ? 'call' : 'calls'} and ${rows} rows`;
  });
  const readsOn = plan.readsOn
    ? [`  rows without a match are dropped: it may read on, up to ${plan.bounds.rowsMax} rows`]
    : [];
  const verdict =
    plan.refused === undefined
      ? `  runs: ${plan.calls} of ${plan.bounds.callsMax} calls`
      : `  is refused: ${plan.refused}. Instead ${plan.projection}`;
  return [`${plan.join}, limit ${plan.limit}`, ...lines, ...readsOn, verdict].join('\n');
}

function refusalOf(limit: number, calls: number, parts: JoinParts): string | undefined {
  const { rowsMax, callsMax } = parts;
  if (limit > rowsMax) return `a limit of ${limit} rows is over its bound of ${rowsMax}`;
  if (calls > callsMax) return `${calls} calls are over its bound of ${callsMax}`;
  return undefined;
}

function projectionOf({ name, guard, lookups }: JoinParts): string {
  const sources = [...new Set([guard.name, ...lookups.map(({ guard: from }) => from.name)])];
  const fields = lookups.map(({ name: as, on }) => `${as} by ${on}`).join(', ');
  return `build a projection ${name}: a folded flow from ${sources.join(' and ')} into one store, one row for each of ${guard.name} with ${fields}, kept in the order in which it is read`;
}
