import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Key, Row } from '../../../core/row.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { SinkReport, SinkSession } from '../../../ports/sink.ts';
import { sqlite } from '../store.ts';
import { checkTargets, openTargetPorts, type TargetPorts } from './attach.ts';
import { edges, fullText, keyValue, table, type Targets } from './targets.ts';

// What every sink must do stands in the conformance suite; here is what only SQLite targets do.

let folder: string;
let file: string;
let opened: TargetPorts[] = [];
let nowMs = 0;
let offset = 0;

/** Time passes only while somebody sleeps. */
const clock: Clock = {
  nowMs: () => nowMs,
  monotonicMs: () => nowMs,
  sleep: async (delayMs) => {
    nowMs += delayMs;
    await Promise.resolve();
  },
  after: () => () => undefined,
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tally-sqlite-sink-'));
  file = join(folder, 'target.db');
  nowMs = 1_000_000;
  offset = 0;
});

afterEach(async () => {
  for (const ports of opened) ports.close();
  opened = [];
  await rm(folder, { recursive: true, force: true });
});

function open(targets: Targets): TargetPorts {
  const ports = openTargetPorts({
    file,
    synchronous: 'NORMAL',
    busyTimeoutMs: 500,
    clock,
    catalogue: checkTargets({ targets }, 'sqlite'),
  });
  opened.push(ports);
  return ports;
}

function session(ports: TargetPorts, target: string, generation = 1): Promise<SinkSession> {
  return ports.sink.open({ flow: 'f', generation, targets: [{ target }], workerEpoch: 1 });
}

async function apply(
  into: SinkSession,
  target: string,
  rows: readonly (readonly [Key, Row | null])[],
): Promise<SinkReport> {
  offset += 1;
  const last = { epoch: 1, offset, ordinal: rows.length };
  const writes = rows.map(([key, row], ordinal) => {
    return { target, key, row, mode: 'stream' as const, epoch: 1, offset, ordinal };
  });
  const checkpoint = { log: offset, last, through: { epoch: 1, offset }, backfill: undefined };
  return into.apply({ writes, state: [], checkpoint });
}

