import { isUtf8 } from 'node:buffer';
import { encodeValue } from '../../../core/codec.ts';
import { TallyError, unreachable } from '../../../core/errors.ts';
import type { Value } from '../../../core/row.ts';
import { parseArray } from './arrays.ts';
import { copyPlainJson, parseJson } from './json.ts';
import type { CanonicalWriter } from './replication/writer.ts';

/**
 * Values of PostgreSQL, from the text that the server prints to ours. The stream writes canonical text directly
 * from the bytes of the wire ({@link appendCanonical}); snapshots and look-ups make values ({@link textToValue}).
 * Both give the same value, or a snapshot row and a streamed one would differ for no reason that anybody could see.
 *
 *   int2, int4, oid          number
 *   int8                     number; BigInt past 2^53
 *   float4, float8           number, also NaN, ±Infinity and −0
 *   bool                     boolean
 *   bytea                    bytes
 *   json, jsonb              the parsed value, see {@link parseJson}
 *   arrays of these          lists; the text if the bounds do not start at 1
 *   domains                  as their base type
 *   everything else          the text: numeric, uuid, times, ranges, enums, composites, …
 *   text that is not UTF-8   its bytes; only a database in SQL_ASCII can hold it
 */
export interface ValueCodec {
  readonly kind: 'integer' | 'big' | 'float' | 'boolean' | 'bytes' | 'json' | 'text' | 'list';
  readonly element?: ValueCodec;
  /** Between the elements of a list: `;` for boxes. */
  readonly delimiter?: string;
}

/**
 * Settings of every session whose values are read here, for the `options` of a connection: what the server prints
 * depends on them.
 */
export const valueSettings: Readonly<Record<string, string>> = {
  client_encoding: 'UTF8',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
};

