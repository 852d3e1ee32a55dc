import { describe, expect, test } from 'vitest';
import { decodeValue, encodeValue } from '../../../core/codec.ts';
import type { Value } from '../../../core/row.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { JSON_DEPTH_MAX } from './json.ts';
import { CanonicalWriter } from './replication/writer.ts';
import {
  appendCanonical,
  appendKey,
  codecOf,
  textToValue,
  valueOptions,
  type TypeInfo,
  type ValueCodec,
} from './values.ts';

const none = { get: () => undefined };
const random = seededRandom('values of PostgreSQL');

const oids = { bool: 16, bytea: 17, int8: 20, int4: 23, text: 25, oid: 26, json: 114, float8: 701 };
const arrayOids = { text: 1009, int4: 1007, int8: 1016, float8: 1022, bytea: 1001, jsonb: 3807 };

function canonicalOf(codec: ValueCodec, bytes: Buffer, validated: boolean): string {
  const writer = new CanonicalWriter({ validated });
  // Not at the start of its buffer, and not alone in the text.
  const padded = Buffer.concat([Buffer.from('xyz'), bytes, Buffer.from('"\\z')]);
  writer.byte(0x5b);
  appendCanonical(writer, codec, padded, 3, 3 + bytes.length);
  writer.byte(0x5d);
  return writer.take();
}

/** Both ways to the value, which must be one. */
function valueOf(oid: number, printed: string | Buffer): Value {
  const codec = codecOf(oid, none);
  const bytes = typeof printed === 'string' ? Buffer.from(printed) : printed;
  const [streamed] = decodeValue(canonicalOf(codec, bytes, false)) as readonly Value[];
  expect(streamed, `the stream of ${bytes.toString().slice(0, 200)}`).toStrictEqual(
    textToValue(codec, bytes),
  );
  if (typeof printed === 'string') {
    expect(textToValue(codec, printed)).toStrictEqual(streamed);
    const [trusted] = decodeValue(canonicalOf(codec, bytes, true)) as readonly Value[];
    expect(trusted).toStrictEqual(streamed);
  }
  return streamed as Value;
}

const characters = ['a', 'Z', '0', '"', '\\', '\n', '\t', '\r', '\b', '\f', '\u0001', '\u001f'];
const wide = [
  '\u007f',
  '\u00e9',
  '\u20ac',
  '\u2028',
  '\u2029',
  '\u{1F600}',
  '\ufffd',
  '$',
  '{"$i"',
];

function anyText(lengthMax: number): string {
  const length = Math.floor(random.next() * lengthMax);
  const from = random.next() < 0.5 ? characters : [...characters, ...wide];
  let text = '';
  while (text.length < length) text += from[Math.floor(random.next() * from.length)];
  return text;
}

function anyBytes(lengthMax: number): Buffer {
  const length = Math.floor(random.next() * lengthMax);
  return Buffer.from(Array.from({ length }, () => 1 + Math.floor(random.next() * 255)));
}

