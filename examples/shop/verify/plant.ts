import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DuckDBInstance } from '@duckdb/node-api';
import type { Servers } from '../app.ts';
import type { Boundary } from './boundaries.ts';
import { isInRedis, spoilInRedis } from './in-redis.ts';

// A checker that never finds anything proves nothing: this does by hand what must never happen.

export type Fault = 'lost' | 'doubled' | 'stale';
type Faults = Readonly<Record<Fault, string>>;

/** The faults of a table of documents. */
function inDocuments(table: string, stale: string): Faults {
  return {
    lost: `DELETE FROM ${table} WHERE key = (SELECT min(key) FROM ${table})`,
    doubled: `INSERT INTO ${table} (key, document, _fence, _ordinal)
      SELECT key || '-again', document, _fence, _ordinal FROM ${table} LIMIT 1`,
    stale: `UPDATE ${table} SET document = ${stale} WHERE key = (SELECT min(key) FROM ${table})`,
  };
}

const inSqlite: Readonly<Record<string, Faults & { readonly file: string }>> = {
  productSearch: {
    file: 'search.db',
    ...inDocuments('products', `json_set(document, '$.title', 'something else')`),
  },
  stock: { file: 'sessions.db', ...inDocuments('stock', `json_set(document, '$.onHand', -7)`) },
  recentOrders: {
    file: 'sessions.db',
    ...inDocuments('recentOrders', `json_set(document, '$.orders', json('[]'))`),
  },
  eventStream: {
    file: 'events.db',
    lost: 'DELETE FROM stream WHERE id = (SELECT max(id) FROM stream)',
    doubled: `INSERT INTO stream SELECT id + 1, kind, orderId, at, data, _fence, _ordinal
      FROM stream ORDER BY id DESC LIMIT 1`,
    stale: 'UPDATE stream SET at = at - 1 WHERE id = (SELECT max(id) FROM stream)',
  },
  boughtTogether: {
    file: 'graph.db',
    ...inDocuments('purchases', `json_set(document, '$.count', 1 + document -> 'count')`),
  },
  salesMetrics: {
    file: 'metrics.db',
    lost: `DELETE FROM minutes WHERE metric = 'lines'`,
    doubled: `INSERT INTO minutes SELECT metric, minute + 1000, value, _fence, _ordinal
      FROM minutes LIMIT 1`,
    // What an increment that was applied twice would look like.
    stale: `UPDATE minutes SET value = 2 * value WHERE metric = 'lines'`,
  },
};

/** Rows of the reports stand in the table behind the view that readers see. */
const inReports: Faults = {
  lost: 'DELETE FROM lines__g1 WHERE rowid = (SELECT min(rowid) FROM lines__g1)',
  doubled: 'INSERT INTO lines__g1 SELECT * FROM lines__g1 LIMIT 1',
  stale: `UPDATE lines__g1 SET quantity = quantity + 1
    WHERE rowid = (SELECT min(rowid) FROM lines__g1)`,
};

/** Loses, doubles or spoils one row of a target behind the back of its flow. */
export async function plantFault(
  dir: string,
  { fault, boundary }: { readonly fault: Fault; readonly boundary: Boundary },
  servers?: Servers,
): Promise<void> {
  if (servers !== undefined && isInRedis(boundary)) return spoilInRedis(servers, boundary, fault);
  if (boundary === 'receipts') return spoilReceipt(join(dir, 'objects/objects/receipts.d'), fault);
  if (boundary === 'salesReports') return spoilReport(join(dir, 'reports.duckdb'), fault);
  const target = inSqlite[boundary];
  if (target === undefined) return;
  using database = new DatabaseSync(join(dir, target.file));
  database.exec(target[fault]);
}

async function spoilReport(file: string, fault: Fault): Promise<void> {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  await connection.run(inReports[fault]);
  connection.closeSync();
  instance.closeSync();
}

async function spoilReceipt(root: string, fault: Fault): Promise<void> {
  const file = join(root, (await readdir(root))[0] ?? '');
  const bytes = await readFile(file);
  switch (fault) {
    case 'lost':
      return rm(file);
    case 'doubled':
      return writeFile(join(root, 'again-1.o'), bytes);
    case 'stale':
      return writeFile(file, bytes.toString('latin1').replace('sale', 'sold'), 'latin1');
    default:
      return fault satisfies never;
  }
}
