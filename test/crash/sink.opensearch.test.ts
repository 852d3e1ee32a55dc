import { describe, expect, test } from 'vitest';
import type { Row } from '../../src/core/row.ts';
import type { CrashPoint } from '../../src/observe/point.ts';
import type { SinkSession } from '../../src/ports/sink.ts';
import type { OpenSearchStore } from '../../src/stores/opensearch/index.ts';
import { startOpenSearch } from '../../servers/index.ts';
import { freshOpenSearch, hasOpenSearch } from '../support/opensearch.ts';
import { runUntilKilled, type Kill } from './child.ts';
import { expected, target } from './numbered-batches.ts';
import { batches, openStore } from './opensearch-applier.ts';

const { keys, batchOf } = batches;

function sessionOf(store: OpenSearchStore, workerEpoch: number): Promise<SinkSession> {
  return store.sink.open({ flow: 'numbers', generation: 1, targets: [{ target }], workerEpoch });
}

async function rowsOf(store: OpenSearchStore): Promise<ReadonlyMap<number, Row>> {
  const seen = new Map<number, Row>();
  for await (const page of store.scan.scan(target, { rowsMax: 1_000 }))
    for (const { key, row } of page) seen.set(Number(key[0]), row);
  return seen;
}

/**
 * No row is behind the checkpoint, ahead of the batch that was under way, or lost; replaying that batch heals what it left.
 * Returns how many batches were found, and are then applied.
 */
async function checkAndHeal(
  store: OpenSearchStore,
  session: SinkSession,
): Promise<{ found: number; count: number }> {
  const found = (await session.checkpoint())?.log ?? 0;
  const left = await rowsOf(store);
  for (const key of keys)
    expect([expected(found, key), expected(found + 1, key)], `key ${key}`).toContainEqual(
      left.get(key),
    );
  await session.apply(batchOf(found));
  const count = found + 1;
  const healed = await rowsOf(store);
  for (const key of keys) expect(healed.get(key), `key ${key}`).toEqual(expected(count, key));
  return { found, count };
}

const kills: readonly Kill[] = [
  ...(
    [
      'sink.before-apply',
      'sink.mid-apply',
      'sink.after-apply-before-checkpoint',
      'sink.after-checkpoint-before-commit',
      'sink.after-commit',
    ] satisfies readonly CrashPoint[]
  ).map((point) => ({ crash: `${point}:2` })),
  { killAfterLines: 3 },
];

describe.skipIf(!hasOpenSearch)('a worker that writes to OpenSearch dies', () => {
  test('T1 SIGKILL at each point, and at any moment, leaves no row behind the checkpoint, and replay heals', async () => {
    await using fresh = freshOpenSearch();
    const { url, prefix } = fresh;
    let before = 0;
    for (const [round, how] of kills.entries()) {
      const args = [url, prefix, String(2 * round + 1)];
      const acknowledged = await runUntilKilled('opensearch-applier.ts', args, how);
      await using store = await openStore(url, prefix);
      await using session = await sessionOf(store, 2 * round + 2);
      const { found, count } = await checkAndHeal(store, session);
      expect(found).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
      expect(found).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
      before = count;
    }
  });
});

test.skipIf(!hasOpenSearch)(
  'kill -9 of the server during apply loses nothing that was answered',
  async () => {
    await using server = await startOpenSearch();
    await using store = await openStore(server.url, '');
    await using session = await sessionOf(store, 1);
    let answered = 0;
    const third = Promise.withResolvers<void>();
    const working = async (): Promise<never> => {
      for (;;) {
        await session.apply(batchOf(answered));
        answered += 1;
        if (answered === 3) third.resolve();
      }
    };
    const ended = expect(working()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await third.promise;
    await server.kill();
    await ended;
    await server.restart();
    const { found } = await checkAndHeal(store, session);
    expect(found).toBeGreaterThanOrEqual(answered);
    expect(found).toBeLessThanOrEqual(answered + 1);
    expect(session.lost?.aborted).toBe(false);
  },
  // Its own server starts twice, which takes ten seconds each, and more beside others.
  180_000,
);
