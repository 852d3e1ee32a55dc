import { expect, test } from 'vitest';
import { callsWithoutEnd } from './leaks.ts';

// A slice; a million of them by `npm run compose:leaks`.
test('a hundred thousand calls of every outcome leave nothing behind', async () => {
  const { calls, grownMiB: _, ...left } = await callsWithoutEnd(100_000);
  expect(calls).toBeGreaterThanOrEqual(100_000);
  expect(left).toEqual({
    unhandledRejections: 0,
    warnings: 0,
    alarms: 0,
    listeners: 0,
    underWay: 0,
    timers: 0,
  });
});
