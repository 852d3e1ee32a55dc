import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'tallystick';
import { ordersApp, ordersOf } from './app.ts';
import { traffic } from './traffic.ts';
import { audit } from './verify.ts';

// Opens the shop, lets customers order, reads an order in four stores as soon as it is paid, and has an auditor compare
// every read model with the events.

/** Runs the example in a folder; returns what the auditor found wrong. */
export async function run(dir: string, say: (line: string) => void): Promise<readonly string[]> {
  await using app = await open(ordersApp(dir));
  const orders = ordersOf(app);
  const lamp = { sku: 'lamp', title: 'reading lamp', quantity: 2, cents: 4_900 };
  await orders.handle('1000', { kind: 'place', customer: 'ada', lines: [lamp] }, { key: 'order' });
  const { state } = await orders.handle('1000', { kind: 'pay' }, { key: 'pay' });
  const { evidence, repeated } = await orders.handle('1000', { kind: 'pay' }, { key: 'pay' });
  say(
    `paid: ${state.status}; sent again by the same key: ${repeated ? 'nothing is done' : 'paid twice'}`,
  );

  const options = { after: evidence, within: '10s' } as const;
  const found = await app.read('search', options, async (_db, { query }) => {
    const hits = await query.search('contents', 'lamp');
    return hits.map(({ key }) => String(key[0]));
  });
  say(`orders with a lamp: ${found.value.join(', ')}`);
  const sum = await app.read('reports', options, async (connection) => {
    const rows = await connection.runAndReadAll('SELECT sum(cents)::DOUBLE FROM revenue');
    return Number(rows.getRows()[0]?.[0]);
  });
  say(`revenue: ${(sum.value / 100).toFixed(2)}`);

  const { done, refused } = await traffic(orders, Math.random, { count: 300 });
  say(`${done} commands carried out, ${refused} refused by the rules`);
  const wrong = await audit(app);
  say(
    wrong.length === 0
      ? 'audit: every read model is what the events say'
      : `audit: ${wrong.join('; ')}`,
  );
  return wrong;
}

if (import.meta.main) {
  const dir = await mkdtemp(join(tmpdir(), 'tally-shop-events-'));
  try {
    const wrong = await run(dir, (line) => console.log(line));
    process.exitCode = wrong.length === 0 ? 0 : 1;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
