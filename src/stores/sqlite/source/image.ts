import { encodeValue } from '../../../core/codec.ts';
import type { Value } from '../../../core/row.ts';
import { unreachable } from '../../../core/errors.ts';
import { identifier, literal } from './names.ts';
import type { Holds, Table } from './table.ts';

/**
 * Row images, from the trigger to the canonical text of core/codec.ts.
 *
 * The trigger writes JSON by json_object, which every SQLite since 3.38 has built in: it also runs
 * in other programs, so nothing newer is used. What JSON lacks is written in one-member objects, and
 * only texts that hold one are decoded and encoded again when they are read:
 *   {"$i":"<decimal>"}  an integer past 2^53, as in the codec
 *   {"$b":"<hex>"}      bytes; SQLite has no base64, the reader turns them
 *   {"$r":"<decimal>"}  a real whose JSON in SQLite would not be that of JavaScript, or not exact:
 *                       infinities, exponents, more than 15 digits. quote() is exact where
 *                       json_object of older versions rounds to 15 digits.
 * A real without fraction is written as an integer: JavaScript has one number type, and equal keys
 * must have equal text. NaN is stored by SQLite as NULL. Text that is not valid UTF-8 reads as the
 * driver reads it, with U+FFFD.
 */

/** Arguments of json_object per call: builds of SQLite before 3.48 take 127. */
const COLUMNS_PER_CALL = 50;

/** SQL for the image of a row; `row` is NEW, OLD or an alias. */
export function imageSql(table: Table, row: string): string {
  // The order in which JavaScript keeps members: names that look like array indexes come first.
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const names = Object.keys(Object.fromEntries(byName));
  const chunks: string[] = [];
  for (let from = 0; from < names.length; from += COLUMNS_PER_CALL) {
    const members = names.slice(from, from + COLUMNS_PER_CALL).map((name) => {
      const column = byName.get(name);
      const value = valueSql(
        `${row}.${identifier(name)}`,
        column?.holds ?? 'any',
        column?.generated,
      );
      return `${literal(name)},${value}`;
    });
    chunks.push(`json_object(${members.join(',')})`);
  }
  // Wide rows: {a} and {b} are joined as text into {a,b}.
  return chunks.reduce(
    (left, right) => `substr(${left},1,length(${left})-1)||','||substr(${right},2)`,
  );
}

/** SQL for the text of a row's key. */
export function keySql(table: Table, row: string): string {
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const values = table.key.map((name) => {
    const column = byName.get(name);
    return valueSql(`${row}.${identifier(name)}`, column?.holds ?? 'any', column?.generated);
  });
  return `json_array(${values.join(',')})`;
}

/** SQL for the text of some columns, for comparison only. */
export function columnsSql(table: Table, names: readonly string[], row: string): string {
  return keySql({ ...table, key: names }, row);
}

function valueSql(plain: string, holds: Holds, generated = false): string {
  // The JSON subtype of a generated column's expression would nest its text as JSON.
  const text = generated ? `(${plain}||'')` : plain;
  switch (holds) {
    case 'integer':
      return integerSql(plain);
    case 'real':
      return `CASE WHEN ${plain} IS NOT NULL THEN ${realSql(plain)} END`;
    case 'text':
      return text;
    case 'blob':
      return `CASE WHEN ${plain} IS NOT NULL THEN ${bytesSql(plain)} END`;
    case 'text-or-blob':
      return `CASE typeof(${plain}) WHEN 'blob' THEN ${bytesSql(plain)} ELSE ${text} END`;
    case 'any':
      return (
        `CASE typeof(${plain}) WHEN 'text' THEN ${text} WHEN 'integer' THEN ${integerSql(plain)} ` +
        `WHEN 'real' THEN ${realSql(plain)} WHEN 'blob' THEN ${bytesSql(plain)} END`
      );
    default:
      return unreachable(holds);
  }
}

function bytesSql(x: string): string {
  return `json_object('$b',hex(${x}))`;
}

function integerSql(x: string): string {
  return (
    `CASE WHEN ${x} NOT BETWEEN -9007199254740991 AND 9007199254740991 ` +
    `THEN json_object('$i',CAST(${x} AS TEXT)) ELSE ${x} END`
  );
}

function realSql(x: string): string {
  const short = `printf('%!.15g',${x})`;
  return (
    `CASE WHEN ${x} BETWEEN -9007199254740991.0 AND 9007199254740991.0 AND ${x}=CAST(${x} AS INTEGER) ` +
    `THEN CAST(${x} AS INTEGER) ` +
    // Fifteen digits that read as the same number are its shortest form, which JavaScript writes.
    `WHEN abs(${x}) BETWEEN 1e-4 AND 1e15 AND CAST(${short} AS REAL)=${x} THEN json(${short}) ` +
    `ELSE json_object('$r',quote(${x})) END`
  );
}

/** Whether every image of the table has to be decoded to become canonical: the codec tags `$` names. */
export function hasTaggedNames(columns: readonly { readonly name: string }[]): boolean {
  return columns.some(({ name }) => name.startsWith('$'));
}

/** The canonical text of a row image as a trigger wrote it. */
export function canonicalImage(text: string, taggedNames: boolean): string {
  // Inside a JSON string the quote would be escaped: these three characters are always structure.
  if (!taggedNames && !text.includes('{"$')) return text;
  const stored = JSON.parse(text) as Record<string, unknown>;
  const row: [string, Value][] = Object.entries(stored).map(([name, value]) => [
    name,
    plainOf(value),
  ]);
  return encodeValue(Object.fromEntries(row));
}

/** The canonical text of a key as a trigger wrote it. */
export function canonicalKey(text: string): string {
  if (!text.includes('{"$')) return text;
  return encodeValue((JSON.parse(text) as unknown[]).map(plainOf));
}

function plainOf(value: unknown): Value {
  if (typeof value !== 'object' || value === null) return value as Value;
  const tagged = value as { $i?: string; $b?: string; $r?: string };
  if (tagged.$i !== undefined) return BigInt(tagged.$i);
  if (tagged.$b !== undefined) return new Uint8Array(Buffer.from(tagged.$b, 'hex'));
  return realOf(tagged.$r ?? '');
}

/** Older versions quote infinity as `Inf`, newer ones as 9.0e+999. */
function realOf(text: string): number {
  if (text === 'Inf') return Infinity;
  return text === '-Inf' ? -Infinity : Number(text);
}
