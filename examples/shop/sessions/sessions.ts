import type { OrderLine, ShownOrder } from '../schema.ts';

export const SESSION_TTL_MS: number = 30 * 60_000;
/** A cart that nobody comes back to is forgotten soon, so that a short run shows it. */
export const CART_TTL_MS: number = 5_000;

/**
 * What the shop asks of its sessions. `sqlite.ts` and `redis.ts` answer it under the same names: lay them side
 * by side to see what changes with the store.
 */
export interface Sessions {
  noteVisit(customerId: string, at: number): Promise<unknown>;
  keepCart(orderId: string, lines: readonly Omit<OrderLine, 'line'>[]): Promise<unknown>;
  emptyCart(orderId: string): Promise<unknown>;
  /** Lets go of what has expired. */
  forgetExpired(): Promise<unknown>;
  /** The newest orders of a customer, which a flow keeps at hand. */
  recentOrders(customerId: string): Promise<readonly ShownOrder[]>;
}
