import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { crashPoints } from '../../src/observe/point.ts';
import { freshDatabase, type FreshDatabase, hasPostgres } from '../support/servers.ts';
import { compileCache } from './story.ts';

const points = crashPoints.filter((name) => name.startsWith('saga.'));

interface Ended {
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
}

async function worker(args: readonly string[], crash: string): Promise<Ended> {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const child = spawn(
    process.execPath,
    [...flags, join(import.meta.dirname, 'saga-worker.ts'), ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...compileCache, TALLY_CRASH: crash },
    },
  );
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { signal, out };
}

/** Which kind of story passes a point. */
function kindFor(point: string): string {
  if (point === 'saga.after-park') return 'park';
  return point.includes('undo') || point === 'saga.after-end' ? 'back' : 'complete';
}

let folder: string;
let database: FreshDatabase | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tally-saga-crash-'));
  if (hasPostgres) database = await freshDatabase();
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function sweep(ledger: string, point: string, id: string): Promise<void> {
  const kind = kindFor(point);
  const args = [ledger, join(folder, `${id}.effects`), kind, id];
  expect(await worker(args, point)).toMatchObject({ signal: 'SIGKILL' });
  const { signal, out } = await worker(args, '');
  expect(signal).toBeNull();
  const { outcome, rows } = JSON.parse(out) as {
    outcome: { status: string };
    rows: readonly { key: string; state: string; times: number }[];
  };
  expect(outcome.status).toBe(kind === 'complete' ? 'completed' : 'compensated');
  expect(rows).toEqual(
    (kind === 'complete' ? ['charge', 'confirm', 'hold', 'reserve'] : ['hold', 'reserve']).map(
      (step) => ({
        key: `${id}/${step}`,
        state: kind === 'complete' ? 'done' : 'undone',
        times: 1,
      }),
    ),
  );
}

describe('a worker killed by SIGKILL is gone on from by the next, on SQLite', () => {
  test.each(points)('%s', (point) => sweep(join(folder, `${point}.db`), point, `sqlite-${point}`));
});

describe.skipIf(!hasPostgres)('and on PostgreSQL', () => {
  test.each(points)('%s', (point) => sweep(String(database?.url), point, `postgres-${point}`));
});
