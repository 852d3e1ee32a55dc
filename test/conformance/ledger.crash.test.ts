import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LedgerRecord } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';

// Real processes on one ledger file, killed by SIGKILL: what was acknowledged has to be there, and
// no step may be there by half.

const writerFile = new URL('./ledger-writer.ts', import.meta.url).pathname;
let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallystick-crash-'));
  file = join(directory, 'ledger.db');
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

interface Run {
  readonly acknowledged: readonly string[];
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly stderr: string;
}

/** Runs a writer to its end, or kills it when it has acknowledged `killAfter` steps. */
async function write(
  writer: string,
  steps: number,
  how: { readonly crash?: string; readonly killAfter?: number } = {},
): Promise<Run> {
  const args = ['--disable-warning=ExperimentalWarning', writerFile, file, writer, String(steps)];
  const env = { ...process.env, NODE_OPTIONS: '', TALLY_CRASH: how.crash ?? '' };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const acknowledged: string[] = [];
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    acknowledged.push(line);
    if (acknowledged.length === how.killAfter) child.kill('SIGKILL');
  });
  const ended = new Promise((resolve) => lines.once('close', resolve));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once('exit', (...status) => resolve(status)),
  );
  await ended;
  return { acknowledged, signal, code, stderr };
}

interface State {
  readonly left: readonly string[];
  readonly right: readonly string[];
  readonly count: number;
}

async function stateAfterReopen(): Promise<State> {
  const context = { name: 'check', clock: systemClock, random: seededRandom(1) };
  await using ledger = await sqliteLedger({ file }).open(context);
  const keys = (records: readonly LedgerRecord[]): string[] => records.map((record) => record.key);
  return {
    left: keys(await ledger.list('left')),
    right: keys(await ledger.list('right')),
    count: Number((await ledger.get('shared', 'count'))?.value ?? 0),
  };
}

function expectWhole(state: State, acknowledged: readonly string[]): void {
  expect(state.right).toEqual(state.left);
  expect(state.count).toBe(state.left.length);
  const kept = new Set(state.left);
  expect(acknowledged.filter((name) => !kept.has(name))).toEqual([]);
}

test.each([1, 5, 40])(
  'keeps exactly what was acknowledged when killed before commit %i',
  async (count) => {
    const run = await write('one', 100_000, { crash: `ledger.before-commit:${count}` });
    expect(run).toMatchObject({ signal: 'SIGKILL', stderr: '' });
    const state = await stateAfterReopen();
    expectWhole(state, run.acknowledged);
    expect(state.left.length).toBe(run.acknowledged.length);
  },
);

test.each([1, 5, 40])(
  'keeps what was committed when killed after commit %i, before anybody was answered',
  async (count) => {
    const run = await write('one', 100_000, {
      crash: `ledger.after-commit-before-answer:${count}`,
    });
    expect(run).toMatchObject({ signal: 'SIGKILL', stderr: '' });
    const state = await stateAfterReopen();
    expectWhole(state, run.acknowledged);
    expect(state.left.length).toBeGreaterThan(run.acknowledged.length);
  },
);

test('loses nothing however often it is killed at any moment', async () => {
  const random = seededRandom('ledger killed at any moment');
  const acknowledged: string[] = [];
  for (let round = 0; round < 5; round++) {
    const killAfter = 1 + Math.floor(random.next() * 400);
    const run = await write(`round ${round}`, 100_000, { killAfter });
    expect(run).toMatchObject({ signal: 'SIGKILL', stderr: '' });
    acknowledged.push(...run.acknowledged);
    expectWhole(await stateAfterReopen(), acknowledged);
  }
});

test('is shared by processes that open the same new file at the same time', async () => {
  const steps = 150;
  const writers = ['one', 'two', 'three'];
  const runs = await Promise.all(writers.map((writer) => write(writer, steps)));
  for (const run of runs) expect(run).toMatchObject({ code: 0, stderr: '' });
  const state = await stateAfterReopen();
  expectWhole(
    state,
    runs.flatMap((run) => run.acknowledged),
  );
  expect(state.left.length).toBe(steps * writers.length);
});

test('goes on in one process when the other is killed in the middle of a commit', async () => {
  const [killed, finished] = await Promise.all([
    write('killed', 100_000, { crash: 'ledger.before-commit:30' }),
    write('finished', 300),
  ]);
  expect(killed.signal).toBe('SIGKILL');
  expect(finished).toMatchObject({ code: 0, stderr: '' });
  expectWhole(await stateAfterReopen(), [...killed.acknowledged, ...finished.acknowledged]);
});
