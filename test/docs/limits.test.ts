import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/limits.md'), 'utf8');
const rows = [
  ...page.matchAll(/^\|[^|]+\| *([\d,]+)[^|]*\|[^|]*\| `(\w+)` in `([\w./-]+)` *\|$/gm),
].map(([, number = '', name = '', file = '']) => ({ number, name, file }));

test('every row of a table of limits names its constant', () => {
  const bodies = [...page.matchAll(/^\|(?! *(?:what|-)).*$/gm)];
  expect(rows.length).toBe(bodies.length);
  expect(rows.length).toBeGreaterThan(30);
});

test.each(rows)('$name in $file is $number', ({ number, name, file }) => {
  const source = readFileSync(join(root, file), 'utf8');
  const expression = new RegExp(`const ${name}(?:: number)? = ([\\d_ *+-]+);`).exec(source)?.[1];
  expect(expression, `${file} has no such constant`).toBeDefined();
  expect(runInNewContext(expression ?? '')).toBe(Number(number.replaceAll(',', '')));
});
