import { assert, constantFrom, oneof, property, string } from 'fast-check';
import { relative, sep } from 'node:path';
import { expect, test } from 'vitest';
import { compareEntries, keyBytes, pathOfKey, readName, safeName } from './key-path.ts';

const root = '/srv/objects';
const anyKey = oneof(
  string({ unit: 'binary', minLength: 1, maxLength: 200 }),
  string({
    unit: constantFrom('.', '/', 'a', 'A', '%', '\u0000', 'é'),
    minLength: 1,
    maxLength: 400,
  }),
).filter((key) => key.isWellFormed() && Buffer.byteLength(key) <= 1024);

test('never leaves the root, and makes only names that every file system takes', () => {
  assert(
    property(anyKey, (key) => {
      const path = relative(root, pathOfKey(root, keyBytes(key)));
      for (const name of path.split(sep)) {
        expect(name).toMatch(/^[a-z0-9_.%-]{1,255}$/);
        expect(['.', '..']).not.toContain(name);
        expect(name).not.toMatch(/^(?:con|prn|aux|nul|com\d|lpt\d)\./);
      }
    }),
  );
});

test('reads its names back to the key, and orders them as the bytes of the keys', () => {
  assert(
    property(anyKey, anyKey, (one, two) => {
      const [left, right] = [one, two].map((key) => {
        const names = relative(root, pathOfKey(root, keyBytes(key))).split(sep);
        const entries = names.map((name) => readName(name));
        expect(entries.map((entry) => entry?.slice).join('')).toBe(keyBytes(key));
        return entries.flatMap((entry) => (entry === undefined ? [] : [entry]));
      });
      const differ = left?.findIndex((entry, index) => entry.name !== right?.[index]?.name) ?? -1;
      const [first, second] = [left?.[differ], right?.[differ]];
      if (first === undefined || second === undefined) {
        expect(one).toBe(two);
        return;
      }
      const wanted = Buffer.compare(Buffer.from(one), Buffer.from(two));
      expect(Math.sign(compareEntries(first, second))).toBe(wanted);
    }),
    { numRuns: 2_000 },
  );
});

test.each(['.DS_Store', 'A.o', 'a.x', '%2E.o', '%61.o', 'con.o', '.hidden.o', ''])(
  'leaves the foreign name %j alone',
  (name) => {
    expect(readName(name)).toBeUndefined();
  },
);

test('gives long texts that begin alike names of their own', () => {
  const [one, two] = [safeName('x'.repeat(300)), safeName(`${'x'.repeat(299)}y`)];
  expect(one).not.toBe(two);
  expect(one.length).toBeLessThan(256);
});
