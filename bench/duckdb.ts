import { join } from 'node:path';
import {
  DuckDBDataChunk,
  DuckDBInstance,
  BIGINT,
  DOUBLE,
  INTEGER,
  VARCHAR,
  type DuckDBConnection,
} from '@duckdb/node-api';
import type { Write } from '../src/core/write.ts';
import type { SinkSession } from '../src/ports/sink.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { seededRandom } from '../src/runtime/random.ts';
import { columnar, duckdb, MEMORY_LIMIT, THREADS } from '../src/stores/duckdb/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

const APPEND_BAR = 100_000;
const MERGE_BAR = 0.7;
const BATCH_ROWS = 20_000;
const columns = {
  line_id: 'BIGINT',
  order_id: 'BIGINT',
  sku: 'VARCHAR',
  description: 'VARCHAR',
  quantity: 'INTEGER',
  price: 'DOUBLE',
  country: 'VARCHAR',
} as const;
const names = Object.keys(columns);

/**
 * Rows a second through `apply()` of the DuckDB sink, one transaction with its checkpoint per batch:
 * facts that are appended, and rows that are merged by key. The merge is held against one written by
 * hand for the driver itself: the same rows, batches and columns, loaded in data chunks into a
 * temporary table and merged from there; no fence, no checkpoint. Half of the keys are there already.
 */
export const duckdbBench: Bench = {
  name: 'duckdb',
  about: 'rows appended and merged through apply(), against a staged MERGE by the driver itself',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const store = await duckdb({
    file: join(dir, 'sink.duckdb'),
    targets: {
      facts: columnar({ key: ['line_id'], columns, appendOnly: true }),
      rows: columnar({ key: ['line_id'], columns }),
    },
  }).open({ name: 'bench', clock: systemClock, random: seededRandom(1) });
  const raw = await openRaw(join(dir, 'raw.duckdb'));
  try {
    const rssBefore = process.memoryUsage.rss();
    const open = (flow: string, target: string): Promise<SinkSession> =>
      store.sink.open({ flow, generation: 1, targets: [{ target }], workerEpoch: 1 });
    const appended = await measureAppend(await open('facts', 'facts'), quick ? 5 : 50);
    const rssAppended = process.memoryUsage.rss();
    const merged = await measureMerge(await open('rows', 'rows'), raw, quick ? 4 : 25);
    const appendRate = median(appended);
    const ratio = median(merged.map(({ sink, raw: byHand }) => sink / byHand));
    return {
      claims: [
        {
          claim: 'append-only rows a second through apply()',
          bar: APPEND_BAR,
          measured: Math.round(appendRate),
          unit: 'rows/s',
          met: appendRate >= APPEND_BAR,
        },
        {
          claim: 'rows merged by key through apply() over a staged MERGE by the driver',
          bar: MERGE_BAR,
          measured: ratio,
          unit: '×',
          met: ratio >= MERGE_BAR,
        },
      ],
      details: {
        batchRows: BATCH_ROWS,
        memoryLimit: MEMORY_LIMIT,
        threads: THREADS,
        appendRatesPerBatch: spread(appended),
        mergeRowsPerSecond: spread(merged.map(({ sink }) => sink)),
        rawMergeRowsPerSecond: spread(merged.map(({ raw: byHand }) => byHand)),
        ratios: merged.map(({ sink, raw: byHand }) => Number((sink / byHand).toFixed(2))),
        rssMiB: {
          before: mebibytes(rssBefore),
          afterAppend: mebibytes(rssAppended),
          after: mebibytes(process.memoryUsage.rss()),
        },
        vitals: (await store.vitals()).measures,
      },
    };
  } finally {
    raw.close();
    await store.close();
  }
}

async function measureAppend(session: SinkSession, batches: number): Promise<readonly number[]> {
  const rates: number[] = [];
  for (let batch = 0; batch < batches; batch++) {
    const writes = writesOf('facts', batch, (index) => batch * BATCH_ROWS + index);
    rates.push(await rateOf(() => apply(session, writes, batch)));
  }
  // The first batches compile code and grow buffers.
  return rates.slice(1);
}

