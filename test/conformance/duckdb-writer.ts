import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { Write } from '../../src/core/write.ts';
import type { SinkBatch } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { columnar, duckdb, type DuckdbStore } from '../../src/stores/duckdb/index.ts';

// A process that the tests start and kill: applies numbered batches from where the checkpoint says
// up to the last. Arguments: the file, the worker's epoch, the last batch.

/** Writes per batch in each of the three targets. */
export const batchRows = 60;

/** Facts, rows that every batch changes, and documents (not declared). */
export const targets = ['facts', 'latest', 'documents'] as const;

export function openReports(file: string): Promise<DuckdbStore> {
  const columns = { id: 'BIGINT', batch: 'INTEGER', note: 'VARCHAR' };
  return duckdb({
    file,
    targets: {
      facts: columnar({ key: ['id'], columns, appendOnly: true }),
      latest: columnar({ key: ['id'], columns }),
    },
  }).open({ name: 'reports', clock: systemClock, random: seededRandom(1) });
}

/** Batch number `batch`: new facts, every row and document again, and one of the rows deleted. */
export function numberedBatch(batch: number): SinkBatch {
  const place = { epoch: 1, offset: batch * 10 };
  const writes = targets.flatMap((target, part) =>
    Array.from({ length: batchRows }, (_, index): Write => {
      const id = target === 'facts' ? batch * batchRows + index : index;
      const gone = target === 'latest' && index === batch % batchRows;
      const row = gone ? null : { id, batch, note: `of batch ${batch}` };
      const ordinal = part * batchRows + index;
      return { target, key: [id], row, mode: 'stream', ordinal, ...place };
    }),
  );
  const last = { ...place, ordinal: writes.length - 1 };
  const checkpoint = { log: batch, last, through: place, backfill: undefined };
  return { writes, state: [{ name: 'last batch', value: String(batch) }], checkpoint };
}

async function main(file: string, workerEpoch: number, lastBatch: number): Promise<void> {
  armFromEnvironment(process.env);
  await using store = await openReports(file);
  const shapes = targets.map((target) => ({ target }));
  const options = { flow: 'reports', generation: 1, workerEpoch, targets: shapes };
  await using session = await store.sink.open(options);
  const held = await session.checkpoint();
  for (let batch = (held?.log ?? 0) + 1; batch <= lastBatch; batch++) {
    const { applied, failed } = await session.apply(numberedBatch(batch));
    if (applied !== targets.length * batchRows || failed.length > 0)
      throw new Error(`batch ${batch}: ${applied} applied, ${failed.length} failed`);
  }
}

if (import.meta.main) {
  const [file = '', workerEpoch = '', lastBatch = ''] = process.argv.slice(2);
  await main(file, Number(workerEpoch), Number(lastBatch));
}
