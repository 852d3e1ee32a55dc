import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Ledger } from '../src/ports/ledger.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { seededRandom } from '../src/runtime/random.ts';
import { sqliteLedger } from '../src/stores/sqlite/ledger/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

const CALLERS = 64;
const RECORD_BYTES = 200;
/** The rates of a shared disk drift within seconds, so the two sides take many short turns. */
const ROUNDS = 21;
const BAR = 10;

/**
 * How many durable steps a second the ledger takes from 64 callers, each waiting for its own answer
 * before it asks again, over how many durable commits one writer reaches with node:sqlite itself:
 * same file system, same pragmas, same table, same records.
 */
export const ledgerBench: Bench = {
  name: 'ledger',
  about: 'durable steps of 64 callers against single durable commits of node:sqlite',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const roundMs = quick ? 50 : 500;
  const raw = openRaw(join(dir, 'raw.db'));
  const context = { name: 'bench', clock: systemClock, random: seededRandom(1) };
  const ledger = await sqliteLedger({ file: join(dir, 'ledger.db') }).open(context);
  const rounds: { raw: number; ledger: number; ratio: number }[] = [];
  try {
    await ledgerRate(ledger, roundMs);
    raw.rate(roundMs);
    for (let round = 0; round < ROUNDS; round++) {
      const one = raw.rate(roundMs);
      const many = await ledgerRate(ledger, roundMs);
      rounds.push({ raw: one, ledger: many, ratio: many / one });
    }
  } finally {
    await ledger.close();
    raw.close();
  }
  const ratio = median(rounds.map((round) => round.ratio));
  return {
    claims: [
      {
        claim: `steps of ${CALLERS} callers over single commits of node:sqlite`,
        bar: BAR,
        measured: ratio,
        unit: '×',
        met: ratio >= BAR,
      },
    ],
    details: {
      callers: CALLERS,
      recordBytes: RECORD_BYTES,
      rawCommitsPerSecond: Math.round(median(rounds.map((round) => round.raw))),
      ledgerStepsPerSecond: Math.round(median(rounds.map((round) => round.ledger))),
      ratios: rounds
        .map((round) => Number(round.ratio.toFixed(1)))
        .toSorted((left, right) => left - right),
    },
  };
}

function openRaw(file: string): { rate(durationMs: number): number; close(): void } {
  const database = new DatabaseSync(file);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
    CREATE TABLE record (space TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
      version INTEGER NOT NULL, PRIMARY KEY (space, key)) STRICT, WITHOUT ROWID`);
  const begin = database.prepare('BEGIN IMMEDIATE');
  const put = database.prepare(`INSERT INTO record (space, key, value, version) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = excluded.value, version = excluded.version`);
  const commit = database.prepare('COMMIT');
  let version = 0;
  return {
    rate(durationMs) {
      let commits = 0;
      const startedMs = performance.now();
      while (performance.now() - startedMs < durationMs) {
        version += 1;
        begin.run();
        put.run('bench', `caller-${version % CALLERS}`, valueOf(version), version);
        commit.run();
        commits += 1;
      }
      return (commits / (performance.now() - startedMs)) * 1_000;
    },
    close: () => database.close(),
  };
}

async function ledgerRate(ledger: Ledger, durationMs: number): Promise<number> {
  let steps = 0;
  const startedMs = performance.now();
  const caller = async (key: string): Promise<void> => {
    while (performance.now() - startedMs < durationMs) {
      await ledger.commit([{ kind: 'put', space: 'bench', key, value: valueOf(steps) }]);
      steps += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(`caller-${index}`)));
  return (steps / (performance.now() - startedMs)) * 1_000;
}

/** A different value each time: SQLite does not write a page whose content stays the same. */
function valueOf(count: number): string {
  return String(count).padStart(RECORD_BYTES, 'v');
}

function median(values: readonly number[]): number {
  return (
    values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN
  );
}
