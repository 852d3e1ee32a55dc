import assert from 'node:assert/strict';
import type { DoOutcome, HeldLock } from '../ports/effects.ts';
import {
  comesTo,
  keyOf,
  rejects,
  type EffectsCase,
  type EffectsSubject,
} from './effects-harness.ts';

const locks: EffectsCase['when'] = (supports) => supports.locks;
const TTL_MS = 600_000;

/** Does an effect on an account under a lock on it. */
function locking(
  subject: EffectsSubject,
  id: string,
  owner: string,
  token?: number,
): Promise<DoOutcome> {
  const lock = { resource: 'a', owner, ttlMs: TTL_MS, ...(token !== undefined && { token }) };
  return subject.effects.do(keyOf(subject, id), subject.add('a', 1, null), { lock });
}

function holderOf(subject: EffectsSubject): Promise<HeldLock | undefined> {
  return subject.effects.holder('a', subject.place('a'));
}

function held(outcome: DoOutcome): HeldLock {
  assert.ok(outcome.kind === 'done' || outcome.kind === 'again', outcome.kind);
  assert.ok(outcome.lock, 'the lock is told');
  return outcome.lock;
}

/** Semantic locks, taken and released in the step of an effect. */
export const effectLockCases: readonly EffectsCase[] = [
  {
    id: 'EF-040',
    policy: 'shows a lock to readers, tells others who holds it, and does nothing of theirs',
    when: locks,
    run: async (subject) => {
      assert.equal(await holderOf(subject), undefined);
      const mine = held(await locking(subject, 'one/1', 'one'));
      assert.deepEqual(await holderOf(subject), mine);
      assert.equal(mine.owner, 'one');
      assert.ok(mine.expiresAtMs > subject.nowMs());
      const other = await comesTo(locking(subject, 'two/1', 'two'), 'locked');
      assert.deepEqual(other.lock, mine);
      assert.equal(await subject.balance('a'), 1);
    },
  },
  {
    id: 'EF-040',
    policy: 'refuses a lock, which its manifest does not offer',
    when: (supports) => !supports.locks,
    run: async (subject) => {
      await rejects(locking(subject, 'one/1', 'one'), 'CAPABILITY_MISSING');
      await rejects(holderOf(subject), 'CAPABILITY_MISSING');
      assert.equal(await subject.balance('a'), 0);
    },
  },
  {
    id: 'EF-041',
    policy: 'releases with the undo what the effect has locked, and lets the refused one in then',
    when: locks,
    run: async (subject) => {
      const first = held(await locking(subject, 'one/1', 'one'));
      await comesTo(locking(subject, 'two/1', 'two'), 'locked');
      await subject.effects.undo(keyOf(subject, 'one/1'), subject.takeBack('a'));
      assert.equal(await holderOf(subject), undefined);
      const second = held(await locking(subject, 'two/1', 'two'));
      assert.ok(second.token > first.token, `${second.token} after ${first.token}`);
      assert.equal(await subject.balance('a'), 1);
    },
  },
  {
    id: 'EF-042',
    policy: 'releases with the last step what an earlier one has locked',
    when: locks,
    run: async (subject) => {
      await locking(subject, 'one/1', 'one');
      await subject.effects.do(keyOf(subject, 'one/2'), subject.add('a', 1, null), {
        unlock: { resource: 'a', owner: 'somebody else' },
      });
      assert.equal((await holderOf(subject))?.owner, 'one');
      await subject.effects.do(keyOf(subject, 'one/3'), subject.add('a', 1, null), {
        unlock: { resource: 'a', owner: 'one' },
      });
      assert.equal(await holderOf(subject), undefined);
    },
  },
  {
    id: 'EF-043',
    policy: 'lets the same owner in again, under the same token',
    when: locks,
    run: async (subject) => {
      const first = held(await locking(subject, 'one/1', 'one'));
      const again = held(await locking(subject, 'one/2', 'one', first.token));
      assert.equal(again.token, first.token);
      assert.equal(held(await locking(subject, 'one/1', 'one')).token, first.token);
      assert.equal(await subject.balance('a'), 2);
    },
  },
  {
    id: 'EF-044',
    policy: 'refuses who names a lock that has run out, taken since or not, and does nothing of it',
    when: locks,
    run: async (subject) => {
      const first = held(await locking(subject, 'one/1', 'one'));
      await subject.expireLocks();
      assert.equal(await holderOf(subject), undefined);
      await comesTo(locking(subject, 'one/2', 'one', first.token), 'fenced');
      const second = held(await locking(subject, 'two/1', 'two'));
      assert.ok(second.token > first.token);
      await comesTo(locking(subject, 'one/2', 'one', first.token), 'fenced');
      assert.equal(await subject.balance('a'), 2);
      // Its undo must not take away what somebody else holds now.
      await subject.effects.undo(keyOf(subject, 'one/1'), subject.takeBack('a'));
      assert.equal((await holderOf(subject))?.token, second.token);
    },
  },
  {
    id: 'EF-045',
    policy: 'gives a lock to exactly one of several owners at the same time',
    when: locks,
    run: async (subject) => {
      const owners = ['one', 'two', 'three', 'four', 'five'];
      const outcomes = await Promise.all(
        owners.map((owner) => locking(subject, `${owner}/1`, owner)),
      );
      assert.equal(outcomes.filter(({ kind }) => kind === 'done').length, 1);
      assert.equal(outcomes.filter(({ kind }) => kind === 'locked').length, 4);
      assert.equal(await subject.balance('a'), 1);
    },
  },
];
