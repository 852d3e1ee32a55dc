import { join } from 'node:path';
import { systemClock } from '../src/runtime/clock.ts';
import { seededRandom } from '../src/runtime/random.ts';
import { sqliteLedger } from '../src/stores/sqlite/ledger/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { median, openEngine, rate, runOne } from './saga-postgres.ts';

const LEVELS = [1, 16, 64, 256] as const;
const ROUNDS = 5;
/** Sagas a second of 256 callers. */
const BAR = 5_000;

/** Sagas of three empty steps in one process, with the ledger in a file of SQLite. */
export const sagaSqliteBench: Bench = {
  name: 'saga-sqlite',
  about: 'sagas of three empty steps with the ledger on SQLite',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const roundMs = quick ? 100 : 1_500;
  const context = { name: 'bench', clock: systemClock, random: seededRandom(1) };
  await using ledger = await sqliteLedger({ file: join(dir, 'ledger.db') }).open(context);
  await using engine = await openEngine(ledger);
  const rates = new Map<number, number[]>(LEVELS.map((level) => [level, []]));
  const aloneMs: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1)
    for (const level of LEVELS) {
      const times: number[] = [];
      const measured = await rate(level, roundMs, () => runOne(engine, times));
      if (round === 0) continue;
      rates.get(level)?.push(measured);
      if (level === 1) aloneMs.push(median(times));
    }
  const details = Object.fromEntries(
    [...rates].map(([level, of]) => [`sagasPerSecond${level}`, Math.round(median(of))]),
  );
  const measured = Math.round(median(rates.get(256) ?? []));
  return {
    claims: [
      {
        claim: 'sagas a second of 256 callers on SQLite',
        bar: BAR,
        measured,
        unit: 'sagas/s',
        met: measured >= BAR,
      },
    ],
    details: { ...details, 'alone p50 ms': Number(median(aloneMs).toFixed(2)) },
  };
}
