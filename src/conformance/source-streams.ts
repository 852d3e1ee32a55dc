import assert from 'node:assert/strict';
import { decodeRow, encodeKey } from '../core/codec.ts';
import { isTallyError } from '../core/errors.ts';
import type { Row, Value } from '../core/row.ts';
import { canonical, rejects, type ColumnKind } from './sink-harness.ts';
import {
  changesOf,
  commitsOf,
  insert,
  item,
  remove,
  sourceTables,
  told,
  update,
  type SourceBench,
  type SourceCase,
} from './source-harness.ts';

const samples: Readonly<Partial<Record<ColumnKind, readonly Value[]>>> = {
  text: [
    '',
    ' ',
    'o\'brien "quoted" back\\slash\n\t',
    '\u00e9 e\u0301 \u{1F600} \uffff',
    'null',
    '42',
    'x'.repeat(100_000),
  ],
  whole: [0, -1, 2 ** 53 - 1, -(2 ** 53 - 1)],
  fraction: [0.1, -1.5e-300, 1.7976931348623157e308],
  big: [2n ** 53n + 1n, -(2n ** 62n)],
  bytes: [new Uint8Array(), new Uint8Array([0, 1, 127, 128, 255])],
  boolean: [true, false],
  list: [[1, 'two', [null]]],
  object: [{ $i: 'not a tag', nested: { deep: 1 } }],
};

