import { statSync } from 'node:fs';
import type { Vital, Vitals } from '../../ports/vitals.ts';
import type { Database } from './database.ts';

/** What DuckDB says about itself: blocks, write-ahead log, memory and what was spilled. */
export async function readVitals(db: Database): Promise<Vitals> {
  const [version] = await db.read('SELECT version()');
  const [size] = await db.read(
    'SELECT block_size, total_blocks, used_blocks, free_blocks FROM pragma_database_size() WHERE database_name = current_database()',
  );
  const [memory] = await db.read(
    'SELECT sum(memory_usage_bytes)::BIGINT, sum(temporary_storage_bytes)::BIGINT FROM duckdb_memory()',
  );
  const [limit] = await db.read(`SELECT current_setting('memory_limit')`);
  const [blockSize = 0, total = 0, used = 0, free = 0] = (size ?? []).map(Number);
  const [memoryBytes = 0, spilledBytes = 0] = (memory ?? []).map(Number);
  const measures: readonly Vital[] = [
    {
      name: 'database_bytes',
      value: total * blockSize,
      unit: 'bytes',
      about: 'The blocks of the file.',
    },
    { name: 'used_blocks', value: used, unit: 'count', about: 'Blocks that hold data.' },
    {
      name: 'free_blocks',
      value: free,
      unit: 'count',
      about: 'Blocks free for reuse; the file does not shrink by itself.',
    },
    { name: 'block_size', value: blockSize, unit: 'bytes' },
    {
      name: 'wal_bytes',
      value: statSync(`${db.file}.wal`, { throwIfNoEntry: false })?.size ?? 0,
      unit: 'bytes',
      about: 'Committed, and not yet in the blocks: a checkpoint of DuckDB moves it there.',
    },
    {
      name: 'memory_bytes',
      value: memoryBytes,
      unit: 'bytes',
      about: 'Memory that DuckDB holds, within its limit.',
    },
    {
      name: 'temporary_bytes',
      value: spilledBytes,
      unit: 'bytes',
      about: 'What did not fit in memory and was spilled beside the file.',
    },
    { name: 'memory_limit', value: textOf(limit) },
  ];
  return { system: 'duckdb', version: textOf(version), measures };
}

function textOf(row: readonly unknown[] | undefined): string {
  return typeof row?.[0] === 'string' ? row[0] : '';
}
