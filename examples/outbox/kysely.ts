import type { Generated, Kysely } from 'kysely';
import type { NewOrder } from './order.ts';

/** The tables as Kysely knows them; columns of the outbox that the server fills are left out. */
export interface Tables {
  readonly orders: {
    readonly id: Generated<string>;
    readonly customer: string;
    readonly total: string;
  };
  readonly outbox: { readonly topic: string; readonly key: string; readonly payload: string };
}

/** Places an order with Kysely. */
export async function placeOrder(
  database: Kysely<Tables>,
  { customer, total }: NewOrder,
): Promise<string> {
  return database.transaction().execute(async (tx) => {
    const { id } = await tx
      .insertInto('orders')
      .values({ customer, total })
      .returning('id')
      .executeTakeFirstOrThrow();
    await tx
      .insertInto('outbox')
      .values({ topic: 'order-placed', key: id, payload: JSON.stringify({ id, customer, total }) })
      .execute();
    return id;
  });
}
