import { decider, refuse, type Decider } from 'tallystick/events';
import { z } from 'zod';

/** One product of an order, and what one piece of it costs. */
export type OrderLine = {
  readonly sku: string;
  readonly title: string;
  readonly quantity: number;
  readonly cents: number;
};

const line: z.ZodType<OrderLine> = z.object({
  sku: z.string().min(1).max(100),
  title: z.string().min(1).max(200),
  quantity: z.number().int().positive().max(10_000),
  cents: z.number().int().nonnegative().max(100_000_000),
});

/** An order, as its events make it. What came back is taken from the lines. */
export type Order = {
  readonly status: 'none' | 'placed' | 'paid' | 'shipped' | 'cancelled';
  readonly customer: string;
  readonly lines: readonly OrderLine[];
};

const lines = z
  .array(line)
  .min(1)
  .max(100)
  .refine(
    (all) => new Set(all.map(({ sku }) => sku)).size === all.length,
    'a product is in two lines',
  );

/** What can be asked of an order. */
export type OrderCommand =
  | { readonly kind: 'place'; readonly customer: string; readonly lines: OrderLine[] }
  | { readonly kind: 'pay' | 'ship' | 'cancel' }
  | { readonly kind: 'send-back'; readonly sku: string; readonly quantity: number };

const orderCommand: z.ZodType<OrderCommand> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('place'), customer: z.string().min(1).max(100), lines }),
  z.object({ kind: z.literal(['pay', 'ship', 'cancel']) }),
  z.object({
    kind: z.literal('send-back'),
    sku: z.string().min(1),
    quantity: z.number().int().positive(),
  }),
]);

/** What can happen to an order. */
export type OrderEvent =
  | {
      readonly type: 'placed';
      readonly data: { readonly customer: string; readonly lines: OrderLine[] };
    }
  | { readonly type: 'paid'; readonly data: { readonly cents: number } }
  | { readonly type: 'shipped' | 'cancelled'; readonly data: Record<string, never> }
  | {
      readonly type: 'sent-back';
      readonly data: { readonly sku: string; readonly quantity: number; readonly cents: number };
    };

/** What an order is made of, as one type. */
export type OrderTypes = {
  readonly command: OrderCommand;
  readonly state: Order;
  readonly event: OrderEvent;
};

/** The rules of an order: pure functions, without stores, clocks or other orders. */
export const orderDecider: Decider<OrderTypes> = decider<OrderTypes>({
  category: 'order',
  initial: { status: 'none', customer: '', lines: [] },
  command: orderCommand,
  decide,
  evolve,
  events: {
    placed: { schema: z.object({ customer: z.string(), lines }) },
    paid: { schema: z.object({ cents: z.number().int() }) },
    shipped: {},
    cancelled: {},
    'sent-back': {
      schema: z.object({ sku: z.string(), quantity: z.number().int(), cents: z.number().int() }),
    },
  },
  snapshot: { every: 50, version: 1 },
});

function decide(command: OrderCommand, { status, lines: there }: Order): readonly OrderEvent[] {
  switch (command.kind) {
    case 'place':
      if (status !== 'none') throw refuse('already-placed', 'the order is there already');
      return [{ type: 'placed', data: { customer: command.customer, lines: command.lines } }];
    case 'pay':
      checkStatus(status, 'placed');
      return [{ type: 'paid', data: { cents: totalOf(there) } }];
    case 'ship':
      checkStatus(status, 'paid');
      return [{ type: 'shipped', data: {} }];
    case 'cancel':
      if (status === 'cancelled') return [];
      if (status !== 'placed' && status !== 'paid')
        throw refuse('too-late', `an order that is ${status} cannot be cancelled`);
      return [{ type: 'cancelled', data: {} }];
    case 'send-back': {
      checkStatus(status, 'shipped');
      const { sku, quantity } = command;
      const sold = there.find((one) => one.sku === sku);
      if (sold === undefined || sold.quantity < quantity)
        throw refuse('not-bought', 'so many of it were not bought', {
          sku,
          there: sold?.quantity ?? 0,
        });
      return [{ type: 'sent-back', data: { sku, quantity, cents: sold.cents } }];
    }
    default:
      return command satisfies never;
  }
}

function evolve(state: Order, event: OrderEvent): Order {
  switch (event.type) {
    case 'placed':
      return { status: 'placed', ...event.data };
    case 'paid':
    case 'shipped':
    case 'cancelled':
      return { ...state, status: event.type };
    case 'sent-back': {
      const { sku, quantity } = event.data;
      const left = state.lines.map((one) =>
        one.sku === sku ? { ...one, quantity: one.quantity - quantity } : one,
      );
      return { ...state, lines: left.filter((one) => one.quantity > 0) };
    }
    default:
      return event satisfies never;
  }
}

function checkStatus(status: Order['status'], wanted: Order['status']): void {
  if (status !== wanted)
    throw refuse(`not-${wanted}`, `the order is ${status === 'none' ? 'not there' : status}`);
}

/** What the lines cost together. */
export function totalOf(all: readonly OrderLine[]): number {
  return all.reduce((sum, { quantity, cents }) => sum + quantity * cents, 0);
}