async function measureMerge(
  session: SinkSession,
  raw: RawMerge,
  batches: number,
): Promise<readonly { readonly sink: number; readonly raw: number }[]> {
  const random = seededRandom(7);
  const rates: { sink: number; raw: number }[] = [];
  let held = 0;
  for (let batch = 0; batch < batches; batch++) {
    const known = held;
    const keys = new Set<number>();
    while (keys.size < BATCH_ROWS)
      keys.add(known === 0 || keys.size % 2 === 0 ? held++ : Math.floor(random.next() * known));
    const chosen = [...keys];
    const writes = writesOf('rows', batch, (index) => chosen[index] ?? 0);
    const sink = (): Promise<number> => rateOf(() => apply(session, writes, batch));
    const byHand = (): Promise<number> => rateOf(() => raw.merge(writes));
    // Whoever goes second finds the disk busy with the first one's checkpoint: they take turns.
    if (batch % 2 === 0) rates.push({ sink: await sink(), raw: await byHand() });
    else {
      const first = await byHand();
      rates.push({ raw: first, sink: await sink() });
    }
  }
  return rates.slice(2);
}

async function apply(session: SinkSession, writes: readonly Write[], batch: number): Promise<void> {
  const place = { epoch: 1, offset: batch + 1 };
  const last = { ...place, ordinal: writes.length - 1 };
  const checkpoint = { log: batch + 1, last, through: place, backfill: undefined };
  const { applied, failed } = await session.apply({ writes, state: [], checkpoint });
  if (applied !== writes.length || failed.length > 0)
    throw new Error(`${applied} of ${writes.length} rows were applied`);
}

function writesOf(target: string, batch: number, keyOf: (index: number) => number): Write[] {
  return Array.from({ length: BATCH_ROWS }, (_, index) => {
    const id = keyOf(index);
    return {
      target,
      key: [id],
      row: {
        line_id: id,
        order_id: Math.floor(id / 4),
        sku: `SKU-${id % 4_000}`,
        description: `WHITE HANGING HEART T-LIGHT HOLDER ${id % 4_000}`,
        quantity: (id % 12) + 1,
        price: (id % 2_000) / 100 + batch,
        country: id % 10 === 0 ? 'France' : 'United Kingdom',
      },
      mode: 'stream',
      epoch: 1,
      offset: batch + 1,
      ordinal: index,
    };
  });
}

interface RawMerge {
  merge(writes: readonly Write[]): Promise<void>;
  close(): void;
}

/** What somebody who knows the driver writes by hand. */
async function openRaw(file: string): Promise<RawMerge> {
  const options = { memory_limit: MEMORY_LIMIT, threads: String(THREADS) };
  const instance = await DuckDBInstance.create(file, options);
  const connection: DuckDBConnection = await instance.connect();
  const declared = Object.entries(columns)
    .map(([name, type]) => `${name} ${type}`)
    .join(', ');
  await connection.run(`CREATE TABLE target (${declared})`);
  const types = [BIGINT, BIGINT, VARCHAR, VARCHAR, INTEGER, DOUBLE, VARCHAR];
  const updates = names.slice(1).map((name) => `${name} = s.${name}`);
  return {
    merge: async (writes) => {
      await connection.run('BEGIN TRANSACTION');
      await connection.run(`CREATE OR REPLACE TEMP TABLE stage (${declared})`);
      const appender = await connection.createAppender('stage', null, 'temp');
      for (let start = 0; start < writes.length; start += 2_048) {
        const some = writes.slice(start, start + 2_048);
        const chunk = DuckDBDataChunk.create(types, some.length);
        chunk.setColumns(
          names.map((name, column) =>
            some.map(({ row }) => {
              const value = row?.[name] as number | string;
              return column < 2 ? BigInt(value) : value;
            }),
          ),
        );
        appender.appendDataChunk(chunk);
      }
      appender.closeSync();
      await connection.run(
        `MERGE INTO target AS t USING stage AS s ON t.line_id = s.line_id
         WHEN MATCHED THEN UPDATE SET ${updates.join(', ')}
         WHEN NOT MATCHED THEN INSERT VALUES (${names.map((name) => `s.${name}`).join(', ')})`,
      );
      await connection.run('COMMIT');
    },
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

async function rateOf(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (BATCH_ROWS / (performance.now() - start)) * 1_000;
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

function spread(rates: readonly number[]): Record<string, number> {
  const sorted = rates.toSorted((left, right) => left - right).map(Math.round);
  return { min: sorted[0] ?? 0, median: median(sorted), max: sorted.at(-1) ?? 0 };
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
