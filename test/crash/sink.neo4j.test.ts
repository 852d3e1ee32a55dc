import { describe, expect, test } from 'vitest';
import type { Row } from '../../src/core/row.ts';
import type { CrashPoint } from '../../src/observe/point.ts';
import type { NeoStore } from '../../src/stores/neo4j/index.ts';
import { hasNeo4j, neo4jUrl } from '../support/neo4j.ts';
import { freshPrefix } from '../support/prefix.ts';
import { runUntilKilled, type Kill } from './child.ts';
import { expected, target } from './numbered-batches.ts';
import { batches, openStore } from './neo4j-applier.ts';

const { keys } = batches;

/** What is there is exactly what the checkpoint says: rows and checkpoint were committed together. */
async function check(store: NeoStore): Promise<number> {
  const count = (await store.sink.peek('numbers'))?.log ?? 0;
  const seen = new Map<number, Row>();
  for await (const page of store.scan.scan(target, { rowsMax: 1_000 }))
    for (const { key, row } of page) seen.set(Number(key[0]), row);
  for (const key of keys) expect(seen.get(key), `key ${key}`).toEqual(expected(count, key));
  return count;
}

async function killAndCheck(kills: readonly Kill[]): Promise<void> {
  const prefix = freshPrefix();
  const url = neo4jUrl();
  await using store = await openStore(url, prefix);
  let before = 0;
  for (const [round, how] of kills.entries()) {
    const args = [url, prefix, String(round + 1)];
    const acknowledged = await runUntilKilled('neo4j-applier.ts', args, how);
    // The server notices that the connection is gone, and rolls back what it had under way.
    const count = await check(store);
    expect(count).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
    expect(count).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
    before = count;
  }
}

const points: readonly CrashPoint[] = [
  'sink.before-apply',
  'sink.mid-apply',
  'sink.after-apply-before-checkpoint',
  'sink.after-checkpoint-before-commit',
  'sink.after-commit',
];

describe.skipIf(!hasNeo4j)('a worker that writes to Neo4j dies', () => {
  for (const point of points)
    test.concurrent(`T1 SIGKILL at ${point} leaves rows and checkpoint of one moment`, () =>
      killAndCheck([1, 4].map((hits) => ({ crash: `${point}:${hits}` }))),
    );

  test.concurrent('T1 SIGKILL at any moment leaves rows and checkpoint of one moment', () =>
    killAndCheck([3, 9].map((killAfterLines) => ({ killAfterLines }))),
  );
});
