// The rows of the owner's tables, as flows are given them. Money is in thousandths of the currency, so that
// sums are exact. `orders/` creates the tables, in the SQL of the store that holds them.

export type ProductRow = {
  readonly sku: string;
  readonly title: string;
  readonly category: string;
  readonly priceMilli: number;
  readonly listed: number;
};

/** A product that is put on the shelves. */
export type Product = Omit<ProductRow, 'listed'>;

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

/** What a customer, or a line of a file, orders. */
export interface NewOrder {
  readonly id: string;
  readonly kind: 'sale' | 'cancellation';
  readonly customerId: string | null;
  readonly country: string;
  readonly at: number;
  readonly lines: readonly Omit<OrderLine, 'line'>[];
}

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

/** An order as its customer is shown it. */
export type ShownOrder = Pick<OrderRow, 'id' | 'status' | 'placedAt'>;

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
