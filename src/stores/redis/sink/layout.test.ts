import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeValue } from '../../../core/codec.ts';
import type { Key, Row, Value } from '../../../core/row.ts';
import { FenceWriter, fenceAfter, fenceBefore, readFence } from './fence-text.ts';
import { keyOfText, keyText, keyTypes } from './key-text.ts';
import { decodeHash, encodeRow } from './layout.ts';
import { hash } from './targets.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '',
    '42',
    '-1',
    'null',
    'true',
    '"x"',
    '{"a":1}',
    '[',
    '0815',
    'a:b',
    '%3A',
    '1e5',
  ),
);
const scalar = fc.oneof(
  text,
  fc.double(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
);

test('a key is read back by its text and its types', () => {
  fc.assert(
    fc.property(fc.array(scalar, { minLength: 1, maxLength: 4 }), (key) => {
      const read = keyOfText(keyText(key), keyTypes(key));
      expect(encodeValue(read)).toBe(encodeValue(key as Key));
    }),
  );
});

test('keys of one number and types of parts never share a text', () => {
  const pair = fc.tuple(text, text);
  fc.assert(
    fc.property(pair, pair, (left, right) => {
      expect(keyText(left) === keyText(right)).toBe(encodeValue(left) === encodeValue(right));
    }),
  );
});

test('a key with half a surrogate pair is refused, since another could take its text', () => {
  expect(() => keyText(['\ud800'])).toThrow(expect.objectContaining({ code: 'VALUE_UNSUPPORTED' }));
});

test('every value of a hash without declared fields is read back as it was', () => {
  const value = fc.oneof(scalar, fc.array(scalar), fc.dictionary(text, scalar));
  fc.assert(
    fc.property(fc.dictionary(text, value, { minKeys: 1 }), (row) => {
      const { values } = encodeRow(hash(), row, 2 ** 20);
      expect(encodeValue(sorted(decodeHash(pairs(values), {})))).toBe(
        encodeValue(sorted(row as Row)),
      );
    }),
  );
});

test('declared fields are written as said, refuse other types, and are null where they are missing', () => {
  const declaration = hash({ fields: { zip: 'text', n: 'number', tags: 'json', none: 'text' } });
  const row: Row = { zip: '0815', n: 2.5, tags: 'a', none: null };
  const { values } = encodeRow(declaration, row, 2 ** 20);
  expect(values).toEqual(['zip', '0815', 'n', '2.5', 'tags', '"a"']);
  expect(decodeHash(pairs(values), declaration.fields)).toEqual(row);
  for (const n of [0, -0, 1e20, -1e300, 5e-324, 2n ** 60n, Number.NaN, Infinity]) {
    const encoded = encodeRow(declaration, { n }, 2 ** 20);
    expect(decodeHash(pairs(encoded.values), declaration.fields)['n']).toBe(n);
  }
  expect(() => encodeRow(declaration, { n: '1' }, 2 ** 20)).toThrow(
    expect.objectContaining({ code: 'WRITE_REFUSED' }),
  );
  expect(() => encodeRow(declaration, { none: null }, 2 ** 20)).toThrow(
    expect.objectContaining({ code: 'WRITE_REFUSED' }),
  );
});

test('fences compare as texts as their positions do', () => {
  const writer = new FenceWriter();
  const at = fc.record({
    epoch: fc.integer({ min: 0, max: 2 ** 13 - 1 }),
    offset: fc.maxSafeInteger().map((offset) => Math.abs(offset) % 2 ** 50),
    ordinal: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  });
  fc.assert(
    fc.property(at, at, (left, right) => {
      const order =
        left.epoch - right.epoch || left.offset - right.offset || left.ordinal - right.ordinal;
      expect(Math.sign(order)).toBe(compare(writer.text(left), writer.text(right)));
      expect(compare(fenceBefore(left), writer.text(left))).toBeLessThanOrEqual(0);
      expect(compare(writer.text(left), fenceAfter(left))).toBeLessThanOrEqual(0);
    }),
  );
  expect(
    readFence(`${writer.text({ epoch: 8, offset: 1, ordinal: 0 })}.nt+items.sorted:a`),
  ).toEqual({
    fence: '000800000000000000010000000000',
    isTombstone: false,
    types: 'nt',
  });
});

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function pairs(values: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    Array.from({ length: values.length / 2 }, (_, index) => [
      values[2 * index] ?? '',
      values[2 * index + 1] ?? '',
    ]),
  );
}

function sorted(row: Row): Value {
  return Object.entries(row).toSorted(([left], [right]) => compare(left, right));
}
