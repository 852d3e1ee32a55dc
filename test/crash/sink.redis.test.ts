import { describe, expect, test } from 'vitest';
import type { Row } from '../../src/core/row.ts';
import type { CrashPoint } from '../../src/observe/point.ts';
import { freshRedis, hasRedis } from '../support/servers.ts';
import { runUntilKilled, type Kill } from './child.ts';
import { expected, target } from './numbered-batches.ts';
import { batches, openStore } from './redis-applier.ts';

const { keys, batchOf } = batches;

type Where = readonly [url: string, prefix: string, buckets: number];

/**
 * No row is behind the checkpoint, ahead of the batch that was under way, or lost; replaying that batch heals what
 * it left. Returns the number of batches that are then applied.
 */
async function checkAndHeal(
  where: Where,
  epoch: number,
): Promise<{ found: number; count: number }> {
  await using store = await openStore(...where);
  await using session = await store.sink.open({
    flow: 'numbers',
    generation: 1,
    targets: [{ target }],
    workerEpoch: epoch,
  });
  const rows = async (): Promise<ReadonlyMap<number, Row>> => {
    const seen = new Map<number, Row>();
    for await (const page of store.scan.scan(target, { rowsMax: 1_000 }))
      for (const { key, row } of page) seen.set(Number(key[0]), row);
    return seen;
  };
  const found = (await session.checkpoint())?.log ?? 0;
  const left = await rows();
  for (const key of keys)
    expect([expected(found, key), expected(found + 1, key)], `key ${key}`).toContainEqual(
      left.get(key),
    );
  await session.apply(batchOf(found));
  const count = found + 1;
  const healed = await rows();
  for (const key of keys) expect(healed.get(key), `key ${key}`).toEqual(expected(count, key));
  return { found, count };
}

async function killAndCheck(buckets: number, kills: readonly Kill[]): Promise<void> {
  await using keysOfOurs = await freshRedis();
  const where: Where = [keysOfOurs.url, keysOfOurs.prefix, buckets];
  let before = 0;
  for (const [round, how] of kills.entries()) {
    const epoch = String(2 * round + 1);
    const args = [where[0], where[1], String(buckets), epoch];
    const acknowledged = await runUntilKilled('redis-applier.ts', args, how);
    const { found, count } = await checkAndHeal(where, 2 * round + 2);
    expect(found).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
    expect(found).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
    before = count;
  }
}

const places: readonly (readonly [CrashPoint, number])[] = [
  ['sink.before-apply', 1],
  ['sink.mid-apply', 1],
  ['sink.after-apply-before-checkpoint', 1],
  ['sink.after-checkpoint-before-commit', 4],
  ['sink.after-commit', 1],
  ['sink.before-apply', 4],
  ['sink.after-commit', 4],
];

describe.skipIf(!hasRedis)('a worker that writes to Redis dies', () => {
  for (const [point, buckets] of places)
    test(`T1 SIGKILL at ${point} with ${buckets} buckets leaves no row behind the checkpoint, and replay heals`, () =>
      killAndCheck(
        buckets,
        [1, 2, 7].map((hits) => ({ crash: `${point}:${hits}` })),
      ));

  test('T1 SIGKILL at any moment leaves no row behind the checkpoint, and replay heals', () =>
    killAndCheck(
      1,
      [3, 20, 9].map((killAfterLines) => ({ killAfterLines })),
    ));
});
