import { Client, type Pool, type PoolClient } from 'pg';
import type { Orders } from './orders.ts';

// The orders in PostgreSQL. `sqlite.ts` is the same for SQLite.

/**
 * The tables. Where they differ: INTEGER has 32 bits, so numbers are BIGINT; names with capital letters are
 * quoted, or they would lose them; a number that counts by itself is an identity.
 */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS customers (
    id TEXT NOT NULL PRIMARY KEY, country TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS products (
    sku TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL, category TEXT NOT NULL,
    "priceMilli" BIGINT NOT NULL, listed INTEGER NOT NULL DEFAULT 1);
  CREATE TABLE IF NOT EXISTS inventory (
    sku TEXT NOT NULL PRIMARY KEY REFERENCES products, "onHand" BIGINT NOT NULL);
  CREATE TABLE IF NOT EXISTS orders (
    id TEXT NOT NULL PRIMARY KEY, "customerId" TEXT REFERENCES customers, country TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('sale', 'cancellation')), status TEXT NOT NULL,
    "placedAt" BIGINT NOT NULL);
  CREATE TABLE IF NOT EXISTS order_lines (
    "orderId" TEXT NOT NULL REFERENCES orders, line INTEGER NOT NULL,
    sku TEXT NOT NULL REFERENCES products, title TEXT NOT NULL,
    quantity BIGINT NOT NULL, "priceMilli" BIGINT NOT NULL, PRIMARY KEY ("orderId", line));

  -- What happened, in words that other stores understand: written in the transaction of the order.
  CREATE TABLE IF NOT EXISTS events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind TEXT NOT NULL,
    "orderId" TEXT NOT NULL REFERENCES orders, "firstLine" INTEGER NOT NULL,
    "lastLine" INTEGER NOT NULL, at BIGINT NOT NULL, data TEXT NOT NULL);

  -- How far a replayed file has got, in the same transaction as its rows: a replay that is killed goes on
  -- after the last committed line, and no line is sold twice.
  CREATE TABLE IF NOT EXISTS replays (
    file TEXT NOT NULL PRIMARY KEY, line INTEGER NOT NULL, replayed INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS bad_lines (
    file TEXT NOT NULL, line INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (file, line));
`;

/** Creates the tables, before the application is opened: flows name them. */
export async function createTablesInPostgres(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    // Of two that create the same table at once, one would fail: a worker that was killed may still be at it.
    await client.query(`BEGIN; SELECT pg_advisory_xact_lock(1); ${SCHEMA} COMMIT`);
  } finally {
    await client.end();
  }
}

const SQL = {
  addCustomer: 'INSERT INTO customers (id, country) VALUES ($1, $2) ON CONFLICT DO NOTHING',
  addProducts: `INSERT INTO products (sku, title, category, "priceMilli")
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
    ON CONFLICT (sku) DO UPDATE SET title = excluded.title
    WHERE products.title = '' AND excluded.title <> ''`,
  addStock: `INSERT INTO inventory (sku, "onHand") SELECT sku, $2 FROM unnest($1::text[]) AS sku
    ON CONFLICT DO NOTHING`,
  addOrder: `INSERT INTO orders (id, "customerId", country, kind, status, "placedAt")
    VALUES ($1, $2, $3, $4, 'placed', $5) ON CONFLICT DO NOTHING`,
  lastLine: 'SELECT coalesce(max(line), 0) AS line FROM order_lines WHERE "orderId" = $1',
  addLines: `INSERT INTO order_lines ("orderId", line, sku, title, quantity, "priceMilli")
    SELECT $1::text, * FROM unnest($2::integer[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])`,
  takeFromStock: `UPDATE inventory SET "onHand" = "onHand" - taken.pieces
    FROM unnest($1::text[], $2::bigint[]) AS taken (sku, pieces) WHERE inventory.sku = taken.sku`,
  addEvent: `INSERT INTO events (kind, "orderId", "firstLine", "lastLine", at, data)
    VALUES ($1, $2, $3, $4, $5, $6)`,

  shipOrder: `UPDATE orders SET status = 'shipped' WHERE id = $1 AND status = 'placed'`,
  toggleListed: 'UPDATE products SET listed = 1 - listed WHERE sku = $1',
  raisePrice: `UPDATE products SET "priceMilli" = "priceMilli" + 10 WHERE sku = $1
    RETURNING "priceMilli"`,

  replayedTo: 'SELECT line FROM replays WHERE file = $1',
  advanceReplay: `INSERT INTO replays (file, line, replayed) VALUES ($1, $2, $3)
    ON CONFLICT (file) DO UPDATE SET line = $2, replayed = replays.replayed + $3
    WHERE replays.line = $4`,
  addBadLines: `INSERT INTO bad_lines (file, line, reason)
    SELECT $1::text, * FROM unnest($2::integer[], $3::text[])`,

  // There is no rowid to look at.
  'count orders': 'SELECT count(*) AS rows FROM orders',
  'count customers': 'SELECT count(*) AS rows FROM customers',
  'count order_lines': 'SELECT count(*) AS rows FROM order_lines',
  madeUpOrders: `SELECT count(*) AS orders FROM orders WHERE id LIKE 'S%'`,
} as const;

/**
 * Each statement is a way to the server and back: rows that go together go in one, as arrays that the server
 * takes apart (unnest). Statements have names: the server plans each once for a connection.
 */
export function ordersInPostgres(connection: Pool | PoolClient): Orders {
  const ask = async (name: keyof typeof SQL, ...values: readonly unknown[]): Promise<Answer> =>
    connection.query({ name, text: SQL[name], values: [...values] });
  const tell = async (name: keyof typeof SQL, ...values: readonly unknown[]): Promise<void> => {
    await ask(name, ...values);
  };
  // BIGINT and count(*) arrive as text, since not all of them are numbers of JavaScript. These are.
  const number = async (name: keyof typeof SQL, ...values: readonly unknown[]): Promise<number> => {
    const { rows } = await ask(name, ...values);
    return Number(Object.values(rows[0] ?? {})[0] ?? 0);
  };
  return {
    addCustomer: (id, country) => tell('addCustomer', id, country),
    addProducts: (products) =>
      tell('addProducts', ...columns(products, ['sku', 'title', 'category', 'priceMilli'])),
    addStock: (skus, pieces) => tell('addStock', skus, pieces),
    addOrder: ({ id, customerId, country, kind, at }) =>
      tell('addOrder', id, customerId, country, kind, at),
    lastLine: (orderId) => number('lastLine', orderId),
    addLines: (orderId, lines) =>
      tell(
        'addLines',
        orderId,
        ...columns(lines, ['line', 'sku', 'title', 'quantity', 'priceMilli']),
      ),
    takeFromStock: (pieces) => tell('takeFromStock', [...pieces.keys()], [...pieces.values()]),
    addEvent: ({ kind, orderId, firstLine, lastLine, at, data }) =>
      tell('addEvent', kind, orderId, firstLine, lastLine, at, data),

    shipOrder: (id) => tell('shipOrder', id),
    toggleListed: (sku) => tell('toggleListed', sku),
    raisePrice: (sku) => number('raisePrice', sku),

    replayedTo: (file) => number('replayedTo', file),
    advanceReplay: async (file, { from, to, lines }) =>
      (await ask('advanceReplay', file, to, lines, from)).rowCount === 1,
    addBadLines: (file, lines) => tell('addBadLines', file, ...columns(lines, ['at', 'reason'])),

    madeUpOrders: () => number('madeUpOrders'),
    count: (table) => number(`count ${table}`),
  };
}

interface Answer {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly rowCount: number | null;
}

/** Rows as columns: one array for each of these members. */
function columns<Item>(
  rows: readonly Item[],
  names: readonly (keyof Item)[],
): readonly (readonly unknown[])[] {
  return names.map((name) => rows.map((row) => row[name]));
}

/** SQLSTATE classes of a server that goes down or comes up, and what the system says of its address. */
const AWAY = /^(08|57P0)|^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT)$/;

/** Whether the driver says that the server is away. */
export function isPostgresAway(error: Error): boolean {
  const code = 'code' in error ? String(error.code) : '';
  return AWAY.test(code) || /connection (terminated|error)/i.test(error.message);
}
