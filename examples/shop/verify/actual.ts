import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DuckDBInstance } from '@duckdb/node-api';
import type { Servers } from '../app.ts';
import type { Boundary, Entry } from './boundaries.ts';
import { isInRedis, redisRows } from './in-redis.ts';

// What the targets hold, read from their files, or their server, by the raw drivers.

/** Rows of (key, content) of each target that is a SQLite file. */
const inSqlite: Readonly<Record<string, { readonly file: string; readonly sql: string }>> = {
  productSearch: {
    file: 'search.db',
    sql: `SELECT key, json_array(document ->> 'title', document ->> 'category', document -> 'priceMilli')
      FROM products`,
  },
  stock: {
    file: 'sessions.db',
    sql: `SELECT key, json_array(document -> 'onHand',
        CASE WHEN document ->> 'soldOut' THEN 'sold out' ELSE 'there' END) FROM stock`,
  },
  recentOrders: {
    file: 'sessions.db',
    sql: `SELECT key, (SELECT json_group_array(json_array(
          value ->> 'id', value ->> 'status', value -> 'placedAt') ORDER BY o.key)
        FROM json_each(document, '$.orders') o) FROM recentOrders`,
  },
  eventStream: {
    file: 'events.db',
    sql: `SELECT CAST(id AS TEXT), json_array(kind, orderId, at, data ->> 'customerId',
        data ->> 'country', (SELECT json_group_array(json_object('line', value -> 'line',
          'sku', value ->> 'sku', 'title', value ->> 'title', 'quantity', value -> 'quantity',
          'priceMilli', value -> 'priceMilli') ORDER BY l.key) FROM json_each(data, '$.lines') l))
      FROM stream`,
  },
  boughtTogether: {
    file: 'graph.db',
    sql: `SELECT json_array(kind, "from", "to"), document -> 'count' FROM purchases`,
  },
  salesMetrics: {
    file: 'metrics.db',
    sql: `SELECT metric || ' ' || minute, CAST(value AS TEXT) FROM minutes`,
  },
};

/** What a target holds, row by row. */
export function actualRows(
  dir: string,
  boundary: Boundary,
  servers?: Servers,
): AsyncIterable<Entry> {
  if (servers !== undefined && isInRedis(boundary)) return redisRows(servers, boundary);
  switch (boundary) {
    case 'salesReports':
      return reportRows(join(dir, 'reports.duckdb'));
    case 'receipts':
      return receiptObjects(join(dir, 'objects', 'objects', 'receipts.d'));
    default:
      return sqliteRows(dir, boundary);
  }
}

async function* sqliteRows(dir: string, boundary: Boundary): AsyncGenerator<Entry> {
  const target = inSqlite[boundary];
  if (target === undefined) return;
  using database = new DatabaseSync(join(dir, target.file));
  const statement = database.prepare(target.sql);
  statement.setReturnArrays(true);
  for (const row of statement.iterate() as unknown as Iterable<readonly unknown[]>)
    yield [String(row[0]), String(row[1])];
}

async function* reportRows(file: string): AsyncGenerator<Entry> {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  try {
    const result = await connection.stream(
      `SELECT "orderId" || ' ' || line,
        json_array(sku, quantity, "priceMilli", "revenueMilli")::VARCHAR FROM lines`,
    );
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      for (const [key, content] of chunk.getRows()) yield [String(key), String(content)];
    }
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

interface Receipt {
  readonly kind: string;
  readonly at: number;
  readonly customer: string | null;
  readonly country: string;
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly totalMilli: number;
}

/** Receipts stand at `receipts.d/ORDER-EVENT.o`: the body, then what the store keeps of it. */
async function* receiptObjects(root: string): AsyncGenerator<Entry> {
  const names = await readdir(root).catch((): string[] => []);
  for (const name of names) {
    const { kind, at, customer, country, lines, totalMilli } = await readBody(join(root, name));
    const sorted = lines.map(({ line, sku, title, quantity, priceMilli }) => ({
      line,
      sku,
      title,
      quantity,
      priceMilli,
    }));
    const content = JSON.stringify([kind, at, customer, country, sorted, totalMilli]);
    yield [decodeURIComponent(name.replace(/\.o$/, '')), content];
  }
}

/** Behind the body stands a description of it: JSON, its length in four bytes, and eight bytes of magic. */
const FOOTER_BYTES = 12;

async function readBody(path: string): Promise<Receipt> {
  const bytes = await readFile(path);
  const description = bytes.readUInt32LE(bytes.length - FOOTER_BYTES);
  const text = bytes.toString('utf8', 0, bytes.length - FOOTER_BYTES - description);
  return JSON.parse(text) as Receipt;
}

/** Whether the full-text index says what its documents say. */
export function isIndexWhole(dir: string): boolean {
  using database = new DatabaseSync(join(dir, 'search.db'));
  try {
    database.exec(`INSERT INTO products_fts (products_fts, rank) VALUES ('integrity-check', 1)`);
    return true;
  } catch {
    return false;
  }
}
