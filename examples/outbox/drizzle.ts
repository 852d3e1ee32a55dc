import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import { bigint, jsonb, numeric, pgTable, text } from 'drizzle-orm/pg-core';
import type { NewOrder } from './order.ts';

const orders = pgTable('orders', {
  id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
  customer: text().notNull(),
  total: numeric({ precision: 12, scale: 2 }).notNull(),
});

// Columns of the outbox that the server fills are left out.
const outbox = pgTable('outbox', {
  topic: text().notNull(),
  key: text().notNull(),
  payload: jsonb().notNull(),
});

/** Places an order with Drizzle. */
export async function placeOrder(
  database: NodePgDatabase,
  { customer, total }: NewOrder,
): Promise<string> {
  return database.transaction(async (tx) => {
    const [order] = await tx
      .insert(orders)
      .values({ customer, total })
      .returning({ id: orders.id });
    const id = String(order?.id);
    await tx
      .insert(outbox)
      .values({ topic: 'order-placed', key: id, payload: { id, customer, total } });
    return id;
  });
}
