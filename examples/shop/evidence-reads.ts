import type { Evidence, Freshness } from 'tallystick';
import type { OpenShop, ShopStores } from './app.ts';
import { isAway } from './patience.ts';
import { MINUTE_MS, type NewOrder } from './schema.ts';
import { sessionsIn } from './sessions/index.ts';

/** How long a request waits to see its own write before it makes do with what is there. */
const WITHIN = '2s';
/** Reads that wait at once; what comes beyond is not read. */
const WAITING_MAX = 64;
/** Waits remembered for the percentiles. */
const WAITS_KEPT = 4_096;

/** How the reads that followed a write went. */
export interface ReadReport {
  /** By the answer of the barrier: fresh, timeout, blocked, …; away if a server was, failed if the read threw. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Fresh by the barrier, and yet without the write, by store. There must never be one. */
  readonly wrong: Readonly<Record<string, number>>;
  /** How long the fresh ones waited. */
  readonly waitMs: { readonly p50: number | null; readonly p99: number | null };
}

/** Whether a store shows an order. Asked once the store is as fresh as the order's evidence. */
type Question = (shop: OpenShop, order: NewOrder) => Promise<boolean>;

const questions: readonly (readonly [keyof ShopStores, Question])[] = [
  [
    'events',
    async ({ stores }, { id }) =>
      stores.events.client.prepare('SELECT 1 FROM stream WHERE orderId = ?').get(id) !== undefined,
  ],
  [
    'sessions',
    async ({ stores }, { id, at, customerId }) => {
      const orders = await sessionsIn(stores.sessions).recentOrders(customerId ?? 'guest');
      const isPushedOut = orders.length > 0 && orders.every(({ placedAt }) => placedAt >= at);
      return isPushedOut || orders.some((order) => order.id === id);
    },
  ],
  [
    'graph',
    async ({ stores }, { customerId, lines }) => {
      const customer = `customer/${customerId ?? 'guest'}`;
      const options = { kind: 'bought', limit: 1_000 };
      const bought = await stores.graph.query.neighbours('purchases', customer, options);
      const skus = new Set(bought.map(({ node }) => node));
      return lines.every(({ sku }) => skus.has(sku));
    },
  ],
  [
    'metrics',
    async ({ stores }, { at }) => {
      const row = await stores.metrics.query.get('minutes', ['sales', Math.floor(at / MINUTE_MS)]);
      return Number(row?.['value']) > 0;
    },
  ],
  [
    'objects',
    async ({ stores }, { id }) => {
      const receipts = stores.objects.objects.list(`receipts/${id}-`, { limit: 1 });
      const first = await receipts[Symbol.asyncIterator]().next();
      return first.done !== true;
    },
  ],
  [
    'reports',
    async ({ stores }, { id, lines }) => {
      const sql = 'SELECT count(*)::INTEGER FROM lines WHERE "orderId" = $1';
      const found = await stores.reports.client.runAndReadAll(sql, [id]);
      return Number(found.getRows()[0]?.[0]) === lines.length;
    },
  ],
];

/** Reads other stores right after a write, with its evidence, and keeps the score. */
export class EvidenceReads {
  readonly #shop: OpenShop;
  readonly #outcomes: Record<string, number> = {};
  readonly #wrong: Record<string, number> = {};
  readonly #waitsMs: number[] = [];
  readonly #waiting = new Set<Promise<void>>();
  #asked = 0;

  constructor(shop: OpenShop) {
    this.#shop = shop;
  }

  /** Asks the next store in turn for an order, without making the shop wait for the answer. */
  askForOrder(order: NewOrder, after: Evidence): void {
    const [store, shows] = questions[this.#asked++ % questions.length] ?? [];
    if (store !== undefined && shows !== undefined)
      this.#start(store, after, () => shows(this.#shop, order));
  }

  /** Asks the search for a price that was just raised; it may have been raised again since. */
  askForPrice(sku: string, priceMilli: number, after: Evidence): void {
    this.#start('search', after, async () => {
      const row = await this.#shop.stores.search.query.get('products', [sku]);
      return row === undefined || Number(row['priceMilli']) >= priceMilli;
    });
  }

  /** Resolves when no read is waiting any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#waiting);
  }

  report(): ReadReport {
    const sorted = this.#waitsMs.toSorted((left, right) => left - right);
    const at = (part: number): number | null =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? null;
    const waitMs = { p50: at(0.5), p99: at(0.99) };
    return { outcomes: { ...this.#outcomes }, wrong: { ...this.#wrong }, waitMs };
  }

  #start(store: keyof ShopStores, after: Evidence, shows: () => Promise<boolean>): void {
    if (this.#waiting.size >= WAITING_MAX) return;
    const reading = this.#read(store, after, shows)
      .catch((error: unknown) => count(this.#outcomes, isAway(error) ? 'away' : 'failed'))
      .finally(() => this.#waiting.delete(reading));
    this.#waiting.add(reading);
  }

  async #read(
    store: keyof ShopStores,
    after: Evidence,
    shows: () => Promise<boolean>,
  ): Promise<void> {
    const startedAtMs = performance.now();
    let waitedMs = 0;
    // A page would show what is there, marked as old. Here nothing is asked that could not be answered.
    const options = { after, within: WITHIN, otherwise: () => false };
    const { value, freshness } = await this.#shop.read(store, options, () => {
      waitedMs = performance.now() - startedAtMs;
      return shows();
    });
    count(this.#outcomes, freshness.kind satisfies Freshness['kind']);
    if (freshness.kind !== 'fresh') return;
    if (!value) count(this.#wrong, store);
    this.#waitsMs.push(Math.round(waitedMs * 100) / 100);
    if (this.#waitsMs.length > WAITS_KEPT) this.#waitsMs.shift();
  }
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
