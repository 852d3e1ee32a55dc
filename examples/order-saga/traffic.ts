import { createHash } from 'node:crypto';
import { CUSTOMERS, PRICES, STOCK, type Order } from './order.ts';

/** Order number n of a seed: always the same one. Kettles and cups run out after a while. */
export function orderOf(seed: number, number: number): Order {
  const digest = createHash('sha256').update(`${seed} order ${number}`).digest();
  const pick = <Item>(items: readonly Item[], byte: number): Item =>
    items[digest.readUInt8(byte) % items.length] as Item;
  const sku = pick(Object.keys(STOCK), 0);
  const count = 1 + (digest.readUInt8(1) % 3);
  const total = count * (PRICES[sku] ?? 0);
  const id = `order-${String(number).padStart(6, '0')}`;
  return { id, customer: pick(CUSTOMERS, 2), sku, count, total };
}
