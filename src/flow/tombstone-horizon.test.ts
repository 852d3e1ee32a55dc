import { expect, test } from 'vitest';
import { TombstoneHorizon } from './tombstone-horizon.ts';

test('tombstones are kept for the retention, then forgotten up to where the flow was back then', () => {
  const horizon = new TombstoneHorizon();
  const pruned: [number, number][] = [];
  for (let second = 0; second <= 20 * 60; second += 1) {
    const before = horizon.note(second * 1000, { epoch: 1, offset: second });
    if (before !== undefined) pruned.push([second, before.offset]);
  }
  expect(pruned).toEqual(
    [15, 16, 17, 18, 19, 20].map((minute) => [minute * 60, (minute - 15) * 60]),
  );
});

test('a flow that was idle for long prunes one mark at a time, never past what it had applied', () => {
  const horizon = new TombstoneHorizon();
  expect(horizon.note(0, { epoch: 1, offset: 5 })).toBeUndefined();
  expect(horizon.note(60 * 60_000, { epoch: 2, offset: 1 })).toEqual({ epoch: 1, offset: 5 });
  expect(horizon.note(60 * 60_000 + 1, { epoch: 2, offset: 2 })).toBeUndefined();
});
