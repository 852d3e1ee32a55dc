import { isRefusal, type Aggregates } from 'tallystick/events';
import { isTallyError, type Evidence } from 'tallystick';
import type { OrderCommand, OrderTypes } from './order.ts';

const titles = ['walnut desk', 'reading lamp', 'oak shelf', 'brass hook', 'wool rug', 'paper lamp'];
const customers = ['ada', 'bob', 'eve', 'tom', 'zoë'];

/** What a run of customers came to. */
export interface Traffic {
  readonly done: number;
  readonly refused: number;
  /** Of the last command that was carried out. */
  readonly evidence: Evidence | undefined;
}

/**
 * Customers and clerks with their commands, by numbers in [0, 1): each with a key, some sent twice, some against the
 * rules. `from` numbers the orders, so that another run makes others.
 */
export async function traffic(
  orders: Aggregates<OrderTypes>,
  next: () => number,
  { from = 0, count }: { readonly from?: number; readonly count: number },
): Promise<Traffic> {
  const pick = <Item>(items: readonly Item[]): Item =>
    items[Math.floor(next() * items.length)] as Item;
  let done = 0;
  let refused = 0;
  let evidence: Evidence | undefined;
  for (let index = 0; index < count; index += 1) {
    const id = String(from + Math.floor(next() * (1 + count / 4)));
    const command = nthCommand(next, pick);
    const times = next() < 0.1 ? 2 : 1;
    for (let time = 0; time < times; time += 1)
      try {
        const handled = await orders.handle(id, command, { key: `${from}/${index}` });
        evidence = handled.evidence;
        if (!handled.repeated) done += 1;
      } catch (error) {
        // The rules said no. Whatever else goes wrong is not for a customer to swallow.
        if (!isTallyError(error) || !isRefusal(error)) throw error;
        refused += 1;
      }
  }
  return { done, refused, evidence };
}

function nthCommand(
  next: () => number,
  pick: <Item>(items: readonly Item[]) => Item,
): OrderCommand {
  const dice = next();
  if (dice < 0.4) {
    const wanted = [...new Set([pick(titles), pick(titles), pick(titles)])];
    return {
      kind: 'place',
      customer: pick(customers),
      lines: wanted.map((title) => ({
        sku: title.replace(' ', '-'),
        title,
        quantity: 1 + Math.floor(next() * 3),
        cents: 100 + Math.floor(next() * 10_000),
      })),
    };
  }
  if (dice < 0.6) return { kind: 'pay' };
  if (dice < 0.8) return { kind: 'ship' };
  if (dice < 0.85) return { kind: 'cancel' };
  return { kind: 'send-back', sku: pick(titles).replace(' ', '-'), quantity: 1 };
}
