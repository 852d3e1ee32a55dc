import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('shows a whole page of five stores, and what is left of it when one hangs', async () => {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...flags,
    join(import.meta.dirname, 'main.ts'),
  ]);
  expect(stdout.trimEnd().split('\n')).toEqual([
    'recommendations are well: a whole page',
    '  Reading lamp, 12 in stock',
    '  bought with it: Desk, Chair',
    'recommendations are hanging: a partial page',
    '  Reading lamp, 12 in stock',
    '  bought with it: nothing to show',
    '  others: fallback, deadline',
  ]);
});
