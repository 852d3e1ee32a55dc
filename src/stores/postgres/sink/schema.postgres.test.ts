import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sinkBed, type SinkBed } from '../../../../test/support/postgres-sink.ts';
import {
  freshDatabase,
  hasPostgres,
  type FreshDatabase,
} from '../../../../test/support/servers.ts';
import type { Key, Row } from '../../../core/row.ts';
import { edges, fullText, table } from './targets.ts';

// Tables that flows find, make, build beside and switch.

let fresh: FreshDatabase | undefined;
const url = (): string => fresh?.url ?? '';

beforeAll(async () => {
  if (hasPostgres) fresh = await freshDatabase();
});

afterAll(async () => {
  await fresh?.[Symbol.asyncDispose]();
});

const products = table({
  key: ['sku'],
  columns: { sku: 'TEXT', name: 'TEXT NOT NULL', price: 'REAL CHECK (price >= 0)' },
});

async function withRow(bed: SinkBed, name: string, generation = 1): Promise<void> {
  await using into = await bed.session('products', { generation });
  const row = { name, price: generation };
  const report = await bed.apply(into, 'products', [{ key: [`sku ${generation}`], row }]);
  expect(report).toMatchObject({ applied: 1 });
}

const toTwo = (bed: SinkBed): Promise<void> =>
  bed.ports.sink.switchTo('f', 2, [{ target: 'products' }], 1);

const tables = (bed: SinkBed): Promise<readonly unknown[]> =>
  bed.sql(
    `SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE '%products%'
       AND relnamespace IN (current_schema()::regnamespace, '${bed.database.schema}'::regnamespace) ORDER BY 1`,
  );