/** What a stream says of transactions, and how much of it at a time. */
export const sourceStreamCases: readonly SourceCase[] = [
  {
    id: 'SO-002',
    policy: 'describes the tables that it prepares, as often as it is asked',
    run: async (bench) => {
      const names = sourceTables.map(({ name }) => name);
      for (const shapes of [await bench.source.prepare(names), await bench.source.prepare(names)])
        assert.deepEqual(
          shapes.map(({ name, key, columns }) => ({
            name,
            key: [...key],
            columns: [...columns].toSorted(),
          })),
          sourceTables.map(({ name, key, columns }) => ({
            name,
            key,
            columns: Object.keys(columns).toSorted(),
          })),
        );
    },
  },
  {
    id: 'SO-003',
    policy: 'refuses a table that is not there, and names the nearest',
    run: async (bench) => {
      const error = await bench.source.prepare(['prodcts']).catch((reason: unknown) => reason);
      assert.ok(isTallyError(error, 'TABLE_UNKNOWN'), String(error));
      assert.match(error.message, /\bproducts\b/);
      await rejects(bench.snapshot({ tables: ['prodcts'] }), 'TABLE_UNKNOWN');
      await rejects(bench.source.lookup('prodcts', [['a']]), 'TABLE_UNKNOWN');
    },
  },
  {
    id: 'SO-004',
    policy: 'refuses a table without a primary key',
    when: ({ createKeylessTable }) => createKeylessTable !== undefined,
    run: async (bench) => {
      await bench.options.createKeylessTable?.(bench.subject, 'keyless');
      await rejects(bench.source.prepare(['products', 'keyless']), 'TABLE_UNSUPPORTED');
    },
  },
  {
    id: 'SO-010',
    policy: 'yields transactions in commit order, each whole and ended by its commit',
    run: async (bench) => {
      const offsets = [
        await bench.commit(insert('a'), insert('b')),
        await bench.commit(update('a', 'changed')),
        await bench.commit(remove('b'), insert('c')),
      ];
      const entries = await bench.collect(undefined, Math.max(...offsets));
      assert.deepEqual(changesOf(entries).map(told), [
        'create ["a"] a',
        'create ["b"] b',
        'update ["a"] changed',
        'delete ["b"]',
        'create ["c"] c',
      ]);
      const sizes = commitsOf(entries)
        .map(({ changes }) => changes)
        .filter((size) => size > 0);
      if (bench.supports.transactionBoundaries === 'each') assert.deepEqual(sizes, [2, 1, 2]);
      else
        assert.equal(
          sizes.reduce((sum, size) => sum + size, 0),
          5,
        );
    },
  },
  {
    id: 'SO-011',
    policy: 'carries the row before with updates and deletes, if its manifest says so',
    run: async (bench) => {
      await bench.commit(insert('a', 'one'));
      const end = await bench.commit(update('a', 'two'), remove('a'));
      const befores = changesOf(await bench.collect(undefined, end)).map(({ before }) => before);
      const wanted = bench.supports.beforeImages
        ? [null, canonical(item('a', 'one')), canonical(item('a', 'two'))]
        : [null, null, null];
      assert.deepEqual(
        befores.map((before) => (before === null ? null : canonical(decodeRow(before)))),
        wanted,
      );
    },
  },
  {
    id: 'SO-012',
    policy:
      'shows a changed primary key as a delete of the old and a create of the new, in one transaction',
    run: async (bench) => {
      await bench.commit(insert('a', 'moved'));
      const end = await bench.commit({
        kind: 'update',
        table: 'products',
        key: ['a'],
        row: item('z', 'moved'),
      });
      const moved = changesOf(await bench.collect(undefined, end)).slice(1);
      assert.deepEqual(moved.map(told), ['delete ["a"]', 'create ["z"] moved']);
      assert.equal(moved[0]?.offset, moved[1]?.offset);
    },
  },
  {
    id: 'SO-013',
    policy:
      'yields nothing of a transaction that was rolled back, and hands its error to the caller',
    run: async (bench) => {
      const mine = new Error('the cart is empty');
      const failing = bench.source.write(async (tx) => {
        await bench.subject.run(tx, insert('a'));
        throw mine;
      });
      await assert.rejects(failing, (error) => error === mine || (error as Error).cause === mine);
      const end = await bench.commit(insert('b'));
      assert.deepEqual(changesOf(await bench.collect(undefined, end)).map(told), [
        'create ["b"] b',
      ]);
      assert.deepEqual((await bench.source.lookup('products', [['a']])).rows, [null]);
    },
  },
  {
    id: 'SO-014',
    policy: 'carries values of every kind that its tables keep, unchanged',
    run: carriesKinds,
  },
  {
    id: 'SO-015',
    policy: 'never yields more changes at once than it was asked for, however large a transaction',
    run: async (bench) => {
      await bench.commit(insert('before'));
      await bench.commit(...Array.from({ length: 35 }, (_, index) => insert(`row-${index}`)));
      const end = await bench.commit(insert('after'));
      const batches = await bench.batches(undefined, end, { rowsMax: 10, bytesMax: 2 ** 20 });
      for (const batch of batches)
        assert.ok(changesOf(batch).length <= 10, `${changesOf(batch).length} changes at once`);
      const entries = await bench.collect(undefined, end, { rowsMax: 10, bytesMax: 2 ** 20 });
      assert.equal(changesOf(entries).length, 37);
      if (bench.supports.transactionBoundaries === 'each')
        assert.deepEqual(
          commitsOf(entries)
            .map(({ changes }) => changes)
            .filter((size) => size > 0),
          [1, 35, 1],
        );
    },
  },
  {
    id: 'SO-016',
    policy:
      'never yields more bytes at once than it was asked for, unless one change alone has more',
    run: async (bench) => {
      const steps = [10, 900, 900, 5_000, 10, 900, 900].map((size, index) =>
        insert(`row-${index}`, 'x'.repeat(size)),
      );
      const end = await bench.commit(...steps);
      const batches = await bench.batches(undefined, end, { rowsMax: 1_000, bytesMax: 2_000 });
      for (const batch of batches) {
        const bytes = changesOf(batch).reduce((sum, { after }) => sum + (after ?? '').length, 0);
        assert.ok(bytes <= 2_000 || changesOf(batch).length === 1, `${bytes} bytes at once`);
      }
      assert.equal(changesOf(batches.flat()).length, steps.length);
    },
  },
  {
    id: 'SO-017',
    policy:
      'keeps every change of one key in one transaction, in order, and those of other tables between them',
    run: async (bench) => {
      const stock: Row = { shop: 's', bin: 1, count: 5 };
      const end = await bench.commit(
        insert('a', 'one'),
        { kind: 'insert', table: 'stock', row: stock },
        update('a', 'two'),
        remove('a'),
        insert('a', 'three'),
      );
      const changes = changesOf(await bench.collect(undefined, end));
      assert.deepEqual(
        changes.map(({ table, operation }) => `${operation} ${table}`),
        [
          'create products',
          'create stock',
          'update products',
          'delete products',
          'create products',
        ],
      );
      assert.equal(changes[1]?.key, encodeKey(['s', 1]));
      assert.deepEqual(
        changes.map(({ ordinal }) => ordinal),
        [0, 1, 2, 3, 4],
      );
    },
  },
  {
    id: 'SO-018',
    policy:
      'says of a table that was emptied without a word of its rows that it has to be read again',
    when: ({ truncate }) => truncate !== undefined,
    run: async (bench) => {
      await bench.commit(insert('a'));
      const { offset } = await bench.source.write(async (tx) => {
        await bench.subject.run(tx, insert('b'));
        await bench.options.truncate?.(tx, 'products');
        await bench.subject.run(tx, insert('c'));
      });
      const entries = await bench.collect(undefined, offset);
      const rereads = entries.filter((entry) => entry.kind === 'reread');
      assert.deepEqual(
        rereads.map(({ table }) => table),
        ['products'],
      );
      const own = changesOf(entries).find(({ key }) => key === '["a"]');
      assert.ok(
        (rereads[0]?.offset ?? -1) > (own?.offset ?? 0),
        'the place is that of its own commit',
      );
    },
  },
  {
    id: 'SO-080',
    policy: 'captures what another program writes',
    when: ({ supports }) => supports.foreignWrites,
    run: async (bench) => {
      const { foreignWrite } = bench.options;
      assert.ok(
        foreignWrite,
        'a source that captures foreign writes gives the suite a way to make one',
      );
      await foreignWrite(bench.subject, [insert('a', 'foreign'), insert('b', 'foreign')]);
      await foreignWrite(bench.subject, [remove('b')]);
      const end = await bench.commit(insert('c', 'own'));
      assert.deepEqual(changesOf(await bench.collect(undefined, end)).map(told), [
        'create ["a"] foreign',
        'create ["b"] foreign',
        'delete ["b"]',
        'create ["c"] own',
      ]);
    },
  },
  {
    id: 'SO-080',
    policy: 'does not see what another program writes, as its manifest says',
    when: ({ supports, foreignWrite }) => !supports.foreignWrites && foreignWrite !== undefined,
    run: async (bench) => {
      await bench.options.foreignWrite?.(bench.subject, [insert('a', 'foreign')]);
      const end = await bench.commit(insert('c', 'own'));
      assert.deepEqual(changesOf(await bench.collect(undefined, end)).map(told), [
        'create ["c"] own',
      ]);
    },
  },
];

