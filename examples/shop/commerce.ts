import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { EventData, OrderLine } from './schema.ts';

/** What a customer, or a line of a file, orders. */
export interface NewOrder {
  readonly id: string;
  readonly kind: 'sale' | 'cancellation';
  readonly customerId: string | null;
  readonly country: string;
  readonly at: number;
  readonly lines: readonly Omit<OrderLine, 'line'>[];
}

export interface Product {
  readonly sku: string;
  readonly title: string;
  readonly category: string;
  readonly priceMilli: number;
}

/** Pieces that a product is stocked with when it is first seen. */
const FIRST_STOCK = 1_000;

/**
 * Places an order: a few rows in one transaction of the store that owns them. Nothing here knows that
 * there are other stores. Lines of an order that is there already are added to it.
 */
export function placeOrder(tx: DatabaseSync, order: NewOrder): void {
  const run = statements(tx);
  const { id, kind, customerId, country, at } = order;
  if (customerId !== null) run.addCustomer.run(customerId, country);
  run.addOrder.run(id, customerId, country, kind, 'placed', at);
  const firstLine = Number(run.lastLine.get(id)?.['line']) + 1;
  const lines = order.lines.map((line, index) => ({ line: firstLine + index, ...line }));
  for (const { line, sku, title, quantity, priceMilli } of lines)
    run.addLine.run(id, line, sku, title, quantity, priceMilli);
  for (const [sku, quantity] of quantities(lines)) run.takeFromStock.run(quantity, sku);
  const data: EventData = { customerId, country, lines };
  const lastLine = firstLine + lines.length - 1;
  run.addEvent.run(kind, id, firstLine, lastLine, at, JSON.stringify(data));
}

/** Takes a product into the catalogue, or gives a title to one that came without. */
export function stockProduct(tx: DatabaseSync, product: Product): void {
  const run = statements(tx);
  const { sku, title, category, priceMilli } = product;
  run.addProduct.run(sku, title, category, priceMilli);
  run.addStock.run(sku, FIRST_STOCK);
}

export function shipOrder(tx: DatabaseSync, id: string): void {
  statements(tx).shipOrder.run(id);
}

export function restock(tx: DatabaseSync, sku: string, pieces: number): void {
  statements(tx).takeFromStock.run(-pieces, sku);
}

/** Takes a product off the shelves, or back on them. */
export function toggleListed(tx: DatabaseSync, sku: string): void {
  statements(tx).toggleListed.run(sku);
}

/** Raises a price, and returns the new one. */
export function raisePrice(tx: DatabaseSync, sku: string): number {
  return Number(statements(tx).raisePrice.get(sku)?.['priceMilli']);
}

function quantities(lines: readonly OrderLine[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { sku, quantity } of lines) sums.set(sku, (sums.get(sku) ?? 0) + quantity);
  return sums;
}

const SQL = {
  addCustomer: 'INSERT INTO customers (id, country) VALUES (?, ?) ON CONFLICT DO NOTHING',
  addProduct: `INSERT INTO products (sku, title, category, priceMilli) VALUES (?, ?, ?, ?)
    ON CONFLICT (sku) DO UPDATE SET title = excluded.title WHERE title = '' AND excluded.title <> ''`,
  addStock: 'INSERT INTO inventory (sku, onHand) VALUES (?, ?) ON CONFLICT DO NOTHING',
  addOrder: `INSERT INTO orders (id, customerId, country, kind, status, placedAt)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  lastLine: 'SELECT coalesce(max(line), 0) AS line FROM order_lines WHERE orderId = ?',
  addLine: `INSERT INTO order_lines (orderId, line, sku, title, quantity, priceMilli)
    VALUES (?, ?, ?, ?, ?, ?)`,
  takeFromStock: 'UPDATE inventory SET onHand = onHand - ? WHERE sku = ?',
  addEvent: `INSERT INTO events (kind, orderId, firstLine, lastLine, at, data)
    VALUES (?, ?, ?, ?, ?, ?)`,
  shipOrder: `UPDATE orders SET status = 'shipped' WHERE id = ? AND status = 'placed'`,
  toggleListed: 'UPDATE products SET listed = 1 - listed WHERE sku = ?',
  raisePrice: `UPDATE products SET priceMilli = priceMilli + 10 WHERE sku = ? RETURNING priceMilli`,
} as const;

type Statements = Readonly<Record<keyof typeof SQL, StatementSync>>;

const prepared = new WeakMap<DatabaseSync, Statements>();

/** The statements above, prepared once for each connection. */
function statements(tx: DatabaseSync): Statements {
  const known = prepared.get(tx);
  if (known !== undefined) return known;
  const entries = Object.entries(SQL).map(([name, sql]) => [name, tx.prepare(sql)] as const);
  const made = Object.fromEntries(entries) as Statements;
  prepared.set(tx, made);
  return made;
}
