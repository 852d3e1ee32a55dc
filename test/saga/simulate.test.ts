import { expect, test } from 'vitest';
import { runSchedule } from './schedule.ts';

/** A slice of what `npm run simulate:sagas` runs. */
const SEEDS = 60;

test(`${SEEDS} schedules of crashes, pauses and faults leave every saga ended and the books even`, async () => {
  const ends: Record<string, number> = {};
  let crashes = 0;
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const outcome = await runSchedule(seed);
    expect(outcome.violations, `replay: npm run simulate:sagas -- --seed ${seed}`).toEqual([]);
    crashes += outcome.crashes;
    for (const [end, count] of Object.entries(outcome.ends)) ends[end] = (ends[end] ?? 0) + count;
  }
  // The schedules are worth something only if all of it happens in them.
  expect(crashes).toBeGreaterThan(SEEDS);
  expect(ends['completed']).toBeGreaterThan(SEEDS);
  expect(ends['compensated']).toBeGreaterThan(SEEDS);
});