async function carriesKinds(bench: SourceBench): Promise<void> {
  const columns = Object.keys(sourceTables.find(({ name }) => name === 'kinds')?.columns ?? {});
  const blank = Object.fromEntries(columns.map((column) => [column, null]));
  const rows = bench.options.kinds.flatMap((kind) =>
    (samples[kind] ?? []).map((value, index): Row => ({
      ...blank,
      id: `${kind}-${index}`,
      [kind]: value,
    })),
  );
  assert.ok(rows.length > 10, 'the harness names the kinds of values that the source keeps');
  const end = await bench.commit(
    ...rows.map((row) => ({ kind: 'insert', table: 'kinds', row }) as const),
  );
  const wanted = rows.map(canonical);
  const streamed = changesOf(await bench.collect(undefined, end)).map(({ after }) =>
    canonical(decodeRow(after ?? 'null')),
  );
  assert.deepEqual(streamed, wanted, 'as changes');
  const keys = rows.map((row) => [row['id'] as string]);
  const found = await bench.source.lookup('kinds', keys);
  assert.deepEqual(
    found.rows.map((row) => canonical(row)),
    wanted,
    'as looked up',
  );
  const snapshot = (await bench.snapshot({ tables: ['kinds'] })).flatMap((chunk) => chunk.rows);
  assert.deepEqual(
    snapshot.map(({ row }) => canonical(row)).toSorted(),
    wanted.toSorted(),
    'in a snapshot',
  );
}
