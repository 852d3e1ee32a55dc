import assert from 'node:assert/strict';
import { isTallyError } from '../core/errors.ts';
import type { Value } from '../core/row.ts';
import {
  comesTo,
  keyOf,
  rejects,
  type EffectsCase,
  type EffectsConformanceOptions,
} from './effects-harness.ts';
import { effectLockCases } from './effects-locks.ts';
import { effectRetentionCases, effectUndoCases } from './effects-undo.ts';

export type { EffectsConformanceOptions, EffectsSubject } from './effects-harness.ts';

const doCases: readonly EffectsCase[] = [
  {
    id: 'EF-001',
    policy: 'does an effect once, and gives its first result to whoever does it again',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      const first = await comesTo(subject.effects.do(key, subject.add('a', 5, 'first')), 'done');
      assert.deepEqual(first.result, { amount: 5, tag: 'first' });
      const again = await comesTo(subject.effects.do(key, subject.add('a', 5, 'second')), 'again');
      assert.deepEqual(again.result, { amount: 5, tag: 'first' });
      assert.equal(await subject.balance('a'), 5);
    },
  },
  {
    id: 'EF-002',
    policy: 'does an effect once that many ask for at the same time, with one result for all',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      const outcomes = await Promise.all(
        Array.from({ length: 10 }, (_, racer) =>
          subject.effects.do(key, subject.add('a', 5, racer)),
        ),
      );
      assert.equal(outcomes.filter(({ kind }) => kind === 'done').length, 1);
      assert.equal(outcomes.filter(({ kind }) => kind === 'again').length, 9);
      const results = outcomes.map((outcome) =>
        JSON.stringify('result' in outcome && outcome.result),
      );
      assert.equal(new Set(results).size, 1);
      assert.equal(await subject.balance('a'), 5);
    },
  },
  {
    id: 'EF-003',
    policy: 'knows what was done after it was opened again',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await subject.effects.do(key, subject.add('a', 5, 'first'));
      await subject.reopen();
      const again = await comesTo(subject.effects.do(key, subject.add('a', 5, 'second')), 'again');
      assert.deepEqual(again.result, { amount: 5, tag: 'first' });
      assert.equal(await subject.balance('a'), 5);
    },
  },
  {
    id: 'EF-004',
    policy: 'takes different names for different effects, whatever is in them',
    run: async (subject) => {
      const names = ['a', 'A', 'a ', 'a/1', 'ä', '{a}', 'a%2F1', "a'; --", 'x'.repeat(512)];
      for (const [index, name] of names.entries())
        await comesTo(
          subject.effects.do(keyOf(subject, name), subject.add(`account ${index}`, 1, index)),
          'done',
        );
      for (const [index, name] of names.entries()) {
        const work = subject.add(`account ${index}`, 1, 'again');
        const again = await comesTo(subject.effects.do(keyOf(subject, name), work), 'again');
        assert.deepEqual(again.result, { amount: 1, tag: index });
      }
    },
  },
  {
    id: 'EF-005',
    policy: 'gives results back as they were',
    run: async (subject) => {
      const tags: readonly Value[] = [
        null,
        false,
        '',
        'zero \u0000, é, 😀',
        9_007_199_254_740_993n,
        new Uint8Array([0, 255]),
        [1, [2, { three: null }]],
      ];
      for (const [index, tag] of tags.entries()) {
        const key = keyOf(subject, `saga/${index}`);
        await subject.effects.do(key, subject.add(`a${index}`, 1, tag));
        const again = await comesTo(
          subject.effects.do(key, subject.add(`a${index}`, 1, 'x')),
          'again',
        );
        assert.deepEqual(again.result, { amount: 1, tag });
      }
    },
  },
  {
    id: 'EF-006',
    policy: 'keeps nothing of a work that does not come to its end, and does it when asked again',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await assert.rejects(subject.effects.do(key, subject.fail('a')));
      assert.equal(await subject.balance('a'), 0);
      assert.equal((await subject.effects.probe(key, subject.place('a'))).kind, 'absent');
      await comesTo(subject.effects.do(key, subject.add('a', 5, null)), 'done');
      assert.equal(await subject.balance('a'), 5);
    },
  },
  {
    id: 'EF-007',
    policy: 'keeps nothing of an effect whose result is too large',
    when: ({ unit }) => unit !== 'script',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      const large = 'x'.repeat(subject.effects.supports.resultBytesMax);
      await rejects(subject.effects.do(key, subject.add('a', 5, large)), 'ROW_TOO_LARGE');
      assert.equal(await subject.balance('a'), 0);
      await comesTo(subject.effects.do(key, subject.add('a', 5, 'small')), 'done');
    },
  },
  {
    id: 'EF-007',
    policy: 'marks an effect whose result is too large, and never does it again',
    when: ({ unit }) => unit === 'script',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      const large = 'x'.repeat(subject.effects.supports.resultBytesMax);
      await rejects(subject.effects.do(key, subject.add('a', 5, large)), 'EFFECT_REFUSED');
      await rejects(subject.effects.do(key, subject.add('a', 5, 'small')), 'EFFECT_REFUSED');
      assert.equal(await subject.balance('a'), 5);
    },
  },
  {
    id: 'EF-010',
    policy: 'tells what became of an effect, and changes nothing by that',
    run: async (subject) => {
      const [key, place] = [keyOf(subject, 'saga/1'), subject.place('a')];
      assert.deepEqual(await subject.effects.probe(key, place), { kind: 'absent' });
      await comesTo(subject.effects.do(key, subject.add('a', 5, 'first')), 'done');
      assert.deepEqual(await subject.effects.probe(key, place), {
        kind: 'done',
        result: { amount: 5, tag: 'first' },
      });
      await subject.effects.undo(key, subject.takeBack('a'));
      assert.deepEqual(await subject.effects.probe(key, place), { kind: 'undone' });
    },
  },
  {
    id: 'EF-011',
    policy: 'refuses what names no effect',
    run: async (subject) => {
      const startedAtMs = Math.floor(subject.nowMs());
      const bad = [
        { id: '', startedAtMs },
        { id: 'x'.repeat(513), startedAtMs },
        { id: 'a\u0000b', startedAtMs },
        { id: '\ud800', startedAtMs },
        { id: 'a', startedAtMs: -1 },
        { id: 'a', startedAtMs: Number.NaN },
      ];
      for (const key of bad) {
        await rejects(subject.effects.do(key, subject.add('a', 1, null)), 'CONFIG_INVALID');
        await rejects(subject.effects.undo(key, subject.takeBack('a')), 'CONFIG_INVALID');
      }
      const typo = { id: 'a', startedAtMs, startedAt: 1 };
      await assert.rejects(subject.effects.do(typo, subject.add('a', 1, null)), (error) =>
        isTallyError(error, 'CONFIG_UNKNOWN_OPTION'),
      );
      assert.equal(await subject.balance('a'), 0);
    },
  },
];

const cases: readonly EffectsCase[] = [
  ...doCases,
  ...effectUndoCases,
  ...effectRetentionCases,
  ...effectLockCases,
];

/**
 * Registers the conformance suite of effects with a test runner: once each, whatever comes twice, late or in the
 * wrong order. Where the manifest says no, the other half of a pair asserts how it refuses. Each case gets a fresh
 * subject and disposes of it.
 */
export function effectsConformance(options: EffectsConformanceOptions): void {
  for (const { id, policy, when, run } of cases) {
    if (when !== undefined && !when(options.supports)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        assert.deepEqual(subject.effects.supports, options.supports);
        await run(subject);
      } finally {
        await subject.dispose();
      }
    });
  }
}
