import { checkNumber, checkOneOf, checkOptions, checkString } from '../../core/options.ts';
import type { Store } from '../../ports/store.ts';
import type { Batch } from './batch-answers.ts';
import type { Call } from './call.ts';
import { guardOf, type Guard, type StoreGuard } from './guard.ts';
import { planOfJoin, type JoinPlan } from './join-plan.ts';
import { JoinRun, type JoinReport } from './join-run.ts';
import { keysMaxOf } from './loader-limits.ts';
import type { MemoKey } from './memo.ts';

/** What is read of the store that drives a join. */
export interface JoinPage<Row> {
  /** The last row of the page before; undefined for the first. Go on behind it, in the same order. */
  readonly after: Row | undefined;
  /** At most so many. */
  readonly rowsMax: number;
}

/** The store whose rows drive the join, in the order in which they come out. */
export interface Driving<Row> {
  readonly from: Guard | Store;
  /** Reads one page, ordered and limited by the store; fewer rows than `rowsMax` end the join. */
  readonly read: (page: JoinPage<Row>, call: Call) => readonly Row[] | Promise<readonly Row[]>;
  /** Rows of one page. Default 200. */
  readonly pageRows?: number;
}

/** A store in which something is looked up for each row, many keys at a time. */
export interface Lookup<Row, Value> {
  readonly from: Guard | Store;
  /** The field of the driving row that is the key. A row without one has nothing there. */
  readonly on: keyof Row & string;
  /** Loads by key, as a {@link loader} does. Several for one key are one value: a list. */
  readonly load: Batch<MemoKey, Value>;
  /** What becomes of a row for which there is nothing. Default `keep`. */
  readonly missing?: 'keep' | 'drop';
  /** What becomes of the join if the store, or one key, fails. `keep`: the rows come without it. Default `fail`. */
  readonly failed?: 'fail' | 'keep';
  readonly keysMax?: number;
}

/** A lookup of any value. */
export type Lookups<Row> = { readonly [name: string]: Lookup<Row, unknown> };

export interface JoinOptions<Row, With extends Lookups<Row>> {
  /** For messages, and for the projection that it may become. */
  readonly name: string;
  readonly from: Driving<Row>;
  readonly with: With;
  /** Rows of the driving store that one run may read. Default 2 000. */
  readonly rowsMax?: number;
  /** Calls that one run may make, to all stores together. Default 60. */
  readonly callsMax?: number;
}

/** A row with what was looked up for it. */
export type JoinedRow<Row, With extends Lookups<Row>> = {
  readonly row: Row;
} & {
  readonly [Name in keyof With]: With[Name] extends Lookup<Row, infer Value>
    ? Value | undefined
    : never;
};

/** One run: its rows as they come, and what they cost so far. Iterated once, one way or the other. */
export interface JoinRows<Joined> extends AsyncIterable<Joined> {
  /** The rows a page at a time, which costs less than one at a time. */
  pages(): AsyncIterable<readonly Joined[]>;
  /** All of them; no more than the limit, and so in memory. */
  all(): Promise<readonly Joined[]>;
  /** Calls, rows and time by store. */
  report(): JoinReport;
}

/** A join across stores, declared. */
export interface Join<Row, With extends Lookups<Row>> {
  readonly name: string;
  /** What a run with this limit will do, before it does it: calls and rows by store, and whether it is refused. */
  explain(options: { readonly limit: number }): JoinPlan;
  /**
   * Runs it: pages of the driving store, each with one batch of lookups to each store, side by side; the next page is
   * read meanwhile. At most two pages are in memory. Throws JOIN_TOO_LARGE at once if the plan is over its bounds, and
   * from the iteration if dropped rows made it read on beyond them. Stops reading when the iteration is left.
   */
  rows(options: {
    readonly limit: number;
    readonly signal?: AbortSignal;
  }): JoinRows<JoinedRow<Row, With>>;
}

