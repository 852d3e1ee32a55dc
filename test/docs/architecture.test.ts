import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { crashPoints } from '../../src/observe/point.ts';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

test('every crash point is listed, in order, and none that does not exist', () => {
  const section = page.split('## Crash points')[1]?.split('\n## ')[0] ?? '';
  const listed = [...section.matchAll(/^\| `([a-z.-]+)`/gm)].map(([, name]) => name);
  expect(listed).toEqual(crashPoints);
});

test('every file that is named exists', () => {
  const named = [
    ...page.matchAll(/`((?:src|test|bench|examples|docs|scripts|servers)\/[\w./-]+)`/g),
  ];
  const missing = named
    .map(([, path = '']) => path)
    .filter((path) => !existsSync(join(root, path)));
  expect(named.length).toBeGreaterThan(30);
  expect(missing).toEqual([]);
});

test('the page on exactly once counts the crash points right', () => {
  const text = readFileSync(join(root, 'docs/concepts/3-exactly-once.md'), 'utf8');
  const [, count] = /each of (?:the )?(\d+)\s+places/.exec(text) ?? [];
  expect(Number(count)).toBe(crashPoints.length);
});
