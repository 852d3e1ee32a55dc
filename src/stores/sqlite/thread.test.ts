import { expect, test } from 'vitest';
import { inheritedArguments } from './thread.ts';

const quiet = '--disable-warning=ExperimentalWarning';

test('the thread takes over how modules are found', () => {
  expect(
    inheritedArguments(['--conditions=source', '-C', 'other', '--conditions', 'third']),
  ).toEqual([quiet, '--conditions=source', '-C', 'other', '--conditions', 'third']);
});

test('the thread takes over nothing that would start something else in it', () => {
  const given = [
    '--input-type=module',
    '--eval',
    'x',
    '--test',
    '--watch',
    '--inspect',
    '--no-warnings',
  ];
  expect(inheritedArguments(given)).toEqual([quiet, '--no-warnings']);
});
