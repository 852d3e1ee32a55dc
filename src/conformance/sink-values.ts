import assert from 'node:assert/strict';
import { encodeKey } from '../core/codec.ts';
import type { Key, Row, Value } from '../core/row.ts';
import type { ValueKind } from '../ports/sink.ts';
import {
  canonical,
  product,
  put,
  shapes,
  write,
  type SinkBench,
  type SinkCase,
} from './sink-harness.ts';

const samples: Readonly<Record<ValueKind, Value>> = {
  big: 9_007_199_254_740_993n,
  bytes: new Uint8Array([0, 1, 127, 128, 255]),
  boolean: true,
  negativeZero: -0,
  infinity: -Infinity,
  nan: Number.NaN,
  list: [1, 'two', null, [true]],
  object: { $i: 'not a tag', nested: { deep: [1] } },
};

const awkwardTexts = [
  '',
  ' ',
  "o'brien",
  '"quoted"',
  'back\\slash',
  '`tick`',
  '%_*?',
  'a\nb\tc',
  '\u00e9',
  'e\u0301',
  '\u{1F600}',
  '\uffff',
  'null',
  'A',
  'a',
  'DROP TABLE products;--',
];

/** What goes in comes out: rows, keys, kinds of values, many at a time. */
export const sinkValueCases: readonly SinkCase[] = [
  {
    id: 'SK-002',
    policy: 'applies puts and deletes, and readers see the outcome',
    run: async (bench) => {
      const session = await bench.session();
      const report = await bench.apply(session, [
        put('a', 'first', { offset: 10 }),
        put('b', 'second', { offset: 10, ordinal: 1 }),
        put('c', null, { offset: 10, ordinal: 2 }),
      ]);
      assert.deepEqual({ ...report }, { applied: 3, older: 0, failed: [] });
      await bench.applyEach(
        session,
        [put('a', 'changed', { offset: 11 }), 'applied'],
        [put('b', null, { offset: 12 }), 'applied'],
      );
      await bench.seesProducts({ a: 'changed' });
    },
  },
  {
    id: 'SK-003',
    policy: 'applies one batch to several targets',
    run: async (bench) => {
      const session = await bench.session({ targets: shapes('products', 'orders') });
      const order = { shop: 'a', number: 1, total: 5 };
      await bench.apply(session, [
        put('a', 'first', { offset: 10 }),
        write('orders', ['a', 1], order, { offset: 10, ordinal: 1 }),
        put('b', 'second', { offset: 10, ordinal: 2 }),
      ]);
      await bench.seesProducts({ a: 'first', b: 'second' });
      await bench.sees('orders', [[['a', 1], order]]);
    },
  },
  {
    id: 'SK-004',
    policy: 'keeps keys of several parts apart, in whatever part they differ',
    run: async (bench) => {
      const session = await bench.session({ targets: shapes('orders') });
      const keys: readonly Key[] = [
        ['a', 1],
        ['a', 2],
        ['b', 1],
        ['a","1', 1],
        ['a,1', 1],
        ['', 0],
        ['', -1],
      ];
      const rows = keys.map(([shop = '', number = 0], total): readonly [Key, Row] => [
        [shop, number],
        { shop, number, total },
      ]);
      await bench.apply(
        session,
        rows.map(([key, row], ordinal) => write('orders', key, row, { offset: 10, ordinal })),
      );
      await bench.sees('orders', rows);
      await bench.applyEach(session, [write('orders', ['a', 1], null, { offset: 11 }), 'applied']);
      await bench.sees('orders', rows.slice(1));
    },
  },
  {
    id: 'SK-005',
    policy: 'keeps awkward texts as they are, as keys and as values',
    run: async (bench) => {
      const session = await bench.session();
      await bench.apply(
        session,
        awkwardTexts.map((text, ordinal) => put(text, text, { offset: 10, ordinal })),
      );
      await bench.sees(
        'products',
        awkwardTexts.map((text) => [[text], product(text, text)]),
      );
      await bench.apply(
        session,
        awkwardTexts.map((text, ordinal) => put(text, null, { offset: 11, ordinal })),
      );
      await bench.sees('products', []);
    },
  },
  {
    id: 'SK-006',
    policy:
      'keeps every kind of value that its manifest does not name as altered, and alters those it names',
    run: keepsKinds,
  },
  {
    id: 'SK-007',
    policy: 'keeps keys apart that differ only in their type',
    when: (supports) => supports.typedKeys !== false,
    run: async (bench) => {
      const session = await bench.session({ targets: shapes('keys') });
      const rows = [1, '1', 1n + 2n ** 60n, String(1n + 2n ** 60n)].map(
        (id): readonly [Key, Row] => [[id], { id, name: typeof id }],
      );
      await bench.apply(
        session,
        rows.map(([key, row], ordinal) => write('keys', key, row, { offset: 10, ordinal })),
      );
      await bench.sees('keys', rows);
    },
  },
  {
    id: 'SK-007',
    policy: 'takes a number and its text for one key, or refuses one of them, as its manifest says',
    when: (supports) => supports.typedKeys === false,
    run: async (bench) => {
      const session = await bench.session({ targets: shapes('keys') });
      await bench.apply(session, [write('keys', ['1'], { id: '1', name: 'text' }, { offset: 10 })]);
      const second = await bench.apply(session, [
        write('keys', [1], { id: 1, name: 'number' }, { offset: 11 }),
      ]);
      const codes = second.failed.map((failure) => failure.error.code);
      assert.ok(codes.length === 0 || codes[0] === 'VALUE_UNSUPPORTED', codes.join());
      assert.equal((await bench.subject.read('keys')).size, 1);
    },
  },
  {
    id: 'SK-008',
    policy: 'applies a batch of 5 000 writes',
    run: async (bench) => {
      const session = await bench.session();
      const skus = Array.from({ length: 5_000 }, (_, index) => `sku-${index}`);
      const report = await bench.apply(
        session,
        skus.map((sku, ordinal) => put(sku, `name of ${sku}`, { offset: 10, ordinal })),
      );
      assert.deepEqual({ ...report }, { applied: 5_000, older: 0, failed: [] });
      const rows = await bench.subject.read('products');
      assert.equal(rows.size, 5_000);
      for (const sku of skus) assert.equal(rows.get(encodeKey([sku]))?.['name'], `name of ${sku}`);
    },
  },
  {
    id: 'SK-009',
    policy: 'keeps a row just under its limit',
    run: async (bench) => {
      const session = await bench.session();
      // The other columns and the quotes take less than 100 bytes of the canonical text.
      const text = 'x'.repeat(bench.supports.rowBytesMax - 100);
      await bench.applyEach(session, [put('a', text, { offset: 10 }), 'applied']);
      await bench.seesProducts({ a: text });
    },
  },
];