/** A lookup as it is run. */
export interface LookupParts {
  readonly name: string;
  readonly guard: StoreGuard;
  readonly on: string;
  readonly load: Batch<MemoKey, unknown>;
  readonly missing: 'keep' | 'drop';
  readonly failed: 'fail' | 'keep';
  readonly keysMax: number;
}

/** A join as it is planned and run. */
export interface JoinParts {
  readonly name: string;
  readonly guard: StoreGuard;
  readonly read: Driving<unknown>['read'];
  readonly pageRows: number;
  readonly lookups: readonly LookupParts[];
  readonly rowsMax: number;
  readonly callsMax: number;
}

const PAGE_ROWS_DEFAULT = 200;
/** A page is in memory twice. */
const PAGE_ROWS_MAX = 10_000;
/** What a reader looks at; a report of more is a projection, or DuckDB's. */
const ROWS_MAX_DEFAULT = 2_000;
const CALLS_MAX_DEFAULT = 60;
/** However large the bounds are set. */
const LIMIT_MAX = 1_000_000;

/**
 * Joins rows of one store with what others have for them, by declared keys. For what is small and not joined before it
 * is asked for; everything else is a projection. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function join<Row, With extends Lookups<Row>>(
  options: JoinOptions<Row, With>,
): Join<Row, With> {
  const parts = partsOf(options as JoinOptions<unknown, Lookups<unknown>>);
  const checked = (limit: number): number =>
    checkNumber(limit, `join.${parts.name}.limit`, { min: 1, max: LIMIT_MAX, integer: true });
  return {
    name: parts.name,
    explain: ({ limit }) => planOfJoin(parts, checked(limit)),
    rows(given) {
      checkOptions(given, ['limit', 'signal'], `join.${parts.name}.rows`);
      return new JoinRun(parts, checked(given.limit), given.signal) as JoinRows<
        JoinedRow<Row, With>
      >;
    },
  };
}

function partsOf(options: JoinOptions<unknown, Lookups<unknown>>): JoinParts {
  checkOptions(options, ['name', 'from', 'with', 'rowsMax', 'callsMax'], 'join');
  const name = checkString(options.name, 'join.name', { charactersMax: 100 });
  const path = `join.${name}`;
  checkOptions(options.from, ['from', 'read', 'pageRows'], `${path}.from`);
  const whole = (value: number | undefined, or: number, where: string, max: number): number =>
    checkNumber(value ?? or, `${path}.${where}`, { min: 1, max, integer: true });
  return {
    name,
    guard: guardOf(options.from.from),
    read: options.from.read,
    pageRows: whole(options.from.pageRows, PAGE_ROWS_DEFAULT, 'from.pageRows', PAGE_ROWS_MAX),
    lookups: Object.entries(options.with).map(([as, lookup]) => lookupOf(as, lookup, path)),
    rowsMax: whole(options.rowsMax, ROWS_MAX_DEFAULT, 'rowsMax', LIMIT_MAX),
    callsMax: whole(options.callsMax, CALLS_MAX_DEFAULT, 'callsMax', LIMIT_MAX),
  };
}

function lookupOf(name: string, lookup: Lookup<unknown, unknown>, path: string): LookupParts {
  const where = `${path}.with.${name}`;
  checkOptions(lookup, ['from', 'on', 'load', 'missing', 'failed', 'keysMax'], where);
  if (name === 'row') checkOneOf(name, where, ['any name but row']);
  const system = 'system' in lookup.from ? lookup.from.system : undefined;
  const keysMax = lookup.keysMax ?? keysMaxOf(system);
  return {
    name,
    guard: guardOf(lookup.from),
    on: checkString(lookup.on, `${where}.on`),
    load: lookup.load,
    missing: checkOneOf(lookup.missing ?? 'keep', `${where}.missing`, ['keep', 'drop']),
    failed: checkOneOf(lookup.failed ?? 'fail', `${where}.failed`, ['fail', 'keep']),
    keysMax,
  };
}
