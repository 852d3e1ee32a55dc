import assert from 'node:assert/strict';
import { encodeKey } from '../core/codec.ts';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import type { Key, Row } from '../core/row.ts';
import type { Scan } from '../ports/scan.ts';
import type { SuiteRunner } from './harness.ts';
import { canonical } from './sink-harness.ts';

/** A row with its key. */
export interface KeyedRow {
  readonly key: Key;
  readonly row: Row;
}

/** One store under test, with the suite's targets (those of `sinkTargets`), empty. */
export interface ScanSubject {
  readonly scan: Scan;
  /** Puts rows into a target, the way its rows usually come there. */
  put(target: string, rows: readonly KeyedRow[]): Promise<void>;
  /** Deletes rows from a target, the way that usually happens. */
  remove(target: string, keys: readonly Key[]): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link scanConformance} needs of an adapter. */
export interface ScanConformanceOptions extends SuiteRunner {
  readonly open: () => Promise<ScanSubject>;
}

interface Case {
  readonly id: string;
  readonly policy: string;
  readonly run: (subject: ScanSubject, another: () => Promise<ScanSubject>) => Promise<void>;
}

/**
 * Registers the conformance suite of the scan port with a test runner. Which order keys have is the
 * store's own; that it is one order, whatever the pages, is what the suite holds it to.
 */
export function scanConformance(options: ScanConformanceOptions): void {
  for (const { id, policy, run } of cases) {
    options.test(`${id} ${policy}`, async () => {
      const subjects = [await options.open()];
      try {
        await run(subjects[0] as ScanSubject, async () => {
          const another = await options.open();
          subjects.push(another);
          return another;
        });
      } finally {
        for (const subject of subjects) await subject.dispose();
      }
    });
  }
}

const cases: readonly Case[] = [
  {
    id: 'SC-001',
    policy: 'yields nothing of an empty target and counts zero',
    run: async ({ scan }) => {
      assert.deepEqual(await scanned(scan, 'products', 10), []);
      assert.equal(await scan.count('products'), 0);
    },
  },
  {
    id: 'SC-002',
    policy: 'yields every row once, as it was written, in pages no larger than asked',
    run: async (subject) => {
      const rows = products(1_234);
      await subject.put('products', rows);
      assert.equal(await subject.scan.count('products'), rows.length);
      for (const rowsMax of [1_000_000, 1_234, 617, 100]) {
        const seen = await scanned(subject.scan, 'products', rowsMax);
        assert.deepEqual(texts(seen).toSorted(), texts(rows).toSorted(), `pages of ${rowsMax}`);
      }
    },
  },
  {
    id: 'SC-003',
    policy: 'yields one order, whatever the pages and the order in which rows came',
    run: async (subject, another) => {
      const other = await another();
      const rows = [...products(50), ...awkward];
      await subject.put('products', rows);
      for (const row of rows.toReversed()) await other.put('products', [row]);
      const order = texts(await scanned(subject.scan, 'products', 1_000));
      assert.equal(order.length, rows.length);
      for (const rowsMax of [1, 7])
        assert.deepEqual(texts(await scanned(subject.scan, 'products', rowsMax)), order);
      assert.deepEqual(texts(await scanned(other.scan, 'products', 13)), order);
    },
  },
  {
    id: 'SC-004',
    policy: 'goes on after any key, awkward ones too, with exactly the rest',
    run: async (subject) => {
      await subject.put('products', awkward);
      await resumesAnywhere(subject.scan, 'products');
    },
  },
  {
    id: 'SC-005',
    policy: 'goes on after a key of several parts',
    run: async (subject) => {
      const parts: readonly Key[] = [
        ['a', 1],
        ['a', 2],
        ['a', 10],
        ['b', -1],
        ['b', 1],
        ['', 0],
      ];
      await subject.put(
        'orders',
        parts.map(([shop = '', number = 0]) => ({
          key: [shop, number],
          row: { shop, number, total: 5 },
        })),
      );
      await resumesAnywhere(subject.scan, 'orders');
    },
  },
  {
    id: 'SC-006',
    policy: 'goes on after a key that is no longer there',
    run: async (subject) => {
      await subject.put('products', products(20));
      const order = await scanned(subject.scan, 'products', 100);
      const [last] = order.slice(9, 10);
      assert.ok(last);
      await subject.remove('products', [last.key]);
      const rest = await scanned(subject.scan, 'products', 4, last.key);
      assert.deepEqual(texts(rest), texts(order.slice(10)));
    },
  },
  {
    id: 'SC-007',
    policy: 'neither shows nor counts deleted rows',
    run: async (subject) => {
      const rows = products(30);
      await subject.put('products', rows);
      await subject.remove(
        'products',
        rows.slice(10).map(({ key }) => key),
      );
      assert.equal(await subject.scan.count('products'), 10);
      assert.deepEqual(
        texts(await scanned(subject.scan, 'products', 7)).toSorted(),
        texts(rows.slice(0, 10)).toSorted(),
      );
    },
  },
  {
    id: 'SC-008',
    policy: 'repeats no row and misses no other while rows come and go between pages',
    run: async (subject) => {
      const rows = products(100);
      await subject.put('products', rows);
      const seen: string[] = [];
      let turn = 0;
      for await (const page of subject.scan.scan('products', { rowsMax: 10 })) {
        seen.push(...page.map(({ key }) => encodeKey(key)));
        const first = page[0];
        assert.ok(first);
        await subject.remove('products', [first.key]);
        const sku = `~new ${turn++}`;
        await subject.put('products', [{ key: [sku], row: { sku, name: 'new', price: 1 } }]);
      }
      assert.equal(new Set(seen).size, seen.length, 'a row was repeated');
      for (const { key } of rows)
        assert.ok(seen.includes(encodeKey(key)), `missed ${encodeKey(key)}`);
    },
  },
  {
    id: 'SC-009',
    policy: 'stops with ABORTED once its signal aborts',
    run: async (subject) => {
      await subject.put('products', products(30));
      const controller = new AbortController();
      let pages = 0;
      await rejects(async () => {
        for await (const page of subject.scan.scan('products', {
          rowsMax: 10,
          signal: controller.signal,
        })) {
          pages += page.length / 10;
          controller.abort();
        }
      }, 'ABORTED');
      assert.equal(pages, 1);
    },
  },
  {
    id: 'SC-010',
    policy:
      'refuses a target that it does not have as TABLE_UNKNOWN, and pages without rows as CONFIG_INVALID',
    run: async ({ scan }) => {
      await rejects(() => scanned(scan, 'no such target', 10), 'TABLE_UNKNOWN');
      await rejects(() => scan.count('no such target'), 'TABLE_UNKNOWN');
      for (const rowsMax of [0, -1, 1.5])
        await rejects(() => scanned(scan, 'products', rowsMax), 'CONFIG_INVALID');
    },
  },
];

