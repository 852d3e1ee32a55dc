import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';
import { createClient } from 'redis';
import { open, tally } from 'tallystick';
import { files } from 'tallystick/files';
import type { SagaSummary } from 'tallystick/saga';
import type { Place } from './app.ts';
import { CUSTOMERS, STOCK, WALLET, type Order } from './order.ts';

// The checker. It looks into the four stores with their plain clients, counts, and compares with what the sagas say of
// themselves. It shares no code with the participants, and knows nothing of markers.

/** What the stores hold, by order. */
interface Seen {
  /** Pieces taken from the shelf, one number for each reservation. */
  readonly reserved: ReadonlyMap<
    string,
    readonly { readonly sku: string; readonly count: number }[]
  >;
  readonly left: ReadonlyMap<string, number>;
  readonly paid: ReadonlyMap<
    string,
    readonly { readonly customer: string; readonly total: number }[]
  >;
  readonly wallets: ReadonlyMap<string, number>;
  readonly labels: ReadonlySet<string>;
  readonly confirmed: ReadonlyMap<string, readonly number[]>;
}

/** What was counted, and everything that is wrong. */
export interface Checked {
  readonly completed: number;
  readonly compensated: number;
  readonly parked: number;
  readonly problems: readonly string[];
}

/** Compares what the stores hold with what became of each order's saga. */
export async function check(
  place: Place,
  orders: readonly Order[],
  sagas: readonly Pick<SagaSummary, 'id' | 'status'>[],
): Promise<Checked> {
  const seen = await look(place);
  const problems = [...conserved(seen)];
  const statuses = new Map(sagas.map(({ id, status }) => [id, status]));
  const counts = { completed: 0, compensated: 0, parked: 0 };
  for (const order of orders) {
    const status = statuses.get(order.id);
    if (status === 'completed' || status === 'compensated' || status === 'parked')
      counts[status] += 1;
    else problems.push(`${order.id}: its saga is ${status ?? 'nowhere'}`);
    problems.push(...ofOrder(order, status, seen));
  }
  const known = new Set(orders.map(({ id }) => id));
  for (const [what, ids] of Object.entries(idsOf(seen)))
    for (const id of ids)
      if (!known.has(id)) problems.push(`${id}: ${what} of an order nobody placed`);
  return { ...counts, problems };
}

/** Nothing came into the world, and nothing left it. */
function* conserved({ left, reserved, wallets, paid }: Seen): Generator<string> {
  for (const [sku, stock] of Object.entries(STOCK)) {
    const taken = [...reserved.values()].flat().filter((one) => one.sku === sku);
    const all = taken.reduce((sum, { count }) => sum + count, left.get(sku) ?? 0);
    if (all !== stock) yield `${sku}: ${stock} to begin with, ${all} on the shelf and reserved`;
  }
  for (const customer of CUSTOMERS) {
    const spent = [...paid.values()].flat().filter((one) => one.customer === customer);
    const all = spent.reduce((sum, { total }) => sum + total, wallets.get(customer) ?? 0);
    if (all !== WALLET) yield `${customer}: ${WALLET} to begin with, ${all} in the wallet and paid`;
  }
}

/** A completed order has each effect once, a compensated one has none. */
function* ofOrder(order: Order, status: string | undefined, seen: Seen): Generator<string> {
  const { id, customer, sku, count, total } = order;
  const has: Readonly<Record<string, readonly unknown[]>> = {
    reservation: seen.reserved.get(id) ?? [],
    payment: seen.paid.get(id) ?? [],
    label: seen.labels.has(id) ? [id] : [],
    confirmation: seen.confirmed.get(id) ?? [],
  };
  const due: Readonly<Record<string, unknown>> = {
    reservation: { sku, count },
    payment: { customer, total },
    label: id,
    confirmation: total,
  };
  for (const [what, found] of Object.entries(has)) {
    if (found.length > 1) yield `${id}: ${found.length} times a ${what}`;
    if (status === 'compensated' && found.length > 0) yield `${id}: compensated, with a ${what}`;
    if (status !== 'completed') continue;
    if (found.length === 0) yield `${id}: completed, without a ${what}`;
    else if (JSON.stringify(found[0]) !== JSON.stringify(due[what]))
      yield `${id}: ${what} ${JSON.stringify(found[0])}, not ${JSON.stringify(due[what])}`;
  }
}

