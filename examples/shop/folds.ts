import { put, type Change, type Fold, type Put } from 'tallystick';
import {
  BASKET_PRODUCTS_MAX,
  dataOf,
  MINUTE_MS,
  RECENT_ORDERS,
  type EventRow,
  type OrderLine,
  type OrderRow,
  type ShownOrder,
} from './schema.ts';

// Folded projections: they remember, and hand on full new values, never increments. What they remember
// is kept by the target, in the transaction of its rows.

/** The newest orders of each customer, newest first. */
export const recentOrders: Fold = {
  reads: (change) => [orderOf(change)?.customerId ?? ''],
  apply: async (change, state) => {
    const order = orderOf(change);
    if (order === undefined || order.customerId === null) return undefined;
    const { id, status, placedAt, customerId } = order;
    const known = ((await state.get(customerId)) ?? []) as readonly ShownOrder[];
    const orders = [{ id, status, placedAt }, ...known.filter((other) => other.id !== id)]
      .toSorted((left, right) => right.placedAt - left.placedAt || (left.id < right.id ? 1 : -1))
      .slice(0, RECENT_ORDERS);
    state.set(customerId, orders);
    return put('recentOrders', [customerId], { orders });
  },
};

function orderOf({ after }: Change): OrderRow | undefined {
  return after === null ? undefined : (after as OrderRow);
}

/**
 * The purchase graph: `customer —bought→ product` with how many, `product —together→ product` with how many
 * orders had both.
 */
export const boughtTogether: Fold = {
  reads: (change) => edgesOf(change.after as EventRow).map(({ name }) => name),
  apply: async (change, state) => {
    const puts: Put[] = [];
    for (const { name, kind, from, to, add } of edgesOf(change.after as EventRow)) {
      const count = Number((await state.get(name)) ?? 0) + add;
      state.set(name, count);
      puts.push(put('purchases', [kind, from, to], { kind, from, to, count }));
    }
    return puts;
  },
};

interface Edge {
  readonly name: string;
  readonly kind: string;
  readonly from: string;
  readonly to: string;
  readonly add: number;
}

function edgesOf(event: EventRow): readonly Edge[] {
  const { customerId, lines } = dataOf(event);
  const customer = `customer/${customerId ?? 'guest'}`;
  const bought = new Map<string, number>();
  for (const { sku, quantity } of lines) bought.set(sku, (bought.get(sku) ?? 0) + quantity);
  const basket = event.kind === 'sale' ? basketOf(lines) : [];
  return [
    ...Array.from(bought, ([sku, quantity]) => edge('bought', customer, sku, quantity)),
    ...pairs(basket).map(([one, other]) => edge('together', one, other, 1)),
  ];
}

function edge(kind: string, from: string, to: string, add: number): Edge {
  return { name: `${kind} ${from} ${to}`, kind, from, to, add };
}

/** The first different products that were bought, without what came back. */
function basketOf(lines: readonly OrderLine[]): readonly string[] {
  const skus = lines.filter(({ quantity }) => quantity > 0).map(({ sku }) => sku);
  return [...new Set(skus)]
    .slice(0, BASKET_PRODUCTS_MAX)
    .toSorted((left, right) => (left < right ? -1 : 1));
}

function pairs(names: readonly string[]): readonly (readonly [string, string])[] {
  return names.flatMap((one, index) =>
    names.slice(index + 1).map((other) => [one, other] as const),
  );
}

/** The numbers on the wall: one row per metric and minute. */
export const salesMetrics: Fold = {
  reads: (change) => [String(minuteOf(change.after as EventRow))],
  apply: async (change, state) => {
    const event = change.after as EventRow;
    const minute = minuteOf(event);
    const known = (await state.get(String(minute))) ?? {};
    const totals = { ...(known as Readonly<Record<string, number>>) };
    for (const [metric, value] of Object.entries(metricsOf(event)))
      totals[metric] = (totals[metric] ?? 0) + value;
    state.set(String(minute), totals);
    return Object.entries(totals).map(([metric, value]) =>
      put('minutes', [metric, minute], { metric, minute, value }),
    );
  },
};

function minuteOf({ at }: EventRow): number {
  return Math.floor(at / MINUTE_MS);
}

function metricsOf(event: EventRow): Readonly<Record<string, number>> {
  const { lines } = dataOf(event);
  const sum = (of: (line: OrderLine) => number): number =>
    lines.reduce((total, line) => total + of(line), 0);
  return {
    [event.kind === 'cancellation' ? 'cancellations' : 'sales']: 1,
    lines: lines.length,
    units: sum(({ quantity }) => quantity),
    returned: sum(({ quantity }) => Math.max(0, -quantity)),
    revenueMilli: sum(({ quantity, priceMilli }) => quantity * priceMilli),
  };
}
