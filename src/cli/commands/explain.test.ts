import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { runCommandLine } from '../run.ts';

const root = join(import.meta.dirname, '../../..');
let dir = '';

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-explain-'));
  await writeFile(
    join(dir, 'app.ts'),
    `import { tally } from '${root}/src/index.ts';
     import { guard, join } from '${root}/src/patterns/compose/index.ts';
     import { sqlite } from '${root}/src/stores/sqlite/index.ts';
     export default tally({ name: 'shop', dir: '${dir}/state', stores: { orders: sqlite({ file: '${dir}/orders.db' }) }, flows: {} });
     const stock = guard('stock');
     export const joins = (app) => ({
       recent: join({
         name: 'recent',
         from: { from: app.stores.orders, read: ({ after }) => (after === undefined ? [{ id: 1 }, { id: 2 }] : []) },
         with: { left: { from: stock, on: 'id', load: (keys) => keys.map(() => 5) } },
         rowsMax: 500,
       }),
     });`,
  );
  await writeFile(join(dir, 'none.ts'), `export { default } from './app.ts';`);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

async function tally(...args: string[]): Promise<{ code: number; out: string; said: string }> {
  let out = '';
  let said = '';
  const code = await runCommandLine(args, {
    out: (text) => (out += `${text}\n`),
    say: (text) => (said += `${text}\n`),
    screen: false,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { code, out, said };
}

test('shows what a join does in each store, without running it', async () => {
  const { code, out } = await tally('explain', join(dir, 'app.ts'));
  expect(code).toBe(0);
  expect(out).toContain('orders: drives, at most 1 call and 100 rows');
  expect(out).toContain('stock: looks up left by id, at most 1 call and 100 rows');
});

test('names the projection for one that is refused, and fails', async () => {
  const { code, out } = await tally(
    'explain',
    join(dir, 'app.ts'),
    'recent',
    '--limit',
    '600',
    '--json',
  );
  expect(code).toBe(1);
  const { joins } = JSON.parse(out) as { joins: { plan: Record<string, unknown> }[] };
  expect(joins[0]?.plan).toMatchObject({
    refused: expect.stringContaining('600'),
    projection: expect.stringContaining('from orders and stock'),
  });
});

test('runs it when asked to, and says what it took', async () => {
  const { code, out } = await tally('explain', join(dir, 'app.ts'), '--run');
  expect(code).toBe(0);
  expect(out).toContain('took, for 2 rows (0 dropped)');
  expect(out).toMatch(/stock +left +1 calls +2 asked for +2 found/);
});

test('says what is missing or wrong', async () => {
  expect((await tally('explain', join(dir, 'none.ts'))).said).toContain('exports no joins');
  expect((await tally('explain', join(dir, 'app.ts'), 'recnt')).said).toContain('recent');
  expect((await tally('explain', join(dir, 'app.ts'), '--limit', 'x')).said).toContain(
    'CONFIG_INVALID',
  );
});
