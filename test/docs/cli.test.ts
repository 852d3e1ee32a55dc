import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cliPage } from '../../scripts/cli-page.ts';

test('the page of the command is what the command prints; scripts/cli-page.ts --write renews it', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/cli.md'), 'utf8');
  expect(page).toBe(await cliPage());
});
