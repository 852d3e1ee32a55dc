import assert from 'node:assert/strict';
import { isTallyError } from '../core/errors.ts';
import type { KeyValue } from '../ports/key-value.ts';
import { listed, rejects, type KeyValueCase, type KeyValueSubject } from './key-value-harness.ts';

const sets: KeyValueCase['when'] = ({ compareAndSet }) => compareAndSet;

/** Versions, and writes under a condition. */
export const keyValueConditionCases: readonly KeyValueCase[] = [
  {
    id: 'KV-020',
    policy: 'gives a key a larger version with each write, also after it was deleted',
    run: async (subject) => {
      let version = 0;
      for (const step of [
        'set',
        'set',
        'delete',
        'set',
        'reopen',
        'set',
        'delete',
        'reopen',
        'set',
      ] as const) {
        if (step === 'delete') await subject.keyValue.delete('a');
        else if (step === 'reopen') await subject.reopen();
        else {
          const next = await subject.keyValue.set('a', version);
          assert.ok(Number.isSafeInteger(next) && next > version, `${next} after ${version}`);
          version = next;
        }
      }
    },
  },
  {
    id: 'KV-021',
    policy: 'writes over the expected version only',
    when: sets,
    run: async ({ keyValue }) => {
      const first = await keyValue.set('a', 'first', { ifVersion: 0 });
      await rejects(keyValue.set('a', 'again', { ifVersion: 0 }), 'CONDITION_FAILED');
      const second = await keyValue.set('a', 'second', { ifVersion: first });
      await rejects(keyValue.set('a', 'late', { ifVersion: first }), 'CONDITION_FAILED');
      assert.deepEqual(
        { ...(await keyValue.get('a')) },
        { value: 'second', version: second, expiresAtMs: undefined },
      );
      await rejects(keyValue.set('none', 'x', { ifVersion: second }), 'CONDITION_FAILED');
      assert.equal(await keyValue.get('none'), undefined);
    },
  },
  {
    id: 'KV-021',
    policy: 'refuses a condition, which its manifest does not offer',
    when: ({ compareAndSet }) => !compareAndSet,
    run: async ({ keyValue }) => {
      await rejects(keyValue.set('a', 'x', { ifVersion: 0 }), 'CAPABILITY_MISSING');
      assert.equal(await keyValue.get('a'), undefined);
    },
  },
  {
    id: 'KV-022',
    policy: 'refuses a version read before the key was deleted and set again',
    when: sets,
    run: async ({ keyValue }) => {
      const old = await keyValue.set('a', 'first');
      await keyValue.delete('a');
      await rejects(keyValue.set('a', 'late', { ifVersion: old }), 'CONDITION_FAILED');
      await keyValue.set('a', 'anew');
      await rejects(keyValue.set('a', 'late', { ifVersion: old }), 'CONDITION_FAILED');
      assert.equal((await keyValue.get('a'))?.value, 'anew');
    },
  },
  {
    id: 'KV-023',
    policy: 'lets exactly one of many that expect the same version win',
    when: sets,
    run: async ({ keyValue }) => {
      const racers = Array.from({ length: 20 }, (_, racer) =>
        keyValue.set('a', racer, { ifVersion: 0 }),
      );
      const outcomes = await Promise.allSettled(racers);
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
      const winner = outcomes.findIndex(({ status }) => status === 'fulfilled');
      assert.equal((await keyValue.get('a'))?.value, winner);
    },
  },
  {
    id: 'KV-024',
    policy: 'loses no increment of many that read, add one and set under the version read',
    when: sets,
    run: async ({ keyValue }) => {
      await keyValue.set('n', 0);
      await Promise.all(Array.from({ length: 8 }, () => increment(keyValue, 5)));
      assert.equal((await keyValue.get('n'))?.value, 40);
    },
  },
];

const expires: KeyValueCase['when'] = ({ ttlResolutionMs }) => ttlResolutionMs !== undefined;

