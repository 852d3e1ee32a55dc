import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Row } from '../../src/core/row.ts';
import { crashPoints, serverCrashPoints } from '../../src/observe/point.ts';
import { runUntilKilled } from './child.ts';
import { expected, openSqlite, shapes } from './sink-applier.ts';

/** Data, fold state and checkpoint are of one and the same batch; returns how many that were. */
async function checkFile(file: string, epoch: number): Promise<number> {
  await using store = await openSqlite(file);
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

for (const point of crashPoints.filter(
  (name) => name.startsWith('sink.') && !serverCrashPoints.includes(name),
)) {
  test(`holds data and checkpoint of one batch after SIGKILL at ${point}, and goes on`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tally-sink-crash-'));
    try {
      const file = join(folder, 'target.db');
      let count = 0;
      for (const [round, hits] of [1, 2, 7].entries()) {
        const before = count;
        const how = { crash: `${point}:${hits}` };
        const acknowledged = await runUntilKilled(
          'sink-applier.ts',
          [file, String(round + 1)],
          how,
        );
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
      const acknowledged = await runUntilKilled('sink-applier.ts', [file, String(round + 1)], {
        killAfterLines,
      });
      expect(await checkFile(file, round + 1)).toBeGreaterThanOrEqual(acknowledged);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
