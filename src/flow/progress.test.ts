import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { comparePositions, type Position } from '../core/position.ts';
import { ProgressBoard, progressEvidence, type FlowProgress } from './progress.ts';

function progress(
  through: Position | undefined,
  parkedUnits: readonly string[] = [],
): FlowProgress {
  return { lane: 'orders', through, throughAtMs: undefined, parkedUnits };
}

/** Registers a waiter; the answer says whether it has been woken. */
function wait(board: ProgressBoard, need: Position) {
  const state = { woken: false };
  const waiter = board.changed('f', need);
  void waiter?.woken.then(() => {
    state.woken = true;
    return undefined;
  });
  return { state, cancel: () => waiter?.cancel() };
}

const positions = fc.record({ epoch: fc.constant(1), offset: fc.nat(20) });

test('a publication wakes exactly those whose need it reaches, and those that were cancelled never', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ need: positions, cancelled: fc.boolean() }), { maxLength: 30 }),
      positions,
      async (needs, through) => {
        const board = new ProgressBoard();
        board.publish('f', progress({ epoch: 1, offset: 0 }));
        const waiters = needs.map(({ need, cancelled }) => {
          const waiter = wait(board, need);
          if (cancelled) waiter.cancel();
          return waiter;
        });
        board.publish('f', progress(through));
        await Promise.resolve();
        expect(waiters.map(({ state }) => state.woken)).toEqual(
          needs.map(({ need, cancelled }) => !cancelled && comparePositions(need, through) <= 0),
        );
        // Nobody is woken twice, and nobody who still waits was forgotten.
        board.publish('f', progress({ epoch: 1, offset: 20 }));
        await Promise.resolve();
        expect(waiters.map(({ state }) => state.woken)).toEqual(
          needs.map(({ cancelled }) => !cancelled),
        );
      },
    ),
  );
});

test.each<[what: string, before: FlowProgress, now: FlowProgress]>([
  ['a new epoch', progress({ epoch: 1, offset: 1 }), progress({ epoch: 2, offset: 0 })],
  ['the first progress', progress(undefined), progress({ epoch: 1, offset: 0 })],
  ['something parked', progress({ epoch: 1, offset: 1 }), progress({ epoch: 1, offset: 1 }, ['u'])],
  [
    'something parked in place of something else',
    progress({ epoch: 1, offset: 1 }, ['u']),
    progress({ epoch: 1, offset: 1 }, ['v']),
  ],
])('%s changes the answer of everybody who waits', async (_what, before, now) => {
  const board = new ProgressBoard();
  board.publish('f', before);
  const { state } = wait(board, { epoch: 1, offset: 99 });
  board.publish('f', before);
  await Promise.resolve();
  expect(state.woken).toBe(false);
  board.publish('f', now);
  await Promise.resolve();
  expect(state.woken).toBe(true);
});

test('a publication of one flow wakes nobody who waits for another', async () => {
  const board = new ProgressBoard();
  const { state } = wait(board, { epoch: 1, offset: 1 });
  board.publish('g', progress({ epoch: 1, offset: 5 }));
  await Promise.resolve();
  expect(state.woken).toBe(false);
});

test('waiters are bounded, and one that leaves makes room', () => {
  const board = new ProgressBoard();
  const first = board.changed('f', { epoch: 1, offset: 1 });
  for (let count = 1; count < 100_000; count += 1) board.changed('f', { epoch: 1, offset: 1 });
  expect(board.changed('f', { epoch: 1, offset: 1 })).toBeUndefined();
  first?.cancel();
  expect(board.changed('f', { epoch: 1, offset: 1 })).toBeDefined();
});

test('progress is evidence of its lane, and none before there is any', () => {
  expect(progressEvidence(progress(undefined)).size).toBe(0);
  expect(progressEvidence(progress({ epoch: 2, offset: 3 }))).toEqual(
    new Map([['orders', [{ epoch: 2, offset: 3 }]]]),
  );
});