/** An array as the server prints it. */
function printArray(items: readonly unknown[]): string {
  const printed = items.map((item) => {
    if (item === null) return 'NULL';
    if (Array.isArray(item)) return printArray(item);
    const text = String(item);
    return text !== '' && /^[\w.+-]+$/.test(text) && text.toUpperCase() !== 'NULL'
      ? text
      : `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  });
  return `{${printed.join(',')}}`;
}

describe('a value that the server prints', () => {
  test('is the same from the stream and from a snapshot: any text', () => {
    for (let round = 0; round < 500; round++) {
      const text = anyText(round % 10 === 0 ? 2_000 : 40);
      expect(valueOf(oids.text, text)).toBe(text);
    }
  });

  test('is its bytes if it is no UTF-8', () => {
    for (let round = 0; round < 300; round++) {
      const bytes = anyBytes(round % 10 === 0 ? 2_000 : 12);
      const value = valueOf(oids.text, bytes);
      expect(Buffer.from(typeof value === 'string' ? value : (value as Uint8Array))).toStrictEqual(
        Buffer.from(bytes),
      );
    }
    expect(valueOf(oids.text, Buffer.from([0x80]))).toStrictEqual(new Uint8Array([0x80]));
    expect(valueOf(oids.json, Buffer.from([0x22, 0xff, 0x22]))).toBeInstanceOf(Uint8Array);
    expect(valueOf(arrayOids.text, Buffer.from('{a,\xff}', 'latin1'))).toBeInstanceOf(Uint8Array);
  });

  test('is an exact integer at the borders of doubles', () => {
    const borders = [2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 10n ** 15n, 0n];
    for (const border of borders.flatMap((whole) => [whole, -whole])) {
      const isSafe = Number.isSafeInteger(Number(border));
      expect(valueOf(oids.int8, String(border))).toBe(isSafe ? Number(border) : border);
    }
    expect(valueOf(oids.int4, '-2147483648')).toBe(-2147483648);
    expect(valueOf(oids.oid, '4294967295')).toBe(4294967295);
  });

  test('is the same double, also where JSON has no word for it', () => {
    const words = { NaN: Number.NaN, Infinity: Infinity, '-Infinity': -Infinity, '-0': -0 };
    for (const [printed, number] of Object.entries(words))
      expect(valueOf(oids.float8, printed)).toBe(number);
    for (const printed of ['0', '1', '0.1', '1e+20', '5e-324', '1.7976931348623157e+308', '-1.5'])
      expect(valueOf(oids.float8, printed)).toBe(Number(printed));
    expect(canonicalOf(codecOf(oids.float8, none), Buffer.from('1e+20'), true)).toBe(
      '[100000000000000000000]',
    );
  });

  test('is true, false, or bytes', () => {
    expect(valueOf(oids.bool, 't')).toBe(true);
    expect(valueOf(oids.bool, 'f')).toBe(false);
    expect(valueOf(oids.bytea, '\\x')).toStrictEqual(new Uint8Array());
    expect(valueOf(oids.bytea, '\\x00ff10')).toStrictEqual(new Uint8Array([0, 255, 16]));
  });

  test('is the text itself for every type without a meaning here', () => {
    const numeric = 1700;
    for (const printed of ['12.50', 'NaN', 'Infinity', '1e-20', '123456789012345678901234567890'])
      expect(valueOf(numeric, printed)).toBe(printed);
    expect(valueOf(1184, '10000-01-01 00:00:00+00')).toBe('10000-01-01 00:00:00+00');
    expect(valueOf(99_999, '(1,"a b")')).toBe('(1,"a b")');
  });

  test('is a list, of lists for more dimensions, with NULL and "NULL" apart', () => {
    expect(valueOf(arrayOids.text, '{a,NULL,"NULL","",null}')).toEqual([
      'a',
      null,
      'NULL',
      '',
      'null',
    ]);
    expect(valueOf(arrayOids.int4, '{}')).toEqual([]);
    expect(valueOf(arrayOids.int4, '{{1,2},{3,NULL}}')).toEqual([
      [1, 2],
      [3, null],
    ]);
    expect(valueOf(arrayOids.float8, '{NaN,-0}')).toStrictEqual([Number.NaN, -0]);
    expect(valueOf(arrayOids.int8, '{9223372036854775807}')).toEqual([9223372036854775807n]);
    expect(valueOf(arrayOids.bytea, '{"\\\\x00ff"}')).toEqual([new Uint8Array([0, 255])]);
    expect(valueOf(arrayOids.jsonb, String.raw`{"{\"$i\": \"5\"}"}`)).toEqual([{ $i: '5' }]);
    expect(valueOf(1020, '{(1,1),(0,0);(2,2),(1,1)}')).toEqual(['(1,1),(0,0)', '(2,2),(1,1)']);
    for (let round = 0; round < 200; round++) {
      const items = Array.from({ length: 1 + (round % 5) }, () =>
        random.next() < 0.2 ? null : anyText(12),
      );
      const nested = round % 2 === 0 ? items : [items, items];
      expect(valueOf(arrayOids.text, printArray(nested))).toEqual(nested);
    }
  });

  test('is the text of an array whose bounds do not start at 1', () => {
    expect(valueOf(arrayOids.int4, '[0:1]={1,2}')).toBe('[0:1]={1,2}');
  });

  test('is the parsed value of a document, exact in its integers', () => {
    const documents: readonly (readonly [string, Value])[] = [
      ['{"a": 9007199254740993}', { a: 9007199254740993n }],
      ['[1, -0, 0.5, 1e2, -9007199254740991]', [1, -0, 0.5, 100, -9007199254740991]],
      ['[1e400, -1e400]', ['1e400', '-1e400']],
      ['{"$i": "5", "b": {"$o": 1}}', { $i: '5', b: { $o: 1 } }],
      [String.raw`{"\u0024i": "5"}`, { $i: '5' }],
      [' {"a" :\n"x\\n\\" $ {" } ', { a: 'x\n" $ {' }],
      ['{"a": 1, "a": 2}', { a: 2 }],
      ['"$text"', '$text'],
      ['12345678901234567890', 12345678901234567890n],
      ['{"__proto__": 1}', JSON.parse('{"__proto__": 1}') as Value],
      ['null', null],
      [String.raw`"\ud800"`, '\ud800'],
    ];
    for (const [printed, value] of documents)
      expect(valueOf(oids.json, printed), printed).toStrictEqual(value);
    for (let round = 0; round < 300; round++) {
      const document = anyDocument(4);
      const text = JSON.stringify(document);
      expect(valueOf(oids.json, round % 2 === 0 ? text : spread(text))).toStrictEqual(document);
    }
  });

  test('is the text of a document with more levels than can be carried', () => {
    const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
    expect(typeof valueOf(oids.json, deep(JSON_DEPTH_MAX))).toBe('object');
    expect(valueOf(oids.json, deep(JSON_DEPTH_MAX + 1))).toBe(deep(JSON_DEPTH_MAX + 1));
    expect(valueOf(oids.json, deep(100_000))).toBe(deep(100_000));
  });

  test('has one text if it is part of a key, the one that a snapshot gives it', () => {
    const codec = codecOf(3802, none);
    const bytes = Buffer.from('{"b": 1.0, "a": [1, 2]}');
    const writer = new CanonicalWriter({ validated: true });
    appendKey(writer, codec, bytes, 0, bytes.length);
    expect(writer.take()).toBe(encodeValue(textToValue(codec, bytes)));
  });

  test('is read by its base type if it is of a domain, also within an array', () => {
    const types = new Map<number, TypeInfo>([
      [20_000, { oid: 20_000, kind: 'domain', base: 20 }],
      [20_001, { oid: 20_001, kind: 'array', element: 20_000 }],
      [20_002, { oid: 20_002, kind: 'domain', base: 20_001 }],
      [20_003, { oid: 20_003, kind: 'enum' }],
      [20_004, { oid: 20_004, kind: 'domain', base: 20_004 }],
    ]);
    const kindOf = (oid: number): string => codecOf(oid, types).kind;
    expect([20_000, 20_001, 20_002, 20_003, 20_004, 20_005].map(kindOf)).toEqual([
      'big',
      'list',
      'list',
      'text',
      'text',
      'text',
    ]);
    expect(codecOf(20_002, types).element?.kind).toBe('big');
  });
});

test('the options of a connection keep those that the application gave', () => {
  expect(valueOptions('-c search_path=sales')).toContain('-c search_path=sales -c client_encoding');
  expect(valueOptions()).toContain(String.raw`DateStyle=ISO,\ YMD`);
});

function anyDocument(depth: number): Value {
  const draw = random.next();
  if (depth === 0 || draw < 0.5)
    return draw < 0.2 ? anyText(10) : draw < 0.4 ? Math.floor(draw * 1e6) - 2e5 : draw < 0.45;
  const length = Math.floor(random.next() * 4);
  if (draw < 0.75) return Array.from({ length }, () => anyDocument(depth - 1));
  return Object.fromEntries(Array.from({ length }, () => [anyText(6), anyDocument(depth - 1)]));
}

/** The same document with white space between its tokens, as jsonb prints it. */
function spread(text: string): string {
  return JSON.stringify(JSON.parse(text), undefined, 1);
}
