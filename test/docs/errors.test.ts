import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorCodes, type ErrorCode } from '../../src/core/errors.ts';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
const codes = Object.keys(errorCodes) as ErrorCode[];
const sections = page
  .split(/^## /m)
  .slice(1)
  .map((text) => ({ heading: text.split('\n', 1)[0] ?? '', text }));

test('every error code has a heading, every heading is a code, in the same order', () => {
  expect(sections.map(({ heading }) => heading)).toEqual(codes);
});

test.each(codes)('%s is described with the summary and the retry that the code has', (code) => {
  const text = sections.find(({ heading }) => heading === code)?.text ?? '';
  const { summary, retryable } = errorCodes[code];
  expect(text).toContain(`> ${summary}. ${retryable ? 'Retryable' : 'Not retryable'}.\n`);
  for (const part of ['What happened.', 'When it is normal.', 'What to do.'])
    expect(text).toContain(`**${part}**`);
});

test.each(codes)('%s is raised somewhere', (code) => {
  expect(sources.some((text) => text.includes(`'${code}'`))).toBe(true);
});

const sources = ['src', 'examples'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .filter((file) => !file.endsWith(join('core', 'errors.ts')))
    .map((file) => readFileSync(join(root, folder, file), 'utf8')),
);
