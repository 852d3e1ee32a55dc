import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { decodeValue, encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import type { Row, Scalar, Value } from '../../../core/row.ts';
import { suggest } from '../../../core/options.ts';
import type { Column, RowCodec } from './layout.ts';
import { checkSize, refused } from './refusal.ts';

/** The storage class that SQLite prefers for a column, by the words of its declared type. */
export type Affinity = 'INTEGER' | 'TEXT' | 'BLOB' | 'REAL' | 'NUMERIC';

/** SQLite's own rules, in its order (sqlite.org/datatype3.html, section 3.1). */
export function affinityOf(type: string): Affinity {
  const words = declaredType(type);
  if (words.includes('INT')) return 'INTEGER';
  if (/CHAR|CLOB|TEXT|JSON/.test(words)) return 'TEXT';
  if (words === '' || words.includes('BLOB')) return 'BLOB';
  return /REAL|FLOA|DOUB/.test(words) ? 'REAL' : 'NUMERIC';
}

/** A column's declaration as it stands in CREATE TABLE: JSON gets the affinity of text. */
export function columnSql(type: string): string {
  return type.replace(/^\s*JSON\b/i, 'JSON TEXT');
}

/** The type's words, before the constraints. */
function declaredType(type: string): string {
  const [words = ''] = type.split(
    /\b(?:NOT|NULL|PRIMARY|UNIQUE|CHECK|DEFAULT|COLLATE|REFERENCES|CONSTRAINT|GENERATED|AS)\b/i,
  );
  return words.trim().toUpperCase();
}

type Encode = (value: Value) => SQLInputValue;
type Decode = (value: SQLOutputValue) => Value;

/** Keys and rows in typed columns, by SQLite's affinity; see `table` for what that changes. */
export function tableCodec(
  key: readonly Column[],
  values: readonly Column[],
  rowBytesMax: number,
): RowCodec {
  const columns = [...key, ...values].map(({ name, type }) => ({
    name,
    encode: encoderOf(name, type),
    decode: decoderOf(type),
  }));
  const keyColumns = columns.slice(0, key.length);
  const valueColumns = columns.slice(key.length);
  const known = new Set(columns.map(({ name }) => name));
  return {
    bindKey(given, into) {
      if (given.length !== keyColumns.length) throw wrongKey(given.length, keyColumns);
      for (let index = 0; index < keyColumns.length; index++) {
        const value = given[index] ?? null;
        const column = keyColumns[index] as (typeof columns)[number];
        // An INTEGER PRIMARY KEY would answer NULL with a number of its own choice.
        if (value === null) throw refused(`the key column ${column.name} is null`);
        into[index] = column.encode(value);
      }
    },
    bindRow(given, row, into, at) {
      let characters = 0;
      for (let index = 0; index < valueColumns.length; index++) {
        const { name, encode } = valueColumns[index] as (typeof columns)[number];
        const value = row[name];
        const bound = value === undefined ? null : encode(value);
        if (typeof bound === 'string') characters += bound.length;
        else if (bound instanceof Uint8Array) characters += bound.length * 2;
        into[at + index] = bound;
      }
      for (const name in row) if (!known.has(name)) throw unknownColumn(name, [...known]);
      for (let index = 0; index < keyColumns.length; index++)
        checkKeyColumn((keyColumns[index] as (typeof columns)[number]).name, row, given[index]);
      // Only a row that might be over the limit pays for being encoded.
      if (characters * 3 > rowBytesMax) checkSize(encodeValue(row), rowBytesMax);
    },
    read(record) {
      const row: Record<string, Value> = {};
      for (const [index, { name, decode }] of columns.entries())
        row[name] = decode(record[index] ?? null);
      return { key: keyColumns.map(({ name }) => row[name] as Scalar), row };
    },
  };
}

function encoderOf(column: string, type: string): Encode {
  if (/^\s*JSON\b/i.test(type)) return (value) => (value === null ? null : encodeValue(value));
  if (affinityOf(type) === 'TEXT')
    return (value) => bindable(typeof value === 'object' ? value : textOf(value));
  return (value) => {
    if (!Number.isNaN(value)) return bindable(value);
    throw new TallyError('VALUE_UNSUPPORTED', {
      what: `the column ${column} is NaN, which SQLite would store as NULL`,
      mend: 'project it to null, or declare the column as JSON',
      details: { column },
    });
  };
}

/** A number is bound as a double: in a column of text 5 would become '5.0', and true '1.0'. */
function textOf(value: Exclude<Value, object | null>): string {
  return String(typeof value === 'boolean' ? Number(value) : value);
}

function bindable(value: Value): SQLInputValue {
  switch (typeof value) {
    case 'boolean':
      return Number(value);
    case 'object':
      return value === null || value instanceof Uint8Array ? value : encodeValue(value);
    default:
      return value;
  }
}

function decoderOf(type: string): Decode {
  if (/^\s*JSON\b/i.test(type))
    return (value) => (typeof value === 'string' ? decodeValue(value) : scalar(value));
  if (/^\s*BOOL/i.test(type))
    return (value) => (value === 0n || value === 1n ? value === 1n : scalar(value));
  return scalar;
}

/** Integers are read as BigInt, so that none loses digits; the small ones are plain numbers. */
function scalar(value: SQLOutputValue): Scalar {
  if (typeof value !== 'bigint') return value;
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
    ? Number(value)
    : value;
}

/** A row may repeat its key columns, but not contradict the key that it is stored under. */
function checkKeyColumn(name: string, row: Row, expected: Scalar | undefined): void {
  const value = row[name];
  if (value === undefined || value === expected) return;
  if (
    typeof value !== 'object' &&
    value !== null &&
    expected !== null &&
    String(value) === String(expected)
  )
    return;
  if (
    value instanceof Uint8Array &&
    expected instanceof Uint8Array &&
    Buffer.compare(value, expected) === 0
  )
    return;
  throw refused(`the row's ${name} is not the ${name} of its key`, { column: name });
}

function unknownColumn(name: string, known: readonly string[]): Error {
  const nearest = suggest(name, known);
  return refused(
    `the target has no column ${name}`,
    { column: name, known, ...(nearest === undefined ? {} : { nearest }) },
    `${nearest === undefined ? '' : `did you mean ${nearest}? `}declare the column, or leave it out of the projection`,
  );
}

function wrongKey(length: number, columns: readonly { readonly name: string }[]): Error {
  return refused(
    `the key has ${length} values, the target's key is (${columns.map(({ name }) => name).join(', ')})`,
  );
}
