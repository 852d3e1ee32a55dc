import { join } from 'node:path';
import { flow, put, tally, type TallyApp } from '../../src/index.ts';
import { columnar, duckdb } from '../../src/stores/duckdb/index.ts';
import { sqlite, table } from '../../src/stores/sqlite/index.ts';
import type { StoreDefinition } from '../../src/ports/store.ts';

/** Where the lines go: into a table, or into columns that are only appended to. */
export type Target = 'sqlite' | 'duckdb';

export const SOURCE_FILE = 'orders.db';
export const COLUMNS =
  'id INTEGER PRIMARY KEY, order_id INTEGER, sku TEXT, description TEXT, quantity INTEGER, price REAL, country TEXT, note TEXT';
const NAMES = ['id', 'order_id', 'sku', 'description', 'quantity', 'price', 'country', 'note'];
export const INSERT: string = `INSERT INTO lines (${NAMES.join(', ')}) VALUES (${NAMES.map(() => '?').join(', ')})`;

/** A line of an order, about 200 bytes as text. */
export function lineOf(id: number): (number | string)[] {
  return [
    id,
    Math.floor(id / 10),
    `SKU-${(id * 7919) % 4_000}`,
    `white hanging heart holder, pattern ${id % 977}`,
    (id % 12) + 1,
    (id % 2_000) + 0.85,
    'United Kingdom',
    `line ${id} of the order, as the customer wrote it at the till, number ${(id * 31) % 99_991}`,
  ];
}

/** Stores, and the one flow between them. `synchronous` is that of the orders' file alone. */
export function flowApp(
  dir: string,
  target: Target,
  synchronous: 'FULL' | 'NORMAL' = 'FULL',
): TallyApp {
  return tally({
    name: 'bench',
    dir: join(dir, 'tally'),
    stores: {
      orders: sqlite({ file: join(dir, SOURCE_FILE), synchronous }),
      copy: target === 'sqlite' ? sqliteCopy(dir) : duckdbCopy(dir),
    },
    flows: {
      lines: flow({
        from: 'orders',
        tables: ['lines'],
        to: 'copy',
        into: 'lines',
        project: (row) => put('lines', [row['id'] as number], row),
      }),
    },
  });
}

function sqliteCopy(dir: string): StoreDefinition {
  const types = COLUMNS.split(', ').map((column) => column.split(' ') as [string, string]);
  const lines = table({ key: ['id'], columns: Object.fromEntries(types) });
  return sqlite({ file: join(dir, 'copy.db'), targets: { lines } });
}

function duckdbCopy(dir: string): StoreDefinition {
  const columns = {
    id: 'BIGINT',
    order_id: 'BIGINT',
    sku: 'VARCHAR',
    description: 'VARCHAR',
    quantity: 'INTEGER',
    price: 'DOUBLE',
    country: 'VARCHAR',
    note: 'VARCHAR',
  } as const;
  const lines = columnar({ key: ['id'], columns, appendOnly: true });
  return duckdb({ file: join(dir, 'copy.duckdb'), targets: { lines } });
}
