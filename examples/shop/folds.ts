import { put, type Change, type Fold, type Put, type Row } from 'tallystick';
import {
  BASKET_PRODUCTS_MAX,
  MINUTE_MS,
  RECENT_ORDERS,
  type EventData,
  type OrderLine,
} from './schema.ts';

// Folded projections: they remember, and hand on full new values, never increments. What they remember
// is kept by the target, in the transaction of the rows.

/** The newest orders of each customer, newest first. */
export const recentOrders: Fold = {
  reads: (change) => [customerOf(change) ?? ''],
  apply: async (change, state) => {
    const { after } = change;
    const customer = customerOf(change);
    if (after === null || customer === undefined) return undefined;
    const order = {
      id: String(after['id']),
      status: String(after['status']),
      placedAt: Number(after['placedAt']),
    };
    const known = ((await state.get(customer)) ?? []) as readonly (typeof order)[];
    const orders = [order, ...known.filter(({ id }) => id !== order.id)]
      .toSorted((left, right) => right.placedAt - left.placedAt || (left.id < right.id ? 1 : -1))
      .slice(0, RECENT_ORDERS);
    state.set(customer, orders);
    return put('recentOrders', [customer], { orders });
  },
};

function customerOf({ after }: Change): string | undefined {
  const customer = after?.['customerId'];
  return typeof customer === 'string' ? customer : undefined;
}

/**
 * The purchase graph: `customer —bought→ product` with how many, `product —together→ product` with how many
 * orders had both.
 */
export const boughtTogether: Fold = {
  reads: (change) => edgesOf(change).map(({ name }) => name),
  apply: async (change, state) => {
    const puts: Put[] = [];
    for (const { name, key, edge, add } of edgesOf(change)) {
      const count = Number((await state.get(name)) ?? 0) + add;
      state.set(name, count);
      puts.push(put('purchases', key, { ...edge, count }));
    }
    return puts;
  },
};

interface Edge {
  readonly name: string;
  readonly key: readonly string[];
  readonly edge: { readonly kind: string; readonly from: string; readonly to: string };
  readonly add: number;
}

function edgesOf(change: Change): readonly Edge[] {
  const { customerId, lines } = dataOf(change);
  const customer = `customer/${customerId ?? 'guest'}`;
  const bought = new Map<string, number>();
  for (const { sku, quantity } of lines) bought.set(sku, (bought.get(sku) ?? 0) + quantity);
  return [
    ...Array.from(bought, ([sku, quantity]) => edge('bought', customer, sku, quantity)),
    ...pairs(basketOf(change.after, lines)).map(([one, other]) => edge('together', one, other, 1)),
  ];
}

function edge(kind: string, from: string, to: string, add: number): Edge {
  const key = [kind, from, to];
  return { name: key.join('\n'), key, edge: { kind, from, to }, add };
}

/** The first different products of a sale, without what came back. */
function basketOf(event: Row | null, lines: readonly OrderLine[]): readonly string[] {
  if (event?.['kind'] !== 'sale') return [];
  const skus = lines.filter(({ quantity }) => quantity > 0).map(({ sku }) => sku);
  return [...new Set(skus)].slice(0, BASKET_PRODUCTS_MAX).toSorted();
}

function pairs(names: readonly string[]): readonly (readonly [string, string])[] {
  return names.flatMap((one, index) =>
    names.slice(index + 1).map((other) => [one, other] as const),
  );
}

/** The numbers on the wall: one row per metric and minute. */
export const salesMetrics: Fold = {
  reads: (change) => [minuteOf(change)],
  apply: async (change, state) => {
    const minute = minuteOf(change);
    const totals = ((await state.get(minute)) ?? {}) as Readonly<Record<string, number>>;
    const now = { ...totals };
    for (const [metric, value] of Object.entries(metricsOf(change)))
      now[metric] = (now[metric] ?? 0) + value;
    state.set(minute, now);
    return Object.entries(now).map(([metric, value]) =>
      put('minutes', [metric, Number(minute)], { metric, minute: Number(minute), value }),
    );
  },
};

function minuteOf({ after }: Change): string {
  return String(Math.floor(Number(after?.['at']) / MINUTE_MS));
}

function metricsOf(change: Change): Readonly<Record<string, number>> {
  const { lines } = dataOf(change);
  const sum = (of: (line: OrderLine) => number): number =>
    lines.reduce((total, line) => total + of(line), 0);
  return {
    [change.after?.['kind'] === 'cancellation' ? 'cancellations' : 'sales']: 1,
    lines: lines.length,
    units: sum(({ quantity }) => quantity),
    returned: sum(({ quantity }) => Math.max(0, -quantity)),
    revenueMilli: sum(({ quantity, priceMilli }) => quantity * priceMilli),
  };
}

function dataOf({ after }: Change): EventData {
  return JSON.parse(String(after?.['data'])) as EventData;
}
