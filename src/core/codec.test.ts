import { deepStrictEqual } from 'node:assert';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeKey, decodeRow, decodeValue, DEPTH_MAX, encodeKey, encodeValue } from './codec.ts';
import type { Key, Row, Value } from './row.ts';
import { isTallyError } from './errors.ts';

const unsupported: unknown = expect.objectContaining({ code: 'VALUE_UNSUPPORTED' });

const name = fc.oneof(
  fc.string(),
  fc.constantFrom('$i', '$b', '$n', '$o', '$', '$x', '__proto__', 'constructor', 'toJSON', ''),
);
const scalar = fc.oneof(
  fc.constantFrom(null, true, false, -0, Number.NaN, Infinity, -Infinity, '{"$i":"1"}', '\ud800'),
  fc.double(),
  fc.integer(),
  fc.bigInt(),
  fc.string({ unit: 'binary' }),
  fc.uint8Array(),
);
const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

function nested(levels: number, innermost: Value): Value {
  let inner = innermost;
  for (let level = 0; level < levels; level++) inner = level % 2 === 0 ? [inner] : { inner };
  return inner;
}

/** Casts what the types forbid, as callers in plain JavaScript can pass it. */
function untyped(given: unknown): Value {
  return given as Value;
}

describe('the canonical text of values', () => {
  it('gives back every value as it was, of every kind', () => {
    fc.assert(
      fc.property(value, (given) => {
        deepStrictEqual(decodeValue(encodeValue(given)), given);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each<[string, Value]>([
    ['a BigInt within and past 2^53', [1n, -9_007_199_254_740_993n]],
    ['bytes, also none', [new Uint8Array(), new Uint8Array([0, 255])]],
    ['numbers JSON has no word for', [Number.NaN, Infinity, -Infinity, -0, 0]],
    ['members that look like tags', { $i: '1', $b: 'AA==', $n: 'nan', $o: { $o: 1 } }],
    ['one member that looks like a tag', { $i: '1' }],
    ['a tag within a tag', { $o: { $i: 1n } }],
    ['an own member named __proto__', JSON.parse('{"__proto__":{"a":1},"b":[{}]}') as Value],
    ['__proto__ beside a tagged value', JSON.parse('{"__proto__":1,"$b":2}') as Value],
  ])('gives back %s', (_, given) => {
    const decoded = decodeValue(encodeValue(given));
    expect(decoded).toStrictEqual(given);
    expect(Object.getPrototypeOf(decoded)).toBe(Object.getPrototypeOf(given));
  });

  it('keeps the sign of zero', () => {
    expect(Object.is(decodeValue(encodeValue(-0)), -0)).toBe(true);
    expect(Object.is(decodeValue(encodeValue([0])), 0)).toBe(false);
    expect(encodeValue(0)).toBe('0');
  });

  it('is plain JSON for ordinary rows', () => {
    const row: Row = {
      id: 7,
      name: 'a "$i" {"$i"}',
      price: 1.5,
      tags: ['x', null],
      in: { a: true },
    };
    expect(encodeValue(row)).toBe(JSON.stringify(row));
    expect(decodeRow(encodeValue(row))).toStrictEqual(row);
  });

  it('reads rows without a prototype and Node buffers as plain rows and bytes', () => {
    const bare = Object.assign(Object.create(null) as Record<string, Value>, { a: 1, $b: 2 });
    expect(decodeRow(encodeValue(bare))).toStrictEqual({ a: 1, $b: 2 });
    expect(decodeValue(encodeValue(Buffer.from('hi')))).toStrictEqual(new Uint8Array([104, 105]));
    const part = new Uint8Array([1, 2, 3]).subarray(1);
    expect(decodeValue(encodeValue(part))).toStrictEqual(new Uint8Array([2, 3]));
  });

  it.each<[string, unknown, string]>([
    ['undefined', { lines: [{ sku: undefined }] }, 'lines[0].sku'],
    ['Date', { at: new Date(0) }, 'at'],
    ['Map', [new Map()], '[0]'],
    ['function', () => 1, ''],
    ['symbol', { s: Symbol('s') }, 's'],
    ['object', { bare: Object.create({ inherited: 1 }) as unknown }, 'bare'],
    ['undefined', { gap: [1, , 3] }, 'gap[1]'], // eslint-disable-line no-sparse-arrays
    ['Float64Array', { f: new Float64Array(2) }, 'f'],
  ])('refuses %s and names its path', (kind, given, path) => {
    const expected = given !== null && path === 'bare' ? 'Object' : kind;
    expect(() => encodeValue(untyped(given))).toThrow(
      expect.objectContaining({ code: 'VALUE_UNSUPPORTED', details: { kind: expected, path } }),
    );
  });

  it('names the type of an object whose constructor says nothing', () => {
    const odd = Object.create({ constructor: 5 }) as unknown;
    expect(() => encodeValue(untyped(odd))).toThrow(
      expect.objectContaining({ details: { kind: 'object', path: '' } }),
    );
  });

  it('refuses a value that is too deep or contains itself', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(() => encodeValue(untyped(circle))).toThrow(unsupported);
    const deepest = nested(DEPTH_MAX, 1n);
    expect(decodeValue(encodeValue(deepest))).toStrictEqual(deepest);
    expect(() => encodeValue(nested(DEPTH_MAX + 1, 1))).toThrow(unsupported);
    expect(() => decodeValue(`${'['.repeat(300)}{"$i":"1"}${']'.repeat(300)}`)).toThrow(
      unsupported,
    );
    const objects = `${'{"a":'.repeat(300)}{"$i":"1"}${'}'.repeat(300)}`;
    expect(() => decodeValue(objects)).toThrow(unsupported);
  });

  it.each([
    'nonsense',
    '',
    '{"$i":"abc"}',
    '{"$i":5}',
    '{"$i":"1","more":1}',
    '{"$b":5}',
    '{"$n":"pi"}',
    '{"$n":"__proto__"}',
    '{"$n":0}',
    '{"$o":[]}',
    '{"$o":null}',
    '[{"$unknown":1}]',
  ])('refuses the stored text %s', (text) => {
    expect(() => decodeValue(text)).toThrow(unsupported);
  });

  it('throws nothing but VALUE_UNSUPPORTED for any text', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.tuple(name, fc.json()).map(([tag, json]) => `{${JSON.stringify(tag)}:${json}}`),
    );
    fc.assert(
      fc.property(text, (given) => {
        try {
          encodeValue(decodeValue(given));
        } catch (error) {
          expect(isTallyError(error, 'VALUE_UNSUPPORTED')).toBe(true);
        }
      }),
    );
  });
});

describe('rows and keys', () => {
  it('give equal keys equal text, and different keys different text', () => {
    const key = fc.array(scalar, { minLength: 1, maxLength: 2 }) as fc.Arbitrary<Key>;
    fc.assert(
      fc.property(key, (given) => {
        expect(decodeKey(encodeKey(given))).toStrictEqual(given);
        expect(encodeKey([...given])).toBe(encodeKey(given));
      }),
    );
    expect(new Set([[1], ['1'], [1n], [true], [null]].map(encodeKey)).size).toBe(5);
  });

  it('refuse text of something else', () => {
    for (const text of ['5', 'null', '[]', '{"$b":"AA=="}'])
      expect(() => decodeRow(text)).toThrow(unsupported);
    for (const text of ['5', 'null', '{}']) expect(() => decodeKey(text)).toThrow(unsupported);
  });
});
