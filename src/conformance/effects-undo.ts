import assert from 'node:assert/strict';
import { comesTo, keyOf, rejects, type EffectsCase } from './effects-harness.ts';

/** Undo, in every order that a network makes of it. */
export const effectUndoCases: readonly EffectsCase[] = [
  {
    id: 'EF-020',
    policy: 'takes an effect back once, by its result',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await subject.effects.do(key, subject.add('a', 5, null));
      await comesTo(subject.effects.undo(key, subject.takeBack('a')), 'undone');
      assert.equal(await subject.balance('a'), 0);
      await comesTo(subject.effects.undo(key, subject.takeBack('a')), 'again');
      assert.equal(await subject.balance('a'), 0);
    },
  },
  {
    id: 'EF-021',
    policy: 'refuses a do that comes after its undo',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await subject.effects.do(key, subject.add('a', 5, null));
      await subject.effects.undo(key, subject.takeBack('a'));
      await comesTo(subject.effects.do(key, subject.add('a', 5, null)), 'undone');
      assert.equal(await subject.balance('a'), 0);
    },
  },
  {
    id: 'EF-022',
    policy:
      'undoes nothing where nothing was done, and refuses the do that comes late, also after it was opened again',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await comesTo(subject.effects.undo(key, subject.takeBack('a')), 'nothing');
      await comesTo(subject.effects.undo(key, subject.takeBack('a')), 'again');
      await comesTo(subject.effects.do(key, subject.add('a', 5, null)), 'undone');
      await subject.reopen();
      await comesTo(subject.effects.do(key, subject.add('a', 5, null)), 'undone');
      assert.equal(await subject.balance('a'), 0);
    },
  },
  {
    id: 'EF-023',
    policy: 'ends with nothing done, whichever of a do and its undo at the same time is first',
    run: async (subject) => {
      for (let round = 0; round < 12; round += 1) {
        const account = `a${round}`;
        const key = keyOf(subject, `saga/${round}`);
        const run = {
          do: () => subject.effects.do(key, subject.add(account, 5, null)),
          undo: () => subject.effects.undo(key, subject.takeBack(account)),
        };
        const [done, undone] =
          round % 2 === 0
            ? await Promise.all([run.do(), run.undo()])
            : (await Promise.all([run.undo(), run.do()])).toReversed();
        const pair = `${done?.kind} ${undone?.kind}`;
        assert.ok(['done undone', 'undone nothing'].includes(pair), pair);
        assert.equal(await subject.balance(account), 0, pair);
      }
    },
  },
  {
    id: 'EF-024',
    policy: 'lets exactly one of several undos at the same time take the effect back',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await subject.effects.do(key, subject.add('a', 5, null));
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, () => subject.effects.undo(key, subject.takeBack('a'))),
      );
      assert.deepEqual(outcomes.map(({ kind }) => kind).toSorted(), [
        ...Array.from({ length: 5 }, () => 'again'),
        'undone',
      ]);
      assert.equal(await subject.balance('a'), 0);
    },
  },
  {
    id: 'EF-025',
    policy: 'still has the effect if its undo throws, and undoes it later',
    when: ({ unit }) => unit === 'transaction' || unit === 'entry',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await subject.effects.do(key, subject.add('a', 5, null));
      await assert.rejects(subject.effects.undo(key, subject.failBack('a')));
      assert.equal(await subject.balance('a'), 5);
      await comesTo(subject.effects.undo(key, subject.takeBack('a')), 'undone');
      assert.equal(await subject.balance('a'), 0);
    },
  },
  {
    id: 'EF-025',
    policy: 'neither undoes nor does again what failed in the middle of its undo',
    when: ({ unit }) => unit === 'script',
    run: async (subject) => {
      const key = keyOf(subject, 'saga/1');
      await subject.effects.do(key, subject.add('a', 5, null));
      await rejects(subject.effects.undo(key, subject.failBack('a')), 'EFFECT_REFUSED');
      const left = await subject.balance('a');
      await rejects(subject.effects.undo(key, subject.takeBack('a')), 'EFFECT_REFUSED');
      await rejects(subject.effects.do(key, subject.add('a', 5, null)), 'EFFECT_REFUSED');
      assert.equal(await subject.balance('a'), left);
    },
  },
];

/** What is forgotten, and what it leaves behind. */
export const effectRetentionCases: readonly EffectsCase[] = [
  {
    id: 'EF-030',
    policy: 'refuses a late do whose marker was forgotten, and never does it again',
    run: async (subject) => {
      const { effects } = subject;
      const [undone, done] = [keyOf(subject, 'saga/1'), keyOf(subject, 'saga/2')];
      await effects.undo(undone, subject.takeBack('a'));
      await effects.do(done, subject.add('b', 5, null));
      const beforeMs = undone.startedAtMs + 3_600_000;
      await subject.forget(beforeMs);
      await comesTo(subject.effects.do(undone, subject.add('a', 5, null)), 'forgotten');
      assert.equal(await subject.balance('a'), 0);
      // The marker of an object is as old as the object.
      const late = await subject.effects.do(done, subject.add('b', 5, null));
      assert.ok(['again', 'forgotten'].includes(late.kind), late.kind);
      if (late.kind === 'forgotten')
        await comesTo(subject.effects.undo(done, subject.takeBack('b')), 'forgotten');
      assert.equal(await subject.balance('b'), 5);
    },
  },
  {
    id: 'EF-031',
    policy: 'forgets nothing of sagas that are younger',
    run: async (subject) => {
      const nowMs = Math.floor(subject.nowMs());
      const young = { id: 'saga/young', startedAtMs: nowMs + 7_200_000 };
      await subject.effects.undo({ id: 'saga/old', startedAtMs: nowMs }, subject.takeBack('a'));
      await subject.effects.undo(young, subject.takeBack('b'));
      await subject.forget(nowMs + 3_600_000);
      await comesTo(subject.effects.do(young, subject.add('b', 5, null)), 'undone');
      const next = { id: 'saga/next', startedAtMs: nowMs + 7_200_000 };
      await comesTo(subject.effects.do(next, subject.add('c', 5, null)), 'done');
    },
  },
  {
    id: 'EF-032',
    policy: 'forgets no more than it is told to in one call, and all of it in some',
    run: async (subject) => {
      const nowMs = Math.floor(subject.nowMs());
      for (let saga = 0; saga < 5; saga += 1)
        await subject.effects.undo(
          { id: `saga/${saga}`, startedAtMs: nowMs },
          subject.takeBack(`a${saga}`),
        );
      const first = await subject.forget(nowMs + 3_600_000, 2);
      assert.ok(first <= 2, `${first} of 2`);
      assert.equal(first + (await subject.forget(nowMs + 3_600_000)), 5);
      assert.equal(await subject.forget(nowMs + 3_600_000), 0);
    },
  },
];
