import type { Key, Row } from 'tallystick';
import type { OpenOrders } from './app.ts';

// The auditor shares nothing with the flows but the events: it adds up by itself what each read model should hold.

/** Where each read model is. */
const models = {
  orders: 'status',
  contents: 'search',
  purchases: 'graph',
  revenue: 'reports',
} as const;

type Model = keyof typeof models;
type Rows = Readonly<Record<string, Row>>;

/** Every row of every read model, by key. */
export async function contents(app: OpenOrders): Promise<Readonly<Record<Model, Rows>>> {
  const rowsOf = async (model: Model): Promise<Rows> => {
    const rows: Record<string, Row> = {};
    const pages = app.stores[models[model]].scan.scan(model, { rowsMax: 1_000 });
    for await (const page of pages) for (const { key, row } of page) rows[nameOf(key)] = row;
    return rows;
  };
  return {
    orders: await rowsOf('orders'),
    contents: await rowsOf('contents'),
    purchases: await rowsOf('purchases'),
    revenue: await rowsOf('revenue'),
  };
}

/** What is wrong with the read models of a shop that stands still; nothing if they are what the events say. */
export async function audit(app: OpenOrders): Promise<readonly string[]> {
  const after = await app.evidenceAt('orders', await app.stores.orders.events.head());
  for (const store of Object.values(models)) {
    const { kind } = await app.barrier(store, { after, within: '30s' });
    if (kind !== 'fresh') return [`${store} is ${kind}`];
  }
  const found = await contents(app);
  const wanted = await addedUp(app);
  return (Object.keys(models) as Model[]).flatMap((model) =>
    differences(model, found[model], wanted[model]),
  );
}

function differences(model: Model, found: Rows, wanted: Rows): readonly string[] {
  const keys = new Set([...Object.keys(found), ...Object.keys(wanted)]);
  return [...keys].flatMap((key) => {
    const [is, should] = [textOf(found[key]), textOf(wanted[key])];
    return is === should ? [] : [`${model} ${key}: ${is}, and the events say ${should}`];
  });
}

interface Truth {
  status: string;
  readonly customer: string;
  readonly titles: string;
  readonly left: Map<string, { quantity: number; readonly cents: number }>;
  paid: number;
}

async function addedUp(app: OpenOrders): Promise<Readonly<Record<Model, Rows>>> {
  const orders = new Map<string, Truth & { version: number }>();
  const bought = new Map<string, number>();
  const revenue: Record<string, Row> = {};
  const buy = (customer: string, sku: string, pieces: number): void => {
    const key = nameOf([customer, sku]);
    bought.set(key, (bought.get(key) ?? 0) + pieces);
  };
  for await (const page of app.stores.orders.events.readAll())
    for (const { stream, version, type, data } of page.events) {
      const id = stream.slice('order-'.length);
      const said = data as {
        readonly customer: string;
        readonly lines: readonly { sku: string; title: string; quantity: number; cents: number }[];
        readonly cents: number;
        readonly sku: string;
        readonly quantity: number;
      };
      if (type === 'placed')
        orders.set(id, {
          status: type,
          customer: said.customer,
          titles: said.lines.map(({ title }) => title).join(' '),
          left: new Map(said.lines.map(({ sku, quantity, cents }) => [sku, { quantity, cents }])),
          paid: 0,
          version,
        });
      const order = orders.get(id);
      if (order === undefined) continue;
      order.version = version;
      const money = (cents: number): void => {
        revenue[nameOf([id, version])] = { orderId: id, version, kind: type, cents };
      };
      if (type !== 'sent-back') order.status = type;
      if (type === 'paid') money((order.paid = said.cents));
      if (type === 'cancelled' && order.paid > 0) money(-order.paid);
      if (type === 'shipped')
        for (const [sku, { quantity }] of order.left) buy(order.customer, sku, quantity);
      if (type === 'sent-back') {
        money(-said.cents * said.quantity);
        buy(order.customer, said.sku, -said.quantity);
        const sold = order.left.get(said.sku);
        if (sold !== undefined) sold.quantity -= said.quantity;
      }
    }
  return {
    orders: Object.fromEntries(
      Array.from(orders, ([id, { status, customer, left, version }]) => {
        const lines = [...left.values()];
        const pieces = lines.reduce((sum, { quantity }) => sum + quantity, 0);
        const cents = lines.reduce((sum, one) => sum + one.quantity * one.cents, 0);
        return [nameOf([id]), { status, customer, pieces, cents, version }];
      }),
    ),
    contents: Object.fromEntries(
      [...orders]
        .filter(([, { status }]) => status !== 'cancelled')
        .map(([id, { customer, titles }]) => [nameOf([id]), { customer, titles }]),
    ),
    purchases: Object.fromEntries(
      Array.from(bought, ([key, count]) => {
        const [from = '', to = ''] = JSON.parse(key) as readonly string[];
        return [key, { kind: 'bought', from, to, count }];
      }),
    ),
    revenue,
  };
}

/** Numbers of some stores come as BigInt; a key by itself and one in a list are the same. */
function nameOf(key: Key): string {
  return JSON.stringify(key.map((part) => (typeof part === 'bigint' ? Number(part) : part)));
}

function textOf(row: Row | undefined): string {
  if (row === undefined) return 'nothing';
  const entries = Object.entries(row).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify(entries, (_, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value,
  );
}
