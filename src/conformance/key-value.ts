import assert from 'node:assert/strict';
import type { Value } from '../core/row.ts';
import { keyValueConditionCases, keyValueExpiryCases } from './key-value-conditions.ts';
import {
  listed,
  rejects,
  type KeyValueCase,
  type KeyValueConformanceOptions,
} from './key-value-harness.ts';

export type { KeyValueConformanceOptions, KeyValueSubject } from './key-value-harness.ts';

/**
 * Registers the conformance suite of the key-value port with a test runner. Each case gets a fresh
 * subject and disposes of it; where the manifest says no, the other half of a pair runs.
 */
export function keyValueConformance(options: KeyValueConformanceOptions): void {
  const manifest: KeyValueCase = {
    id: 'KV-001',
    policy: 'shows the manifest that it was announced with',
    run: async ({ keyValue }) => {
      assert.deepEqual({ ...keyValue.supports }, { ...options.supports });
    },
  };
  for (const { id, policy, when, run } of [
    manifest,
    ...entries,
    ...keyValueConditionCases,
    ...keyValueExpiryCases,
    ...lists,
  ]) {
    if (when !== undefined && !when(options.supports)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        await run(subject);
      } finally {
        await subject.dispose();
      }
    });
  }
}

const values: readonly Value[] = [
  null,
  false,
  0,
  -0,
  '',
  'text \u{1F600}',
  0.1,
  Number.NaN,
  -Infinity,
  9_007_199_254_740_993n,
  new Uint8Array([0, 255, 128]),
  [1, [null, 'two']],
  { $i: 'not a tag', nested: { deep: [true] } },
];

/** In byte order of their UTF-8 text, which is not the order of UTF-16 code units. */
const awkwardKeys = [
  ' ',
  '"quoted"',
  '%',
  '*',
  'A',
  'B',
  '[x]',
  '\\',
  '_',
  'a',
  'a%b',
  'a*',
  'a:1',
  'a_b',
  "o'brien",
  '\u00e9',
  '\ue000',
  '\uffff',
  '\u{1F600}',
];

