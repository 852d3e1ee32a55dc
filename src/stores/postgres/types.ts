import type pg from 'pg';

const BOOL = 16;
const BYTEA = 17;
const INT8 = 20;
const INT2 = 21;
const INT4 = 23;
const OID = 26;
const FLOAT4 = 700;
const FLOAT8 = 701;

/**
 * How values of our own statements are read, whatever parsers the application has set in its process: int2, int4,
 * oid and floats as numbers; int8 as a number if it is exact, else a bigint; bool; bytea as a Buffer; everything
 * else (numeric, json, times, lists) as the text that the server sends.
 */
export const ownTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: string) =>
    format === 'binary' ? asIs : (parsers[oid] ?? asIs)) as pg.CustomTypesConfig['getTypeParser'],
};

type Parser = (text: string) => unknown;

const parsers: Readonly<Record<number, Parser>> = {
  [BOOL]: (text) => text === 't',
  [BYTEA]: (text) => Buffer.from(text.slice(2), 'hex'),
  [INT8]: (text) => exactInteger(text),
  [INT2]: Number,
  [INT4]: Number,
  [OID]: Number,
  [FLOAT4]: Number,
  [FLOAT8]: Number,
};

function asIs(value: unknown): unknown {
  return value;
}

function exactInteger(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}
