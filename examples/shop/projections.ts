import { put, type Put, type Row } from 'tallystick';
import type { EventRow, InventoryRow, LineRow, ProductRow } from './schema.ts';
import { dataOf } from './schema.ts';

// Row projections: pure functions from one row of the owner to what another store should hold for it.

/** A product as the search knows it; one that is not listed is not found. */
export function searchDocument(row: Row): Put | undefined {
  const { sku, title, category, priceMilli, listed } = row as ProductRow;
  return listed === 0 ? undefined : put('products', [sku], { title, category, priceMilli });
}

/** Whether a product can be sold at once, for the pages of the cart. */
export function availability(row: Row): Put {
  const { sku, onHand } = row as InventoryRow;
  return put('stock', [sku], { onHand, soldOut: onHand <= 0 });
}

/** What happened, as it is read by whoever follows the shop. */
export function domainEvent(row: Row): Put {
  const { id, kind, orderId, at, data } = row as EventRow;
  return put('stream', [id], { id, kind, orderId, at, data });
}

/** One line as a fact of the reports. */
export function saleFacts(row: Row): Put {
  const { orderId, line, sku, quantity, priceMilli } = row as LineRow;
  const revenueMilli = quantity * priceMilli;
  return put('lines', [orderId, line], { orderId, line, sku, quantity, priceMilli, revenueMilli });
}

/** What the customer is sent: one object per event, `receipts/ORDER-EVENT`. */
export function receipt(row: Row): Put {
  const event = row as EventRow;
  const { customerId, country, lines } = dataOf(event);
  return put('receipts', [`${event.orderId}-${event.id}`], {
    order: event.orderId,
    kind: event.kind,
    at: event.at,
    customer: customerId,
    country,
    lines: lines.map((line) => ({ ...line })),
    totalMilli: lines.reduce((total, { quantity, priceMilli }) => total + quantity * priceMilli, 0),
  });
}