/** Expiry. */
export const keyValueExpiryCases: readonly KeyValueCase[] = [
  {
    id: 'KV-030',
    policy: 'holds a value until its time to live is over, and not a step longer, swept or not',
    when: expires,
    run: async (subject) => {
      const { keyValue, step } = timed(subject);
      await keyValue.set('a', 'short', { ttlMs: 3 * step });
      await keyValue.set('b', 'long', { ttlMs: 90 * step });
      assert.notEqual((await keyValue.get('a'))?.expiresAtMs, undefined);
      await subject.advance(2 * step);
      assert.equal((await keyValue.get('a'))?.value, 'short');
      await subject.advance(step);
      assert.equal(await keyValue.get('a'), undefined);
      assert.deepEqual(
        (await keyValue.getMany(['a', 'b'])).map((entry) => entry?.value),
        [undefined, 'long'],
      );
      assert.deepEqual(await listed(keyValue, ''), ['b']);
      assert.equal(await keyValue.delete('a'), false);
    },
  },
  {
    id: 'KV-030',
    policy: 'refuses a time to live, which its manifest does not offer',
    when: ({ ttlResolutionMs }) => ttlResolutionMs === undefined,
    run: async ({ keyValue }) => {
      await rejects(keyValue.set('a', 'x', { ttlMs: 1_000 }), 'CAPABILITY_MISSING');
    },
  },
  {
    id: 'KV-031',
    policy: 'forgets the time to live when the key is set again without one',
    when: expires,
    run: async (subject) => {
      const { keyValue, step } = timed(subject);
      await keyValue.set('a', 'short', { ttlMs: 2 * step });
      await keyValue.set('a', 'for good');
      await subject.advance(9 * step);
      assert.deepEqual((await keyValue.get('a'))?.expiresAtMs, undefined);
      assert.equal((await keyValue.get('a'))?.value, 'for good');
    },
  },
  {
    id: 'KV-032',
    policy: 'still expires entries after it was opened again',
    when: expires,
    run: async (subject) => {
      const { step } = timed(subject);
      await subject.keyValue.set('a', 'short', { ttlMs: 50 * step });
      await subject.reopen();
      assert.equal((await subject.keyValue.get('a'))?.value, 'short');
      await subject.advance(50 * step);
      assert.equal(await subject.keyValue.get('a'), undefined);
    },
  },
  {
    id: 'KV-033',
    policy: 'takes an expired key for absent in a condition, and never gives its version out again',
    when: (supports) => supports.compareAndSet && supports.ttlResolutionMs !== undefined,
    run: async (subject) => {
      const { keyValue, step } = timed(subject);
      const old = await keyValue.set('a', 'short', { ttlMs: step });
      await subject.advance(step);
      await rejects(keyValue.set('a', 'late', { ifVersion: old }), 'CONDITION_FAILED');
      await keyValue.sweep();
      assert.ok((await keyValue.set('a', 'anew', { ifVersion: 0 })) > old);
    },
  },
  {
    id: 'KV-034',
    policy: 'sweeps no more than it is told to, and only what has expired',
    when: expires,
    run: async (subject) => {
      const { keyValue, step } = timed(subject);
      await Promise.all(
        [1, 2, 3, 4, 5].map((key) => keyValue.set(`gone ${key}`, key, { ttlMs: step })),
      );
      await keyValue.set('long', 1, { ttlMs: 1_000 * step });
      await keyValue.set('for good', 2);
      await subject.advance(step);
      assert.ok((await keyValue.sweep(2)) <= 2);
      assert.ok((await keyValue.sweep()) <= 5);
      assert.equal(await keyValue.sweep(), 0);
      assert.deepEqual(await listed(keyValue, ''), ['for good', 'long']);
    },
  },
  {
    id: 'KV-035',
    policy: 'refuses a time to live or version that is no such number',
    when: (supports) => supports.compareAndSet && supports.ttlResolutionMs !== undefined,
    run: async ({ keyValue }) => {
      for (const ttlMs of [0, -1, Number.NaN, Infinity])
        await rejects(keyValue.set('a', 1, { ttlMs }), 'CONFIG_INVALID');
      for (const ifVersion of [-1, 0.5])
        await rejects(keyValue.set('a', 1, { ifVersion }), 'CONFIG_INVALID');
      assert.equal(await keyValue.get('a'), undefined);
    },
  },
];

function timed({ keyValue, stepMs }: KeyValueSubject): {
  readonly keyValue: KeyValue;
  readonly step: number;
} {
  const step = stepMs ?? keyValue.supports.ttlResolutionMs;
  assert.ok(step !== undefined);
  return { keyValue, step };
}

async function increment(keyValue: KeyValue, count: number): Promise<void> {
  for (let done = 0; done < count;) {
    const entry = await keyValue.get('n');
    assert.ok(entry);
    try {
      await keyValue.set('n', Number(entry.value) + 1, { ifVersion: entry.version });
      done += 1;
    } catch (error) {
      if (!isTallyError(error, 'CONDITION_FAILED')) throw error;
    }
  }
}
