import type { Change } from '../core/change.ts';
import { encodeKey, encodeValue } from '../core/codec.ts';
import { errorText, TallyError } from '../core/errors.ts';
import { compareIdentities, type Identity, type Position } from '../core/position.ts';
import type { Write } from '../core/write.ts';
import type { Clock } from '../ports/clock.ts';
import type { LogRecord } from '../ports/log.ts';
import type { StateWrite } from '../ports/sink.ts';
import type { FlowDefinition, Projected, Put } from './definition.ts';
import type { BatchState } from './fold-state.ts';
import { parkedChange, targetUnit, unitName, type ParkedChange, type ParkUnit } from './parked.ts';
import { checkedPuts, projectionFailed, projectRow, stamped, writeName } from './project.ts';
import { changeOf, commitOf, rereadPrefix, tablePrefix } from './record.ts';

/** A batch of the log as its target should see it. */
export interface Prepared {
  /** One write per target row: the last of the batch. */
  readonly writes: readonly Write[];
  /** The record behind each write. */
  readonly origins: readonly LogRecord[];
  readonly state: readonly StateWrite[];
  /** Changes to park before the batch is applied: poisoned ones, and those behind a parked unit. */
  readonly parked: readonly ParkedChange[];
  /** Records of the batch that were taken: all of them, or those before what `ends` names. */
  readonly taken: number;
  /** Why not all were taken: a new epoch begins, or a table has to be read again. */
  readonly ends: 'new-epoch' | 'reread' | undefined;
  readonly last: Identity | undefined;
  readonly through: Position | undefined;
  /** Of each transaction that ended in the batch: when it was committed. */
  readonly committedAtMs: readonly number[];
  readonly changes: number;
}

export interface PrepareOptions {
  readonly definition: FlowDefinition;
  readonly lane: string;
  readonly clock: Clock;
  /** What is at or below it was applied before, and is dropped. */
  readonly after: Identity | undefined;
  /** Whether an epoch goes on from an earlier one without a gap. */
  readonly continues: (epoch: number, from: number) => boolean;
  /** Whether a unit is parked already; undefined while nothing is, which is nearly always. */
  readonly isParked: ((unit: string) => boolean) | undefined;
  /** Fold state, for a folded projection. */
  readonly state: BatchState | undefined;
}

/**
 * Turns records into writes, collapsed to the last of each target row.
 *
 * A change of a parked unit is never applied ahead of what is parked: it queues behind it, and so do
 * later changes of a unit that this very batch has to park.
 */
export async function prepareBatch(
  records: readonly LogRecord[],
  options: PrepareOptions,
): Promise<Prepared> {
  const collected = new Collected(options);
  const tablePrefixes = options.definition.tables.map(tablePrefix);
  const rereadPrefixes = options.definition.tables.map(rereadPrefix);
  const folding = options.definition.projection.kind === 'fold';
  if (folding) await prefetch(records, tablePrefixes, options);
  let taken = 0;
  let ends: Prepared['ends'];
  for (const record of records) {
    if (isUnknownEpoch(record, options)) {
      ends = 'new-epoch';
      break;
    }
    taken += 1;
    if (options.after !== undefined && compareIdentities(record, options.after) <= 0) continue;
    if (
      record.kind === 'commit' ||
      !tablePrefixes.some((prefix) => record.payload.startsWith(prefix))
    ) {
      collected.see(record);
      continue;
    }
    if (rereadPrefixes.some((prefix) => record.payload.startsWith(prefix))) {
      // It stays in front of the checkpoint until the rows have been read: a crash in between asks for it again.
      taken -= 1;
      ends = 'reread';
      break;
    }
    collected.see(record);
    if (folding) await collected.fold(record);
    else collected.project(record);
  }
  return collected.finish(taken, ends);
}

/** Whether a record is of an epoch whose rows must be compared with the source first. */
function isUnknownEpoch({ epoch }: LogRecord, { after, continues }: PrepareOptions): boolean {
  return after !== undefined && epoch > after.epoch && !continues(epoch, after.epoch);
}

async function prefetch(
  records: readonly LogRecord[],
  tablePrefixes: readonly string[],
  options: PrepareOptions,
): Promise<void> {
  const { projection } = options.definition;
  if (projection.kind !== 'fold' || projection.fold.reads === undefined) return;
  const names: string[] = [];
  for (const record of records) {
    if (!tablePrefixes.some((prefix) => record.payload.startsWith(prefix))) continue;
    try {
      names.push(...projection.fold.reads(changeOf(record, options.lane)));
    } catch {
      // A hint that throws costs a read; the fold itself says what is wrong with the change.
    }
  }
  await options.state?.prefetch(names);
}

