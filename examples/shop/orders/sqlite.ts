import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Orders } from './orders.ts';

// The orders in SQLite. `postgres.ts` is the same for PostgreSQL.

/** The tables. INTEGER has 64 bits; names keep their letters as they are written. */
export const SCHEMA: string = `
  CREATE TABLE IF NOT EXISTS customers (
    id TEXT NOT NULL PRIMARY KEY, country TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS products (
    sku TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL, category TEXT NOT NULL,
    priceMilli INTEGER NOT NULL, listed INTEGER NOT NULL DEFAULT 1);
  CREATE TABLE IF NOT EXISTS inventory (
    sku TEXT NOT NULL PRIMARY KEY REFERENCES products, onHand INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS orders (
    id TEXT NOT NULL PRIMARY KEY, customerId TEXT REFERENCES customers, country TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('sale', 'cancellation')), status TEXT NOT NULL,
    placedAt INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS order_lines (
    orderId TEXT NOT NULL REFERENCES orders, line INTEGER NOT NULL,
    sku TEXT NOT NULL REFERENCES products, title TEXT NOT NULL,
    quantity INTEGER NOT NULL, priceMilli INTEGER NOT NULL, PRIMARY KEY (orderId, line));

  -- What happened, in words that other stores understand: written in the transaction of the order.
  CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, orderId TEXT NOT NULL REFERENCES orders,
    firstLine INTEGER NOT NULL, lastLine INTEGER NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL);

  -- How far a replayed file has got, in the same transaction as its rows: a replay that is killed goes on
  -- after the last committed line, and no line is sold twice.
  CREATE TABLE IF NOT EXISTS replays (
    file TEXT NOT NULL PRIMARY KEY, line INTEGER NOT NULL, replayed INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS bad_lines (
    file TEXT NOT NULL, line INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (file, line));
`;

/** Creates the tables, before the application is opened: flows name them. */
export function createTablesInSqlite(file: string): void {
  using database = new DatabaseSync(file, { timeout: 5_000 });
  database.exec(`PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
}

const SQL = {
  addCustomer: 'INSERT INTO customers (id, country) VALUES (?, ?) ON CONFLICT DO NOTHING',
  addProduct: `INSERT INTO products (sku, title, category, priceMilli) VALUES (?, ?, ?, ?)
    ON CONFLICT (sku) DO UPDATE SET title = excluded.title WHERE title = '' AND excluded.title <> ''`,
  addStock: 'INSERT INTO inventory (sku, onHand) VALUES (?, ?) ON CONFLICT DO NOTHING',
  addOrder: `INSERT INTO orders (id, customerId, country, kind, status, placedAt)
    VALUES (?, ?, ?, ?, 'placed', ?) ON CONFLICT DO NOTHING`,
  lastLine: 'SELECT coalesce(max(line), 0) AS line FROM order_lines WHERE orderId = ?',
  addLine: `INSERT INTO order_lines (orderId, line, sku, title, quantity, priceMilli)
    VALUES (?, ?, ?, ?, ?, ?)`,
  takeFromStock: 'UPDATE inventory SET onHand = onHand - ? WHERE sku = ?',
  addEvent: `INSERT INTO events (kind, orderId, firstLine, lastLine, at, data)
    VALUES (?, ?, ?, ?, ?, ?)`,

  shipOrder: `UPDATE orders SET status = 'shipped' WHERE id = ? AND status = 'placed'`,
  toggleListed: 'UPDATE products SET listed = 1 - listed WHERE sku = ?',
  raisePrice: 'UPDATE products SET priceMilli = priceMilli + 10 WHERE sku = ? RETURNING priceMilli',

  replayedTo: 'SELECT line FROM replays WHERE file = ?',
  advanceReplay: `INSERT INTO replays (file, line, replayed) VALUES (?1, ?2, ?3)
    ON CONFLICT (file) DO UPDATE SET line = ?2, replayed = replayed + ?3 WHERE line = ?4`,
  addBadLine: 'INSERT INTO bad_lines (file, line, reason) VALUES (?, ?, ?)',

  // Rows of these tables are never deleted: the last one tells how many there are, without counting.
  'count orders': 'SELECT max(rowid) AS rows FROM orders',
  'count customers': 'SELECT max(rowid) AS rows FROM customers',
  'count order_lines': 'SELECT max(rowid) AS rows FROM order_lines',
  madeUpOrders: `SELECT count(*) AS orders FROM orders WHERE id LIKE 'S%'`,
} as const;

/** Each row is a statement of its own: it runs inside this process, prepared once, in microseconds. */
export function ordersInSqlite(database: DatabaseSync): Orders {
  const run = statements(database);
  return {
    addCustomer: (id, country) => void run.addCustomer.run(id, country),
    addProducts: (products) => {
      for (const { sku, title, category, priceMilli } of products)
        run.addProduct.run(sku, title, category, priceMilli);
    },
    addStock: (skus, pieces) => {
      for (const sku of skus) run.addStock.run(sku, pieces);
    },
    addOrder: ({ id, customerId, country, kind, at }) =>
      void run.addOrder.run(id, customerId, country, kind, at),
    lastLine: (orderId) => Number(run.lastLine.get(orderId)?.['line']),
    addLines: (orderId, lines) => {
      for (const { line, sku, title, quantity, priceMilli } of lines)
        run.addLine.run(orderId, line, sku, title, quantity, priceMilli);
    },
    takeFromStock: (pieces) => {
      for (const [sku, quantity] of pieces) run.takeFromStock.run(quantity, sku);
    },
    addEvent: ({ kind, orderId, firstLine, lastLine, at, data }) =>
      void run.addEvent.run(kind, orderId, firstLine, lastLine, at, data),

    shipOrder: (id) => void run.shipOrder.run(id),
    toggleListed: (sku) => void run.toggleListed.run(sku),
    raisePrice: (sku) => Number(run.raisePrice.get(sku)?.['priceMilli']),

    replayedTo: (file) => Number(run.replayedTo.get(file)?.['line'] ?? 0),
    advanceReplay: (file, { from, to, lines }) =>
      run.advanceReplay.run(file, to, lines, from).changes === 1,
    addBadLines: (file, lines) => {
      for (const { at, reason } of lines) run.addBadLine.run(file, at, reason);
    },

    madeUpOrders: () => Number(run.madeUpOrders.get()?.['orders']),
    count: (table) => Number(run[`count ${table}`].get()?.['rows'] ?? 0),
  };
}

type Statements = Readonly<Record<keyof typeof SQL, StatementSync>>;

const prepared = new WeakMap<DatabaseSync, Statements>();

/** The statements above, prepared once for each connection. */
function statements(database: DatabaseSync): Statements {
  const known = prepared.get(database);
  if (known !== undefined) return known;
  const entries = Object.entries(SQL).map(([name, sql]) => [name, database.prepare(sql)] as const);
  const made = Object.fromEntries(entries) as Statements;
  prepared.set(database, made);
  return made;
}
