import { expect, test } from 'vitest';
import type { Row } from '../../core/row.ts';
import { analyse, type Extract } from './analyse.ts';

const customers: Extract = {
  from: [
    [
      { id: 'a', city: 'Bern' },
      { id: 'b', city: 'Basel' },
    ],
    [{ id: 'c', city: null }],
  ],
  columns: { id: 'VARCHAR', city: 'VARCHAR' },
};

async function* pages(count: number): AsyncGenerator<readonly Row[]> {
  for (let from = 0; from < count; from += 1_000)
    yield Array.from({ length: Math.min(1_000, count - from) }, (_, index) => ({
      id: BigInt(from + index),
      customer: ['a', 'b', 'c'][(from + index) % 3] ?? '',
      cents: 100,
      placed: '2026-11-30 12:00:00',
      lines: { count: 2 },
      skipped: 'not taken',
    }));
}

const orders = (count: number): Extract => ({
  from: pages(count),
  columns: {
    id: 'BIGINT',
    customer: 'VARCHAR',
    cents: 'INTEGER',
    placed: 'TIMESTAMP',
    lines: 'JSON',
  },
});

test('one statement over extracts of two stores', async () => {
  const analysis = await analyse({
    extracts: { orders: orders(5_001), customers },
    sql: `SELECT city, count(*) AS orders, sum(cents) AS cents, max(year(placed)) AS year,
                 max(CAST(lines ->> 'count' AS INTEGER)) AS lines
          FROM orders JOIN customers ON customer = customers.id
          WHERE city IS NOT NULL GROUP BY city ORDER BY city`,
  });
  expect(analysis).toEqual({
    columns: ['city', 'orders', 'cents', 'year', 'lines'],
    rows: [
      ['Basel', 1_667n, 166_700n, 2_026n, 2],
      ['Bern', 1_667n, 166_700n, 2_026n, 2],
    ],
    extracted: { orders: 5_001, customers: 3 },
  });
});

test('an extract and an answer over their bounds are refused, with what to build instead', async () => {
  await expect(
    analyse({ extracts: { orders: { ...orders(200), rowsMax: 100 } }, sql: 'SELECT 1' }),
  ).rejects.toMatchObject({
    code: 'JOIN_TOO_LARGE',
    message: expect.stringContaining('projection'),
  });
  await expect(
    analyse({ extracts: { orders: orders(200) }, sql: 'FROM orders', resultMax: 100 }),
  ).rejects.toMatchObject({ code: 'JOIN_TOO_LARGE' });
});

test('a value that its column cannot hold is refused, not changed', async () => {
  const extract: Extract = { from: [[{ id: 1.5 }]], columns: { id: 'BIGINT' } };
  await expect(
    analyse({ extracts: { orders: extract }, sql: 'FROM orders' }),
  ).rejects.toMatchObject({ code: 'VALUE_UNSUPPORTED' });
});

test('two analyses at a time do not see one another', async () => {
  const one = analyse({ extracts: { orders: orders(10) }, sql: 'SELECT count(*) FROM orders' });
  const two = analyse({ extracts: { orders: orders(20) }, sql: 'SELECT count(*) FROM orders' });
  expect([(await one).rows, (await two).rows]).toEqual([[[10n]], [[20n]]]);
});

test('an abort ends it', async () => {
  const controller = new AbortController();
  const endless = analyse({
    extracts: {},
    sql: 'SELECT count(*) FROM range(10_000_000_000) a, range(10_000) b',
    signal: controller.signal,
  });
  setTimeout(() => controller.abort(), 100);
  await expect(endless).rejects.toMatchObject({ code: 'ABORTED' });
});

test.each([
  [{ sql: '' }, 'CONFIG_INVALID'],
  [{ extracts: { orders: { from: [], columns: {} } } }, 'CONFIG_INVALID'],
  [{ extracts: { orders: { from: [], columns: { id: 'STRUCT(a INT)' } } } }, 'CONFIG_INVALID'],
  [
    { extracts: { orders: { from: [], columns: { id: 'INTEGER' }, where: '' } } },
    'CONFIG_UNKNOWN_OPTION',
  ],
  [{ file: 'x.db' }, 'CONFIG_UNKNOWN_OPTION'],
])('refuses %j', async (wrong, code) => {
  await expect(
    analyse({ extracts: {}, sql: 'SELECT 1', ...(wrong as object) }),
  ).rejects.toMatchObject({
    code,
  });
});
