import { describe, expect, test } from 'vitest';
import { cursorOf, keysOf, StoreBench } from '../../../../test/support/postgres-source.ts';
import { hasPostgres } from '../../../../test/support/servers.ts';

const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY, name text)';

/** Captures the table and reads one change; acknowledges it as often as it is called. */
async function capture(bench: StoreBench): Promise<() => Promise<void>> {
  const { source } = bench.store;
  await source.prepare(['items']);
  await source.claim(1);
  await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
  const cursor = cursorOf(await bench.collect());
  return () => source.acknowledge(cursor, 1);
}

describe.skipIf(!hasPostgres)('a table that becomes another one while it is captured', () => {
  test.each([
    ['is dropped', 'DROP TABLE items', 'was dropped'],
    ['is dropped and made again', `DROP TABLE items; ${ITEMS}`, 'was dropped'],
    ['changes places', `ALTER TABLE items RENAME TO old; ${ITEMS}`, 'was renamed to public.old'],
    ['moves', 'CREATE SCHEMA s; ALTER TABLE items SET SCHEMA s', 'was renamed to s.items'],
    ['is no longer published', 'ALTER PUBLICATION % DROP TABLE items', 'the publication'],
    ['loses its publication', 'DROP PUBLICATION %', 'the publication'],
    ['loses its key', 'ALTER TABLE items DROP CONSTRAINT items_pkey', 'another key'],
    ['gets other types', 'ALTER TABLE items ALTER name TYPE int USING 1', 'other types'],
  ])(
    'T15: ends the stream when it %s, before anything more is acknowledged',
    async (_, ddl, why) => {
      await using bench = await StoreBench.open(ITEMS);
      const acknowledge = await capture(bench);
      await acknowledge();
      await bench.sql(ddl.replace('%', bench.store.source.publication));
      await expect(acknowledge()).rejects.toMatchObject({
        code: 'STORE_BUSY',
        details: { table: 'items' },
        message: expect.stringContaining(why) as string,
      });
    },
  );

  test('T15: is read again, once, if its key or types changed while nobody captured it', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const acknowledge = await capture(bench);
    await acknowledge();
    const after = cursorOf(await bench.collect());
    await bench.sql(`ALTER TABLE items ALTER id TYPE text`);
    const { source } = bench.store;
    await source.prepare(['items']);
    await source.prepare(['items']);
    await bench.sql(`UPDATE items SET name = 'b'`);
    const entries = await bench.collect(after);
    expect(entries.flatMap((one) => (one.kind === 'reread' ? [one.table] : []))).toEqual(['items']);
    expect(keysOf(entries)).toEqual(['["1"]']);
    await source.acknowledge(cursorOf(entries), 1);
  });

  test('T15: goes on when columns are added, dropped or renamed', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const acknowledge = await capture(bench);
    await bench.sql(`ALTER TABLE items ADD COLUMN size int; ALTER TABLE items RENAME name TO title;
      ALTER TABLE items DROP COLUMN size`);
    await acknowledge();
    await bench.store.source.prepare(['items']);
    const entries = await bench.collect();
    expect(entries.some(({ kind }) => kind === 'reread')).toBe(false);
  });

  test('T15: made anew under a publication of all tables, is read again', async () => {
    await using bench = await StoreBench.open(
      `${ITEMS}; CREATE PUBLICATION everything FOR ALL TABLES`,
      { publication: 'everything' },
    );
    const { source } = bench.store;
    await source.prepare(['items']);
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    const after = cursorOf(await bench.collect());
    await bench.sql(`DROP TABLE items; ${ITEMS}`);
    await source.prepare(['items']);
    const entries = await bench.collect(after);
    expect(entries.flatMap((one) => (one.kind === 'reread' ? [one.table] : []))).toEqual(['items']);
  });
});
