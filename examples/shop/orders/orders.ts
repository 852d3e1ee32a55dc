import type { EventRow, NewOrder, OrderLine, Product } from '../schema.ts';

/** What SQLite answers at once and a server after a while. */
export type Soon<Value> = Value | Promise<Value>;

/** Why a line of a file was not sold. */
export interface BadLine {
  readonly at: number;
  readonly reason: string;
}

/** How far a replayed file has got. */
export interface Replayed {
  readonly from: number;
  readonly to: number;
  /** Lines that were sold on the way. */
  readonly lines: number;
}

/**
 * What the shop asks of its orders. `sqlite.ts` and `postgres.ts` answer it under the same names, each in the
 * SQL of its own: lay them side by side to see what changes with the store. On a connection that is in a
 * transaction, or on any for what only reads.
 */
export interface Orders {
  addCustomer(id: string, country: string): Soon<void>;
  /** Adds products, each once; one that is there without a title gets its title. */
  addProducts(products: readonly Product[]): Soon<void>;
  /** Gives products that are new to the inventory their first pieces. */
  addStock(skus: readonly string[], pieces: number): Soon<void>;
  /** Adds the order without its lines; one that is there already stays as it is. */
  addOrder(order: NewOrder): Soon<void>;
  /** The number of an order's last line, 0 before the first. */
  lastLine(orderId: string): Soon<number>;
  addLines(orderId: string, lines: readonly OrderLine[]): Soon<void>;
  /** Takes so many pieces of each product; fewer than none are put back. */
  takeFromStock(pieces: ReadonlyMap<string, number>): Soon<void>;
  addEvent(event: Omit<EventRow, 'id'>): Soon<void>;

  shipOrder(id: string): Soon<void>;
  /** Takes a product off the shelves, or back on them. */
  toggleListed(sku: string): Soon<void>;
  /** Raises a price, and answers the new one. */
  raisePrice(sku: string): Soon<number>;

  /** The last line of a file that was committed, 0 before the first. */
  replayedTo(file: string): Soon<number>;
  /** Moves on how far a file has got; false if somebody else did meanwhile: then nothing may be committed. */
  advanceReplay(file: string, replayed: Replayed): Soon<boolean>;
  addBadLines(file: string, lines: readonly BadLine[]): Soon<void>;

  /** How many orders customers have placed that were made up. */
  madeUpOrders(): Soon<number>;
  count(table: 'orders' | 'customers' | 'order_lines'): Soon<number>;
}
