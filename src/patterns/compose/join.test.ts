import * as fc from 'fast-check';
import { expect, expectTypeOf, test } from 'vitest';
import { guard } from './guard.ts';
import { explainText } from './join-plan.ts';
import { join, type JoinPage, type Lookup } from './join.ts';
import type { MemoKey } from './memo.ts';

interface Order {
  readonly id: number;
  readonly customer: string | null;
}

const orders = guard('orders', { breaker: 'off' });
const customers = guard('customers', { breaker: 'off' });
const stock = guard('stock', { breaker: 'off' });

/** Orders 1 to `count`, every fifth of a customer that nobody knows, every seventh of none. */
function world(count: number) {
  const pages: JoinPage<Order>[] = [];
  const lookups: (readonly MemoKey[])[] = [];
  let inMemory = 0;
  let most = 0;
  const all: Order[] = Array.from({ length: count }, (_, index) => ({
    id: index + 1,
    customer: (index + 1) % 7 === 0 ? null : `c${(index + 1) % 5}`,
  }));
  const read = async (page: JoinPage<Order>): Promise<readonly Order[]> => {
    pages.push(page);
    await Promise.resolve();
    const from = page.after === undefined ? 0 : page.after.id;
    const rows = all.slice(from, from + page.rowsMax);
    inMemory += rows.length;
    most = Math.max(most, inMemory);
    return rows;
  };
  const customer: Lookup<Order, { name: string }> = {
    from: customers,
    on: 'customer',
    load: (keys) => {
      lookups.push(keys);
      return new Map(
        keys.filter((key) => key !== 'c0').map((key) => [key, { name: `customer ${key}` }]),
      );
    },
  };
  return {
    pages,
    lookups,
    customer,
    from: { from: orders, read, pageRows: 10 },
    taken: (rows: number) => (inMemory -= rows),
    most: () => most,
  };
}

