import { join } from 'node:path';
import { MEMORY_LIMIT } from '../src/stores/duckdb/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { atLeast, RSS_BAR_MIB } from './flow.ts';
import { backfill, burst, catchUp } from './flow/measure.ts';

const RATE_BAR = 100_000;
/** 512 MB, DuckDB's own limit, in MiB. */
const LIMIT_MIB = Math.ceil(Number.parseInt(MEMORY_LIMIT, 10) / 1.048576);

/** As the benchmark `flow`, into a DuckDB table that is only appended to; `duckdb` measures the sink alone. */
export const flowDuckdbBench: Bench = {
  name: 'flow-duckdb',
  about: 'sqlite to duckdb, append-only, through the whole flow: rate and memory',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const k = quick ? 10 : 1_000;
  const at = (name: string): string => join(dir, name);
  await backfill(at('warm-up'), 'duckdb', 100);
  const streamed = await burst(at('burst'), 'duckdb', 300 * k, 10);
  const behind = await catchUp(at('behind'), 'duckdb', 500 * k, 10);
  const one = await burst(at('one'), 'duckdb', 1_000 * k, 1_000 * k);
  const large = await backfill(at('large'), 'duckdb', 1_000 * k);
  const memory = Math.max(...[streamed, behind, one, large].map(({ peakRssMiB }) => peakRssMiB));
  const bar = RSS_BAR_MIB + LIMIT_MIB;
  return {
    claims: [
      atLeast('streamed, transactions of 10 rows', RATE_BAR, streamed.rowsPerSecond),
      atLeast('caught up with the log, transactions of 10 rows', RATE_BAR, behind.rowsPerSecond),
      atLeast('streamed, one transaction of all rows', RATE_BAR, one.rowsPerSecond),
      atLeast('backfill', RATE_BAR, large.rowsPerSecond),
      {
        claim: `most memory of any of these, ${MEMORY_LIMIT} of it allowed to DuckDB`,
        bar,
        measured: memory,
        unit: 'MiB',
        met: memory <= bar,
      },
    ],
    details: { streamed, behind, oneTransaction: one, backfill: large },
  };
}
