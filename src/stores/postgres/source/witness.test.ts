import { describe, expect, test } from 'vitest';
import { startPostgres } from '../../../../servers/index.ts';
import { hasPostgres } from '../../../../test/support/servers.ts';
import {
  collectThrough,
  cursorOf,
  openStore,
  runSql,
  StoreBench,
} from '../../../../test/support/postgres-source.ts';

const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY)';

describe.skipIf(!hasPostgres)('the history of a write', () => {
  test('is the accepted one from the start, as there is nothing that the server could lack', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { source } = bench.store;
    await source.prepare(['items']);
    const { history } = await source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    expect(history).toBe(await source.history());
  });

  test('is not said where nothing is captured', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { offset, history } = await bench.store.source.write(() => undefined);
    expect(offset).toBeGreaterThan(0);
    expect(history).toBeUndefined();
  });

  test('is no known one after the server was started again, until capture has met its proof; then for every process', async () => {
    await using server = await startPostgres();
    await runSql(server.url, ITEMS);
    await using store = await openStore(server.url);
    await using web = await openStore(server.url);
    await store.source.prepare(['items']);
    await store.source.claim(1);
    const { offset } = await store.source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    const cursor = cursorOf(await collectThrough(store, undefined, offset));
    await store.source.acknowledge(cursor, 1);
    const accepted = await store.source.history();

    await server.kill();
    await server.restart();
    const early = await web.source.write((tx) => tx.query('INSERT INTO items VALUES (2)'));
    expect(early.history).not.toBe(accepted);
    await collectThrough(store, cursor, early.offset);
    for (const { source } of [web, store])
      expect((await source.write(() => undefined)).history).toBe(accepted);
  }, 60_000);

  test('has another name once the server was seen to lack what was captured; a worker that was replaced names nothing', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { source } = bench.store;
    await source.prepare(['items']);
    await source.claim(2);
    const { offset } = await source.write((tx) => tx.query('INSERT INTO items VALUES (1)'));
    const { token } = cursorOf(await bench.collect());
    const accepted = await source.history();
    const beyond = { offset: offset + 2 ** 30, token };
    const older = await bench.another();
    await older.source.prepare(['items']);
    await expect(collectThrough(older, beyond, offset)).rejects.toMatchObject({
      code: 'HISTORY_LOST',
    });
    expect(await source.history()).toBe(accepted);
    await expect(collectThrough(bench.store, beyond, offset)).rejects.toMatchObject({
      code: 'HISTORY_LOST',
      details: { serves: 'another history' },
    });
    expect(await source.history()).not.toBe(accepted);
    expect((await source.write(() => undefined)).history).toBe(await source.history());
  });
});
