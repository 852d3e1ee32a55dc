import type { Orders } from './orders/orders.ts';
import type { EventData, NewOrder, OrderLine, Product } from './schema.ts';

/** Pieces that a product is stocked with when it is first seen. */
const FIRST_STOCK = 1_000;

/**
 * Places an order: a few rows in one transaction of the store that owns them. Nothing here knows that
 * there are other stores. Lines of an order that is there already are added to it.
 */
export async function placeOrder(orders: Orders, order: NewOrder): Promise<void> {
  const { id, kind, customerId, country, at } = order;
  if (customerId !== null) await orders.addCustomer(customerId, country);
  await orders.addOrder(order);
  const firstLine = (await orders.lastLine(id)) + 1;
  const lines = order.lines.map((line, index) => ({ line: firstLine + index, ...line }));
  await orders.addLines(id, lines);
  await orders.takeFromStock(piecesOf(lines));
  const lastLine = firstLine + lines.length - 1;
  const data: EventData = { customerId, country, lines };
  await orders.addEvent({
    kind,
    orderId: id,
    firstLine,
    lastLine,
    at,
    data: JSON.stringify(data),
  });
}

/** Takes products into the catalogue and the inventory, or gives a title to those that came without. */
export async function stockProducts(orders: Orders, products: readonly Product[]): Promise<void> {
  const different = oneOfEach(products);
  await orders.addProducts(different);
  const skus = different.map(({ sku }) => sku);
  await orders.addStock(skus, FIRST_STOCK);
}

/** The first of each, with the first title that there is. */
function oneOfEach(products: readonly Product[]): readonly Product[] {
  const bySku = new Map<string, Product>();
  for (const product of products) {
    const known = bySku.get(product.sku);
    if (known === undefined) bySku.set(product.sku, product);
    else if (known.title === '') bySku.set(product.sku, { ...known, title: product.title });
  }
  return [...bySku.values()];
}

function piecesOf(lines: readonly OrderLine[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { sku, quantity } of lines) sums.set(sku, (sums.get(sku) ?? 0) + quantity);
  return sums;
}
