import type { Change } from '../core/change.ts';
import { TallyError } from '../core/errors.ts';
import { checkNumber, checkOneOf, checkOptions } from '../core/options.ts';
import type { Key, Row, Value } from '../core/row.ts';

/** What a projection asks for: this row under this key in this target, or nothing under it. */
export interface Put {
  readonly target: string;
  readonly key: Key;
  readonly row: Row | null;
}

/** The row that a target should hold under a key. */
export function put(target: string, key: Key, row: Row): Put {
  return { target, key, row };
}

/** No row under a key. A row projection rarely needs it: what it no longer puts is removed for it. */
export function remove(target: string, key: Key): Put {
  return { target, key, row: null };
}

/** One put, several, or none. */
export type Projected = Put | readonly Put[] | undefined | null;

/**
 * A row projection: a pure function from one source row to what its targets should hold for it. It
 * is asked for the row before and the row after a change; what it put for the one and not for the
 * other is deleted. It must not look at a clock, at randomness or at other stores.
 */
export type RowProjection = (row: Row, change: Change) => Projected;

/** State of a folded projection, kept with the checkpoint: read and written in one atomic unit. */
export interface FoldState {
  get(name: string): Promise<Value | undefined>;
  set(name: string, value: Value): void;
  delete(name: string): void;
}

/**
 * A folded projection: joins and sums. It is given each change once in effect, keeps what it must
 * remember in `state`, and returns full new values, never increments.
 */
export interface Fold {
  /** Names of the states that a change will read, if they are known beforehand: read in one go. */
  readonly reads?: (change: Change) => readonly string[];
  readonly apply: (change: Change, state: FoldState) => Projected | Promise<Projected>;
}

/** A boundary between two stores: which facts go where, and as what. */
export interface FlowOptions {
  /** The store that owns the facts. */
  readonly from: string;
  /** Its tables that this flow reads. */
  readonly tables: readonly string[];
  /** The store that is kept in step. */
  readonly to: string;
  /** The targets (tables, indexes, prefixes) in that store that this flow, and no other, writes. */
  readonly into: string | readonly string[];
  /** Exactly one of `project` and `fold`. */
  readonly project?: RowProjection;
  readonly fold?: Fold;
  /**
   * What happens in the target when a row leaves the source. `carry` (default): it leaves the target too. `ignore`:
   * what was once put stays, also when the source's tables are compared or truncated; for messages and other
   * facts that a source does not keep for ever. Such a flow cannot be rebuilt, and cannot be a fold.
   */
  readonly deletes?: 'carry' | 'ignore';
  /** Records of the log in one batch. Larger batches cost latency and memory. Default 1 000. */
  readonly batchRows?: number;
  /** Tries of a failing write before its key is parked. Default 5. */
  readonly attemptsMax?: number;
  /** Changes that may be parked before the flow stops (it never drops). Default 1 000. */
  readonly parkedMax?: number;
}

export interface FlowDefinition extends Required<
  Omit<FlowOptions, 'project' | 'fold' | 'into' | 'batchRows'>
> {
  readonly into: readonly string[];
  readonly batchRows: number | undefined;
  /**
   * What is done with a target of which nothing is known yet. `filled`: it is given the rows that the source already has.
   * `emptied`: it holds answers that can be had again, and loses them all.
   */
  readonly starts: 'filled' | 'emptied';
  readonly projection:
    | { readonly kind: 'rows'; readonly project: RowProjection }
    | { readonly kind: 'fold'; readonly fold: Fold };
}

const flowOptions = [
  'from',
  'tables',
  'to',
  'into',
  'project',
  'fold',
  'deletes',
  'batchRows',
  'attemptsMax',
  'parkedMax',
] as const;

/** Declares a flow. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION, with the path of the field. */
export function flow(options: FlowOptions): FlowDefinition {
  checkOptions(options, flowOptions, 'flow');
  const into = typeof options.into === 'string' ? [options.into] : options.into;
  if (!Array.isArray(options.tables) || options.tables.length === 0)
    throw invalid('flow.tables', 'names no table', 'name at least one table of the source');
  if (!Array.isArray(into) || into.length === 0)
    throw invalid('flow.into', 'names no target', 'name the target in the other store');
  if ((options.project === undefined) === (options.fold === undefined))
    throw invalid(
      'flow',
      'needs exactly one of project and fold',
      'use project for rows that map one by one, fold for joins and sums',
    );
  const deletes = checkOneOf(options.deletes ?? 'carry', 'flow.deletes', ['carry', 'ignore']);
  if (deletes === 'ignore' && options.fold !== undefined)
    throw invalid(
      'flow.deletes',
      'cannot be ignore for a fold, which says itself what a deletion means',
      'leave it out, and let apply return nothing for a deletion',
    );
  for (const [name, value] of Object.entries({
    batchRows: options.batchRows,
    attemptsMax: options.attemptsMax,
    parkedMax: options.parkedMax,
  })) {
    if (value !== undefined)
      checkNumber(value, `flow.${name}`, { min: 1, max: 1_000_000, integer: true });
  }
  return {
    from: options.from,
    tables: [...options.tables],
    to: options.to,
    into: [...into],
    projection:
      options.project === undefined
        ? { kind: 'fold', fold: options.fold as Fold }
        : { kind: 'rows', project: options.project },
    deletes,
    starts: 'filled',
    batchRows: options.batchRows,
    attemptsMax: options.attemptsMax ?? 5,
    parkedMax: options.parkedMax ?? 1_000,
  };
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
