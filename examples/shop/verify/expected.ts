import type { DatabaseSync } from 'node:sqlite';
import type { Boundary, Entry } from './boundaries.ts';

// What every target should hold, computed from the tables of the owner by plain SQL. Nothing here is
// shared with the flows or their projections: the same mistake would have to be made twice.

interface Expected {
  /** Rows of (key, content), both text. */
  readonly sql: string;
}

const lineJson = `json_group_array(json_object('line', l.line, 'sku', l.sku, 'title', l.title,
  'quantity', l.quantity, 'priceMilli', l.priceMilli) ORDER BY l.line)`;

/** The lines that an event is about. */
const linesOfEvent = `order_lines l ON l.orderId = e.orderId AND l.line BETWEEN e.firstLine AND e.lastLine`;

const metrics = `
  SELECT 'sales' AS metric, e.at / 60000 AS minute, count(*) AS value
    FROM events e WHERE e.kind = 'sale' GROUP BY minute
  UNION ALL SELECT 'cancellations', e.at / 60000 AS minute, count(*)
    FROM events e WHERE e.kind = 'cancellation' GROUP BY minute
  UNION ALL SELECT 'lines', e.at / 60000 AS minute, count(*)
    FROM events e JOIN ${linesOfEvent} GROUP BY minute
  UNION ALL SELECT 'units', e.at / 60000 AS minute, sum(l.quantity)
    FROM events e JOIN ${linesOfEvent} GROUP BY minute
  UNION ALL SELECT 'returned', e.at / 60000 AS minute, sum(max(0, -l.quantity))
    FROM events e JOIN ${linesOfEvent} GROUP BY minute
  UNION ALL SELECT 'revenueMilli', e.at / 60000 AS minute, sum(l.quantity * l.priceMilli)
    FROM events e JOIN ${linesOfEvent} GROUP BY minute`;

const purchases = `
  WITH bought AS (
    SELECT 'customer/' || coalesce(o.customerId, 'guest') AS customer, l.sku, sum(l.quantity) AS count
    FROM orders o JOIN order_lines l ON l.orderId = o.id GROUP BY 1, 2),
  basket AS (
    SELECT id, sku, row_number() OVER (PARTITION BY id ORDER BY first) AS place FROM (
      SELECT e.id, l.sku, min(l.line) AS first FROM events e JOIN ${linesOfEvent}
      WHERE e.kind = 'sale' AND l.quantity > 0 GROUP BY e.id, l.sku))
  SELECT 'bought' AS kind, customer AS one, sku AS other, count FROM bought
  UNION ALL SELECT 'together', a.sku, b.sku, count(*) FROM basket a
    JOIN basket b ON a.id = b.id AND a.sku < b.sku
    WHERE a.place <= 10 AND b.place <= 10 GROUP BY 2, 3`;

const expected: Readonly<Record<Boundary, Expected>> = {
  productSearch: {
    sql: `SELECT sku, json_array(title, category, priceMilli) FROM products WHERE listed = 1`,
  },
  stock: {
    sql: `SELECT sku, json_array(onHand, CASE WHEN onHand <= 0 THEN 'sold out' ELSE 'there' END)
      FROM inventory`,
  },
  recentOrders: {
    sql: `SELECT customerId, json_group_array(json_array(id, status, placedAt) ORDER BY place) FROM (
        SELECT customerId, id, status, placedAt, row_number()
          OVER (PARTITION BY customerId ORDER BY placedAt DESC, id DESC) AS place
        FROM orders WHERE customerId IS NOT NULL)
      WHERE place <= 5 GROUP BY customerId`,
  },
  eventStream: {
    sql: `SELECT CAST(e.id AS TEXT), json_array(e.kind, e.orderId, e.at, o.customerId, o.country,
        ${lineJson})
      FROM events e JOIN orders o ON o.id = e.orderId JOIN ${linesOfEvent} GROUP BY e.id`,
  },
  boughtTogether: {
    sql: `SELECT json_array(kind, one, other), CAST(count AS TEXT) FROM (${purchases})`,
  },
  salesMetrics: {
    sql: `SELECT metric || ' ' || minute, CAST(value AS TEXT) FROM (${metrics})`,
  },
  salesReports: {
    sql: `SELECT orderId || ' ' || line,
        json_array(sku, quantity, priceMilli, quantity * priceMilli) FROM order_lines`,
  },
  receipts: {
    sql: `SELECT e.orderId || '-' || e.id, json_array(e.kind, e.at, o.customerId, o.country,
        ${lineJson}, sum(l.quantity * l.priceMilli))
      FROM events e JOIN orders o ON o.id = e.orderId JOIN ${linesOfEvent} GROUP BY e.id`,
  },
};

/** What a target should hold, row by row. */
export function* expectedRows(owner: DatabaseSync, boundary: Boundary): Generator<Entry> {
  const statement = owner.prepare(expected[boundary].sql);
  statement.setReturnArrays(true);
  for (const row of statement.iterate() as unknown as Iterable<readonly unknown[]>)
    yield [String(row[0]), String(row[1])];
}
