import { DatabaseSync } from 'node:sqlite';

/**
 * The tables of the store that owns the orders. Money is in thousandths of the currency, so that
 * sums are exact.
 */
const SCHEMA = `
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

/** Creates the tables of the owner, before the application is opened: flows name them. */
export function createTables(file: string): void {
  using database = new DatabaseSync(file, { timeout: 5_000 });
  database.exec(`PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
}

// The rows of these tables, as flows are given them.

export type ProductRow = {
  readonly sku: string;
  readonly title: string;
  readonly category: string;
  readonly priceMilli: number;
  readonly listed: number;
};

export type InventoryRow = { readonly sku: string; readonly onHand: number };

export type OrderRow = {
  readonly id: string;
  readonly customerId: string | null;
  readonly country: string;
  readonly kind: 'sale' | 'cancellation';
  readonly status: string;
  readonly placedAt: number;
};

/** One line of an order, as it was sold. */
export type OrderLine = {
  readonly line: number;
  readonly sku: string;
  readonly title: string;
  /** Negative for what came back. */
  readonly quantity: number;
  readonly priceMilli: number;
};

export type LineRow = OrderLine & { readonly orderId: string };

export type EventRow = {
  readonly id: number;
  readonly kind: 'sale' | 'cancellation';
  readonly orderId: string;
  readonly firstLine: number;
  readonly lastLine: number;
  readonly at: number;
  /** The JSON of {@link EventData}. */
  readonly data: string;
};

/** What an event carries of its order: enough to act on it without asking the owner. */
export type EventData = {
  readonly customerId: string | null;
  readonly country: string;
  readonly lines: readonly OrderLine[];
};

export function dataOf(event: EventRow): EventData {
  return JSON.parse(event.data) as EventData;
}

/** Baskets are compared by this many products; a wholesaler's list of hundreds says nothing about taste. */
export const BASKET_PRODUCTS_MAX = 10;
/** Orders that a customer is shown at once. */
export const RECENT_ORDERS = 5;
export const MINUTE_MS = 60_000;
