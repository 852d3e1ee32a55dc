import { createHash } from 'node:crypto';
import { decodeValue, encodeKey, encodeValue } from '../core/codec.ts';
import { errorText, isTallyError, TallyError } from '../core/errors.ts';
import { compareIdentities, type Identity } from '../core/position.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger, LedgerOperation } from '../ports/ledger.ts';
import type { Key } from '../core/row.ts';
import type { ChangePayload, LogRecord } from '../ports/log.ts';
import type { Put } from './definition.ts';
import { writeName } from './project.ts';

/** Characters of a key that a unit's name shows in full. */
const KEY_SHOWN_MAX = 160;

/** The unit that is held back: a target row, or a source row if its projection threw. */
export type ParkUnit =
  | { readonly by: 'target'; readonly target: string; readonly key: string }
  | { readonly by: 'source'; readonly table: string; readonly key: string };

/** One change that is kept for a person, or queued behind one that is. */
export interface ParkedChange extends Identity {
  readonly unit: ParkUnit;
  /** The change, as the log had it. */
  readonly payload: string;
  /** What was to be written, as canonical text, for a unit held by target. */
  readonly put?: string;
  /** Why; undefined for a change that only queues behind an earlier one. */
  readonly error?: { readonly code: string; readonly message: string };
  readonly parkedAtMs: number;
}

/** The name of a unit, as screens and commands use it. */
export function unitName(unit: ParkUnit): string {
  const key = unit.key.length <= KEY_SHOWN_MAX ? unit.key : shortened(unit.key);
  return unit.by === 'target'
    ? `target ${writeName(unit.target, key)}`
    : `source ${writeName(unit.table, key)}`;
}

/** The ledger knows only that a value is over its limit; a person has to hear whose it is, and what mends it. */
function tooLargeToPark(flow: string, cause: TallyError): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what: 'a change that its target or its projection refuses is too large to be parked; the flow has stopped, nothing is dropped',
    where: `flow ${flow}`,
    mend: 'correct the projection or the target so that the change is taken, or let the projection leave its row out',
    details: { ...cause.details, flow },
    cause,
  });
}

/** A long key by its beginning and its hash: a name in the ledger is bounded, a key is not. */
function shortened(key: string): string {
  return `${key.slice(0, KEY_SHOWN_MAX / 2).toWellFormed()}…${createHash('sha256').update(key).digest('hex')}`;
}

/** Forgets what earlier generations had parked: the one that readers see has been built from every row. */
export async function forgetEarlier(ledger: Ledger, flow: string, before: number): Promise<void> {
  const records = await ledger.list(spaceOf(flow));
  const earlier = records.filter(
    ({ value }) => (JSON.parse(value) as { readonly generation: number }).generation < before,
  );
  if (earlier.length === 0) return;
  await ledger.commit(
    earlier.map(({ key }): LedgerOperation => ({ kind: 'delete', space: spaceOf(flow), key })),
  );
}

/** The unit of a target row. */
export function targetUnit(put: { readonly target: string; readonly key: Put['key'] }): ParkUnit {
  return { by: 'target', target: put.target, key: encodeKey(put.key) };
}

export interface ParkedWorkOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly flow: string;
  readonly generation: number;
  readonly parkedMax: number;
  readonly guard: LedgerOperation;
}

/**
 * The parked changes of one flow: durable in the ledger before the flow's checkpoint passes them, and
 * loaded before anything is applied after a restart. Otherwise: 1. key K is parked  2. crash
 * 3. restart  4. a later change of K is applied  5. the parked one, older, is refused: lost.
 */
export class ParkedWork {
  readonly #options: ParkedWorkOptions;
  /** By unit, its changes by their ledger keys, each with the names it is known by. */
  readonly #keys = new Map<string, Map<string, readonly string[]>>();
  #size = 0;

  private constructor(options: ParkedWorkOptions) {
    this.#options = options;
  }

  static async load(options: ParkedWorkOptions): Promise<ParkedWork> {
    const parked = new ParkedWork(options);
    for (const change of await parked.list()) parked.#add(change);
    return parked;
  }

  get size(): number {
    return this.#size;
  }

  has(unit: string): boolean {
    return this.#keys.has(unit);
  }