const awkward: readonly KeyedRow[] = [
  '',
  ' ',
  '"',
  "'",
  '%',
  'A',
  'a',
  '[',
  '["x"]',
  '\\',
  '\u00e9',
  'e\u0301',
  '\uffff',
  '\u{1F600}',
  'null',
  '10',
  '9',
].map((sku) => ({ key: [sku], row: { sku, name: `of ${sku}`, price: 1 } }));

function products(count: number): readonly KeyedRow[] {
  return Array.from({ length: count }, (_, index) => {
    const sku = `sku-${(index * 7_919) % 10_007}`;
    return { key: [sku], row: { sku, name: `name ${index}`, price: index } };
  });
}

async function scanned(
  scan: Scan,
  target: string,
  rowsMax: number,
  after?: Key,
): Promise<readonly KeyedRow[]> {
  const rows: KeyedRow[] = [];
  for await (const page of scan.scan(target, {
    rowsMax,
    ...(after === undefined ? {} : { after }),
  })) {
    assert.ok(
      page.length > 0 && page.length <= rowsMax,
      `a page of ${page.length} rows, asked for ${rowsMax}`,
    );
    rows.push(...page);
  }
  return rows;
}

async function resumesAnywhere(scan: Scan, target: string): Promise<void> {
  const all = await scanned(scan, target, 1_000);
  assert.ok(all.length > 3);
  for (const [index, { key }] of all.entries())
    assert.deepEqual(
      texts(await scanned(scan, target, 2, key)),
      texts(all.slice(index + 1)),
      `after ${encodeKey(key)}`,
    );
}

function texts(rows: readonly KeyedRow[]): readonly string[] {
  return rows.map(({ key, row }) => `${encodeKey(key)} ${canonical(row)}`);
}

async function rejects(run: () => Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(run, (error) => isTallyError(error, code), `expected ${code}`);
}
