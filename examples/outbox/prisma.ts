import type { NewOrder } from './order.ts';

/**
 * The part of a generated Prisma client (of `schema.prisma` in this folder) that is called here, so that this file is
 * checked without it; the client itself fits.
 */
export interface OrdersClient {
  $transaction<Result>(work: (tx: OrdersTransaction) => Promise<Result>): Promise<Result>;
  $disconnect(): Promise<void>;
}

/** See {@link OrdersClient}. */
export interface OrdersTransaction {
  readonly order: {
    create(args: { readonly data: NewOrder }): PromiseLike<{ readonly id: bigint }>;
  };
  readonly outbox: {
    create(args: {
      readonly data: {
        readonly topic: string;
        readonly key: string;
        readonly payload: { readonly [name: string]: string };
      };
    }): PromiseLike<unknown>;
  };
}

/** Places an order with Prisma. */
export async function placeOrder(
  prisma: OrdersClient,
  { customer, total }: NewOrder,
): Promise<string> {
  return prisma.$transaction(async (tx) => {
    const order = await tx.order.create({ data: { customer, total } });
    const id = String(order.id);
    await tx.outbox.create({
      data: { topic: 'order-placed', key: id, payload: { id, customer, total } },
    });
    return id;
  });
}
