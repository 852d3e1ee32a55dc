import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadApp } from './load.ts';
import { runCommandLine } from './run.ts';
import { systemClock } from '../runtime/clock.ts';

const file = join(import.meta.dirname, '../../test/support/cache-app.ts');
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tally-cache-cli-'));
  process.env['CACHE_FILE'] = join(folder, 'cache.db');
  await loadApp(file);
});
afterAll(() => rm(folder, { recursive: true }));

async function tally(...args: readonly string[]): Promise<{
  readonly code: number;
  readonly out: string;
  readonly said: string;
}> {
  const [out, said]: [string[], string[]] = [[], []];
  const code = await runCommandLine(args, {
    out: (text) => void out.push(text),
    say: (text) => void said.push(text),
    screen: false,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { code, out: out.join('\n'), said: said.join('\n') };
}

test('warms, shows and invalidates what an application caches, though another store of its cannot be opened', async () => {
  const keys = join(folder, 'keys.txt');
  await writeFile(keys, 'lamp\nchair\n\n');
  const warmed = await tally('cache', 'warm', file, 'products', 'table', '--keys', keys, '--json');
  expect(warmed.code).toBe(0);
  expect(JSON.parse(warmed.out)).toMatchObject({ cache: 'products', keys: 3, loaded: 3 });
  expect(warmed.said).toContain('3 loaded');
  const again = await tally('cache', 'warm', file, 'products', 'lamp');
  expect(again.out).toBe('products: 1 keys, 0 loaded, 1 there already, 0 failed');

  const shown = await tally('cache', 'get', file, 'products', 'lamp', 'none', '--json');
  expect(shown.code).toBe(1);
  const { keys: found } = JSON.parse(shown.out) as { readonly keys: readonly object[] };
  expect(found[0]).toMatchObject({ key: 'lamp', isThere: true, tags: ['catalogue'] });
  expect(found[1]).toEqual({ key: 'none', isThere: false });
  expect((await tally('cache', 'get', file, 'products', 'lamp')).out).toMatch(
    /^lamp: fresh for [\d.]+ s, [\d.]+ s old, loaded in \d+ ms, tags catalogue\n.*title of lamp/s,
  );

  expect((await tally('cache', 'invalidate', file, 'products', 'lamp')).out).toBe(
    'products: invalidated 1 key',
  );
  expect((await tally('cache', 'get', file, 'products', 'lamp')).code).toBe(1);
  expect((await tally('cache', 'get', file, 'products', 'chair')).code).toBe(0);
  expect((await tally('cache', 'invalidate', file, 'products', '--tag', 'catalogue')).code).toBe(0);
  expect((await tally('cache', 'get', file, 'products', 'chair')).code).toBe(1);
  await tally('cache', 'warm', file, 'products', 'chair');
  expect((await tally('cache', 'invalidate', file, 'products', '--all', '--json')).code).toBe(0);
  expect((await tally('cache', 'get', file, 'products', 'chair')).code).toBe(1);
});

test('says which load failed by how it ends, and what it was called wrongly with', async () => {
  expect(await tally('cache', 'warm', file, 'products', 'broken')).toMatchObject({ code: 1 });
  for (const args of [
    ['invalidate', file, 'products'],
    ['invalidate', file, 'products', 'a', '--all'],
    ['get', file, 'prodcts', 'a'],
    ['warm', file, 'products', '{', '--json-keys'],
    ['warm', file, 'products', '--keys', '/nowhere'],
  ]) {
    const { code, said } = await tally('cache', ...args);
    expect(code, args.join(' ')).toBe(1);
    expect(said).not.toBe('');
  }
});

test('lists caches with what their store says', async () => {
  const { code, out, said } = await tally('cache', 'stats', file, '--json');
  expect(said).toBe('');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    caches: [{ name: 'products', shared: 'up' }],
    stores: [{ store: 'shelf', system: 'sqlite' }],
  });
  expect((await tally('cache', 'stats', file)).out).toContain('products  up');
});
