import { join } from 'node:path';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { backfill, burst, byHand, catchUp, lag, type Carried } from './flow/measure.ts';

const RATE_BAR = 50_000;
export const RSS_BAR_MIB = 150;

/**
 * Rows from an SQLite file to another, through the whole of it: capture by triggers, durable log, projection,
 * fenced sink with its checkpoint, every step with synchronous = FULL. The traffic is written by one
 * process, the flow runs in another, whose memory is the one measured: its high-water mark as the
 * system counts it, with Node's own 85 MB in it.
 */
export const flowBench: Bench = {
  name: 'flow',
  about: 'sqlite to sqlite through the whole flow: rate, lag, memory, against a loop by hand',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const k = quick ? 10 : 1_000;
  const at = (name: string): string => join(dir, name);
  // The first process compiles what the others load.
  await backfill(at('warm-up'), 'sqlite', 100);
  const rounds: { readonly flow: Carried; readonly byHand: number; readonly ratio: number }[] = [];
  for (let round = 0; round < 3; round++) {
    const carried = await burst(at(`burst-${round}`), 'sqlite', 300 * k, 10);
    const raw = await byHand(at(`by-hand-${round}`), 300 * k);
    rounds.push({ flow: carried, byHand: raw, ratio: round2(carried.rowsPerSecond / raw) });
  }
  const behind = await catchUp(at('behind'), 'sqlite', 300 * k, 10);
  const one = await burst(at('one'), 'sqlite', 1_000 * k, 1_000 * k);
  const small = await backfill(at('small'), 'sqlite', 100 * k);
  const large = await backfill(at('large'), 'sqlite', 1_000 * k);
  // By default V8 collects when it is convenient on a large machine, not when memory is scarce.
  const limits = ['--max-semi-space-size=4', '--max-old-space-size=64'];
  const tight = {
    'transactions of 10 rows': await burst(at('tight-burst'), 'sqlite', 300 * k, 10, limits),
    'one transaction': await burst(at('tight-one'), 'sqlite', 1_000 * k, 1_000 * k, limits),
    backfill: await backfill(at('tight-large'), 'sqlite', 1_000 * k, limits),
  };
  const slow = await lag(at('lag-1k'), 'sqlite', 1_000, quick ? 1 : 8);
  const fast = await lag(at('lag-10k'), 'sqlite', 10_000, quick ? 1 : 8);
  const bursts = rounds.map(({ flow }) => flow);
  const everything = [...bursts, behind, one, small, large];
  return {
    claims: [
      atLeast('streamed, transactions of 10 rows', RATE_BAR, median(bursts.map(rateOf))),
      atLeast('caught up with the log, transactions of 10 rows', RATE_BAR, behind.rowsPerSecond),
      atLeast('streamed, one transaction of all rows', RATE_BAR, one.rowsPerSecond),
      atLeast('backfill', RATE_BAR, large.rowsPerSecond),
      {
        claim: 'streamed, of a loop by hand that reads and inserts the same rows',
        measured: median(rounds.map(({ ratio }) => ratio)),
        unit: '×',
      },
      peak('most memory of any of these, node as it comes', everything),
      peak(`the same with node ${limits.join(' ')}`, Object.values(tight)),
      { claim: 'lag p99 at 1 000 rows/s', measured: slow.p99, unit: 'ms' },
      { claim: 'lag p99 at 10 000 rows/s', measured: fast.p99, unit: 'ms' },
    ],
    details: {
      rounds,
      behind,
      oneTransaction: one,
      backfill: { small, large },
      [`with ${limits.join(' ')}`]: tight,
      lagMs: { 'at 1 000 rows/s': slow, 'at 10 000 rows/s': fast },
    },
  };
}

/** The claim that a rate in rows per second reaches a bar. */
export function atLeast(claim: string, bar: number, measured: number): BenchClaim {
  return { claim, bar, measured, unit: 'rows/s', met: measured >= bar };
}

function peak(claim: string, all: readonly Carried[]): BenchClaim {
  const measured = Math.max(...all.map(({ peakRssMiB }) => peakRssMiB));
  return { claim, bar: RSS_BAR_MIB, measured, unit: 'MiB', met: measured <= RSS_BAR_MIB };
}

export function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

function rateOf({ rowsPerSecond }: Carried): number {
  return rowsPerSecond;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}
