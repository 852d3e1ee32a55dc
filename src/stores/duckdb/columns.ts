import { decodeValue, encodeValue } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import type { Scalar, Value } from '../../core/row.ts';

/** How values of one column type go in and come out. */
export interface ColumnCodec {
  /** The type that values are loaded as; text that DuckDB casts if it differs from the column's. */
  readonly loadedAs: string;
  /** The value for the loader. Throws VALUE_UNSUPPORTED if the type cannot hold it. */
  encode(value: Value, column: string): unknown;
  /** A value read from the column, or from its text where `readAsText`. */
  decode(value: unknown): Value;
  readonly readAsText: boolean;
  /** Whether two different keys can never become one value of this type. */
  readonly keyable: boolean;
}

/** Turns bytes into the driver's own value. */
export type BlobMaker = (bytes: Uint8Array) => unknown;

const integers: Readonly<Record<string, readonly [bigint, bigint]>> = {
  TINYINT: [-(2n ** 7n), 2n ** 7n - 1n],
  SMALLINT: [-(2n ** 15n), 2n ** 15n - 1n],
  INTEGER: [-(2n ** 31n), 2n ** 31n - 1n],
  UTINYINT: [0n, 2n ** 8n - 1n],
  USMALLINT: [0n, 2n ** 16n - 1n],
  UINTEGER: [0n, 2n ** 32n - 1n],
  BIGINT: [-(2n ** 63n), 2n ** 63n - 1n],
  UBIGINT: [0n, 2n ** 64n - 1n],
  HUGEINT: [-(2n ** 127n), 2n ** 127n - 1n],
  UHUGEINT: [0n, 2n ** 128n - 1n],
};

/**
 * The codec of a column type, by the name DuckDB itself gives the type (`DESCRIBE`); undefined for
 * one that cannot be written here (lists, structs, maps, unions: declare those as JSON).
 */
export function codecOf(type: string, blob: BlobMaker): ColumnCodec | undefined {
  const limits = integers[type];
  if (limits !== undefined) return integerCodec(type, limits);
  switch (type) {
    case 'BOOLEAN':
      return plain(type, true, (value, column) => encodeBoolean(value, column));
    case 'FLOAT':
    case 'DOUBLE':
      return plain(type, false, (value, column) => encodeFraction(value, type, column));
    case 'VARCHAR':
      return plain(type, true, (value, column) => encodeText(value, type, column));
    case 'BLOB':
      return {
        ...plain(type, false, (value, column) => {
          if (value instanceof Uint8Array) return blob(value);
          throw misfit(value, type, column, 'bytes (a Uint8Array)');
        }),
        decode: (value) =>
          value === null ? null : new Uint8Array((value as { bytes: Uint8Array }).bytes),
      };
    case 'JSON':
      return {
        ...plain(type, false, encodeValue),
        decode: (value) => (value === null ? null : decodeValue(value as string)),
      };
  }
  return castCodec(type);
}

function plain(type: string, keyable: boolean, encode: ColumnCodec['encode']): ColumnCodec {
  return {
    loadedAs: type,
    encode,
    decode: (value) => value as Scalar,
    readAsText: false,
    keyable,
  };
}

function integerCodec(type: string, [min, max]: readonly [bigint, bigint]): ColumnCodec {
  const wide = max > 2n ** 53n;
  const encode = (value: Value, column: string): number | bigint => {
    if (typeof value === 'number' ? Number.isSafeInteger(value) : typeof value === 'bigint') {
      const whole = value as number | bigint;
      if (whole >= min && whole <= max) return wide ? BigInt(whole) : Number(whole);
    }
    throw misfit(value, type, column, `a whole number from ${min} to ${max}`);
  };
  return {
    ...plain(type, true, encode),
    decode: (value) => (typeof value === 'bigint' ? narrowed(value) : (value as Scalar)),
  };
}

/** A BigInt as a number where a number holds it: rows carry BigInt only past 2^53. */
function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function encodeBoolean(value: Value, column: string): boolean {
  // Sources without a boolean type carry 0 and 1.
  if (value === true || value === 1 || value === 1n) return true;
  if (value === false || value === 0 || value === 0n) return false;
  throw misfit(value, 'BOOLEAN', column, 'a boolean, 0 or 1');
}

function encodeFraction(value: Value, type: string, column: string): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint' && BigInt(Number(value)) === value) return Number(value);
  throw misfit(value, type, column, 'a number');
}

function encodeText(value: Value, type: string, column: string): string {
  // A lone surrogate would become U+FFFD, and two such keys one key.
  if (typeof value === 'string' && value.isWellFormed()) return value;
  throw misfit(value, type, column, 'well-formed text');
}

/** Types whose values travel as text that DuckDB itself casts: dates, times, decimals, UUIDs, enums. */
function castCodec(type: string): ColumnCodec | undefined {
  if (type.endsWith(']') || !/^(DATE|TIME|TIMESTAMP|DECIMAL|UUID|INTERVAL|ENUM)/.test(type))
    return undefined;
  const moment = type.startsWith('TIMESTAMP');
  const decimal = type.startsWith('DECIMAL');
  return {
    loadedAs: 'VARCHAR',
    encode: (value, column) => {
      if (moment && typeof value === 'number' && Math.abs(value) <= 8.64e15)
        return new Date(value).toISOString();
      if (decimal && typeof value === 'bigint') return value.toString();
      if (decimal && typeof value === 'number' && Number.isFinite(value)) return value.toString();
      return encodeText(value, type, column);
    },
    decode: (value) => value as Scalar,
    readAsText: true,
    keyable: false,
  };
}

function misfit(value: Value, type: string, column: string, wanted: string): TallyError {
  const kind = value instanceof Uint8Array ? 'bytes' : Array.isArray(value) ? 'list' : typeof value;
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a value of type ${kind} does not fit a column of type ${type}`,
    where: column,
    mend: `project ${wanted}, or declare the column with another type`,
    details: { column, type, kind },
  });
}
