import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { supportMatrix } from '../../scripts/support-matrix.ts';

test('the support matrix is what the manifests say; scripts/support-matrix.ts --write renews it', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/support-matrix.md'), 'utf8');
  expect(page).toBe(await supportMatrix());
});
