import { TallyError } from './errors.ts';
import type { Key, Row, Value } from './row.ts';

/**
 * The canonical text of rows and keys: JSON, with what JSON lacks in one-member objects:
 * `{"$i":"9007199254740993"}` for a BigInt, `{"$b":"<base64>"}` for bytes, `{"$n":"nan|inf|-inf"}`
 * for numbers JSON has no word for, and `{"$o":{…}}` around a plain object whose only member would
 * read as one of these. Sources write this text, the log keeps it, a flow decodes it once.
 */
export function encodeValue(value: Value): string {
  return JSON.stringify(isPlain(value) ? value : tagged(value));
}

/** Reads the text of {@link encodeValue}. Throws VALUE_UNSUPPORTED if it is not such a text. */
export function decodeValue(text: string): Value {
  let parsed: Value;
  try {
    parsed = JSON.parse(text) as Value;
  } catch (cause) {
    throw new TallyError('VALUE_UNSUPPORTED', {
      what: 'a stored row is not JSON',
      details: { text: text.slice(0, 80) },
      cause,
    });
  }
  // Nearly all rows hold nothing that is tagged; they pay one scan of the text.
  return text.includes('{"$') ? untagged(parsed) : parsed;
}

/** {@link decodeValue} for a row. */
export function decodeRow(text: string): Row {
  return decodeValue(text) as Row;
}

/** {@link encodeValue} for a key; equal keys have equal text, so it can serve as a map key. */
export function encodeKey(key: Key): string {
  return encodeValue(key);
}

/** {@link decodeValue} for a key. */
export function decodeKey(text: string): Key {
  return decodeValue(text) as Key;
}

function isPlain(value: Value): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0);
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.every(isPlain);
  for (const name in value) {
    if (name.startsWith('$') || !isPlain((value as Row)[name] as Value)) return false;
  }
  return Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null;
}

function tagged(value: Value): unknown {
  switch (typeof value) {
    case 'bigint':
      return { $i: value.toString() };
    case 'number':
      return Number.isFinite(value) ? (Object.is(value, -0) ? { $n: '-0' } : value) : { $n: nonFinite(value) };
    case 'string':
    case 'boolean':
      return value;
    case 'object':
      break;
    default:
      throw unsupported(value);
  }
  if (value === null) return null;
  if (value instanceof Uint8Array) return { $b: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(tagged);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw unsupported(value);
  const copy = Object.fromEntries(Object.entries(value).map(([name, item]) => [name, tagged(item as Value)]));
  return Object.keys(copy).some((name) => name.startsWith('$')) ? { $o: copy } : copy;
}

function untagged(value: Value): Value {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(untagged);
  const row = value as Row;
  if ('$i' in row) return BigInt(row['$i'] as string);
  if ('$b' in row) return new Uint8Array(Buffer.from(row['$b'] as string, 'base64'));
  if ('$n' in row) return numberOf(row['$n'] as string);
  const inner = '$o' in row ? (row['$o'] as Row) : row;
  return Object.fromEntries(Object.entries(inner).map(([name, item]) => [name, untagged(item)]));
}

function nonFinite(value: number): string {
  return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
}

function numberOf(word: string): number {
  if (word === '-0') return -0;
  if (word === 'nan') return Number.NaN;
  return word === 'inf' ? Infinity : -Infinity;
}

function unsupported(value: unknown): TallyError {
  const kind = typeof value === 'object' ? (value?.constructor?.name ?? 'object') : typeof value;
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a value of type ${kind} cannot be carried`,
    mend: 'turn it into text, a number, bytes, or a plain object first (a Date into its ISO text)',
    details: { kind },
  });
}
