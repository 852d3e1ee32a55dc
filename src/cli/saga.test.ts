import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { open } from '../app/open.ts';
import { systemClock } from '../runtime/clock.ts';
import { runCommandLine } from './run.ts';

const file = join(import.meta.dirname, '../../test/support/saga-app.ts');
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-saga-'));
  process.env['SAGA_DIR'] = dir;
});
afterAll(async () => {
  delete process.env['SAGA_DIR'];
  await rm(dir, { recursive: true, force: true });
});

async function command(
  ...args: readonly string[]
): Promise<{ code: number; out: string; said: string }> {
  const said = { out: '', said: '' };
  const code = await runCommandLine(args, {
    out: (text) => (said.out += `${text}\n`),
    say: (text) => (said.said += `${text}\n`),
    screen: false,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { code, ...said };
}

test('a parked saga is listed, shown with its history, decided about by hand, and goes on', async () => {
  const { default: declared, order } = await import('../../test/support/saga-app.ts');
  await using app = await open(declared);
  await writeFile(join(dir, 'undo-fails'), '');
  const handle = await app.sagas.start(order, { id: 'o-1', input: { total: 500 } });
  expect(await handle.result({ within: '10s' })).toMatchObject({
    status: 'parked',
    path: 'reserve',
    during: 'undo',
  });

  const listed = await command('saga', 'list', file, '--status', 'parked', '--json');
  expect(JSON.parse(listed.out)).toMatchObject({
    sagas: [{ id: 'o-1', saga: 'order', status: 'parked', definition: 'known' }],
  });
  expect((await command('saga', 'show', file, 'o-1')).out).toContain(
    'the warehouse does not answer',
  );
  expect((await command('saga', 'skip', file, 'o-1')).said).toContain('--reason is missing');
  const skipped = await command(
    'saga',
    'skip',
    file,
    'o-1',
    '--reason',
    'freed by hand',
    '--by',
    'ann',
  );
  expect(skipped).toMatchObject({ code: 0 });

  expect(await handle.result({ within: '10s' })).toMatchObject({
    status: 'compensated',
    failure: { path: 'charge' },
  });
  const { history } = await app.sagas.show('o-1');
  expect(history).toContainEqual(
    expect.objectContaining({
      kind: 'operated',
      operation: 'skip',
      by: 'ann',
      reason: 'freed by hand',
    }),
  );
  const again = await command('saga', 'abandon', file, 'o-1', '--reason', 'x');
  expect(again.code).toBe(1);
  expect(again.said).toContain('not parked');
});

test('a process that runs nothing starts a saga and waits for it', async () => {
  const { default: declared, order } = await import('../../test/support/saga-app.ts');
  await using server = await open(declared, { run: false });
  await using worker = await open(declared);
  const handle = await server.sagas.start(order, { id: 'o-2', input: { total: 7 } });
  expect(handle.created).toBe(true);
  expect(await handle.result({ within: '10s' })).toEqual({
    status: 'completed',
    results: { reserve: 'place 7', charge: 'receipt 7' },
  });
  expect((await server.sagas.start(order, { id: 'o-2', input: { total: 8 } })).created).toBe(false);
  expect(worker.sagas.running).toBe(0);
});
