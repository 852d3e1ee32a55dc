import { Client, Pool } from 'pg';
import { createClient } from 'redis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startProxy, type Proxy } from '../../servers/proxy.ts';
import { noEvidence } from '../../src/core/evidence.ts';
import {
  gather,
  guard,
  join,
  loader,
  optional,
  required,
  requestLog,
  watchClient,
  type Finding,
  type Guard,
  type JoinPage,
} from '../../src/patterns/compose/index.ts';
import { runInContext } from '../../src/runtime/context.ts';
import { cancellable } from '../../src/stores/postgres/index.ts';
import {
  freshDatabase,
  freshRedis,
  hasPostgres,
  hasRedis,
  type FreshDatabase,
  type FreshRedis,
} from '../support/servers.ts';

// Pages, loads, joins and the log of queries over a real PostgreSQL and a real Redis, with a network between that breaks.

interface Product {
  readonly id: number;
  readonly name: string;
}

const PRODUCTS = 2_500;
const off = { hedge: 'off', retry: 'off' } as const;

describe.skipIf(!hasPostgres || !hasRedis)('over PostgreSQL and Redis', () => {
  let database: FreshDatabase;
  let space: FreshRedis;
  let proxy: Proxy;
  /** Through the proxy. */
  let pool: Pool;
  /** Past it: what the server itself says. */
  let watcher: Client;
  let redis: ReturnType<typeof createClient>;

  beforeAll(async () => {
    [database, space] = await Promise.all([freshDatabase(), freshRedis()]);
    const url = new URL(database.url);
    proxy = await startProxy(Number(url.port));
    url.port = String(proxy.port);
    url.hostname = '127.0.0.1';
    pool = new Pool({ connectionString: url.href, max: 20 });
    pool.on('error', () => undefined);
    watcher = new Client({ connectionString: database.url });
    await watcher.connect();
    redis = createClient({ url: space.url });
    await redis.connect();
    await watcher.query(
      `CREATE TABLE products AS SELECT id, 'product ' || id AS name FROM generate_series(1, ${PRODUCTS}) id`,
    );
    await watcher.query('ALTER TABLE products ADD PRIMARY KEY (id)');
    // Every tenth has no stock.
    const stocks = Array.from({ length: PRODUCTS }, (_, index) => index + 1)
      .filter((id) => id % 10 !== 0)
      .map((id) => [stockKey(id), String(id * 2)] as const);
    await redis.mSet(Object.fromEntries(stocks));
  });

  beforeEach(() => proxy.heal());

  afterAll(async () => {
    await proxy.heal();
    await Promise.all([pool.end(), watcher.end(), redis.close()]);
    await proxy.stop();
    await Promise.all([database[Symbol.asyncDispose](), space[Symbol.asyncDispose]()]);
  });

  const stockKey = (id: number): string => `${space.prefix}stock:${id}`;
  const productsOf = async (ids: readonly number[]): Promise<Map<number, Product>> => {
    const { rows } = await pool.query<Product>(
      'SELECT id, name FROM products WHERE id = ANY($1::int[])',
      [ids],
    );
    return new Map(rows.map((row) => [row.id, row]));
  };
  const sleeping = async (): Promise<number> => {
    const { rows } = await watcher.query<{ n: number }>(
      `SELECT count(*)::int n FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query LIKE 'SELECT pg_sleep%'`,
      [database.name],
    );
    return rows[0]?.n ?? -1;
  };
  const until = (what: () => unknown, is: unknown): Promise<unknown> =>
    expect.poll(what, { interval: 10, timeout: 5_000 }).toEqual(is);

  test('single loads become IN-lists and MGETs, in order and within what the stores take', async () => {
    const lists: number[] = [];
    const products = loader<number, Product>(
      guard('orders'),
      (ids) => {
        lists.push(ids.length);
        return productsOf(ids);
      },
      { keysMax: 1_000 },
    );
    const gets: number[] = [];
    const stocks = loader<number, string | null>(
      guard('stock'),
      (ids) => {
        gets.push(ids.length);
        return redis.mGet(ids.map(stockKey));
      },
      { keysMax: 250 },
    );
    const ids = Array.from({ length: PRODUCTS }, (_, index) => PRODUCTS - index);
    await runInContext(noEvidence, async () => {
      const [found, stock] = await Promise.all([
        products.loadMany([...ids, PRODUCTS + 1]),
        stocks.loadMany(ids),
      ]);
      expect(found).toEqual([...ids.map((id) => ({ id, name: `product ${id}` })), undefined]);
      expect(stock).toEqual(ids.map((id) => (id % 10 === 0 ? null : String(id * 2))));
      // What the request knows is not asked for again.
      await products.load(7);
    });
    expect(lists).toEqual([1_000, 1_000, 501]);
    expect(gets).toEqual(Array.from({ length: 10 }, () => 250));
  });

  test('a join takes its order and limit from PostgreSQL and its lookups from Redis', async () => {
    const asked: number[] = [];
    const stocked = join({
      name: 'stocked',
      from: {
        from: guard('orders'),
        pageRows: 100,
        read: async ({ after, rowsMax }: JoinPage<Product>) => {
          asked.push(rowsMax);
          const { rows } = await pool.query<Product>(
            'SELECT id, name FROM products WHERE id < $1 ORDER BY id DESC LIMIT $2',
            [after?.id ?? PRODUCTS + 1, rowsMax],
          );
          return rows;
        },
      },
      with: {
        stock: {
          from: guard('stock'),
          on: 'id',
          load: async (ids) =>
            (await redis.mGet(ids.map((id) => stockKey(Number(id))))).map(
              (stock) => stock ?? undefined,
            ),
        },
      },
    });
    const run = stocked.rows({ limit: 250 });
    const rows = await run.all();
    expect(rows.map(({ row }) => row.id)).toEqual(
      Array.from({ length: 250 }, (_, index) => PRODUCTS - index),
    );
    expect(rows.every(({ row, stock }) => (row.id % 10 === 0) === (stock === undefined))).toBe(
      true,
    );
    expect(asked).toEqual([100, 100, 50]);
    expect(run.report().costs).toMatchObject([
      { store: 'orders', calls: 3, rows: 250 },
      { store: 'stock', calls: 3, rows: 250, found: 225 },
    ]);
    expect(() => stocked.rows({ limit: PRODUCTS })).toThrow(
      expect.objectContaining({ code: 'JOIN_TOO_LARGE' }),
    );
    expect(asked).toHaveLength(3);
  });

  describe('the log of a request', () => {
    const found = async (work: () => Promise<unknown>): Promise<Finding[]> => {
      const findings: Finding[] = [];
      const log = requestLog({
        mode: 'development',
        tell: (_text, finding) => findings.push(finding),
      });
      await log.run(work);
      return findings;
    };
    const recorded = async (work: () => Promise<unknown>): Promise<string[]> => {
      const statements: string[] = [];
      const log = requestLog({
        mode: 'development',
        record: {
          service: 'shop',
          write: (line) =>
            statements.push((JSON.parse(line) as { readonly statement: string }).statement),
        },
      });
      await log.run(work);
      return statements;
    };
    const one = (id: number) => pool.query('SELECT name FROM products WHERE id = $1', [id]);
    const eight = Array.from({ length: 8 }, (_, index) => index + 1);

    beforeAll(() => {
      watchClient({ name: 'orders', system: 'postgres', client: pool });
      watchClient({ name: 'stock', system: 'redis', client: redis });
    });

    test('names the line of a loop over PostgreSQL, serial or parallel', async () => {
      const loop = await found(async () => {
        for (const id of eight) await one(id);
      });
      const expected = {
        kind: 'n-plus-one',
        store: 'orders',
        fingerprint: 'SELECT name FROM products WHERE id = ?',
        count: 8,
        at: expect.stringContaining('servers.test.ts'),
      };
      expect(loop).toMatchObject([{ ...expected, order: 'serial' }]);
      const atOnce = await found(() => Promise.all(eight.map(one)));
      expect(atOnce).toMatchObject([{ ...expected, order: 'parallel' }]);
    });

    test('names the line of a loop over Redis, serial or parallel', async () => {
      const expected = {
        kind: 'n-plus-one',
        store: 'stock',
        fingerprint: `GET ${space.prefix.replace(/^t\w+:$/, '?:')}stock:?`,
        count: 8,
        at: expect.stringContaining('servers.test.ts'),
      };
      const loop = await found(async () => {
        for (const id of eight) await redis.get(stockKey(id));
      });
      expect(loop).toMatchObject([{ ...expected, order: 'serial' }]);
      const atOnce = await found(() => Promise.all(eight.map((id) => redis.get(stockKey(id)))));
      expect(atOnce).toMatchObject([{ ...expected, order: 'parallel' }]);
    });

    test('sees each query once: of the pool, of a client that it lent, of that client given back', async () => {
      const statements = await recorded(async () => {
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          await client.query('SELECT 1 AS lent');
          await client.query('COMMIT');
        } finally {
          client.release();
        }
        // The same connection, by the pool.
        await pool.query('SELECT 2 AS pooled');
      });
      expect(statements).toEqual(['BEGIN', 'SELECT ? AS lent', 'COMMIT', 'SELECT ? AS pooled']);
    });

    test('sees a MULTI and a pipeline of Redis, once each, and a client with options', async () => {
      const statements = await recorded(async () => {
        await redis.multi().get('a').get('b').exec();
        await redis.multi().get('a').exec(true);
        await redis.multi().get('a').execAsPipeline();
        await redis.withAbortSignal(AbortSignal.timeout(10_000)).get('a');
      });
      expect(statements).toEqual(['MULTI', 'a pipeline', 'a pipeline', 'GET a']);
    });
  });

  describe('what nobody waits for', () => {
    test('is stopped on PostgreSQL when it heeds its signal', async () => {
      const orders = guard('orders', { within: '100ms', ...off });
      const started = orders.run(({ signal }) =>
        cancellable(pool, signal, (client) => client.query('SELECT pg_sleep(60)')),
      );
      await expect(started).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
      await until(sleeping, 0);
      await until(() => orders.stats().underWay, 0);
      // The pool is whole: a closed connection made room.
      expect((await pool.query<{ one: number }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    });

    test('goes no further in a transaction: what would follow the cancelled statement is not done', async () => {
      const orders = guard('orders', { within: '100ms', ...off });
      const insert = (id: number): string => `INSERT INTO products VALUES (${id}, 'never')`;
      const work = orders.run(({ signal }) =>
        cancellable(pool, signal, async (client) => {
          await client.query('SELECT pg_sleep(60)').catch(() => undefined);
          await new Promise((resolve) => setImmediate(resolve));
          await client.query(insert(100_000)).catch(() => undefined);
          await client.query(insert(100_001));
        }),
      );
      await expect(work).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
      await until(() => orders.stats().underWay, 0);
      const { rows } = await watcher.query('SELECT FROM products WHERE id > 100000');
      expect(rows).toEqual([]);
    });

    test('keeps its place without: a limit of two is two on the server', async () => {
      const orders = guard('orders', { within: '40ms', limit: 2, breaker: 'off', ...off });
      let most = 0;
      for (let round = 0; round < 12; round += 1) {
        const calls = Array.from({ length: 4 }, () =>
          orders.run(() => pool.query('SELECT pg_sleep(0.2)')),
        );
        const outcomes = await Promise.allSettled(calls);
        expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
        most = Math.max(most, await sleeping());
      }
      expect(most).toBe(2);
      await until(() => orders.stats().underWay, 0);
    });

    test('is not sent to Redis any more when it has not been', async () => {
      const between = await startProxy(Number(new URL(space.url).port));
      const url = new URL(space.url);
      url.port = String(between.port);
      url.hostname = '127.0.0.1';
      const client = createClient({ url: url.href, commandsQueueMaxLength: 10 });
      client.on('error', () => undefined);
      await client.connect();
      try {
        await between.cut();
        await until(() => client.isReady, false);
        const stock = guard('stock', { within: '100ms', ...off });
        const counted = `${space.prefix}counted`;
        const late = stock.run(({ signal }) => client.withAbortSignal(signal).incr(counted));
        await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
        await until(() => stock.stats().underWay, 0);
        await between.heal();
        await until(() => client.get(counted), null);
      } finally {
        client.destroy();
        await between.stop();
      }
    });
  });

  describe('a page whose PostgreSQL is', () => {
    const OWN_MS = 150;
    const page = (orders: Guard) =>
      gather(
        {
          stock: required(() => redis.get(stockKey(1)), { from: guard('stock') }),
          product: optional(
            async ({ signal }) =>
              await cancellable(pool, signal, async (client) => {
                const { rows } = await client.query<Product>(
                  'SELECT id, name FROM products WHERE id = 1',
                );
                return rows[0]?.name;
              }),
            'not known',
            { from: orders },
          ),
        },
        { within: '2s' },
      );
    const made = (): Guard =>
      guard('orders', {
        within: `${OWN_MS}ms`,
        breaker: { callsMin: 4, open: '100ms' },
        ...off,
      });

    test.each([
      ['half-open', () => proxy.blackhole(), 'deadline'],
      ['slow', () => proxy.slow(OWN_MS * 2), 'deadline'],
      ['dead', () => proxy.cut(), 'failed'],
    ] as const)(
      '%s has its fallback within its own time, and comes back',
      async (_, fail, kind) => {
        const orders = made();
        expect((await page(orders)).values).toEqual({ stock: '2', product: 'product 1' });
        await fail();
        const without = await page(orders);
        expect(without.values).toEqual({ stock: '2', product: 'not known' });
        expect(without.parts.product).toMatchObject({ kind: 'fallback', reason: { kind } });
        expect(without.tookMs).toBeLessThan(OWN_MS + 100);
        await proxy.heal();
        await until(async () => (await page(orders)).values.product, 'product 1');
        await until(() => orders.stats().underWay, 0);
      },
    );

    test('flapping opens the breaker, asks no more then, and comes back', async () => {
      const orders = made();
      await proxy.cut();
      for (let round = 0; round < 8; round += 1) await page(orders);
      expect(orders.stats()).toMatchObject({ breaker: 'open', calls: 8 });
      expect(orders.stats().refused).toBeGreaterThan(0);
      await proxy.heal();
      await until(async () => (await page(orders)).values.product, 'product 1');
      await proxy.cut();
      expect((await page(orders)).values).toEqual({ stock: '2', product: 'not known' });
      await proxy.heal();
      await until(async () => (await page(orders)).values.product, 'product 1');
    });
  });
});