function idsOf({
  reserved,
  paid,
  labels,
  confirmed,
}: Seen): Readonly<Record<string, Iterable<string>>> {
  return {
    reservation: reserved.keys(),
    payment: paid.keys(),
    label: labels,
    confirmation: confirmed.keys(),
  };
}

async function look(place: Place): Promise<Seen> {
  const stock = rows(join(place.dir, 'inventory.db'), 'SELECT * FROM items');
  const reservations = rows(join(place.dir, 'inventory.db'), 'SELECT * FROM reservations');
  const accounts =
    place.servers === undefined ? accountsInEntries(place) : await accountsInRedis(place);
  const confirmed =
    place.servers === undefined
      ? rows(join(place.dir, 'orders.db'), 'SELECT id, total FROM orders')
      : await confirmedInPostgres(place.servers.postgresUrl);
  return {
    left: new Map(stock.map(({ sku, left }) => [String(sku), Number(left)])),
    reserved: grouped(reservations, 'order_id', ({ sku, count }) => ({
      sku: String(sku),
      count: Number(count),
    })),
    ...accounts,
    labels: await printable(place),
    confirmed: grouped(confirmed, 'id', ({ total }) => Number(total)),
  };
}

type Cells = Readonly<Record<string, unknown>>;

function rows(file: string, sql: string): readonly Cells[] {
  if (!existsSync(file)) return [];
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

function grouped<Item>(
  found: readonly Cells[],
  by: string,
  item: (cells: Cells) => Item,
): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>();
  for (const cells of found) {
    const id = String(cells[by]);
    groups.set(id, [...(groups.get(id) ?? []), item(cells)]);
  }
  return groups;
}

type Accounts = Pick<Seen, 'wallets' | 'paid'>;

function accountsInEntries({ dir }: Place): Accounts {
  const found = rows(
    join(dir, 'payments.db'),
    "SELECT substr(key, 9) AS customer, value FROM _tally_key_values WHERE key LIKE 'effects/%'",
  );
  const held = found.map(({ customer, value }) => {
    const { wallet, paid } = (JSON.parse(String(value)) as { value: HeldAccount }).value;
    return { customer: String(customer), wallet, paid: Object.entries(paid) };
  });
  return accountsOf(held);
}

async function accountsInRedis({ servers }: Place): Promise<Accounts> {
  const client = createClient({ url: servers?.redisUrl ?? '' });
  await client.connect();
  try {
    const held = [];
    for (const customer of CUSTOMERS) {
      const hash = await client.hGetAll(`${servers?.prefix ?? ''}account:${customer}`);
      const paid = Object.entries(hash)
        .filter(([name]) => name.startsWith('paid:'))
        .map(([name, total]): [string, number] => [name.slice(5), Number(total)]);
      held.push({ customer, wallet: Number(hash['wallet']), paid });
    }
    return accountsOf(held);
  } finally {
    client.destroy();
  }
}

interface HeldAccount {
  readonly wallet: number;
  readonly paid: Readonly<Record<string, number>>;
}

function accountsOf(
  held: readonly {
    readonly customer: string;
    readonly wallet: number;
    readonly paid: readonly (readonly [string, number])[];
  }[],
): Accounts {
  const paid = held.flatMap(({ customer, paid: orders }) =>
    orders.map(([id, total]) => ({ id, customer, total })),
  );
  return {
    wallets: new Map(held.map(({ customer, wallet }) => [customer, wallet])),
    paid: grouped(paid, 'id', ({ customer, total }) => ({
      customer: String(customer),
      total: Number(total),
    })),
  };
}

/** Labels that a person could print: what is empty is none. */
async function printable({ dir }: Place): Promise<ReadonlySet<string>> {
  const stores = { labels: files({ dir: join(dir, 'labels') }) };
  const declared = tally({ name: 'checker', dir: join(dir, 'checker'), stores });
  await using app = await open(declared, { run: false });
  const found = new Set<string>();
  for await (const { key, size } of app.stores.labels.objects.list('labels/'))
    if (size > 0) found.add(key.slice('labels/'.length, -'.txt'.length));
  return found;
}

async function confirmedInPostgres(url: string): Promise<readonly Cells[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: found } = await client.query<Cells>('SELECT id, total FROM orders');
    return found;
  } finally {
    await client.end();
  }
}
