import { put, type Put, type Row } from 'tallystick';
import type { EventData } from './schema.ts';

// Row projections: pure functions from one row of the owner to what another store should hold for it.

/** A product as the search knows it; one that is not listed is not found. */
export function searchDocument({ sku, title, category, priceMilli, listed }: Row): Put | undefined {
  if (listed === 0) return undefined;
  return put('products', [String(sku)], { title, category, priceMilli } as Row);
}

/** Whether a product can be sold at once, for the pages of the cart. */
export function availability({ sku, onHand }: Row): Put {
  return put('stock', [String(sku)], { onHand: Number(onHand), soldOut: Number(onHand) <= 0 });
}

/** What happened, as it is read by whoever follows the shop. */
export function domainEvent({ id, kind, orderId, at, data }: Row): Put {
  return put('stream', [Number(id)], { id, kind, orderId, at, data } as Row);
}

/** One line as a fact of the reports. */
export function saleFacts({ orderId, line, sku, quantity, priceMilli }: Row): Put {
  return put('lines', [String(orderId), Number(line)], {
    orderId,
    line,
    sku,
    quantity,
    priceMilli,
    revenueMilli: Number(quantity) * Number(priceMilli),
  } as Row);
}

/** What the customer is sent: one object per event, `receipts/ORDER/EVENT`. */
export function receipt({ id, kind, orderId, at, data }: Row): Put {
  const { customerId, country, lines } = JSON.parse(String(data)) as EventData;
  return put('receipts', [String(orderId), Number(id)], {
    order: String(orderId),
    kind: String(kind),
    at: Number(at),
    customer: customerId,
    country,
    lines: lines.map(({ line, sku, title, quantity, priceMilli }) => ({
      line,
      sku,
      title,
      quantity,
      priceMilli,
    })),
    totalMilli: lines.reduce((total, line) => total + line.quantity * line.priceMilli, 0),
  });
}
