import assert from 'node:assert/strict';
import { encodeKey } from '../core/codec.ts';
import type { Key } from '../core/row.ts';
import type { SnapshotChunk } from '../ports/source.ts';
import { canonical } from './sink-harness.ts';
import {
  applyLoosely,
  applyStrictly,
  changesOf,
  insert,
  item,
  modelOf,
  remove,
  seeded,
  update,
  type Model,
  type SourceBench,
  type SourceCase,
  type SourceStep,
} from './source-harness.ts';

const SEEDS = [1, 2, 3, 4, 5, 6];

/** Whole tables at one position, and single rows with theirs. */
export const sourceSnapshotCases: readonly SourceCase[] = [
  {
    id: 'SO-070',
    policy: 'reads whole tables at one position, in bounded chunks, also an empty one',
    run: async (bench) => {
      const skus = Array.from({ length: 25 }, (_, index) => `row-${index}`);
      const end = await bench.commit(...skus.map((sku) => insert(sku)));
      const chunks = await bench.snapshot({ tables: ['products', 'stock'], rowsMax: 10 });
      for (const chunk of chunks) assert.ok(chunk.rows.length <= 10);
      assert.equal(new Set(chunks.map(({ at }) => at)).size, 1);
      assert.ok((chunks[0]?.at ?? -1) >= end);
      assert.deepEqual(
        [...modelOf(chunks, 'products').keys()].toSorted(),
        skus.map((sku) => encodeKey([sku])).toSorted(),
      );
      assert.equal(modelOf(chunks, 'stock').size, 0);
      const done = chunks.filter(({ tableDone }) => tableDone).map(({ table }) => table);
      assert.deepEqual(done.toSorted(), ['products', 'stock']);
    },
  },
  {
    id: 'SO-071',
    policy:
      'goes on after the last key of a snapshot that ended early, and leaves out tables that are done',
    run: resumesSnapshot,
  },
  ...SEEDS.map((seed): SourceCase => ({
    id: `SO-072/${seed}`,
    policy:
      'takes a snapshot that is neither more nor less than the changes up to its position, while others write',
    when: ({ supports }) => supports.exactSnapshot,
    run: (bench) => snapshotsUnderLoad(bench, seed, 'exact'),
  })),
  ...SEEDS.map((seed): SourceCase => ({
    id: `SO-072/${seed}`,
    policy:
      'takes a snapshot that becomes right with the changes after its position, while others write',
    when: ({ supports }) => !supports.exactSnapshot,
    run: (bench) => snapshotsUnderLoad(bench, seed, 'converging'),
  })),
  {
    id: 'SO-073',
    policy: 'leaves the store writable when a snapshot is ended early or aborted',
    run: async (bench) => {
      await bench.commit(...Array.from({ length: 9 }, (_, index) => insert(`row-${index}`)));
      const ending = new AbortController();
      const { signal } = ending;
      for await (const chunk of bench.source.snapshot({
        tables: ['products'],
        rowsMax: 2,
        bytesMax: 2 ** 20,
        signal,
      })) {
        assert.equal(chunk.tableDone, false);
        break;
      }
      await bench.soon(bench.commit(insert('after a break')), 'the ended snapshot holds the store');
      let chunks = 0;
      const aborted = async (): Promise<void> => {
        for await (const chunk of bench.source.snapshot({
          tables: ['products'],
          rowsMax: 2,
          bytesMax: 2 ** 20,
          signal,
        })) {
          chunks += chunk.rows.length === 0 ? 0 : 1;
          ending.abort();
        }
      };
      await bench.soon(
        aborted().catch(() => undefined),
        'an aborted snapshot goes on',
      );
      assert.ok(chunks <= 2, `${chunks} chunks after the abort`);
      await bench.soon(
        bench.commit(insert('after an abort')),
        'the aborted snapshot holds the store',
      );
    },
  },
  {
    id: 'SO-074',
    policy: 'looks up rows by key, in the order asked, with a position that covers them',
    run: async (bench) => {
      await bench.commit(insert('a', 'one'), insert('b'), insert("o'c", 'quoted'));
      const end = await bench.commit(update('a', 'two'), remove('b'));
      const found = await bench.source.lookup('products', [["o'c"], ['none'], ['a'], ['b']]);
      assert.deepEqual(
        found.rows.map((row) => (row === null ? null : canonical(row))),
        [canonical(item("o'c", 'quoted')), null, canonical(item('a', 'two')), null],
      );
      assert.ok(found.at >= end, 'a lookup is stamped with what it has seen');
      assert.ok(found.at <= (await bench.source.head()), 'a lookup is not stamped beyond the head');
      assert.deepEqual((await bench.source.lookup('products', [])).rows, []);
    },
  },
];

