import { decodeValue, encodeValue } from '../../../core/codec.ts';
import type { Value } from '../../../core/row.ts';
import type { Cell } from './array-param.ts';
import { checkJson, checkText, unsupported } from './refusal.ts';

/** A column as it is in the database. */
export interface TableColumn {
  readonly name: string;
  /** Its type without length or precision: a cast to those would cut a value off where storing refuses it. */
  readonly cast: string;
  /** The type, or the one under a domain. */
  readonly oid: number;
  /** Of an array, the type of its items; else 0. */
  readonly element: number;
  /** PostgreSQL's one-letter category of the type. */
  readonly category: string;
}

const BOOL = 16;
const BYTEA = 17;
const INT8 = 20;
const JSON_TEXT = 114;
const JSONB = 3802;
/** int2, int4, oid, float4, float8. */
const exactNumbers: readonly number[] = [21, 23, 26, 700, 701];
const numeric = 1700;

/** Whether a column takes bytes as they are, all others their text. */
export function takesBytes({ oid }: TableColumn): boolean {
  return oid === BYTEA;
}

/** Turns a value into what the column is sent. Throws VALUE_UNSUPPORTED. */
export function encodeCell(value: Value, column: TableColumn): Cell {
  if (value === null) return null;
  const { oid, element, name } = column;
  if (oid === JSONB || oid === JSON_TEXT) {
    const text = encodeValue(value);
    if (oid === JSONB) checkJson(text, name);
    return text;
  }
  if (oid === BYTEA) {
    if (value instanceof Uint8Array) return value;
    throw unsupported('a value that is not bytes is meant for a column of bytes', name);
  }
  return element !== 0 && Array.isArray(value)
    ? arrayText(value as readonly Value[], element, name)
    : scalarText(value, oid, name);
}

function scalarText(value: Exclude<Value, null>, oid: number, name: string): string {
  switch (typeof value) {
    case 'string':
      checkText(value, name);
      return value;
    case 'boolean':
      return isNumeric(oid) ? String(Number(value)) : String(value);
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
      return value.toString();
    default: {
      if (value instanceof Uint8Array) return bytesText(value);
      const text = encodeValue(value);
      checkText(text, name);
      return text;
    }
  }
}

function isNumeric(oid: number): boolean {
  return oid === INT8 || oid === numeric || exactNumbers.includes(oid);
}

/** A list as the literal of an array: every item quoted, NULL alone not. */
function arrayText(list: readonly Value[], element: number, name: string): string {
  const items = list.map((item) => {
    if (item === null) return 'NULL';
    if (Array.isArray(item) && element !== JSONB && element !== JSON_TEXT)
      return arrayText(item as readonly Value[], element, name);
    const cell =
      element === BYTEA && item instanceof Uint8Array
        ? bytesText(item)
        : encodeCell(item, { name, cast: '', oid: element, element: 0, category: '' });
    return `"${String(cell).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  });
  return `{${items.join(',')}}`;
}

function bytesText(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`;
}

/**
 * A value as it was read by the driver under {@link ownTypes}, as the same kind of value that capture gives for the
 * type: numbers where they are exact, numeric as its text, JSON parsed, arrays as lists.
 */
export function decodeCell(cell: unknown, { oid, element }: TableColumn): Value {
  if (cell === null || cell === undefined) return null;
  if (typeof cell !== 'string')
    return cell instanceof Uint8Array ? new Uint8Array(cell) : (cell as Value);
  if (oid === JSONB || oid === JSON_TEXT) return decodeJson(cell);
  return element !== 0 && cell.startsWith('{') ? decodeArray(cell, element) : cell;
}

/** JSON that we wrote is canonical; what others wrote may hold a member that only looks like a tag. */
function decodeJson(text: string): Value {
  try {
    return decodeValue(text);
  } catch {
    return JSON.parse(text) as Value;
  }
}

function decodeItem(text: string, oid: number): Value {
  switch (oid) {
    case BOOL:
      return text === 't';
    case BYTEA:
      return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
    case INT8: {
      const number = Number(text);
      return Number.isSafeInteger(number) ? number : BigInt(text);
    }
    case JSON_TEXT:
    case JSONB:
      return decodeJson(text);
    default:
      return exactNumbers.includes(oid) ? Number(text) : text;
  }
}

const arrayToken = /"((?:[^"\\]|\\.)*)"|([{},])|([^{},"]+)/gs;

/** The literal of an array as nested lists. */
function decodeArray(text: string, element: number): Value {
  const outer: Value[][] = [[]];
  for (const [, inQuotes, mark, plain] of text.matchAll(arrayToken)) {
    const list = outer.at(-1) ?? [];
    if (mark === '{') {
      const inner: Value[] = [];
      list.push(inner);
      outer.push(inner);
    } else if (mark === '}') outer.pop();
    else if (inQuotes !== undefined)
      list.push(decodeItem(inQuotes.replaceAll(/\\(.)/gs, '$1'), element));
    else if (plain !== undefined) list.push(plain === 'NULL' ? null : decodeItem(plain, element));
  }
  return outer[0]?.[0] ?? [];
}