class Collected {
  readonly #options: PrepareOptions;
  readonly #writes: Write[] = [];
  readonly #origins: LogRecord[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #parked: ParkedChange[] = [];
  readonly #poisoned = new Set<string>();
  readonly #committedAtMs: number[] = [];
  #last: Identity | undefined;
  #through: Position | undefined;
  #changes = 0;

  constructor(options: PrepareOptions) {
    this.#options = options;
  }

  see(record: LogRecord): void {
    this.#last = { epoch: record.epoch, offset: record.offset, ordinal: record.ordinal };
    if (record.kind !== 'commit') return;
    this.#through = { epoch: record.epoch, offset: record.offset };
    const commit = commitOf(record);
    if (commit.n > 0) this.#committedAtMs.push(commit.at);
  }

  project(record: LogRecord): void {
    const { definition, lane } = this.#options;
    if (definition.projection.kind !== 'rows') return;
    const change = changeOf(record, lane);
    if (!this.#begin(change, record)) return;
    try {
      this.#add(
        projectRow(definition.projection.project, change, definition.into, definition.deletes),
        record,
      );
    } catch (error) {
      this.#poison(change, record, error);
    }
  }

  async fold(record: LogRecord): Promise<void> {
    const { definition, lane, state } = this.#options;
    if (definition.projection.kind !== 'fold' || state === undefined) return;
    const change = changeOf(record, lane);
    if (!this.#begin(change, record)) return;
    try {
      const puts = await foldChange(definition, change, state);
      state.keep();
      this.#add(puts, record);
    } catch (error) {
      state.discard();
      state.check();
      this.#poison(change, record, error);
    }
  }

  finish(taken: number, ends: Prepared['ends']): Prepared {
    return {
      writes: this.#writes,
      origins: this.#origins,
      state: this.#options.state?.writes() ?? [],
      parked: this.#parked,
      taken,
      ends,
      last: this.#last ?? this.#options.after,
      through: this.#through,
      committedAtMs: this.#committedAtMs,
      changes: this.#changes,
    };
  }

  /** Whether the change may be applied: if something of its source row is parked, it queues behind that. */
  #begin(change: Change, record: LogRecord): boolean {
    this.#changes += 1;
    // Nearly always nothing is parked: then the unit has no use.
    if (this.#poisoned.size === 0 && this.#options.isParked === undefined) return true;
    const unit = sourceUnit(change);
    const name = unitName(unit);
    if (!this.#poisoned.has(name) && this.#options.isParked?.(name) !== true) return true;
    this.#parked.push(parkedChange(unit, record, this.#options.clock, undefined));
    return false;
  }

  #poison(change: Change, record: LogRecord, error: unknown): void {
    const unit = sourceUnit(change);
    this.#poisoned.add(unitName(unit));
    this.#parked.push(parkedChange(unit, record, this.#options.clock, error));
  }

  #add(puts: readonly Put[], record: LogRecord): void {
    for (const item of puts) {
      if (this.#options.isParked?.(unitName(targetUnit(item))) === true) {
        this.#parked.push(
          parkedChange(targetUnit(item), record, this.#options.clock, undefined, item),
        );
        continue;
      }
      const name = writeName(item.target, encodeKey(item.key));
      const index = this.#indexes.get(name) ?? this.#writes.length;
      this.#indexes.set(name, index);
      this.#writes[index] = stamped(item, record, 'stream');
      this.#origins[index] = record;
    }
  }
}

function sourceUnit({ table, key }: Change): ParkUnit {
  return { by: 'source', table, key: encodeKey(key) };
}

/** Runs a fold for one change. Throws PROJECTION_FAILED / _INVALID for what the projection did wrong. */
export async function foldChange(
  definition: FlowDefinition,
  change: Change,
  state: BatchState,
): Promise<readonly Put[]> {
  if (definition.projection.kind !== 'fold') return [];
  let projected: Projected;
  try {
    projected = await definition.projection.fold.apply(change, state);
  } catch (cause) {
    throw projectionFailed(change, cause);
  }
  const puts = checkedPuts(projected, definition.into, change);
  for (const item of puts) checkCarried(item, change);
  return puts;
}

/**
 * Refuses a fold's row that has no text, before its state is kept. Otherwise: 1. the state has taken the change
 * in  2. the target refuses the row  3. it cannot be parked as text, and a retry would not fold the change again.
 */
function checkCarried({ target, key, row }: Put, change: Change): void {
  try {
    encodeValue({ key, row });
  } catch (cause) {
    throw new TallyError('PROJECTION_INVALID', {
      what: `the fold put a value into ${target} that cannot be carried: ${errorText(cause, 300)}`,
      where: `${change.lane}.${change.table} ${encodeKey(change.key)}`,
      mend: 'return text, numbers, booleans, bytes, null, and lists and plain objects of them',
      cause,
    });
  }
}
