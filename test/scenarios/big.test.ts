import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { runStory } from '../crash/story.ts';
import { tempDir } from '../support/scenario.ts';

const path = tempDir();

/** Far above what a batch and its neighbours need, far below what is carried. */
const bounds = { transaction: 500, backfill: 500, wide: 500, huge: 700 } as const;

test.each(Object.entries(bounds))(
  'large work (%s) passes in bounded memory, is fresh when all of it is in, and is let go of',
  { timeout: 120_000 },
  async (work, peakMiB) => {
    const end = await runStory('../scenarios/big-worker.ts', [path(), work]);
    expect(end).toMatchObject({ code: 0, errors: '' });
    const seen = JSON.parse(await readFile(path('seen.json'), 'utf8')) as Record<string, number>;
    expect(seen, JSON.stringify(seen)).toMatchObject({ early: 0 });
    expect(seen['peakMiB'], JSON.stringify(seen)).toBeLessThan(peakMiB);
    expect(seen['logBytes'], JSON.stringify(seen)).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(seen['changes'], JSON.stringify(seen)).toBeLessThanOrEqual(1);
    if (process.env['BIG_REPORT'] === '1')
      process.stdout.write(`${work} ${JSON.stringify(seen)}\n`);
  },
);