function sql<Result>(work: (db: DatabaseSync) => Result): Result {
  const db = new DatabaseSync(file);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

function all(text: string): readonly unknown[] {
  return sql((db) =>
    db
      .prepare(text)
      .all()
      .map((row) => ({ ...row })),
  );
}

const products = table({
  key: ['sku'],
  columns: { sku: 'TEXT', name: 'TEXT NOT NULL', price: 'REAL CHECK (price >= 0)' },
});

test('reports every failing write of a batch by index, and keeps none of it', async () => {
  const into = await session(open({ products }), 'products');
  const report = await apply(into, 'products', [
    [['a'], { sku: 'a', name: 'fine', price: 1 }],
    [['b'], { sku: 'b', name: null, price: 1 }],
    [['c'], { sku: 'c', name: 'x', price: -1 }],
    [['d'], { sku: 'd', name: 'x', prise: 1 }],
    [[null], { name: 'x', price: 1 }],
    [['e', 1], { name: 'x', price: 1 }],
    [['f'], { sku: 'other', name: 'x', price: 1 }],
    [['g'], { name: 'x', price: 2n ** 70n }],
    [['h'], { name: 'x', price: Number.NaN }],
  ]);
  expect(report.failed.map(({ index, error }) => [index, error.code])).toEqual([
    ...[1, 2, 3, 4, 5, 6, 7].map((index) => [index, 'WRITE_REFUSED']),
    [8, 'VALUE_UNSUPPORTED'],
  ]);
  expect(report.failed[2]?.error.details).toMatchObject({ column: 'prise', nearest: 'price' });
  expect(all('SELECT * FROM products')).toEqual([]);
  expect(await into.checkpoint()).toBeUndefined();
});

test('stops at a constraint that rolls the transaction back, instead of committing what follows', async () => {
  const strict = table({
    key: ['id'],
    columns: { id: 'INTEGER', n: 'INTEGER NOT NULL ON CONFLICT ROLLBACK' },
  });
  const into = await session(open({ strict }), 'strict');
  const report = await apply(into, 'strict', [
    [[1], { n: 1 }],
    [[2], { n: null }],
    [[3], { n: 3 }],
  ]);
  expect(report.failed.map(({ index }) => index)).toEqual([1]);
  expect(all('SELECT * FROM strict')).toEqual([]);
});

test('stores values by the affinity of their column, and missing columns as NULL', async () => {
  const typed = table({
    key: ['id'],
    columns: {
      id: 'INTEGER',
      text: 'TEXT',
      real: 'REAL',
      flag: 'INTEGER',
      yes: 'BOOLEAN',
      list: 'JSON',
      any: '  any',
    },
  });
  const ports = open({ typed });
  const into = await session(ports, 'typed');
  await apply(into, 'typed', [
    [[1], { id: 1, text: 5, real: 2, flag: true, yes: true, list: [1, { a: null }], any: [1] }],
    [[2], { text: false }],
  ]);
  expect(all('SELECT id, text, real, flag, yes, list, "any" FROM typed')).toEqual([
    { id: 1, text: '5', real: 2, flag: 1, yes: 1, list: '[1,{"a":null}]', any: '[1]' },
    { id: 2, text: '0', real: null, flag: null, yes: null, list: null, any: null },
  ]);
  expect(await ports.query.get('typed', [1])).toMatchObject({
    flag: 1,
    yes: true,
    list: [1, { a: null }],
  });
});

test('adopts a table that fits, whose rows lose to any write', async () => {
  sql((db) =>
    db.exec(`CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, price REAL, note TEXT);
    INSERT INTO products VALUES ('a', 'before', 1, 'kept')`),
  );
  const into = await session(open({ products }), 'products');
  expect(await apply(into, 'products', [[['a'], { name: 'after', price: 2 }]])).toMatchObject({
    applied: 1,
  });
  expect(all('SELECT sku, name, price, note FROM products')).toEqual([
    { sku: 'a', name: 'after', price: 2, note: 'kept' },
  ]);
});

test.each([
  ['without a column', 'CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT)'],
  [
    'with a column of another type',
    'CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT, price TEXT)',
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
  sql((db) => db.exec(create));
  await expect(session(open({ products }), 'products')).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
  expect(
    all("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"),
  ).toEqual([{ name: 'products', sql: create }]);
});

test('refuses a flow that writes a table by another key', async () => {
  const ports = open({ products });
  const targets = [{ target: 'products', key: ['name'] }];
  await expect(
    ports.sink.open({ flow: 'f', generation: 1, targets, workerEpoch: 1 }),
  ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test.each(['_tally_flows', 'sqlite_x', 'a__g2', '', 'a"b'])(
  'refuses a target named %j',
  async (name) => {
    await expect(session(open({}), name)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  },
);

test('refuses a write for a target that the flow did not name', async () => {
  const into = await session(open({ products }), 'products');
  const report = await apply(into, 'product', [[['a'], {}]]);
  expect(report.failed[0]?.error).toMatchObject({
    code: 'WRITE_REFUSED',
    details: { nearest: 'products' },
  });
});

test('keeps views, indexes and triggers that people made through a switch', async () => {
  const ports = open({ products });
  await apply(await session(ports, 'products'), 'products', [[['a'], { name: 'old', price: 1 }]]);
  sql((db) =>
    db.exec(`CREATE INDEX by_price ON products (price);
    CREATE VIEW names AS SELECT name FROM products;
    CREATE TABLE audit (sku TEXT);
    CREATE TRIGGER audited AFTER INSERT ON products BEGIN INSERT INTO audit VALUES (new.sku); END;`),
  );
  const second = await session(ports, 'products', 2);
  await apply(second, 'products', [[['b'], { name: 'new', price: 2 }]]);
  expect(all('SELECT name FROM names')).toEqual([{ name: 'old' }]);
  await ports.sink.switchTo('f', 2, [{ target: 'products' }], 1);
  expect(all('SELECT name FROM names')).toEqual([{ name: 'new' }]);
  await apply(second, 'products', [[['c'], { name: 'newer', price: 3 }]]);
  expect(all('SELECT sku FROM audit')).toEqual([{ sku: 'c' }]);
  expect(
    all(
      "SELECT name FROM sqlite_schema WHERE tbl_name = 'products' AND type = 'index' AND sql IS NOT NULL",
    ),
  ).toEqual([{ name: 'by_price' }]);
  expect(all("SELECT name FROM sqlite_schema WHERE name LIKE '%\\_\\_g%' ESCAPE '\\'")).toEqual([]);
});

test('leaves everything as it was when a switch fails', async () => {
  const ports = open({ products });
  await apply(await session(ports, 'products'), 'products', [[['a'], { name: 'old', price: 1 }]]);
  sql((db) =>
    db.exec('ALTER TABLE products ADD COLUMN note; CREATE INDEX by_note ON products (note)'),
  );
  await session(ports, 'products', 2);
  await expect(ports.sink.switchTo('f', 2, [{ target: 'products' }], 1)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
  expect(await ports.sink.generation('f')).toBe(1);
  expect(all('SELECT name FROM products')).toEqual([{ name: 'old' }]);
});

test.each(['before it is built', 'while it is built'])(
  'refuses to switch a table whose changes are captured %s',
  async (when) => {
    const context = { name: 'chained', clock, random: { next: () => 0, id: () => 'history' } };
    await using store = await sqlite({ file, targets: { products } }).open(context);
    const targets = [{ target: 'products' }];
    const build = () => store.sink.open({ flow: 'f', generation: 2, targets, workerEpoch: 1 });
    await store.sink.open({ flow: 'f', generation: 1, targets, workerEpoch: 1 });
    if (when === 'while it is built') await build();
    await store.source.prepare(['products']);
    const refused = { code: 'CONFIG_INVALID' };
    await expect(build()).rejects.toMatchObject(refused);
    if (when === 'while it is built')
      await expect(store.sink.switchTo('f', 2, targets, 1)).rejects.toMatchObject(refused);
    expect(await store.sink.generation('f')).toBe(1);
  },
);

test('drops a generation that was never finished when a later one is switched to', async () => {
  const ports = open({});
  await apply(await session(ports, 'papers'), 'papers', [[['a'], { n: 1 }]]);
  await session(ports, 'papers', 2);
  await apply(await session(ports, 'papers', 3), 'papers', [[['a'], { n: 3 }]]);
  await ports.sink.switchTo('f', 3, [{ target: 'papers' }], 1);
  expect(
    all(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%papers%' ORDER BY name",
    ),
  ).toEqual([{ name: '_tally_deleted_papers' }, { name: 'papers' }]);
});

test('keeps the full-text index in step with updates, deletes and a switch', async () => {
  const ports = open({ texts: fullText({ columns: ['title', 'body'] }) });
  const first = await session(ports, 'texts');
  await apply(first, 'texts', [
    [['a'], { title: 'red lamp' }],
    [['b'], { title: 'lamp', body: 'lamp lamp' }],
    [['c'], { title: 'chair', tags: ['x'] }],
  ]);
  const found = async (text: string): Promise<readonly string[]> =>
    (await ports.query.search('texts', text)).map(({ key }) => String(key[0]));
  expect(await found('lamp')).toEqual(['b', 'a']);
  await apply(first, 'texts', [
    [['a'], { title: 'red sofa' }],
    [['b'], null],
  ]);
  expect(await found('lamp')).toEqual([]);
  expect(await found('RED sofa')).toEqual(['a']);
  const second = await session(ports, 'texts', 2);
  await apply(second, 'texts', [[['d'], { title: 'new lamp' }]]);
  expect(await found('lamp')).toEqual([]);
  await ports.sink.switchTo('f', 2, [{ target: 'texts' }], 1);
  await apply(second, 'texts', [[['e'], { title: 'newer lamp' }]]);
  expect((await found('lamp')).toSorted()).toEqual(['d', 'e']);
  expect(await found('sofa')).toEqual([]);
  sql((db) =>
    db.exec("VACUUM; INSERT INTO texts_fts (texts_fts, rank) VALUES ('integrity-check', 1)"),
  );
  expect(
    all(
      `SELECT snippet(texts_fts, 0, '[', ']', '', 9) AS s FROM texts_fts WHERE texts_fts MATCH 'newer'`,
    ),
  ).toEqual([{ s: '[newer] lamp' }]);
});

test.each([
  '"',
  '* OR',
  'a"b',
  'NEAR(',
  '(-)',
  'title:lamp',
  '^lamp',
  'lamp AND',
  '\0',
  "'; DROP",
  '',
])('takes the text %j as words, never as query syntax', async (text) => {
  const ports = open({ texts: fullText({ columns: ['title'] }) });
  await apply(await session(ports, 'texts'), 'texts', [[['a'], { title: 'lamp' }]]);
  await expect(ports.query.search('texts', text)).resolves.toBeInstanceOf(Array);
});

test('walks edges nearest first, both ways, by kind, and ends on a cycle', async () => {
  const ports = open({ bought: edges({}) });
  const into = await session(ports, 'bought');
  const edge = (from: string, to: string, kind: string): readonly [Key, Row] => [
    [from, to],
    { from, to, kind, weight: 1 },
  ];
  await apply(into, 'bought', [
    edge('a', 'b', 'x'),
    edge('b', 'c', 'x'),
    edge('c', 'a', 'x'),
    edge('c', 'd', 'y'),
    edge('e', 'a', 'x'),
  ]);
  const walk = async (options: object): Promise<readonly unknown[]> =>
    (await ports.query.neighbours('bought', 'a', options)).map(
      ({ node, depth }) => `${node}${depth}`,
    );
  expect(await walk({})).toEqual(['b1']);
  expect(await walk({ depth: 32 })).toEqual(['b1', 'c2', 'd3']);
  expect(await walk({ depth: 32, kind: 'x' })).toEqual(['b1', 'c2']);
  expect(await walk({ direction: 'in' })).toEqual(['c1', 'e1']);
  expect(await walk({ direction: 'both' })).toEqual(['b1', 'c1', 'e1']);
  expect(await walk({ depth: 32, limit: 2 })).toEqual(['b1', 'c2']);
  expect((await ports.query.neighbours('bought', 'a'))[0]?.edge).toMatchObject({ weight: 1 });
  await expect(ports.query.neighbours('bought', 'a', { depth: 99 })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
  expect((await apply(into, 'bought', [[['z'], { from: 'z' }]])).failed[0]?.error.code).toBe(
    'WRITE_REFUSED',
  );
});

test('leaves expired rows out at once, and sweeps them without letting older writes back in', async () => {
  const ports = open({ sessions: keyValue({ ttl: '10s' }) });
  const into = await session(ports, 'sessions');
  await apply(into, 'sessions', [
    [['a'], { user: 1 }],
    [['b'], { user: 2 }],
  ]);
  nowMs += 9_999;
  expect(await ports.query.get('sessions', ['a'])).toEqual({ user: 1 });
  nowMs += 1;
  expect(await ports.query.get('sessions', ['a'])).toBeUndefined();
  expect(await ports.scan.count('sessions')).toBe(0);
  expect(await ports.keyValue.sweep(1)).toBe(1);
  expect(await ports.keyValue.sweep()).toBe(1);
  expect(all('SELECT * FROM sessions')).toEqual([]);
  offset = 0;
  expect(await apply(into, 'sessions', [[['a'], { user: 1 }]])).toMatchObject({
    applied: 0,
    older: 1,
  });
});

test('throws STORE_BUSY while another connection holds the file, and keeps nothing', async () => {
  const into = await session(open({}), 'papers');
  const other = new DatabaseSync(file);
  other.exec('BEGIN IMMEDIATE');
  await expect(apply(into, 'papers', [[['a'], {}]])).rejects.toMatchObject({
    code: 'STORE_BUSY',
    retryable: true,
  });
  other.exec('ROLLBACK');
  other.close();
  expect(await apply(into, 'papers', [[['a'], {}]])).toMatchObject({ applied: 1, failed: [] });
});

test('waits for a transaction of this very process without blocking it', async () => {
  const into = await session(open({}), 'papers');
  const other = new DatabaseSync(file);
  other.exec('BEGIN IMMEDIATE');
  const applying = apply(into, 'papers', [[['a'], {}]]);
  await Promise.resolve();
  other.exec('ROLLBACK');
  other.close();
  expect(await applying).toMatchObject({ applied: 1 });
});

test('throws STORE_FULL for the whole batch at the page limit, never as failed writes', async () => {
  const ports = open({});
  const into = await session(ports, 'papers');
  const text = 'x'.repeat(100_000);
  const rows = Array.from({ length: 50 }, (_, index): readonly [Key, Row] => [[index], { text }]);
  limitPages(ports, 200);
  await expect(apply(into, 'papers', rows)).rejects.toMatchObject({
    code: 'STORE_FULL',
    retryable: true,
  });
  expect(all('SELECT * FROM papers')).toEqual([]);
  expect(await into.checkpoint()).toBeUndefined();
  limitPages(ports, 100_000);
  expect(await apply(into, 'papers', rows)).toMatchObject({ applied: 50 });
});

function limitPages(ports: TargetPorts, pages: number): void {
  ports.client.exec(`PRAGMA max_page_count = ${pages}`);
}
