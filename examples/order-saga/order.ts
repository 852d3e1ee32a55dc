import type { EffectKey } from 'tallystick/effects';
import type { Probed } from 'tallystick/saga';

/** What a customer wants: the input of a saga, whose id is that of the order. */
export interface Order {
  readonly id: string;
  readonly customer: string;
  readonly sku: string;
  readonly count: number;
  /** In cents. */
  readonly total: number;
}

/** One of the services that take part, each with a store of its own kind. All of it happens once under a key. */
export interface Participant {
  /** Throws `refused` for what it will not do. */
  do(key: EffectKey, order: Order): Promise<unknown>;
  /** Takes it back; harmless, and final, where there is nothing to take back. */
  undo(key: EffectKey, order: Order): Promise<void>;
  /** What is known to have happened; undefined if it may still come. */
  probe(key: EffectKey, order: Order): Promise<Probed<unknown>>;
}

/** Who takes part. */
export interface Participants {
  readonly inventory: Participant;
  readonly payments: Participant;
  readonly shipping: Participant;
  readonly orders: Participant;
}

/** What the world begins with. The checker counts from it. */
export const STOCK: Readonly<Record<string, number>> = { tea: 100_000, cup: 60, kettle: 25 };
export const CUSTOMERS: readonly string[] = ['ada', 'ben', 'cleo', 'dan', 'eve'];
/** In cents; some orders are more than it leaves in the end. */
export const WALLET = 2_000_000;
export const PRICES: Readonly<Record<string, number>> = { tea: 450, cup: 1_200, kettle: 4_900 };
