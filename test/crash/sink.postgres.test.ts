import { describe, expect, test } from 'vitest';
import type { Row } from '../../src/core/row.ts';
import { crashPoints } from '../../src/observe/point.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import { runUntilKilled } from './child.ts';
import { expected, openPostgres, shapes } from './sink-applier.ts';

/** Data, fold state and checkpoint are of one and the same batch; returns how many that were. */
async function checkDatabase(url: string, epoch: number): Promise<number> {
  await using store = await openPostgres(url);
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
  return count;
}

// T1: what was acknowledged is there, what was not is there as a whole or not at all.
describe.skipIf(!hasPostgres)('the process that applies to PostgreSQL is killed', () => {
  for (const point of crashPoints.filter(
    // Every step of this sink is one transaction: nothing is half emptied.
    (name) => name.startsWith('sink.') && name !== 'sink.mid-reset',
  )) {
    test(`T1 holds data and checkpoint of one batch after SIGKILL at ${point}, and goes on`, async () => {
      await using database = await freshDatabase();
      let count = 0;
      for (const [round, hits] of [1, 2, 7].entries()) {
        const before = count;
        const args = [database.url, String(round + 1)];
        const how = { crash: `${point}:${hits}` };
        const acknowledged = await runUntilKilled('sink-applier.ts', args, how);
        count = await checkDatabase(database.url, round + 1);
        expect(count).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
        expect(count).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
      }
      expect(count).toBeGreaterThan(3);
    });
  }

  test('T1 holds data and checkpoint of one batch after SIGKILL at any moment', async () => {
    await using database = await freshDatabase();
    for (const [round, killAfterLines] of [3, 40, 17].entries()) {
      const args = [database.url, String(round + 1)];
      const acknowledged = await runUntilKilled('sink-applier.ts', args, { killAfterLines });
      expect(await checkDatabase(database.url, round + 1)).toBeGreaterThanOrEqual(acknowledged);
    }
  });
});