async function keepsKinds(bench: SinkBench): Promise<void> {
  const session = await bench.session({ targets: shapes('kinds') });
  const blank: Row = {
    text: null,
    whole: null,
    fraction: null,
    ...Object.fromEntries(Object.keys(samples).map((kind) => [kind, null])),
  };
  const plain: Row = { ...blank, id: 'plain', text: 'text', whole: -42, fraction: 0.1 };
  await bench.apply(session, [write('kinds', ['plain'], plain, { offset: 10 })]);
  const altered = bench.supports.alteredKinds ?? [];
  for (const [index, kind] of (Object.keys(samples) as ValueKind[]).entries()) {
    const row: Row = { ...blank, id: kind, [kind]: samples[kind] };
    const report = await bench.apply(session, [
      write('kinds', [kind], row, { offset: 20 + index }),
    ]);
    const seen = (await bench.subject.read('kinds')).get(encodeKey([kind]));
    if (altered.includes(kind)) {
      const refused = report.failed.some((failure) => failure.error.code === 'VALUE_UNSUPPORTED');
      const same = seen !== undefined && canonical(seen) === canonical(row);
      assert.ok(refused || !same, `the manifest says that ${kind} is altered, and it is not`);
    } else {
      assert.deepEqual(report.failed, [], kind);
      assert.equal(seen && canonical(seen), canonical(row), `the value of kind ${kind}`);
    }
  }
  const rows = await bench.subject.read('kinds');
  assert.equal(canonical(rows.get(encodeKey(['plain'])) ?? null), canonical(plain));
}