  /** The names of the units that hold something, and of the source rows that they hold back. */
  units(): readonly string[] {
    return [
      ...new Set([...this.#keys.values()].flatMap((changes) => [...changes.values()].flat())),
    ];
  }

  /** Every parked change, or those of one unit, in the order they happened. */
  async list(unit?: string): Promise<readonly ParkedChange[]> {
    const { ledger, flow, generation } = this.#options;
    return listParked(ledger, flow, generation, unit);
  }

  /**
   * Makes these durable; one that is parked already (the flow died before its checkpoint passed it)
   * stays as it is. Throws PARKED_FULL, keeping none, if the flow would pass its bound.
   */
  async park(changes: readonly ParkedChange[]): Promise<void> {
    const { flow, parkedMax, ledger, guard, generation } = this.#options;
    const fresh = new Map(changes.map((change) => [parkKey(change, generation), change]));
    for (const [key, change] of fresh)
      // Not what a target refused: a later chunk of the same snapshot may know more of a fold's group.
      if (change.put === undefined && this.#keys.get(unitName(change.unit))?.has(key) === true)
        fresh.delete(key);
    if (fresh.size === 0) return;
    if (this.#size + fresh.size > parkedMax)
      throw new TallyError('PARKED_FULL', {
        what: `${this.#size + fresh.size} changes would be parked, more than parkedMax ${parkedMax}; the flow has stopped, nothing is dropped`,
        where: `flow ${flow}`,
        mend: `see tally parked APP.ts ${flow}; correct the projection or the target and retry them, or drop them`,
        details: { flow, parkedMax },
      });
    const space = spaceOf(flow);
    const puts = Array.from(fresh, ([key, change]): LedgerOperation => ({
      kind: 'put',
      space,
      key,
      value: JSON.stringify({ ...change, generation }),
    }));
    await ledger.commit([guard, ...puts]).catch((error: unknown) => {
      throw isTallyError(error, 'ROW_TOO_LARGE') ? tooLargeToPark(flow, error) : error;
    });
    for (const change of fresh.values()) this.#add(change);
  }

  /** Forgets these: they have been applied, or a person dropped them. */
  async forget(changes: readonly ParkedChange[]): Promise<void> {
    if (changes.length === 0) return;
    const { flow, ledger, guard, generation } = this.#options;
    const space = spaceOf(flow);
    await ledger.commit([
      guard,
      ...changes.map((change): LedgerOperation => ({
        kind: 'delete',
        space,
        key: parkKey(change, generation),
      })),
    ]);
    for (const change of changes) this.#drop(change);
  }

  #add(change: ParkedChange): void {
    const unit = unitName(change.unit);
    const keys = this.#keys.get(unit) ?? new Map<string, readonly string[]>();
    const before = keys.size;
    this.#keys.set(unit, keys.set(parkKey(change, this.#options.generation), namesOf(change)));
    this.#size += keys.size - before;
  }

  #drop(change: ParkedChange): void {
    const unit = unitName(change.unit);
    const keys = this.#keys.get(unit);
    if (keys?.delete(parkKey(change, this.#options.generation)) !== true) return;
    this.#size -= 1;
    if (keys.size === 0) this.#keys.delete(unit);
  }
}

/**
 * The names that a barrier knows a parked change by: its unit, and the source row behind it. A read that
 * names the source row must not be called fresh because it was the target that refused it.
 */
export function namesOf(change: ParkedChange): readonly string[] {
  const { t: table, k: key } = decodeValue(change.payload) as unknown as ChangePayload;
  const row = unitName({ by: 'source', table, key: encodeKey(key as Key) });
  return change.unit.by === 'source' ? [row] : [unitName(change.unit), row];
}

/**
 * What a flow has parked, read from the ledger alone (for the command line and barriers elsewhere), in the
 * order it happened: of one generation, or of all that are there.
 */
export async function listParked(
  ledger: Ledger,
  flow: string,
  generation?: number,
  unit?: string,
): Promise<readonly ParkedChange[]> {
  const records = await ledger.list(
    spaceOf(flow),
    unit === undefined ? {} : { prefix: `${unit}\n` },
  );
  const changes = records
    .map((record) => JSON.parse(record.value) as ParkedChange & { readonly generation: number })
    .filter((change) => generation === undefined || change.generation === generation);
  return changes.toSorted((left, right) => compareIdentities(left, right));
}

/** The record to park for a change and the reason; `reason` is undefined if it queues behind another. */
export function parkedChange(
  unit: ParkUnit,
  record: LogRecord,
  clock: Clock,
  reason: unknown,
  put?: Put,
): ParkedChange {
  const error =
    reason === undefined
      ? {}
      : {
          error: {
            code: isTallyError(reason) ? reason.code : 'INTERNAL',
            message: errorText(reason),
          },
        };
  const { epoch, offset, ordinal, payload } = record;
  return {
    unit,
    epoch,
    offset,
    ordinal,
    payload,
    ...putText(put),
    ...error,
    parkedAtMs: clock.nowMs(),
  };
}

/**
 * The put as text, where it has one: a target refused the row of a projection, perhaps because it holds what
 * cannot be carried (a Date). Retrying such a change asks the projection again; a fold's rows always have a text.
 */
function putText(put: Put | undefined): { readonly put?: string } {
  if (put === undefined) return {};
  try {
    return { put: encodeValue({ target: put.target, key: put.key, row: put.row }) };
  } catch (error) {
    if (isTallyError(error, 'VALUE_UNSUPPORTED')) return {};
    throw error;
  }
}

function parkKey(change: ParkedChange, generation: number): string {
  const { epoch, offset, ordinal } = change;
  const place = [generation, epoch, offset, ordinal].map((part) => String(part).padStart(16, '0'));
  return `${unitName(change.unit)}\n${place.join('.')}`;
}

function spaceOf(flow: string): string {
  return `parked/${flow}`;
}
