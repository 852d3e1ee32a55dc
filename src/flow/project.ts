import type { Change } from '../core/change.ts';
import { encodeKey } from '../core/codec.ts';
import { errorText, TallyError } from '../core/errors.ts';
import type { Identity } from '../core/position.ts';
import type { Row } from '../core/row.ts';
import type { Write, WriteMode } from '../core/write.ts';
import type { FlowDefinition, Projected, Put, RowProjection } from './definition.ts';

/** Puts that one change may return: a bound, since each is held in memory until its batch is applied. */
const PUTS_PER_CHANGE_MAX = 10_000;

/**
 * What a row projection wants written for a change: what it puts for the row after, and deletions of
 * what it put for the row before and no longer does. Pure. Throws PROJECTION_FAILED / _INVALID.
 */
export function projectRow(
  project: RowProjection,
  change: Change,
  into: readonly string[],
  deletes: FlowDefinition['deletes'] = 'carry',
): readonly Put[] {
  const after = change.after === null ? [] : asked(project, change.after, change, into);
  if (change.before === null || deletes === 'ignore') return after;
  const kept = new Set(after.map(putName));
  const gone = asked(project, change.before, change, into)
    .filter((before) => before.row !== null && !kept.has(putName(before)))
    .map((before): Put => ({ target: before.target, key: before.key, row: null }));
  return gone.length === 0 ? after : [...gone, ...after];
}

/** Checks what a projection returned. Throws PROJECTION_INVALID. */
export function checkedPuts(
  projected: Projected,
  into: readonly string[],
  change: Change,
): readonly Put[] {
  if (projected === undefined || projected === null) return [];
  refusePromises(projected, change);
  const puts = Array.isArray(projected) ? (projected as readonly Put[]) : [projected as Put];
  if (puts.length > PUTS_PER_CHANGE_MAX)
    throw invalid(
      change,
      `returned ${puts.length} puts`,
      `return at most ${PUTS_PER_CHANGE_MAX} for one change`,
    );
  for (const item of puts) checkPut(item, into, change);
  return puts;
}

/**
 * Refuses what is still to come: a projection of rows is pure and synchronous, so that it can be asked for
 * the row before and the row after at any time. Nobody will look at those promises, so what they reject with
 * must not end the process either.
 */
function refusePromises(projected: unknown, change: Change): void {
  const promises = (Array.isArray(projected) ? projected : [projected]).filter(isPromise);
  if (promises.length === 0) return;
  for (const promise of promises) promise.then(undefined, () => undefined);
  throw invalid(
    change,
    'returned a promise',
    'make it synchronous, without async; it may look at its row alone. What has to wait for other rows is a fold, whose apply may be async but returns its puts themselves',
  );
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { readonly then?: unknown }).then === 'function'
  );
}

function asked(
  project: RowProjection,
  row: Row,
  change: Change,
  into: readonly string[],
): readonly Put[] {
  let projected: Projected;
  try {
    projected = project(row, change);
  } catch (cause) {
    throw projectionFailed(change, cause);
  }
  return checkedPuts(projected, into, change);
}

/** The error of a projection that threw. */
export function projectionFailed(change: Change, cause: unknown): TallyError {
  return new TallyError('PROJECTION_FAILED', {
    what: `the projection threw: ${errorText(cause, 300)}`,
    where: whereOf(change),
    mend: 'correct the projection, then retry what is parked',
    cause,
  });
}

function checkPut(item: unknown, into: readonly string[], change: Change): void {
  if (typeof item !== 'object' || item === null)
    throw invalid(
      change,
      `returned ${item === null ? 'null' : typeof item} where a put was expected`,
      'return put(target, key, row), a list of them, or nothing',
    );
  const { target, key, row } = item as Partial<Put>;
  if (typeof target !== 'string' || !into.includes(target))
    throw invalid(
      change,
      `put into ${typeof target === 'string' ? JSON.stringify(target.slice(0, 80)) : `a ${typeof target}`}, which the flow does not declare`,
      `add it to the flow's into, which now has ${into.join(', ')}`,
    );
  if (!Array.isArray(key) || key.length === 0 || !key.every(isScalarKey))
    throw invalid(
      change,
      `put a key that is not a list of scalars into ${target}`,
      'make the key a list of text, numbers, booleans or bytes, none of them null',
    );
  if (row !== null && !isPlainObject(row))
    throw invalid(
      change,
      `put a row that is not a plain object into ${target}`,
      'make the row an object of named values, or use remove(target, key)',
    );
}

/** Not a list, a Map, a Date or an object of a class: of those a target would keep nothing, or something else. */
function isPlainObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isScalarKey(part: unknown): boolean {
  switch (typeof part) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return true;
    case 'number':
      return Number.isFinite(part);
    default:
      return part instanceof Uint8Array;
  }
}

function invalid(change: Change, what: string, mend: string): TallyError {
  return new TallyError('PROJECTION_INVALID', {
    what: `the projection ${what}`,
    where: whereOf(change),
    mend,
  });
}

function whereOf(change: Change): string {
  return `${change.lane}.${change.table} ${encodeKey(change.key)} at ${change.epoch}.${change.offset}.${change.ordinal}`;
}

function putName(item: Put): string {
  return writeName(item.target, encodeKey(item.key));
}

/** The name of a target row, for maps: the target and the key's canonical text. */
export function writeName(target: string, keyText: string): string {
  return `${target} ${keyText}`;
}

/** A write from a put, stamped with the identity of its change. */
export function stamped(item: Put, at: Identity, mode: WriteMode): Write {
  return {
    target: item.target,
    key: item.key,
    row: item.row,
    epoch: at.epoch,
    offset: at.offset,
    ordinal: at.ordinal,
    mode,
  };
}
