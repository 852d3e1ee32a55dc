import { expect, test } from 'vitest';
import { mutations } from './faulty-ports.ts';
import { runSchedule, type Outcome } from './scenario.ts';

/** A slice of all schedules, and seeds that once found a bug, each named in the commit that mended it. */
const SEEDS = 150;
const FOUND = [3_924, 101_268];
/** Within so many seeds a planted bug has to be found. */
const SEEDS_TO_FIND = 500;

test('every promise holds in a slice of the schedules', { timeout: 120_000 }, async () => {
  for (const seed of [...FOUND, ...Array.from({ length: SEEDS }, (_, index) => index + 1)]) {
    const { violation } = await runSchedule({ seed });
    expect(violation, `replay: npm run simulate -- --seed ${seed}`).toBeUndefined();
  }
});

test('a seed is one schedule: it runs the same every time', async () => {
  for (const seed of [3, 49]) {
    const [first, again] = [await tracked(seed), await tracked(seed)];
    expect(first.length).toBeGreaterThan(50);
    expect(again).toEqual(first);
  }
});

test.each(mutations)('finds the planted bug %s', { timeout: 120_000 }, async (mutation) => {
  let found: Outcome | undefined;
  for (let seed = 1; seed <= SEEDS_TO_FIND && found === undefined; seed += 1) {
    const outcome = await runSchedule({ seed, mutation });
    if (outcome.violation !== undefined) found = outcome;
  }
  expect(found?.violation).toMatchObject({ name: 'Violation' });
});

async function tracked(seed: number): Promise<readonly string[]> {
  const lines: string[] = [];
  await runSchedule({ seed, verbose: (line) => lines.push(line) });
  return lines;
}