async function resumesSnapshot(bench: SourceBench): Promise<void> {
  const skus = Array.from({ length: 11 }, (_, index) => `row-${index}`);
  await bench.commit(...skus.map((sku) => insert(sku)));
  await bench.commit(
    ...[3, 20, 100].map(
      (bin) => ({ kind: 'insert', table: 'stock', row: { shop: 's', bin, count: 1 } }) as const,
    ),
  );
  for (const table of ['products', 'stock']) {
    const whole = (await bench.snapshot({ tables: [table], rowsMax: 2 })).flatMap(
      ({ rows }) => rows,
    );
    for (const [index, { key }] of whole.entries()) {
      const rest = await bench.snapshot({ tables: [table], rowsMax: 2, resume: { [table]: key } });
      const keys = rest.flatMap(({ rows }) => rows.map((row) => encodeKey(row.key)));
      assert.deepEqual(
        keys,
        whole.slice(index + 1).map((row) => encodeKey(row.key)),
        `after ${encodeKey(key)}`,
      );
      assert.equal(rest.at(-1)?.tableDone, true);
    }
  }
  const rest = await bench.snapshot({
    tables: ['products', 'stock'],
    resume: { products: 'done' },
  });
  assert.deepEqual([...new Set(rest.map(({ table }) => table))], ['stock']);
}

/**
 * Writes while a snapshot is read. Everything is still retained, so the rows at the snapshot's
 * position can be computed from the changes up to it, and the final rows from the changes after it.
 */
async function snapshotsUnderLoad(
  bench: SourceBench,
  seed: number,
  how: 'exact' | 'converging',
): Promise<void> {
  const random = seeded(seed);
  const held = new Set<string>();
  for (let index = 0; index < 8; index += 1) await bench.commit(...randomSteps(random, held));
  const chunks: SnapshotChunk[] = [];
  const writer = async (): Promise<void> => {
    for (let index = 0; index < 12; index += 1) await bench.commit(...randomSteps(random, held));
  };
  const writing = writer();
  const { signal } = new AbortController();
  for await (const chunk of bench.source.snapshot({
    tables: ['products'],
    rowsMax: 2,
    bytesMax: 2 ** 20,
    signal,
  })) {
    chunks.push(chunk);
    const [key] = chunk.rows;
    if (key !== undefined) await bench.source.lookup('products', [key.key]);
  }
  const middle = await bench.source.lookup('products', allKeys());
  await writing;

  const changes = changesOf(await bench.everything()).filter(({ table }) => table === 'products');
  const at = chunks[0]?.at ?? -1;
  const model = modelOf(chunks, 'products');
  if (how === 'exact') {
    const rebuilt: Model = new Map();
    for (const change of changes) if (change.offset <= at) applyStrictly(rebuilt, change);
    assert.deepEqual(
      entriesOf(model),
      entriesOf(rebuilt),
      `the rows at ${at} against the changes up to it`,
    );
  }
  const apply = how === 'exact' ? applyStrictly : applyLoosely;
  for (const change of changes) if (change.offset > at) apply(model, change);
  const final = modelOf(await bench.snapshot(), 'products');
  assert.deepEqual(
    entriesOf(model),
    entriesOf(final),
    `the rows at ${at} and the changes after it`,
  );

  const looked: Model = new Map();
  for (const change of changes) if (change.offset <= middle.at) applyLoosely(looked, change);
  for (const [index, key] of allKeys().entries()) {
    const row = middle.rows[index] ?? null;
    assert.equal(
      row === null ? undefined : canonical(row),
      looked.get(encodeKey(key)),
      `${encodeKey(key)} as looked up at ${middle.at}`,
    );
  }
}

function entriesOf(model: Model): readonly (readonly [string, string])[] {
  return [...model].toSorted(([left], [right]) => (left < right ? -1 : 1));
}

function allKeys(): readonly Key[] {
  return Array.from({ length: 10 }, (_, index) => [`sku-${index}`]);
}

/** One to three statements that are possible after those before; no key twice in a transaction. */
function randomSteps(random: () => number, held: Set<string>): readonly SourceStep[] {
  const steps: SourceStep[] = [];
  const touched = new Set<string>();
  const count = 1 + Math.floor(random() * 3);
  while (steps.length < count) {
    const sku = `sku-${Math.floor(random() * 10)}`;
    if (touched.has(sku)) continue;
    touched.add(sku);
    const name = `name-${Math.floor(random() * 1_000_000)}`;
    if (!held.has(sku)) {
      held.add(sku);
      steps.push(insert(sku, name));
    } else if (random() < 0.3) {
      held.delete(sku);
      steps.push(remove(sku));
    } else steps.push(update(sku, name));
  }
  return steps;
}