async function collect<Joined>(rows: AsyncIterable<Joined>): Promise<Joined[]> {
  const all: Joined[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

test('rows come in the order of the driving store, each with what there is for it', async () => {
  const { from, customer, pages, lookups } = world(100);
  const joined = join({ name: 'recent', from, with: { customer } });
  const run = joined.rows({ limit: 25 });
  const rows = await collect(run);
  expectTypeOf(rows[0]!.customer).toEqualTypeOf<{ name: string } | undefined>();
  expect(rows.map(({ row }) => row.id)).toEqual(Array.from({ length: 25 }, (_, id) => id + 1));
  expect(rows[0]).toEqual({ row: { id: 1, customer: 'c1' }, customer: { name: 'customer c1' } });
  expect(rows[4]!.customer).toBeUndefined();
  // The limit is pushed down: 10, 10 and 5 rows.
  expect(pages.map(({ rowsMax }) => rowsMax)).toEqual([10, 10, 5]);
  // Each key once, and none for a row that has no key.
  expect(lookups.map((keys) => keys.length)).toEqual([5]);
  expect(run.report()).toMatchObject({
    rows: 25,
    dropped: 0,
    costs: [
      { store: 'orders', calls: 3, rows: 25 },
      { store: 'customers', calls: 1, rows: 5, found: 4 },
    ],
  });
});

test('reads on for rows that are dropped, until there are enough', async () => {
  const { from, customer, pages } = world(100);
  const joined = join({
    name: 'known',
    from,
    with: { customer: { ...customer, missing: 'drop' } },
  });
  const run = joined.rows({ limit: 15 });
  const rows = await collect(run);
  expect(rows).toHaveLength(15);
  expect(rows.every((row) => row.customer !== undefined)).toBe(true);
  expect(pages.length).toBeGreaterThan(1);
  expect(run.report().dropped).toBeGreaterThan(0);
});

test('no more than two pages are in memory, however many rows there are', async () => {
  const { from, customer, taken, most } = world(1_000);
  const joined = join({ name: 'many', from, with: { customer }, callsMax: 500 });
  let seen = 0;
  for await (const _ of joined.rows({ limit: 1_000 })) {
    seen += 1;
    if (seen % 10 === 0) taken(10);
  }
  expect(seen).toBe(1_000);
  expect(most()).toBeLessThanOrEqual(20);
});

test('a reader who leaves ends the reading', async () => {
  const { from, customer, pages } = world(1_000);
  for await (const { row } of join({ name: 'few', from, with: { customer } }).rows({ limit: 200 }))
    if (row.id === 3) break;
  expect(pages.length).toBeLessThanOrEqual(2);
  expect(orders.stats().underWay).toBe(0);
});

test('explains calls and rows by store before it runs, and refuses what is over its bounds', () => {
  const { from, customer } = world(0);
  const shelves: Lookup<Order, number> = {
    from: stock,
    on: 'id',
    keysMax: 3,
    load: (keys) => keys.map(() => 1),
  };
  const joined = join({ name: 'recent', from, with: { customer, shelves }, callsMax: 20 });
  expect(explainText(joined.explain({ limit: 25 }))).toBe(
    [
      'recent, limit 25',
      '  orders: drives, at most 3 calls and 25 rows',
      '  customers: looks up customer by customer, at most 3 calls and 25 rows',
      '  stock: looks up shelves by id, at most 10 calls and 25 rows',
      '  runs: 16 of 20 calls',
    ].join('\n'),
  );
  const refused = joined.explain({ limit: 40 });
  expect(refused.refused).toContain('24 calls');
  expect(explainText(refused)).toContain('build a projection recent');
  expect(() => joined.rows({ limit: 40 })).toThrow(
    expect.objectContaining({
      code: 'JOIN_TOO_LARGE',
      details: { join: 'recent', projection: expect.stringContaining('orders and customers') },
    }),
  );
  expect(() => joined.rows({ limit: 3_000 })).toThrow(
    expect.objectContaining({ code: 'JOIN_TOO_LARGE' }),
  );
});

test('a join that drops too much stops at its bound and names the projection', async () => {
  const { from, customer } = world(1_000);
  const joined = join({
    name: 'rare',
    from,
    with: { customer: { ...customer, load: () => new Map(), missing: 'drop' } },
    rowsMax: 100,
  });
  await expect(collect(joined.rows({ limit: 5 }))).rejects.toMatchObject({
    code: 'JOIN_TOO_LARGE',
    message: expect.stringContaining('100 rows'),
  });
});

test('a store that fails fails the join, or leaves the rows without it', async () => {
  const { from, customer } = world(20);
  const down: Lookup<Order, { name: string }> = {
    ...customer,
    load: () => Promise.reject(new Error('down')),
  };
  await expect(
    collect(join({ name: 'all', from, with: { customer: down } }).rows({ limit: 5 })),
  ).rejects.toThrow('down');
  const run = join({ name: 'some', from, with: { customer: { ...down, failed: 'keep' } } }).rows({
    limit: 5,
  });
  expect(await collect(run)).toHaveLength(5);
  expect(run.report().costs[1]).toMatchObject({ failed: 5, found: 0 });
});

test('the abort of the caller ends the join', async () => {
  const { from, customer } = world(100);
  const controller = new AbortController();
  const rows = join({ name: 'aborted', from, with: { customer } }).rows({
    limit: 50,
    signal: controller.signal,
  });
  const seen = (async () => {
    for await (const { row } of rows) if (row.id === 11) controller.abort();
  })();
  await expect(seen).rejects.toMatchObject({ code: 'ABORTED' });
});

test('what the page before had is not looked up again', async () => {
  const { from, customer, lookups } = world(30);
  const joined = join({ name: 'again', from, with: { customer } });
  const rows = await joined.rows({ limit: 30 }).all();
  expect(rows).toHaveLength(30);
  expect(lookups.flat()).toHaveLength(5);
});

test('whatever the sizes, it gives what a join by hand gives', async () => {
  const sizes = fc.record({
    count: fc.nat(60),
    pageRows: fc.integer({ min: 1, max: 20 }),
    keysMax: fc.integer({ min: 1, max: 4 }),
    limit: fc.integer({ min: 1, max: 70 }),
    missing: fc.constantFrom('keep' as const, 'drop' as const),
  });
  await fc.assert(
    fc.asyncProperty(sizes, async ({ count, pageRows, keysMax, limit, missing }) => {
      const { from, customer } = world(count);
      const joined = join({
        name: 'any',
        from: { ...from, pageRows },
        with: { customer: { ...customer, keysMax, missing } },
        callsMax: 1_000,
      });
      const expected = Array.from({ length: count }, (_, index) => index + 1)
        .filter((id) => missing === 'keep' || (id % 7 !== 0 && id % 5 !== 0))
        .slice(0, limit);
      const rows = await collect(joined.rows({ limit }));
      expect(rows.map(({ row }) => row.id)).toEqual(expected);
    }),
    { numRuns: 100 },
  );
});

test.each([
  [{ name: '' }, 'CONFIG_INVALID'],
  [{ rowsMax: 0 }, 'CONFIG_INVALID'],
  [{ where: 'x' }, 'CONFIG_UNKNOWN_OPTION'],
  [{ with: { row: { from: customers, on: 'id', load: () => [] } } }, 'CONFIG_INVALID'],
  [{ with: { customer: { from: customers, by: 'id' } } }, 'CONFIG_UNKNOWN_OPTION'],
  [{ with: { customer: { from: {}, on: 'id', load: () => [] } } }, 'CONFIG_INVALID'],
])('refuses %j with %s', (wrong, code) => {
  const { from, customer } = world(0);
  expect(() => join({ name: 'x', from, with: { customer }, ...wrong } as never)).toThrow(
    expect.objectContaining({ code }),
  );
});
