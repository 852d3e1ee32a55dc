import { put, remove, type Fold, type Put, type RowProjection } from 'tallystick';
import { foldEvents, projectEvents, projectState } from 'tallystick/events';
import { orderDecider, totalOf, type OrderEvent } from './order.ts';

// What the read models are made of: pure functions from events, brought up to the types of today.

/** An order as its customer sees it: its state, by the decider's own rules. */
export const status: Fold = projectState(
  orderDecider,
  ({ status: now, customer, lines }, { id, version }) =>
    put('orders', [id], {
      status: now,
      customer,
      pieces: lines.reduce((sum, { quantity }) => sum + quantity, 0),
      cents: totalOf(lines),
      version,
    }),
);

/** What is in orders that are not cancelled, to be found by words. */
export const search: RowProjection = projectEvents(orderDecider, {
  placed: ({ data: { customer, lines } }, { id }) =>
    put('contents', [id], { customer, titles: lines.map(({ title }) => title).join(' ') }),
  cancelled: (_event, { id }) => remove('contents', [id]),
});

/** Who bought what: pieces that were paid for, less those that came back. */
export const purchases: Fold = foldEvents(orderDecider, {
  apply: async (event, { id }, state) => {
    // What an order is about is said once, when it is placed; the fold remembers it for the events that follow.
    if (event.type === 'placed') {
      state.set(`order ${id}`, {
        customer: event.data.customer,
        pieces: Object.fromEntries(event.data.lines.map(({ sku, quantity }) => [sku, quantity])),
      });
      return undefined;
    }
    const order = (await state.get(`order ${id}`)) as
      { readonly customer: string; readonly pieces: Readonly<Record<string, number>> } | undefined;
    if (order === undefined) return undefined;
    const puts: Put[] = [];
    for (const [sku, pieces] of boughtBy(event, order.pieces)) {
      const name = JSON.stringify([order.customer, sku]);
      const count = Number((await state.get(name)) ?? 0) + pieces;
      state.set(name, count);
      puts.push(
        put('purchases', [order.customer, sku], {
          kind: 'bought',
          from: order.customer,
          to: sku,
          count,
        }),
      );
    }
    return puts;
  },
});

function boughtBy(
  event: OrderEvent,
  pieces: Readonly<Record<string, number>>,
): readonly (readonly [sku: string, pieces: number])[] {
  if (event.type === 'shipped') return Object.entries(pieces);
  if (event.type === 'sent-back') return [[event.data.sku, -event.data.quantity]];
  return [];
}

/** Every movement of money as a fact of the reports; what a cancelled order gives back is known from what was paid. */
export const revenue: Fold = foldEvents(orderDecider, {
  reads: (_event, { id }) => [id],
  apply: async (event, { id, version }, state) => {
    const fact = (cents: number): Put =>
      put('revenue', [id, version], { orderId: id, version, kind: event.type, cents });
    switch (event.type) {
      case 'paid':
        state.set(id, event.data.cents);
        return fact(event.data.cents);
      case 'sent-back':
        return fact(-event.data.cents * event.data.quantity);
      case 'cancelled': {
        const paid = Number((await state.get(id)) ?? 0);
        return paid === 0 ? undefined : fact(-paid);
      }
      case 'placed':
      case 'shipped':
        return undefined;
      default:
        return event satisfies never;
    }
  },
});
