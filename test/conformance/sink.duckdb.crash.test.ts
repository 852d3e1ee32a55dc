import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { batchRows, numberedBatch, openReports, targets } from './duckdb-writer.ts';

// Real processes on one file, killed by SIGKILL in the middle of a batch: what the checkpoint says is
// there, whole, nothing else is, and the next worker goes on from it.

const writerFile = new URL('./duckdb-writer.ts', import.meta.url).pathname;
const BATCHES = 6;
let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tally-duckdb-crash-'));
  file = join(directory, 'reports.duckdb');
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

// `mid-apply` is passed once per target, the others once per batch.
const crashes = [
  { crash: 'sink.before-apply:3', checkpoint: 2 },
  { crash: 'sink.mid-apply:4', checkpoint: 1 },
  { crash: 'sink.mid-apply:8', checkpoint: 2 },
  { crash: 'sink.after-apply-before-checkpoint:1', checkpoint: undefined },
  { crash: 'sink.after-apply-before-checkpoint:4', checkpoint: 3 },
  { crash: 'sink.after-checkpoint-before-commit:3', checkpoint: 2 },
  { crash: 'sink.after-commit:3', checkpoint: 3 },
] as const;

for (const { crash, checkpoint } of crashes)
  test(`data and checkpoint agree after a kill at ${crash}, and the next worker ends the job`, async () => {
    expect(await runWriter(1, crash)).toMatchObject({ signal: 'SIGKILL' });
    expect(await heldAndWhole(2)).toBe(checkpoint);
    expect(await runWriter(3)).toMatchObject({ code: 0, stderr: '' });
    expect(await heldAndWhole(4)).toBe(BATCHES);
  });

test('a second process is told that the file is open elsewhere, and by whom', async () => {
  await using store = await openReports(file);
  expect(await store.sink.generation('reports')).toBeUndefined();
  const { code, stderr } = await runWriter(1);
  expect(code).not.toBe(0);
  expect(stderr).toContain("code: 'STORE_BUSY'");
  expect(stderr).toContain(`process: ${process.pid}`);
});

/** The batch that the checkpoint names, after everything it promises was checked against the data. */
async function heldAndWhole(workerEpoch: number): Promise<number | undefined> {
  await using store = await openReports(file);
  const shapes = targets.map((target) => ({ target }));
  const options = { flow: 'reports', generation: 1, workerEpoch, targets: shapes };
  await using session = await store.sink.open(options);
  const batch = (await session.checkpoint())?.log;
  const look = async (): Promise<unknown> => {
    const reader = await store.client.runAndReadAll(
      `SELECT 'facts', count(*), count(DISTINCT id), max(batch), min(batch) FROM facts UNION ALL
       SELECT 'latest', count(*), count(DISTINCT id), max(batch), min(batch) FROM latest UNION ALL
       SELECT 'documents', count(*), count(DISTINCT key), max((doc->>'batch')::INT), min((doc->>'batch')::INT) FROM documents
       ORDER BY ALL`,
    );
    return reader
      .getRows()
      .map((row) => row.map((cell) => (typeof cell === 'bigint' ? Number(cell) : cell)));
  };
  const n = batch ?? 0;
  const none = [0, 0, null, null];
  const whole = [
    ['documents', ...(n === 0 ? none : [batchRows, batchRows, n, n])],
    ['facts', ...(n === 0 ? none : [n * batchRows, n * batchRows, n, 1])],
    ['latest', ...(n === 0 ? none : [batchRows - 1, batchRows - 1, n, n])],
  ];
  expect(await look()).toEqual(whole);
  expect(await session.readState(['last batch'])).toEqual([batch === undefined ? null : String(n)]);
  if (batch !== undefined) {
    const report = await session.apply(numberedBatch(batch));
    expect(report).toEqual({ applied: 0, older: targets.length * batchRows, failed: [] });
    expect(await look()).toEqual(whole);
  }
  return batch;
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

async function runWriter(workerEpoch: number, crash = ''): Promise<Ended> {
  const condition = '--conditions=tallystick-source';
  const args = [condition, writerFile, file, String(workerEpoch), String(BATCHES)];
  const env = { ...process.env, NODE_OPTIONS: '', TALLY_CRASH: crash };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once('close', (...status) => resolve(status)),
  );
  return { code, signal, stderr };
}
