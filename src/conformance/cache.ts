import assert from 'node:assert/strict';
import {
  always,
  ask,
  due,
  fill,
  found,
  lease,
  look,
  rejects,
  value,
  type CacheCase,
  type CacheConformanceOptions,
} from './cache-harness.ts';
import { cacheInvalidationCases } from './cache-invalidation.ts';
import { cacheLeaseCases } from './cache-leases.ts';

export type { CacheConformanceOptions, CacheSubject } from './cache-harness.ts';

/**
 * Registers the conformance suite of the cache port with a test runner. Each case gets a fresh subject and disposes of it;
 * where the manifest says no, the other half of a pair runs.
 */
export function cacheConformance(options: CacheConformanceOptions): void {
  const manifest: CacheCase = {
    id: 'CA-001',
    policy: 'shows the manifest that it was announced with',
    run: async (_subject, tier) => assert.deepEqual(tier.supports, options.supports),
  };
  for (const { id, policy, when, run } of [
    manifest,
    ...cacheValueCases,
    ...cacheLeaseCases,
    ...cacheInvalidationCases,
  ]) {
    if (when !== undefined && !when(options.supports)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        await run(subject, await subject.open());
      } finally {
        await subject.dispose();
      }
    });
  }
}

const awkwardKeys = [
  'plain',
  'with spaces and\ttabs',
  'line\nbreak\r\n',
  '\u0000\u0001\u007f',
  'é🪵漢',
  '{braces}{',
  'a:b:c',
  '*?[x]\\',
  '__proto__',
  'x'.repeat(200),
];