describe.skipIf(!hasPostgres)('tables of PostgreSQL targets', () => {
  test('adopts a table that fits, whose rows lose to any write', async () => {
    await using bed = await sinkBed(url(), { products });
    await bed.sql(`CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, name TEXT NOT NULL, price NUMERIC, note TEXT);
      INSERT INTO products VALUES ('sku 1', 'before', 1, 'kept')`);
    await withRow(bed, 'after');
    expect(await bed.sql('SELECT sku, name, note FROM products')).toEqual([
      { sku: 'sku 1', name: 'after', note: 'kept' },
    ]);
  });

  test.each([
    ['without a column', 'CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT)'],
    [
      'with a column of another type',
      'CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT, price BOOLEAN)',
    ],
    ['without the key', 'CREATE TABLE products (sku TEXT, name TEXT, price REAL)'],
    [
      'with another key',
      'CREATE TABLE products (sku TEXT, name TEXT, price REAL, PRIMARY KEY (sku, name))',
    ],
    [
      'with a column that nothing fills',
      'CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT, price REAL, more TEXT NOT NULL)',
    ],
    ['that is a view', "CREATE VIEW products AS SELECT 'a' AS sku, 'b' AS name, 1.0 AS price"],
  ])('refuses a table %s and leaves it as it is', async (_, create) => {
    await using bed = await sinkBed(url(), { products });
    await bed.sql(create);
    const before = await bed.sql(
      `SELECT * FROM pg_attribute WHERE attrelid = 'products'::regclass`,
    );
    await expect(bed.session('products')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(
      await bed.sql(`SELECT * FROM pg_attribute WHERE attrelid = 'products'::regclass`),
    ).toEqual(before);
  });

  test('says of a type that the server does not know that the declaration is wrong', async () => {
    await using bed = await sinkBed(url(), {
      odd: table({ key: ['id'], columns: { id: 'NOSUCHTYPE' } }),
    });
    await expect(bed.session('odd')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test.each(['_tally_flows', 'pg_x', 'a__g2', '', 'a"b', 'a.b.c', 'x'.repeat(64)])(
    'refuses a target named %j',
    async (name) => {
      await using bed = await sinkBed(url(), {});
      await expect(bed.session(name)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test('fills a target in a named schema, with the longest name there is', async () => {
    const long = 'é'.repeat(31);
    await using bed = await sinkBed(url(), {});
    await bed.sql('CREATE SCHEMA IF NOT EXISTS sales');
    const name = `sales.${long}`;
    for (const generation of [1, 2]) {
      await using into = await bed.session(name, { generation });
      await bed.apply(into, name, [{ key: ['a'], row: { generation } }]);
    }
    await bed.ports.sink.switchTo('f', 2, [{ target: name }], 1);
    expect(await bed.ports.query.get(name, ['a'])).toEqual({ generation: 2 });
    expect(await bed.sql(`SELECT key FROM sales."${long}"`)).toEqual([{ key: 'a' }]);
  });

  test('refuses a target that another flow has filled, and fills one anew that was dropped', async () => {
    await using bed = await sinkBed(url(), { products });
    await withRow(bed, 'one');
    await expect(bed.session('products', { flow: 'other' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    const running = await bed.session('products');
    await bed.sql('DROP TABLE products');
    await expect(
      bed.apply(running, 'products', [{ key: ['a'], row: { name: 'a' } }]),
    ).rejects.toThrow();
    await using again = await bed.session('products');
    expect(await again.checkpoint()).toBeUndefined();
    expect(await bed.ports.scan.count('products')).toBe(0);
  });

  test('carries through a switch what people added: views, indexes, constraints, triggers, keys, rights', async () => {
    await using bed = await sinkBed(url(), { products });
    await withRow(bed, 'old');
    await bed.sql(`CREATE ROLE reader_${fresh?.name ?? ''}`);
    try {
      await bed.sql(`CREATE INDEX by_price ON products (price DESC) WHERE price > 0;
        CREATE UNIQUE INDEX by_name ON products (lower(name));
        ALTER TABLE products ADD CONSTRAINT short CHECK (length(name) < 10);
        CREATE VIEW names WITH (security_barrier = true) AS SELECT name FROM products;
        CREATE VIEW loud AS SELECT upper(name) AS name FROM names;
        CREATE TABLE notes (sku TEXT REFERENCES products (sku));
        CREATE TABLE audit (sku TEXT);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (new.sku); RETURN new; END $$;
        CREATE TRIGGER audited AFTER INSERT ON products FOR EACH ROW EXECUTE FUNCTION note();
        GRANT SELECT ON products TO reader_${fresh?.name ?? ''};
        GRANT UPDATE (price) ON products TO reader_${fresh?.name ?? ''}`);
      const shape = (): Promise<readonly unknown[]> =>
        bed.sql(`SELECT indexdef AS def FROM pg_indexes WHERE tablename = 'products' AND indexname LIKE 'by%' AND schemaname = current_schema()
          UNION ALL SELECT conname || conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE 'products'::regclass IN (conrelid, confrelid) AND contype IN ('c', 'f')  AND conname NOT LIKE '%price%'
          UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'products'::regclass AND NOT tgisinternal
          UNION ALL SELECT relacl::text FROM pg_class WHERE oid = 'products'::regclass
          UNION ALL SELECT attacl::text FROM pg_attribute WHERE attrelid = 'products'::regclass AND attacl IS NOT NULL
          UNION ALL SELECT reloptions::text FROM pg_class WHERE oid = 'names'::regclass ORDER BY 1`);
      const before = await shape();
      expect(before).toHaveLength(8);
      await withRow(bed, 'new', 2);
      expect(await bed.sql('SELECT name FROM loud')).toEqual([{ name: 'OLD' }]);
      await toTwo(bed);
      expect(await bed.sql('SELECT name FROM loud')).toEqual([{ name: 'NEW' }]);
      expect(await shape()).toEqual(before);
      expect(await tables(bed)).toEqual([
        { relname: 'deleted_products__g2' },
        { relname: 'products' },
      ]);
      await using into = await bed.session('products', { generation: 2 });
      const rows: readonly (readonly [Key, Row])[] = [
        [['c'], { name: 'newer' }],
        [['d'], { name: 'much too long' }],
      ];
      const report = await bed.apply(
        into,
        'products',
        rows.map(([key, row]) => ({ key, row })),
      );
      expect(report.failed[0]?.error.details).toMatchObject({ constraint: 'short' });
      await bed.apply(into, 'products', [{ key: ['c'], row: { name: 'newer' } }]);
      expect(await bed.sql('SELECT sku FROM audit')).toEqual(
        [{ sku: 'sku 1' }, { sku: 'c' }].slice(1),
      );
    } finally {
      await bed.sql(
        `DROP OWNED BY reader_${fresh?.name ?? ''}; DROP ROLE reader_${fresh?.name ?? ''}`,
      );
    }
  });

  test.each([
    [
      'an index on a column that the new one lacks',
      'ALTER TABLE products ADD note TEXT; CREATE INDEX by_note ON products (note)',
    ],
    [
      'a view on a column that the new one lacks',
      'ALTER TABLE products ADD note TEXT; CREATE VIEW v AS SELECT note FROM products',
    ],
    ['a materialized view', 'CREATE MATERIALIZED VIEW m AS SELECT name FROM products'],
    ['row level security', 'ALTER TABLE products ENABLE ROW LEVEL SECURITY'],
    [
      'a key of another table to a row that is gone',
      `CREATE TABLE notes (sku TEXT REFERENCES products (sku)); INSERT INTO notes VALUES ('sku 1')`,
    ],
    [
      'a function that returns its rows',
      `CREATE FUNCTION f() RETURNS SETOF products LANGUAGE sql AS 'SELECT * FROM products'`,
    ],
  ])('leaves everything as it was when %s stands in the way of a switch', async (_, added) => {
    await using bed = await sinkBed(url(), { products });
    await withRow(bed, 'old');
    await bed.sql(added);
    await withRow(bed, 'new', 2);
    await expect(toTwo(bed)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await bed.ports.sink.generation('f')).toBe(1);
    expect(await bed.sql('SELECT name FROM products')).toEqual([{ name: 'old' }]);
  });

  test.each(['before it is built', 'while it is built'])(
    'refuses to switch a table that is published %s',
    async (when) => {
      await using bed = await sinkBed(url(), { products });
      await withRow(bed, 'old');
      if (when === 'while it is built') await withRow(bed, 'new', 2);
      const publication = `p_${bed.database.schema}`;
      await bed.sql(`CREATE PUBLICATION ${publication} FOR TABLE products`);
      const refused = { code: 'CONFIG_INVALID', details: { publication } };
      await expect(bed.session('products', { generation: 2 })).rejects.toMatchObject(refused);
      if (when === 'while it is built') await expect(toTwo(bed)).rejects.toMatchObject(refused);
      expect(await bed.ports.sink.generation('f')).toBe(1);
    },
  );

  test('drops a generation that was never finished when a later one is switched to', async () => {
    await using bed = await sinkBed(url(), { products });
    for (const generation of [1, 2, 3]) await withRow(bed, `g${generation}`, generation);
    await bed.ports.sink.switchTo('f', 3, [{ target: 'products' }], 1);
    expect(await tables(bed)).toEqual([
      { relname: 'deleted_products__g3' },
      { relname: 'products' },
    ]);
  });

  test('makes targets before any flow, and lets the first flow take them', async () => {
    await using bed = await sinkBed(url(), { products });
    await bed.ports.sink.prepare?.([{ target: 'products' }]);
    await bed.ports.sink.prepare?.([{ target: 'products' }]);
    expect(await bed.ports.scan.count('products')).toBe(0);
    await withRow(bed, 'first');
    expect(await bed.ports.scan.count('products')).toBe(1);
  });

  test('goes on by itself when a connection broke while nothing was done on it', async () => {
    await using bed = await sinkBed(url(), {});
    const into = await bed.session('papers');
    await bed.apply(into, 'papers', [{ key: ['a'], row: { n: 1 } }]);
    await bed.sql(
      'SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()',
    );
    const report = await bed.apply(into, 'papers', [{ key: ['b'], row: { n: 2 } }]);
    expect(report).toMatchObject({ applied: 1 });
    expect((await into.checkpoint())?.log).toBe(2);
  });

  test('takes a batch that is larger than one statement', async () => {
    await using bed = await sinkBed(url(), {});
    const into = await bed.session('papers');
    const text = 'x'.repeat(1_000_000);
    const rows = Array.from({ length: 40 }, (_, n) => ({ key: [n], row: { n, text } }));
    expect(await bed.apply(into, 'papers', rows)).toMatchObject({ applied: 40, failed: [] });
    expect(
      await bed.sql('SELECT count(*)::int, min(length(document ->> $$text$$)) FROM papers'),
    ).toEqual([{ count: 40, min: text.length }]);
  });

  test('lets many open the first targets of a database at the same time', async () => {
    await using bed = await sinkBed(url(), {});
    const sessions = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => bed.session(name, { flow: name })),
    );
    for (const session of sessions) await session.close();
    expect(await bed.ports.scan.count('d')).toBe(0);
  });

  test('keeps the full-text index in step with updates, deletes and a switch', async () => {
    await using bed = await sinkBed(url(), {
      texts: fullText({ columns: ['title', 'body'], tokenize: 'porter unicode61' }),
    });
    const first = await bed.session('texts');
    await bed.apply(first, 'texts', [
      { key: ['a'], row: { title: 'red lamp' } },
      { key: ['b'], row: { title: 'lamps', body: 'lamp lamp' } },
      { key: ['c'], row: { title: 'chair', tags: ['x'] } },
    ]);
    const found = async (text: string): Promise<readonly string[]> =>
      (await bed.ports.query.search('texts', text)).map(({ key }) => String(key[0]));
    expect(await found('lamp')).toEqual(['b', 'a']);
    await bed.apply(first, 'texts', [
      { key: ['a'], row: { title: 'red sofa' } },
      { key: ['b'], row: null },
    ]);
    expect(await found('lamp')).toEqual([]);
    expect(await found('RED sofa')).toEqual(['a']);
    const second = await bed.session('texts', { generation: 2 });
    await bed.apply(second, 'texts', [{ key: ['d'], row: { title: 'new lamp' } }]);
    expect(await found('lamp')).toEqual([]);
    await bed.ports.sink.switchTo('f', 2, [{ target: 'texts' }], 1);
    expect(await found('lamp')).toEqual(['d']);
    for (const text of ['"', '* OR', 'a"b', "'; DROP", '!lamp', 'lamp & !lamp', '\0', '', '\ud800'])
      await expect(bed.ports.query.search('texts', text)).resolves.toBeInstanceOf(Array);
    await expect(bed.ports.query.search('other', 'x')).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING',
    });
  });

  test('walks edges nearest first, both ways, by kind, and ends on a cycle', async () => {
    await using bed = await sinkBed(url(), { bought: edges({}) });
    const into = await bed.session('bought');
    const edge = (from: string, to: string, kind: string): { key: Key; row: Row } => ({
      key: [from, to],
      row: { from, to, kind, weight: 1 },
    });
    await bed.apply(into, 'bought', [
      edge('a', 'b', 'x'),
      edge('b', 'c', 'x'),
      edge('c', 'a', 'x'),
      edge('c', 'd', 'y'),
      edge('e', 'a', 'x'),
    ]);
    const walk = async (options: object): Promise<readonly unknown[]> =>
      (await bed.ports.query.neighbours('bought', 'a', options)).map(
        ({ node, depth }) => `${node}${depth}`,
      );
    expect(await walk({})).toEqual(['b1']);
    expect(await walk({ depth: 32 })).toEqual(['b1', 'c2', 'd3']);
    expect(await walk({ depth: 32, kind: 'x' })).toEqual(['b1', 'c2']);
    expect(await walk({ direction: 'in' })).toEqual(['c1', 'e1']);
    expect(await walk({ direction: 'both' })).toEqual(['b1', 'c1', 'e1']);
    expect(await walk({ depth: 32, limit: 2 })).toEqual(['b1', 'c2']);
    expect((await bed.ports.query.neighbours('bought', 'a'))[0]?.edge).toMatchObject({ weight: 1 });
    const report = await bed.apply(into, 'bought', [{ key: ['z'], row: { from: 'z' } }]);
    expect(report.failed[0]?.error.code).toBe('WRITE_REFUSED');
  });
});
