import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { differences } from './differences.ts';

test('members and entries that differ are named by their path, whatever is the same is not', () => {
  expect(
    differences(
      { a: 1, lines: [{ n: 1 }, { n: 2 }], same: { deep: [1] }, gone: true },
      { a: 1, lines: [{ n: 1 }, { n: 3 }, { n: 4 }], same: { deep: [1] }, come: null },
    ),
  ).toEqual([
    { path: 'lines[1].n', before: 2, after: 3 },
    { path: 'lines[2]', before: undefined, after: { n: 4 } },
    { path: 'gone', before: true, after: undefined },
    { path: 'come', before: undefined, after: null },
  ]);
  expect(differences(1, 2)).toEqual([{ path: '', before: 1, after: 2 }]);
});

test('what is no plain object or list is compared as a whole', () => {
  expect(differences(new Set([1]), new Set([1]))).toEqual([]);
  expect(differences({ a: new Set([1]) }, { a: new Set([2]) })).toEqual([
    { path: 'a', before: new Set([1]), after: new Set([2]) },
  ]);
});

test('there are differences exactly where two values are not the same', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (left, right) => {
      expect(differences(left, structuredClone(left))).toEqual([]);
      const copies = { left: structuredClone(left), right: structuredClone(right) };
      expect(differences(left, right).length > 0).toBe(differences(right, left).length > 0);
      expect({ left, right }).toEqual(copies);
    }),
  );
});

test('no more are told than anybody reads', () => {
  const many = Array.from({ length: 1_000 }, (_, index) => index);
  expect(
    differences(
      many,
      many.map((n) => n + 1),
    ),
  ).toHaveLength(100);
});
