import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { benches } from '../../bench/harness/catalogue.ts';

test('the page lists every benchmark with its bars, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/benchmarks.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([\w-]+)` *\|[^|]*\| ([^|]*?) *\|$/gm)];
  const listed = rows.map(([, name = '', bars = '']) => [name, bars]);
  expect(listed).toEqual(
    Object.entries(benches).map(([name, { bars }]) => [name, bars.join('; ')]),
  );
});
