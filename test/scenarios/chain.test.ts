import { DuckDBInstance } from '@duckdb/node-api';
import { expect, test } from 'vitest';
import { flow, open, put, tally, type Evidence, type OpenApp } from 'tallystick';
import { columnar, duckdb } from 'tallystick/duckdb';
import { sqlite, table } from 'tallystick/sqlite';
import { ask, fresh, rowsOf, sql, tempDir } from '../support/scenario.ts';

const path = tempDir();

/** What `first` makes of an order is what `second` starts from: two hops, each with a lane of its own. */
function chain() {
  return tally({
    name: 'chain',
    dir: path('tally'),
    stores: {
      orders: sqlite({ file: path('orders.db') }),
      stock: sqlite({
        file: path('stock.db'),
        targets: { sold: table({ key: ['id'], columns: { id: 'INTEGER', sku: 'TEXT' } }) },
      }),
      reports: duckdb({
        file: path('reports.duckdb'),
        targets: {
          sold: columnar({ key: ['id'], columns: { id: 'INTEGER', sku: 'VARCHAR' } }),
        },
      }),
    },
    flows: {
      first: flow({
        from: 'orders',
        tables: ['orders'],
        to: 'stock',
        into: ['sold', 'notes'],
        project: (row) => [
          put('sold', [row['id'] as number], { id: row['id'] ?? null, sku: row['sku'] ?? null }),
          put('notes', [row['id'] as number], { note: `of ${String(row['sku'])}` }),
        ],
      }),
      second: flow({
        from: 'stock',
        tables: ['sold', 'notes'],
        to: 'reports',
        into: ['sold', 'notes'],
        project: (row, { table: name }) =>
          name === 'sold'
            ? put('sold', [row['id'] as number], { id: row['id'] ?? null, sku: row['sku'] ?? null })
            : put('notes', [row['key'] as number], {
                note: (JSON.parse(String(row['document'])) as { note: string }).note,
              }),
      }),
    },
  });
}

type Chain = OpenApp<ReturnType<typeof chain>['stores']>;

function seed(): void {
  sql(
    path('orders.db'),
    `CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT);
     INSERT INTO orders VALUES (1, 'lamp'), (2, 'desk'), (3, 'rug')`,
  );
}

const write = async (app: Chain, text: string): Promise<Evidence> =>
  (await app.write('orders', (db) => db.exec(text))).evidence;

/** Waits hop by hop: evidence of the second lane is what the first flow left there. */
async function arrived(app: Chain, after: Evidence): Promise<void> {
  await fresh(app, 'stock', after);
  await fresh(app, 'reports', (await app.write('stock', () => undefined)).evidence);
}

/** Source and both hops, by plain drivers. */
async function held(): Promise<readonly unknown[]> {
  const instance = await DuckDBInstance.create(path('reports.duckdb'));
  try {
    const connection = await instance.connect();
    const read = async (text: string): Promise<unknown> =>
      (await connection.runAndReadAll(text)).getRowObjectsJson();
    const reports = await read('SELECT id, sku FROM sold ORDER BY id');
    const notes = await read("SELECT doc ->> 'note' AS note FROM notes ORDER BY 1");
    connection.closeSync();
    return [
      rowsOf(path('orders.db'), 'SELECT id, sku FROM orders ORDER BY id'),
      rowsOf(path('stock.db'), 'SELECT id, sku FROM sold ORDER BY id'),
      reports,
      rowsOf(path('stock.db'), "SELECT document ->> 'note' AS note FROM notes ORDER BY 1"),
      notes,
    ];
  } finally {
    instance.closeSync();
  }
}

async function expectInStep(): Promise<void> {
  const [orders, stock, reports, notes, reported] = await held();
  expect(stock).toEqual(orders);
  expect(reports).toEqual(orders);
  expect(reported).toEqual(notes);
  expect(notes).toHaveLength((orders as readonly unknown[]).length);
}

test('a target of one flow is the source of the next, through updates, deletes and a restart', async () => {
  seed();
  for (let round = 1; round <= 3; round += 1) {
    await using app = await open(chain());
    const after = await write(
      app,
      `INSERT INTO orders VALUES (${10 * round}, 'new'), (${10 * round + 1}, 'gone');
       UPDATE orders SET sku = 'round ${round}' WHERE id = 2;
       DELETE FROM orders WHERE id = ${10 * round + 1}`,
    );
    await arrived(app, after);
  }
  await expectInStep();
});

test('evidence of a lane two hops away is waited for hop by hop, within one limit', async () => {
  seed();
  await using app = await open(chain());
  for (let id = 50; id < 60; id += 1) {
    const after = await write(app, `INSERT INTO orders VALUES (${id}, 'sofa')`);
    const read = await app.read('reports', { after, within: '10s' }, async (connection) =>
      (await connection.runAndReadAll(`SELECT sku FROM sold WHERE id = ${id}`)).getRows(),
    );
    expect(read).toEqual({ value: [['sofa']], freshness: { kind: 'fresh' } });
  }
  const future: Evidence = new Map([['orders', [{ epoch: 1, offset: 1_000_000 }]]]);
  const both = new Map([...future, ...(await app.write('stock', () => undefined)).evidence]);
  for (const after of [future, both])
    expect(await app.barrier('reports', { after, within: '50ms' })).toMatchObject({
      kind: 'timeout',
      seen: [{ flow: 'first' }],
    });
  expect((await app.barrier('reports', { after: future, within: 0 })).kind).toBe('stale');
  const unrelated: Evidence = new Map([['elsewhere', [{ epoch: 1, offset: 1 }]]]);
  expect((await app.barrier('reports', { after: unrelated })).kind).toBe('unsupported');
});

test('a captured target is not rebuilt: the request says what to do, and the flow goes on', async () => {
  seed();
  {
    await using app = await open(chain());
    await arrived(app, await write(app, 'DELETE FROM orders WHERE id = 1'));
    const rebuild = ask(app, { of: 'flow', flow: 'first', request: { kind: 'rebuild' } });
    await expect(rebuild).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(rebuild).rejects.toThrow(/captured.*resnapshot/s);
    await arrived(app, await write(app, "INSERT INTO orders VALUES (5, 'after')"));
  }
  {
    // Refused for good: it is not tried again at each start.
    await using app = await open(chain());
    await arrived(app, await write(app, "INSERT INTO orders VALUES (6, 'again')"));
    expect(await app.ledger.get('rebuilds', 'first')).toBeUndefined();
  }
  await expectInStep();
  expect(
    rowsOf(path('stock.db'), "SELECT name FROM sqlite_schema WHERE name LIKE '%!_!_g%' ESCAPE '!'"),
  ).toEqual([]);
});

test('a resnapshot of the first lane reaches the second hop as changes while that runs', async () => {
  seed();
  {
    await using app = await open(chain());
    let after = await write(app, "INSERT INTO orders VALUES (7, 'x')");
    const resnapshot = ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' });
    for (let id = 100; id < 140; id += 1)
      await write(
        app,
        `INSERT INTO orders VALUES (${id}, 'during'); DELETE FROM orders WHERE id = ${id - 3}`,
      );
    expect(await resnapshot).toBe(2);
    after = await write(app, 'DELETE FROM orders WHERE id = 7');
    await arrived(app, after);
    expect(await ask(app, { of: 'lane', lane: 'stock', request: 'resnapshot' })).toBe(2);
    await arrived(app, await write(app, "UPDATE orders SET sku = 'last'"));
  }
  await expectInStep();
});
