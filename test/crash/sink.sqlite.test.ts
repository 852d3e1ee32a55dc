import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Row } from '../../src/core/row.ts';
import { crashPoints } from '../../src/observe/point.ts';
import { expected, openStore, shapes } from './sink-applier.ts';

const child = fileURLToPath(new URL('sink-applier.ts', import.meta.url));

/** Runs the applier until it is killed; returns how many batches it had acknowledged. */
async function applyUntilKilled(
  file: string,
  epoch: number,
  how: { readonly crash?: string; readonly killAfterLines?: number },
): Promise<number> {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const running = spawn(process.execPath, [...flags, child, file, String(epoch)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TALLY_CRASH: how.crash ?? '' },
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    running.on('close', (_, signal) => resolve(signal));
  });
  let acknowledged = 0;
  let lines = 0;
  for await (const line of createInterface(running.stdout)) {
    acknowledged = Number(line);
    lines += 1;
    if (lines === how.killAfterLines) running.kill('SIGKILL');
  }
  expect(await ended).toBe('SIGKILL');
  return acknowledged;
}

/** Data, fold state and checkpoint are of one and the same batch; returns how many that were. */
async function checkFile(file: string, epoch: number): Promise<number> {
  await using store = await openStore(file);
  await using session = await store.sink.open({
    flow: 'numbers',
    generation: 1,
    targets: shapes,
    workerEpoch: epoch,
  });
  const count = (await session.checkpoint())?.log ?? 0;
  const { rows, total } = expected(count);
  for (const { target } of shapes) {
    const seen = new Map<string, Row>();
    for await (const page of store.scan.scan(target, { rowsMax: 3 }))
      for (const { key, row } of page) seen.set(String(key[0]), row);
    expect(seen, target).toEqual(rows);
  }
  expect(await session.readState(['total'])).toEqual([total]);
  const hits = await store.query.search('texts', 'key');
  expect(hits.map(({ key }) => String(key[0])).toSorted()).toEqual([...rows.keys()].toSorted());
  store.client.exec("INSERT INTO texts_fts (texts_fts, rank) VALUES ('integrity-check', 1)");
  return count;
}

for (const point of crashPoints.filter((name) => name.startsWith('sink.'))) {
  test(`holds data and checkpoint of one batch after SIGKILL at ${point}, and goes on`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tally-sink-crash-'));
    try {
      const file = join(folder, 'target.db');
      let count = 0;
      for (const [round, hits] of [1, 2, 7].entries()) {
        const before = count;
        const how = { crash: `${point}:${hits}` };
        const acknowledged = await applyUntilKilled(file, round + 1, how);
        count = await checkFile(file, round + 1);
        expect(count).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
        expect(count).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
      }
      expect(count).toBeGreaterThan(3);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

test('holds data and checkpoint of one batch after SIGKILL at any moment', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tally-sink-crash-'));
  try {
    const file = join(folder, 'target.db');
    for (const [round, killAfterLines] of [3, 40, 17].entries()) {
      const acknowledged = await applyUntilKilled(file, round + 1, { killAfterLines });
      expect(await checkFile(file, round + 1)).toBeGreaterThanOrEqual(acknowledged);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
