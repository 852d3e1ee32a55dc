import { array, assert, asyncProperty, integer, shuffledSubarray } from 'fast-check';
import { expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { memory } from '../../stores/memory/index.ts';
import { versionFile } from './version-file.ts';

async function card(operationsMax = 100) {
  const store = await memory().open({ name: 'm', clock: systemClock, random: systemRandom });
  return versionFile<string, string>({
    keyValue: store.keyValue,
    initial: 'new',
    apply: (state, operation) => `${state} ${operation}`,
    operationsMax,
  });
}

test('operations count in the order of their versions, whatever order they arrive in, once each', async () => {
  await assert(
    asyncProperty(
      shuffledSubarray([1, 2, 3, 4, 5, 6, 7], { minLength: 1 }),
      array(integer({ min: 0, max: 6 })),
      async (versions, repeated) => {
        const file = await card();
        const again = repeated.flatMap((index) => versions[index] ?? []);
        for (const version of [...versions, ...again])
          await file.record('card', version, `op${version}`);
        const inOrder = versions.toSorted((left, right) => left - right);
        expect(await file.read('card')).toEqual({
          state: ['new', ...inOrder.map((version) => `op${version}`)].join(' '),
          version: Math.max(...versions),
        });
      },
    ),
    { numRuns: 100 },
  );
});

test('a cancellation that overtakes what it cancels comes after it all the same', async () => {
  const file = await card();
  expect(await file.record('card', 2, 'cancel')).toBe('recorded');
  expect(await file.record('card', 1, 'authorize')).toBe('recorded');
  expect(await file.record('card', 1, 'authorize')).toBe('again');
  expect(await file.read('card')).toEqual({ state: 'new authorize cancel', version: 2 });
});

test('what comes after its place was closed is superseded, and does not count', async () => {
  const file = await card(2);
  for (const version of [2, 3, 4]) await file.record('card', version, `op${version}`);
  expect(await file.record('card', 1, 'op1')).toBe('superseded');
  expect(await file.read('card')).toEqual({ state: 'new op2 op3 op4', version: 4 });
});

test('operations of many writers at the same time are all recorded', async () => {
  const file = await card();
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => file.record('card', index + 1, `op${index + 1}`)),
  );
  const { state, version } = await file.read('card');
  expect(version).toBe(20);
  expect(state.split(' ')).toHaveLength(21);
});