const cacheValueCases: readonly CacheCase[] = [
  {
    id: 'CA-002',
    policy: 'answers in the order of the keys, found or not',
    run: async (_subject, tier) => {
      assert.deepEqual(await tier.getMany([], due), []);
      await tier.putMany([value('a', '1'), value('c', '3')]);
      const answers = await tier.getMany(['c', 'b', 'a'], due);
      assert.deepEqual(
        answers.map(({ entry, lease: { kind } }) => [entry?.payload, kind]),
        [
          ['3', 'none'],
          [undefined, 'granted'],
          ['1', 'none'],
        ],
      );
    },
  },
  {
    id: 'CA-003',
    policy: 'holds awkward keys and texts apart and as they are',
    run: async (subject, tier) => {
      const values = awkwardKeys.map((key, index) =>
        value(key, `${index} ${key}`, { note: `note of ${key}` }),
      );
      assert.ok((await tier.putMany(values)).every((outcome) => outcome === 'stored'));
      await tier.putMany([value('empty', '')]);
      const other = await subject.open();
      const answers = await other.getMany(awkwardKeys, look);
      assert.deepEqual(
        answers.map(({ entry }) => [entry?.payload, entry?.note]),
        values.map(({ payload, note }) => [payload, note]),
      );
      assert.equal(await found(other, 'empty'), '');
    },
  },
  {
    id: 'CA-004',
    policy: 'holds bytes as they are',
    run: async (subject) => {
      const tier = await subject.open({ name: 'raw', payload: 'bytes' });
      const payload = Uint8Array.from({ length: 512 }, (_, index) => index % 256);
      const token = await lease(tier, 'a');
      assert.equal(await fill(tier, token, { ...value('a', ''), payload, note: 'é' }), 'stored');
      const { entry } = await ask(tier, 'a');
      assert.ok(entry !== undefined && typeof entry.payload !== 'string');
      assert.deepEqual(Uint8Array.from(entry.payload), payload);
      assert.equal(entry.note, 'é');
      await rejects(() => tier.putMany([value('b', 'text')]), 'VALUE_UNSUPPORTED');
    },
  },
  {
    id: 'CA-005',
    policy: 'refuses keys and values that it cannot hold, before anything is stored',
    run: async (_subject, tier) => {
      const { keyBytesMax, payloadBytesMax } = tier.supports;
      const bad: readonly (readonly [string, Parameters<typeof rejects>[1]])[] = [
        ['', 'VALUE_UNSUPPORTED'],
        ['\ud800', 'VALUE_UNSUPPORTED'],
        ['é'.repeat(keyBytesMax / 2 + 1), 'ROW_TOO_LARGE'],
        ['x'.repeat(1_048_576), 'ROW_TOO_LARGE'],
      ];
      for (const [key, code] of bad) {
        await rejects(() => tier.getMany(['fine', key], due), code);
        await rejects(() => tier.putMany([value('fine', 'x'), value(key, 'x')]), code);
        await rejects(() => tier.invalidate([key]), code);
      }
      await rejects(
        () => tier.putMany([value('a', 'x'.repeat(payloadBytesMax + 1))]),
        'ROW_TOO_LARGE',
      );
      for (const wrong of [Number.NaN, -1, Infinity])
        await rejects(() => tier.putMany([value('a', 'x', { freshMs: wrong })]), 'CONFIG_INVALID');
      await rejects(
        () => tier.putMany([value('a', 'x', { freshMs: 2_000, keepMs: 1_000 })]),
        'CONFIG_INVALID',
      );
      assert.equal(await found(tier, 'a'), undefined);
      assert.equal((await ask(tier, 'fine')).lease.kind, 'granted');
      const longest = 'k'.repeat(keyBytesMax);
      assert.deepEqual(await tier.putMany([value(longest, 'x')]), ['stored']);
      assert.equal(await found(tier, longest), 'x');
    },
  },
  {
    id: 'CA-006',
    policy: 'finds an entry fresh, then stale, then not at all',
    run: async (subject, tier) => {
      const { stepMs } = subject;
      const before = value('a', 'x', { freshMs: 4 * stepMs, keepMs: 10 * stepMs, loadMs: 17 });
      await tier.putMany([before]);
      const fresh = (await ask(tier, 'a')).entry;
      assert.ok(fresh !== undefined && fresh.freshForMs > 0 && fresh.freshForMs <= 4 * stepMs);
      assert.equal(fresh.loadMs, 17);
      assert.ok(fresh.ageMs >= 0 && fresh.ageMs < 4 * stepMs);
      await subject.advance(5 * stepMs);
      const stale = await ask(tier, 'a');
      assert.ok(stale.entry !== undefined && stale.entry.freshForMs <= 0);
      assert.ok(stale.entry.ageMs >= 4 * stepMs, `an age of ${stale.entry.ageMs} ms`);
      assert.equal(stale.lease.kind, 'granted');
      assert.equal((await ask(tier, 'a')).lease.kind, 'held');
      await subject.advance(6 * stepMs);
      assert.equal(await found(tier, 'a'), undefined);
      await tier.sweep();
      assert.equal(await tier.sweep(), 0);
    },
  },
  {
    id: 'CA-007',
    policy: 'keeps entries when everybody who used them is gone',
    run: async (subject, tier) => {
      await tier.putMany([value('a', 'x', { note: 'n' })]);
      await tier.close();
      const next = await subject.open();
      const { entry } = await ask(next, 'a', always);
      assert.deepEqual([entry?.payload, entry?.note], ['x', 'n']);
      await rejects(() => tier.getMany(['a'], due), 'STORE_CLOSED');
    },
  },
  {
    id: 'CA-008',
    policy: 'answers for a thousand keys at once, and stores as many',
    run: async (subject, tier) => {
      const keys = Array.from({ length: 1_000 }, (_, index) => `key ${index}`);
      const granted = await tier.getMany(keys, due);
      const fills = granted.map(({ lease: answer }, index) => {
        assert.equal(answer.kind, 'granted');
        const token = answer.kind === 'granted' ? answer.lease : '';
        return { ...value(keys[index] ?? '', String(index)), lease: token };
      });
      const outcomes = await tier.fillMany(fills);
      assert.ok(outcomes.every((outcome) => outcome === 'stored'));
      const other = await subject.open();
      const answers = await other.getMany(keys.toReversed(), due);
      assert.ok(answers.every(({ entry }, index) => entry?.payload === String(999 - index)));
    },
  },
];