/** {@link valueSettings} as the `options` of a connection, after what is there already. */
export function valueOptions(present?: string): string {
  const given = present === undefined ? [] : [present];
  const ours = Object.entries(valueSettings).map(
    // A space within a value is escaped by a backslash.
    ([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`,
  );
  return [...given, ...ours].join(' ');
}

/** What `pg_type` says of a type, as far as values depend on it. */
export interface TypeInfo {
  readonly oid: number;
  readonly kind: 'scalar' | 'array' | 'domain' | 'enum' | 'composite' | 'range';
  /** The type of an array's elements (`typelem`). */
  readonly element?: number;
  /** What stands between them (`typdelim`); `,` if not given. */
  readonly delimiter?: string;
  /** The type under a domain (`typbasetype`). */
  readonly base?: number;
}

/** The types of a database. An OID that is not there reads as text. */
export interface TypeResolver {
  get(oid: number): TypeInfo | undefined;
}

/** Types made by CREATE TYPE, CREATE DOMAIN, extensions or information_schema; those below are the same everywhere. */
const OID_VARIABLE_MIN = 10_000;
/** A domain over an array of domains …: what is deeper is a circle. */
const TYPE_DEPTH_MAX = 32;

const text: ValueCodec = { kind: 'text' };
const integer: ValueCodec = { kind: 'integer' };
const float: ValueCodec = { kind: 'float' };
const json: ValueCodec = { kind: 'json' };

const scalars: Readonly<Record<number, ValueCodec>> = {
  16: { kind: 'boolean' },
  17: { kind: 'bytes' },
  20: { kind: 'big' },
  21: integer,
  23: integer,
  26: integer,
  700: float,
  701: float,
  114: json,
  3802: json,
};

/** Array types that are the same in every cluster, each with the type of its elements. */
const arrays: Readonly<Record<number, number>> = Object.fromEntries(
  (
    '143:142 199:114 210:71 270:75 271:5069 272:81 273:83 629:628 651:650 719:718 775:774 791:790 1000:16 1001:17 ' +
    '1002:18 1003:19 1005:21 1006:22 1007:23 1008:24 1009:25 1010:27 1011:28 1012:29 1013:30 1014:1042 1015:1043 ' +
    '1016:20 1017:600 1018:601 1019:602 1020:603 1021:700 1022:701 1027:604 1028:26 1034:1033 1040:829 1041:869 ' +
    '1115:1114 1182:1082 1183:1083 1185:1184 1187:1186 1231:1700 1263:2275 1270:1266 1561:1560 1563:1562 2201:1790 ' +
    '2207:2202 2208:2203 2209:2204 2210:2205 2211:2206 2287:2249 2949:2970 2951:2950 3221:3220 3643:3614 3644:3642 ' +
    '3645:3615 3735:3734 3770:3769 3807:3802 3905:3904 3907:3906 3909:3908 3911:3910 3913:3912 3927:3926 4073:4072 ' +
    '4090:4089 4097:4096 4192:4191 5039:5038 6150:4451 6151:4532 6152:4533 6153:4534 6155:4535 6157:4536'
  )
    .split(' ')
    .map((pair) => pair.split(':').map(Number)),
);
const BOX = 603;

/** Whether only the database itself can say what a type is. */
export function isVariableType(oid: number): boolean {
  return oid >= OID_VARIABLE_MIN;
}

/** How values of a type are read. */
export function codecOf(oid: number, types: TypeResolver, depth = 0): ValueCodec {
  const known = scalars[oid];
  if (known !== undefined) return known;
  if (depth > TYPE_DEPTH_MAX) return text;
  const element = arrays[oid];
  if (element !== undefined)
    return listOf(codecOf(element, types, depth + 1), element === BOX ? ';' : ',');
  const info = isVariableType(oid) ? types.get(oid) : undefined;
  if (info?.kind === 'domain' && info.base !== undefined)
    return codecOf(info.base, types, depth + 1);
  if (info?.kind === 'array' && info.element !== undefined)
    return listOf(codecOf(info.element, types, depth + 1), info.delimiter ?? ',');
  return text;
}

function listOf(element: ValueCodec, delimiter: string): ValueCodec {
  return { kind: 'list', element, delimiter };
}

/** The value of a text that the server printed under {@link valueSettings}. */
export function textToValue(codec: ValueCodec, given: string | Uint8Array): Value {
  if (typeof given === 'string') return fromText(codec, given);
  return isUtf8(given) ? fromText(codec, view(given).toString('utf8')) : new Uint8Array(given);
}

function fromText(codec: ValueCodec, printed: string): Value {
  switch (codec.kind) {
    case 'integer':
    case 'float':
      return Number(printed);
    case 'big': {
      const number = Number(printed);
      return Number.isSafeInteger(number) ? number : BigInt(printed);
    }
    case 'boolean':
      return printed === 't';
    case 'bytes':
      return new Uint8Array(Buffer.from(hexOf(printed), 'hex'));
    case 'json':
      return parseJson(printed);
    case 'text':
      return printed;
    case 'list': {
      const element = codec.element ?? text;
      return parseArray(printed, codec.delimiter ?? ',', (item) => fromText(element, item));
    }
    default:
      return unreachable(codec.kind);
  }
}

/** Digits of the longest integers that are exact in a double, sign included. */
const SAFE_CHARACTERS = 15;
/** Texts from here on are scanned by the runtime, which takes many bytes at once. */
const NATIVE_BYTES_MIN = 512;

/**
 * Appends the canonical text (core/codec.ts) of a value that the server printed under {@link valueSettings}:
 * `decodeValue` of it is {@link textToValue} of the same bytes.
 */
export function appendCanonical(
  writer: CanonicalWriter,
  codec: ValueCodec,
  from: Buffer,
  start: number,
  end: number,
): void {
  switch (codec.kind) {
    case 'integer':
      writer.copy(from, start, end);
      return;
    case 'big':
      if (end - start <= SAFE_CHARACTERS) writer.copy(from, start, end);
      else writer.ascii(encodeValue(fromText(codec, from.toString('latin1', start, end))));
      return;
    case 'float':
      writer.ascii(encodeValue(Number(from.toString('latin1', start, end))));
      return;
    case 'boolean':
      writer.ascii(from[start] === 0x74 ? 'true' : 'false');
      return;
    case 'bytes': {
      const hex = hexOf(from.toString('latin1', start, end));
      writer.ascii(`{"$b":"${Buffer.from(hex, 'hex').toString('base64')}"}`);
      return;
    }
    case 'json':
      appendJson(writer, from, start, end);
      return;
    case 'text':
      appendText(writer, from, start, end);
      return;
    case 'list':
      appendParsed(writer, codec, from, start, end);
      return;
    default:
      unreachable(codec.kind);
  }
}

/** {@link appendCanonical}, but the one text that all equal values have: for keys, which are compared as text. */
export function appendKey(
  writer: CanonicalWriter,
  codec: ValueCodec,
  from: Buffer,
  start: number,
  end: number,
): void {
  if (codec.kind === 'json') appendParsed(writer, codec, from, start, end);
  else appendCanonical(writer, codec, from, start, end);
}

function appendText(writer: CanonicalWriter, from: Buffer, start: number, end: number): void {
  if (end - start < NATIVE_BYTES_MIN) {
    if (writer.text(from, start, end)) return;
  } else if (isUtf8(from.subarray(start, end))) {
    writer.utf8(JSON.stringify(from.toString('utf8', start, end)));
    return;
  }
  appendParsed(writer, text, from, start, end);
}

function appendJson(writer: CanonicalWriter, from: Buffer, start: number, end: number): void {
  writer.reserve(end - start);
  const length = copyPlainJson(from, start, end, writer.bytes, writer.length);
  if (length >= 0 && writer.accept(length)) return;
  appendParsed(writer, json, from, start, end);
}

function appendParsed(
  writer: CanonicalWriter,
  codec: ValueCodec,
  from: Buffer,
  start: number,
  end: number,
): void {
  writer.utf8(encodeValue(textToValue(codec, from.subarray(start, end))));
}

function hexOf(printed: string): string {
  if (printed.startsWith('\\x')) return printed.slice(2);
  throw new TallyError('VALUE_UNSUPPORTED', {
    what: 'bytea was not printed as hex',
    mend: 'look for what sets bytea_output in the session of the coordinator, such as a pooler between it and the server',
  });
}

function view({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
