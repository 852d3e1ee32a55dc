import { decodeKey, decodeRow } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import { suggest } from '../../core/options.ts';
import type { Key, Row, Scalar } from '../../core/row.ts';
import type { SourceState } from './state.ts';

/** TABLE_UNKNOWN, with the name that is nearest. */
export function unknownTable(source: SourceState, name: string): TallyError {
  const nearest = suggest(name, [...source.tables.keys()]);
  return new TallyError('TABLE_UNKNOWN', {
    what: `there is no table ${name}`,
    mend: nearest === undefined ? 'create it first' : `did you mean ${nearest}?`,
    details: nearest === undefined ? { table: name } : { table: name, nearest },
  });
}

/** Orders keys part by part: null, booleans, numbers, texts by code point, bytes. */
export function compareKeys(left: Key, right: Key): number {
  for (let part = 0; part < Math.min(left.length, right.length); part += 1) {
    const order = compareScalars(left[part] ?? null, right[part] ?? null);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

/** The rows of a map by canonical key text, decoded and in key order. */
export function inKeyOrder(
  rows: Iterable<readonly [string, string]>,
): readonly { readonly key: Key; readonly row: Row }[] {
  return [...rows]
    .map(([key, text]) => ({ key: decodeKey(key), text }))
    .toSorted((left, right) => compareKeys(left.key, right.key))
    .map(({ key, text }) => ({ key, row: decodeRow(text) }));
}

function rank(value: Scalar): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return 1;
  if (typeof value === 'number' || typeof value === 'bigint') return 2;
  return typeof value === 'string' ? 3 : 4;
}

function compareScalars(left: Scalar, right: Scalar): number {
  const order = rank(left) - rank(right);
  if (order !== 0 || left === null || right === null) return order;
  // UTF-16 order is not code point order; that of the bytes is.
  if (typeof left === 'string' && typeof right === 'string')
    return Buffer.compare(Buffer.from(left), Buffer.from(right));
  if (left instanceof Uint8Array && right instanceof Uint8Array) return Buffer.compare(left, right);
  return left < right ? -1 : left > right ? 1 : 0;
}
