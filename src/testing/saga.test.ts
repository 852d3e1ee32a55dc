import { expect, test } from 'vitest';
import { saga } from '../patterns/saga/index.ts';
import { givenSaga } from './saga.ts';

const order = saga<{ readonly sku: string }>('order')
  .step('reserve', { do: () => 'place 7', undo: () => undefined })
  .signal<{ readonly by: string }, 'approval'>('approval', { timeout: '3d' })
  .pivot('charge', { do: ({ results }) => `by ${results.approval.by}` })
  .retriable('confirm', { do: ({ results }) => results.charge })
  .end();
const input = { sku: 'a' };

test('a story that goes well is told to its end', async () => {
  const { outcome, calls } = await givenSaga(order, input)
    .signals('approval', { by: 'ann' })
    .thenIs('completed');
  expect(calls).toEqual(['do reserve', 'do charge', 'do confirm']);
  expect(outcome).toMatchObject({ results: { charge: 'by ann', confirm: 'by ann' } });
});

test('a process that dies after a step has it done again, under the same key', async () => {
  const played = await givenSaga(order, input)
    .crashesAfter('reserve')
    .crashesBefore('reserve', 'undo')
    .refusesAt('charge')
    .signals('approval', { by: 'ann' })
    .thenIs('compensated');
  expect(played.calls).toEqual([
    'do reserve',
    'do reserve',
    'do charge',
    'undo reserve',
    'undo reserve',
  ]);
  expect(played.crashes).toBe(2);
});

test('a signal that never comes, an undo that never succeeds, a cancellation', async () => {
  await givenSaga(order, input).thenIs('compensated');
  await givenSaga(order, input).undoFailsAt('reserve').thenIs('parked');
  await givenSaga(order, input)
    .undoFailsAt('reserve', 2)
    .cancelledAfter(1_000)
    .thenIs('compensated');
});

test('a story that ends otherwise says so', async () => {
  await expect(givenSaga(order, input).failsAt('reserve').thenIs('completed')).rejects.toThrow(
    /the saga is compensated, not completed/,
  );
});
