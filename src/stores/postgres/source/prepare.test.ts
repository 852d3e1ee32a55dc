import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { freshDatabase, hasPostgres } from '../../../../test/support/servers.ts';
import {
  collectThrough,
  cursorOf,
  keysOf,
  openStore,
  runSql,
  StoreBench,
} from '../../../../test/support/postgres-source.ts';

const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY, name text)';

describe.skipIf(!hasPostgres)('preparing tables', () => {
  test('publishes a table whole, with rows before changes, and describes it', async () => {
    await using bench = await StoreBench.open(
      `CREATE SCHEMA sales; CREATE TABLE sales.lines (nr int, order_id int, qty int, twice int GENERATED ALWAYS AS (qty * 2) STORED,
         PRIMARY KEY (order_id, nr) INCLUDE (qty)); ${ITEMS}`,
    );
    const { source } = bench.store;
    const shapes = await source.prepare(['sales.lines', 'items']);
    expect(shapes).toEqual([
      { name: 'sales.lines', key: ['order_id', 'nr'], columns: ['nr', 'order_id', 'qty'] },
      { name: 'items', key: ['id'], columns: ['id', 'name'] },
    ]);
    expect(
      await bench.sql(
        `SELECT tablename FROM pg_publication_tables WHERE pubname = '${source.publication}' ORDER BY 1`,
      ),
    ).toEqual([{ tablename: 'items' }, { tablename: 'lines' }]);
    expect(
      await bench.sql(
        `SELECT DISTINCT relreplident::text AS i FROM pg_class WHERE relname IN ('items', 'lines')`,
      ),
    ).toEqual([{ i: 'f' }]);
    const history = await source.history();
    expect(await source.prepare(['items'])).toEqual([shapes[1]]);
    expect(await source.history()).toBe(history);
    await bench.sql('INSERT INTO sales.lines (nr, order_id, qty) VALUES (1, 7, 2)');
    const [change] = (await bench.collect()).filter((entry) => entry.kind === 'change');
    expect(change).toMatchObject({
      table: 'sales.lines',
      key: '[7,1]',
      after: '{"nr":1,"order_id":7,"qty":2}',
    });
  });

  test('adds tables to a publication that is there, and partitions as their root', async () => {
    await using bench = await StoreBench.open(
      `${ITEMS}; CREATE TABLE days (day int PRIMARY KEY, name text) PARTITION BY RANGE (day);
       CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (10);
       CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20)`,
    );
    const { source } = bench.store;
    await source.prepare(['items']);
    await source.prepare(['items', 'days']);
    await bench.sql(
      `INSERT INTO days VALUES (1, 'a'), (11, 'b'); UPDATE days SET day = 12 WHERE day = 1`,
    );
    const entries = await bench.collect();
    expect(keysOf(entries)).toEqual(['[1]', '[11]', '-[1]', '[12]']);
    expect(entries.filter((entry) => entry.kind === 'reread')).toEqual([]);
    await expect(source.prepare(['items', 'days', 'days_2'])).rejects.toMatchObject({
      code: 'TABLE_UNSUPPORTED',
      details: { table: 'days_2' },
    });
  });

  test.each([
    ['CREATE VIEW bad AS SELECT 1 AS a', /view/],
    ['CREATE UNLOGGED TABLE bad (a int PRIMARY KEY)', /ALTER TABLE bad SET LOGGED/],
    ['CREATE TABLE bad (a int)', /ALTER TABLE "public"."bad" ADD PRIMARY KEY/],
    ['CREATE TABLE bad (a int[] PRIMARY KEY)', /integer\[\]/],
    ['CREATE TABLE bad (b int, a int GENERATED ALWAYS AS (b) STORED PRIMARY KEY)', /generated/],
  ])('refuses what cannot be captured, with the remedy: %s', async (sql, says) => {
    await using bench = await StoreBench.open(sql);
    const failing = bench.store.source.prepare(['bad']);
    await expect(failing).rejects.toMatchObject({ code: 'TABLE_UNSUPPORTED' });
    await expect(failing).rejects.toThrow(says);
  });

  test('names the nearest table for one that is not there, also in another schema', async () => {
    await using bench = await StoreBench.open(
      `CREATE SCHEMA sales; CREATE TABLE sales.orders (a int PRIMARY KEY)`,
    );
    const failing = bench.store.source.prepare(['orders']);
    await expect(failing).rejects.toMatchObject({
      code: 'TABLE_UNKNOWN',
      details: { nearest: 'sales.orders' },
    });
  });

  test('makes one slot and one history when several processes prepare at once', async () => {
    await using bench = await StoreBench.open(`${ITEMS}; CREATE TABLE others (id int PRIMARY KEY)`);
    const stores = await Promise.all([bench.another(), bench.another(), bench.another()]);
    const shapes = await Promise.all(
      stores.map((store, index) =>
        store.source.prepare(index === 1 ? ['items', 'others'] : ['items']),
      ),
    );
    expect(shapes.map((one) => one.length)).toEqual([1, 2, 1]);
    const histories = await Promise.all(stores.map((store) => store.source.history()));
    expect(new Set(histories).size).toBe(1);
    const slots = await bench.sql(
      'SELECT slot_name, plugin FROM pg_replication_slots WHERE database = current_database()',
    );
    expect(slots).toEqual([{ slot_name: bench.store.source.slot, plugin: 'pgoutput' }]);
    expect(
      await bench.sql(
        `SELECT tablename FROM pg_publication_tables WHERE pubname = '${bench.store.source.publication}' ORDER BY 1`,
      ),
    ).toEqual([{ tablename: 'items' }, { tablename: 'others' }]);
  });

  test('refuses a slot of that name that belongs to another plugin or another database', async () => {
    await using bench = await StoreBench.open(ITEMS);
    await using elsewhere = await freshDatabase();
    const slot = `tally_test_${randomBytes(6).toString('hex')}`;
    await bench.sql(`SELECT pg_create_logical_replication_slot('${slot}', 'test_decoding')`);
    const store = await bench.another({ slot });
    const failing = store.source.prepare(['items']);
    await expect(failing).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { slot } });
    await expect(failing).rejects.toThrow(/test_decoding/);
    await runSql(elsewhere.url, ITEMS);
    await using other = await openStore(elsewhere.url, { slot: `${slot}_2` });
    await other.source.prepare(['items']);
    const taken = (await bench.another({ slot: `${slot}_2` })).source.prepare(['items']);
    await expect(taken).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(taken).rejects.toThrow(elsewhere.name);
  });

  test('refuses a publication that has only some rows of a table, and completes one that leaves out operations', async () => {
    await using bench = await StoreBench.open(
      `${ITEMS}; CREATE PUBLICATION part FOR TABLE items WHERE (id > 10); CREATE PUBLICATION few FOR TABLE items WITH (publish = 'insert')`,
    );
    const partial = (await bench.another({ publication: 'part' })).source.prepare(['items']);
    await expect(partial).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(partial).rejects.toThrow(/ALTER PUBLICATION "part" DROP TABLE public.items/);
    await (await bench.another({ publication: 'few' })).source.prepare(['items']);
    expect(
      await bench.sql(`SELECT pubdelete, pubviaroot FROM pg_publication WHERE pubname = 'few'`),
    ).toEqual([{ pubdelete: true, pubviaroot: true }]);
  });

  test('says which right is missing, with the statement that gives it', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const role = `tally_${randomBytes(6).toString('hex')}`;
    const url = new URL(bench.url);
    url.username = role;
    await bench.sql(`CREATE ROLE ${role} LOGIN`);
    try {
      await using store = await openStore(url.href);
      const prepare = (): Promise<unknown> => store.source.prepare(['items']);
      const database = url.pathname.slice(1);
      await expect(prepare()).rejects.toThrow(
        `GRANT CREATE ON DATABASE "${database}" TO "${role}"`,
      );
      await bench.sql(`CREATE SCHEMA _tally AUTHORIZATION ${role}`);
      await expect(prepare()).rejects.toMatchObject({
        code: 'TABLE_UNSUPPORTED',
        details: { statements: ['ALTER TABLE public.items REPLICA IDENTITY FULL'] },
      });
      await bench.sql('ALTER TABLE items REPLICA IDENTITY FULL');
      await expect(prepare()).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
      await expect(prepare()).rejects.toThrow(/CREATE PUBLICATION/);
      await bench.sql(
        `ALTER TABLE items OWNER TO ${role}; GRANT CREATE ON DATABASE ${database} TO ${role}`,
      );
      await expect(prepare()).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
      await expect(prepare()).rejects.toThrow(`ALTER ROLE "${role}" REPLICATION`);
      await bench.sql(`ALTER ROLE ${role} REPLICATION`);
      await prepare();
      // No other right is needed, for anything.
      const { source } = store;
      expect(await source.history()).toMatch(/^\d+\/1\//);
      await source.claim(1);
      const { offset } = await source.write((tx) => tx.query(`INSERT INTO items VALUES (1, 'a')`));
      const entries = await collectThrough(store, undefined, offset);
      expect(keysOf(entries)).toEqual(['[1]']);
      await source.acknowledge(cursorOf(entries), 1);
      await source.heartbeat();
      expect((await source.lookup('items', [[1]])).rows).toEqual([{ id: 1, name: 'a' }]);
      expect((await source.retained()).bytes).toBeGreaterThan(0);
      const { rows } = await store.client.query<{ xid: string }>(
        `INSERT INTO items VALUES (2, 'b') RETURNING pg_current_xact_id()::text AS xid`,
      );
      expect(await source.resolve(String(rows[0]?.xid))).toBeGreaterThan(offset);
    } finally {
      await bench.sql(
        `REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`,
      );
    }
  });

  test('T15: says of a table that was made anew, or left out for a while, that it has to be read again', async () => {
    await using bench = await StoreBench.open(`${ITEMS}; CREATE TABLE others (id int PRIMARY KEY)`);
    const { source } = bench.store;
    await source.prepare(['items', 'others']);
    await bench.sql(`DROP TABLE items; ${ITEMS}; INSERT INTO items VALUES (1, 'unseen')`);
    await bench.sql(`ALTER PUBLICATION ${source.publication} DROP TABLE others`);
    await bench.sql('INSERT INTO others VALUES (1)');
    await source.prepare(['items', 'others']);
    await bench.sql(`INSERT INTO items VALUES (2, 'seen')`);
    const entries = await bench.collect();
    const rereads = entries.flatMap((entry) => (entry.kind === 'reread' ? [entry.table] : []));
    expect(rereads).toEqual(['items', 'others']);
    expect(keysOf(entries)).toEqual(['[2]']);
    // Once, and to this slot alone.
    await source.prepare(['items', 'others']);
    const other = await bench.another({ slot: `${source.slot}_2` });
    await other.source.prepare(['items', 'others']);
    const after = cursorOf(entries);
    expect((await bench.collect(after)).some((entry) => entry.kind === 'reread')).toBe(false);
  });

  test('adopts a slot that an administrator has made', async () => {
    await using bench = await StoreBench.open(ITEMS);
    const { source } = bench.store;
    await bench.sql(`SELECT pg_create_logical_replication_slot('${source.slot}', 'pgoutput')`);
    await source.prepare(['items']);
    await bench.sql(`INSERT INTO items VALUES (1, 'a')`);
    expect(keysOf(await bench.collect())).toEqual(['[1]']);
  });
});
