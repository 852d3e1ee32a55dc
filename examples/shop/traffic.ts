import { setTimeout as sleep } from 'node:timers/promises';
import type { OpenShop } from './app.ts';
import { placeOrder } from './commerce.ts';
import type { EvidenceReads } from './evidence-reads.ts';
import { ordersIn } from './orders/index.ts';
import { Random } from './random.ts';
import type { NewOrder, Product } from './schema.ts';
import { sessionsIn } from './sessions/index.ts';
import type { Sessions } from './sessions/sessions.ts';

const TICK_MS = 10;
/** Orders that are made up for when the shop was too slow; beyond it they are lost customers. */
const BURST_MAX = 50;
const CUSTOMERS = 2_000;
const countries = ['France', 'Ghana', 'Japan', 'Norway', 'Peru', 'Portugal', 'Vietnam'] as const;
/** Every so many orders somebody looks at another store, with the evidence of the order. */
const READ_EVERY = 10;
const PRICE_EVERY = 40;
const SHELF_EVERY = 200;

export interface TrafficOptions {
  readonly shop: OpenShop;
  readonly reads: EvidenceReads;
  readonly products: readonly Product[];
  readonly seed: number;
  readonly ordersPerSecond: number;
}

/**
 * Made-up customers. What order number `n` is about depends on the seed and on `n` alone, so that a shop
 * that was killed goes on with the customers it would have had.
 */
export class Traffic {
  readonly #options: TrafficOptions;
  readonly #sessions: Sessions;
  #next = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#sessions = sessionsIn(options.shop.stores.sessions);
  }

  /**
   * Serves customers at a steady rate until the signal aborts. Goes on after the last order that there is:
   * begun again, it also finds out what became of an order whose commit was not answered.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { shop, ordersPerSecond } = this.#options;
    this.#next = await ordersIn(shop.stores.orders.client).madeUpOrders();
    let due = 0;
    let lastMs = performance.now();
    while (!signal.aborted) {
      const nowMs = performance.now();
      due = Math.min(BURST_MAX, due + ((nowMs - lastMs) * ordersPerSecond) / 1_000);
      lastMs = nowMs;
      await this.#serve(Math.floor(due));
      due -= Math.floor(due);
      await sleep(TICK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Customers that came at the same moment: they fill their carts together, and order one by one. */
  async #serve(customers: number): Promise<void> {
    const sessions = this.#sessions;
    const visits = Array.from({ length: customers }, (_, index) => this.#visit(this.#next + index));
    this.#next += customers;
    await Promise.all(
      visits.flatMap(({ order }) => [
        sessions.noteVisit(order.customerId ?? 'guest', order.at),
        sessions.keepCart(order.id, order.lines),
      ]),
    );
    for (const { number, order } of visits) await this.#order(number, order);
    // Some never come back for what they left in the cart.
    const done = visits.filter(({ number }) => number % 7 !== 0);
    await Promise.all(done.map(({ order }) => sessions.emptyCart(order.id)));
    if (customers > 0 && this.#next % 500 < customers) await sessions.forgetExpired();
  }

  #visit(number: number): { number: number; order: NewOrder } {
    const { seed, products } = this.#options;
    const random = new Random(seed * 1_000_003 + number);
    const customer = random.below(CUSTOMERS);
    const lines = Array.from({ length: 1 + random.below(5) }, () => {
      const { sku, title, priceMilli } = random.pick(products);
      const quantity = random.next() < 0.03 ? -1 : 1 + random.below(4);
      return { sku, title, quantity, priceMilli };
    });
    const order: NewOrder = {
      id: `S${String(number).padStart(8, '0')}`,
      kind: random.next() < 0.02 ? 'cancellation' : 'sale',
      customerId: `c${customer}`,
      country: countries[customer % countries.length] ?? 'Norway',
      at: Date.now(),
      lines,
    };
    return { number, order };
  }

  /** One order, and what else happens in a shop meanwhile. */
  async #order(number: number, order: NewOrder): Promise<void> {
    const { shop, reads, products } = this.#options;
    const random = new Random(number);
    const shipped = `S${String(Math.max(0, number - 100)).padStart(8, '0')}`;
    const { evidence } = await shop.write('orders', async (tx) => {
      const orders = ordersIn(tx);
      await placeOrder(orders, order);
      if (number % 2 === 0) await orders.shipOrder(shipped);
      if (number % SHELF_EVERY === 0) await orders.toggleListed(random.pick(products).sku);
      // A delivery: fewer than none are taken.
      if (number % SHELF_EVERY === 1)
        await orders.takeFromStock(new Map([[random.pick(products).sku, -500]]));
    });
    if (number % READ_EVERY === 0 && order.kind === 'sale') reads.askForOrder(order, evidence);
    if (number % PRICE_EVERY !== 0) return;
    const { sku } = random.pick(products);
    const raised = await shop.write('orders', (tx) => ordersIn(tx).raisePrice(sku));
    reads.askForPrice(sku, raised.value, raised.evidence);
  }
}