const entries: readonly KeyValueCase[] = [
  {
    id: 'KV-002',
    policy: 'answers undefined for a key that has no value, and what was set for one that has',
    run: async ({ keyValue }) => {
      assert.equal(await keyValue.get('a'), undefined);
      const version = await keyValue.set('a', 'first');
      assert.deepEqual(
        { ...(await keyValue.get('a')) },
        { value: 'first', version, expiresAtMs: undefined },
      );
      const second = await keyValue.set('a', 'second');
      assert.deepEqual(
        { ...(await keyValue.get('a')) },
        { value: 'second', version: second, expiresAtMs: undefined },
      );
    },
  },
  {
    id: 'KV-003',
    policy: 'keeps every kind of value as it is',
    run: async ({ keyValue }) => {
      for (const [index, value] of values.entries()) {
        await keyValue.set(`k${index}`, value);
        assert.deepEqual((await keyValue.get(`k${index}`))?.value, value, `value ${index}`);
      }
    },
  },
  {
    id: 'KV-004',
    policy: 'keeps awkward keys apart',
    run: async ({ keyValue }) => {
      for (const key of awkwardKeys) await keyValue.set(key, `of ${key}`);
      for (const key of awkwardKeys) assert.equal((await keyValue.get(key))?.value, `of ${key}`);
    },
  },
  {
    id: 'KV-005',
    policy: 'says whether there was something to delete',
    run: async ({ keyValue }) => {
      await keyValue.set('a', 1);
      await keyValue.set('b', 2);
      assert.equal(await keyValue.delete('a'), true);
      assert.equal(await keyValue.delete('a'), false);
      assert.equal(await keyValue.get('a'), undefined);
      assert.equal((await keyValue.get('b'))?.value, 2);
    },
  },
  {
    id: 'KV-006',
    policy: 'answers many keys in the order asked, repeated and absent ones too',
    run: async ({ keyValue }) => {
      assert.deepEqual(await keyValue.getMany([]), []);
      const keys = Array.from({ length: 1_000 }, (_, index) => `k${index}`);
      await Promise.all(keys.map((key, index) => keyValue.set(key, index)));
      const asked = ['k999', 'none', 'k0', 'k999', ...keys];
      const answers = await keyValue.getMany(asked);
      const expected = [999, undefined, 0, 999, ...keys.keys()];
      assert.deepEqual(
        answers.map((entry) => entry?.value),
        expected,
      );
    },
  },
  {
    id: 'KV-007',
    policy: 'still holds entries and versions after it was opened again',
    run: async (subject) => {
      const version = await subject.keyValue.set('a', 'first');
      await subject.reopen();
      assert.deepEqual(
        { ...(await subject.keyValue.get('a')) },
        { value: 'first', version, expiresAtMs: undefined },
      );
      assert.ok((await subject.keyValue.set('a', 'second')) > version);
    },
  },
  {
    id: 'KV-008',
    policy: 'refuses a key or value over its limit as ROW_TOO_LARGE, and takes a key just at it',
    run: async ({ keyValue }) => {
      const { keyBytesMax, valueBytesMax } = keyValue.supports;
      await keyValue.set('k'.repeat(keyBytesMax), 1);
      assert.equal((await keyValue.get('k'.repeat(keyBytesMax)))?.value, 1);
      await rejects(keyValue.set('k'.repeat(keyBytesMax + 1), 1), 'ROW_TOO_LARGE');
      await rejects(keyValue.set('\u00e9'.repeat(keyBytesMax / 2 + 1), 1), 'ROW_TOO_LARGE');
      await keyValue.set('a', 'kept');
      await rejects(keyValue.set('a', 'x'.repeat(valueBytesMax)), 'ROW_TOO_LARGE');
      assert.equal((await keyValue.get('a'))?.value, 'kept');
    },
  },
  {
    id: 'KV-009',
    policy: 'refuses what it cannot carry as VALUE_UNSUPPORTED and keeps what was there',
    run: async ({ keyValue }) => {
      await keyValue.set('a', 'kept');
      await rejects(keyValue.set('a', new Map() as unknown as Value), 'VALUE_UNSUPPORTED');
      await rejects(keyValue.set('a', undefined as unknown as Value), 'VALUE_UNSUPPORTED');
      await rejects(keyValue.set('\ud800', 1), 'VALUE_UNSUPPORTED');
      assert.equal((await keyValue.get('a'))?.value, 'kept');
    },
  },
];

const lists: readonly KeyValueCase[] = [
  {
    id: 'KV-040',
    policy: 'lists keys in byte order',
    run: async ({ keyValue }) => {
      for (const key of awkwardKeys.toReversed()) await keyValue.set(key, 1);
      assert.deepEqual(await listed(keyValue, ''), awkwardKeys);
    },
  },
  {
    id: 'KV-041',
    policy: 'takes every character of a prefix as it is',
    run: async ({ keyValue }) => {
      for (const key of awkwardKeys) await keyValue.set(key, 1);
      for (const prefix of awkwardKeys)
        assert.deepEqual(
          await listed(keyValue, prefix),
          awkwardKeys.filter((key) => key.startsWith(prefix)),
          prefix,
        );
    },
  },
  {
    id: 'KV-042',
    policy: 'lists more keys than a page, each once, and stops at the limit',
    run: async ({ keyValue }) => {
      const keys = Array.from(
        { length: 1_201 },
        (_, index) => `k${String(index).padStart(5, '0')}`,
      );
      await Promise.all(keys.map((key) => keyValue.set(key, 1)));
      await keyValue.set('l', 1);
      assert.deepEqual(await listed(keyValue, 'k'), keys);
      for (const limit of [0, 1, 700, 5_000])
        assert.deepEqual(await listed(keyValue, 'k', limit), keys.slice(0, limit));
    },
  },
  {
    id: 'KV-043',
    policy: 'lists each remaining key once while others are deleted',
    run: async ({ keyValue }) => {
      const keys = Array.from(
        { length: 1_000 },
        (_, index) => `k${String(index).padStart(5, '0')}`,
      );
      await Promise.all(keys.map((key) => keyValue.set(key, 1)));
      const seen: string[] = [];
      for await (const key of keyValue.keys('k')) {
        seen.push(key);
        await keyValue.delete(key);
      }
      assert.deepEqual(seen, keys);
      assert.deepEqual(await listed(keyValue, 'k'), []);
    },
  },
];
