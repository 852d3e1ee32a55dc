import { TallyError } from '../../../core/errors.ts';
import {
  checkDuration,
  checkObject,
  checkOneOf,
  checkOptions,
  checkString,
  fieldPath,
} from '../../../core/options.ts';
import { checkTargetName } from './names.ts';

/** How a field of a hash is written: as it is, as a number, or as canonical JSON. */
export type HashField = 'text' | 'number' | 'json';

/** Rows as JSON text, each under one key. */
export interface JsonTarget {
  readonly kind: 'json';
  readonly ttlMs: number | undefined;
}

/** Rows as hashes: one field for each member. */
export interface HashTarget {
  readonly kind: 'hash';
  readonly fields: Readonly<Record<string, HashField>>;
  readonly ttlMs: number | undefined;
}

/** Rows as JSON text, and their keys as members of sorted sets. */
export interface SortedSetTarget {
  readonly kind: 'sortedSet';
  readonly score: string;
  readonly group: string | undefined;
  readonly ttlMs: undefined;
}

/** What a target of a Redis sink is; made by `json`, `hash`, `sortedSet`. */
export type TargetDeclaration = JsonTarget | HashTarget | SortedSetTarget;

/** Target declarations by name. */
export type Targets = Readonly<Record<string, TargetDeclaration>>;

/**
 * Rows as the canonical JSON text of each, under `target:key`: `GET products:sku-1`. Every value round-trips.
 * With `ttl` (`'30m'`, or milliseconds) a row expires so long after it was last applied; its fence stays, so
 * that an older write does not bring it back. Throws CONFIG_INVALID.
 */
export function json(options: { readonly ttl?: string | number } = {}): JsonTarget {
  checkOptions(options, ['ttl'], 'json');
  return { kind: 'json', ttlMs: ttlOf(options.ttl, 'json.ttl') };
}

/**
 * Rows as hashes under `target:key`: `HGET products:sku-1 price`. Fields that are named in `fields` are written
 * as said: `text` and `number` as they are (another type refuses the write), `json` as canonical JSON; one that
 * is null or missing is no field, and is read back as null. A field that is not named is written as it is if it
 * is text, unless that would read as JSON (`42`, `true`, `"…"`); then, and for all that is not text, as JSON, so
 * that every value round-trips. Throws CONFIG_INVALID.
 *
 * @example hash({ fields: { sku: 'text', price: 'number' } })
 */
export function hash(
  options: {
    readonly fields?: Readonly<Record<string, HashField>>;
    readonly ttl?: string | number;
  } = {},
): HashTarget {
  checkOptions(options, ['fields', 'ttl'], 'hash');
  const { fields = {} } = options;
  for (const [name, type] of Object.entries(checkObject(fields, 'hash.fields')))
    checkOneOf(type, fieldPath('hash.fields', name), ['text', 'number', 'json']);
  return { kind: 'hash', fields, ttlMs: ttlOf(options.ttl, 'hash.ttl') };
}

/**
 * Rows as JSON text, as {@link json} keeps them, and in a sorted set by the field `score`: `target.sorted`, or
 * with `group` one for each value of that field, `target.sorted:VALUE`. The member is the row's key as it stands
 * in `target:key`: `ZRANGE products.sorted 0 9 REV`, then MGET. A row whose score is null or missing is in no
 * set. One slot of a cluster holds all of it. Throws CONFIG_INVALID.
 */
export function sortedSet(options: {
  readonly score: string;
  readonly group?: string;
}): SortedSetTarget {
  checkOptions(options, ['score', 'group'], 'sortedSet');
  const { score, group } = options;
  checkString(score, 'sortedSet.score');
  if (group !== undefined) checkString(group, 'sortedSet.group');
  return { kind: 'sortedSet', score, group, ttlMs: undefined };
}

/** Checks declarations without connecting. Throws CONFIG_INVALID. */
export function checkTargets(targets: unknown, path: string, buckets: number): Targets {
  for (const [name, target] of Object.entries(checkObject(targets, path))) {
    const where = fieldPath(path, name);
    checkTargetName(name, where);
    const { kind } = checkObject(target, where);
    if (kind !== 'json' && kind !== 'hash' && kind !== 'sortedSet')
      throw new TallyError('CONFIG_INVALID', {
        what: `the target ${name} is not a target`,
        where,
        mend: 'make it with json(), hash() or sortedSet()',
        details: { path: where },
      });
    if (kind === 'sortedSet' && buckets > 1)
      throw new TallyError('CONFIG_INVALID', {
        what: 'a sorted set is in one slot, and the rows of this store are in several buckets',
        where,
        mend: 'give the sorted set a store of its own with buckets: 1, or keep the rows as json()',
        details: { path: where, buckets },
      });
  }
  return targets as Targets;
}

function ttlOf(ttl: string | number | undefined, path: string): number | undefined {
  return ttl === undefined ? undefined : Math.ceil(checkDuration(ttl, path, { min: 1 }));
}
