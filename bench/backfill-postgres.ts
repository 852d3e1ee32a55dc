import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { query } from '../servers/postgres.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { atLeast, median } from './flow.ts';
import { CarryingProcess } from './postgres/carry.ts';
import { linesDatabase, offsetOf, sizes, walEnd } from './postgres/lines.ts';
import type { TrafficSeen } from './postgres/messages.ts';
import { durablePostgres } from './postgres/servers.ts';
import type { Spread } from './postgres/spread.ts';
import { watchTraffic } from './postgres/watch.ts';
import type { Usage } from './postgres/usage.ts';

const RATE_BAR = 50_000;
const LATENCY_BAR = 2;
const PER_SECOND = 1_000;

/**
 * A table that is there before its flow, read into a sink that keeps nothing while a thousand rows a second are added
 * to another table of the same lane, which a second flow streams. What the stream says of its lag meanwhile stands
 * beside what it says when nothing else goes on.
 */
export const backfillPostgres: Bench = {
  name: 'backfill-postgres',
  about: 'a backfill into a null sink while writes go on, and what it does to the stream beside it',
  run,
};

interface Round {
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly idleMs: Spread;
  readonly meanwhileMs: Spread;
  readonly traffic: TrafficSeen;
  readonly usage: Usage;
}

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const rows = quick ? 50_000 : 1_000_000;
  await using postgres = await durablePostgres();
  const rounds: Round[] = [];
  let row: Record<string, number> = {};
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const url = await linesDatabase(postgres.url, `round_${round}`);
    await query(url, 'CREATE TABLE history (LIKE lines INCLUDING ALL)');
    await query(
      url,
      `INSERT INTO history SELECT (line_of(id)).* FROM generate_series(1, ${rows}) AS id`,
    );
    await query(url, 'VACUUM ANALYZE history');
    rounds.push(await measure(url, join(dir, `round-${round}`), rows, quick));
    row = await sizes(url);
    await query(
      url,
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`,
    );
  }
  return resultOf(rounds, { rows, ...row, rowsPerTransaction: 1, postgres: postgres.version });
}

/** Lag of the stream without and with the backfill: the same process, the same traffic. */
async function measure(url: string, dir: string, rows: number, quick: boolean): Promise<Round> {
  const traffic = (firstId: number, seconds: number): Promise<TrafficSeen> =>
    watchTraffic({
      url,
      targetUrl: '',
      firstId,
      perSecond: PER_SECOND,
      seconds,
      warmUpSeconds: 1,
      reads: 'nothing',
    });
  await using worker = await CarryingProcess.start({ kind: 'backfill', dir, url });
  await worker.reach(offsetOf(await walEnd(url)));
  await traffic(0, quick ? 1 : 3);
  await worker.lag();
  await traffic(1e6, quick ? 2 : 10);
  await worker.reach(offsetOf(await walEnd(url)));
  const idleMs = await worker.lag();
  const writing = traffic(1e7, quick ? 2 : 20);
  await sleep(1_000);
  await worker.lag();
  const filled = await worker.backfill();
  const meanwhileMs = await worker.lag();
  const seen = await writing;
  await worker.reach(offsetOf(await walEnd(url)));
  if (filled.rows !== rows) throw new Error(`${filled.rows} of ${rows} rows were read`);
  const usage = await worker.usage();
  await worker.close();
  const rowsPerSecond = Math.round((rows * 1_000) / filled.milliseconds);
  return { rows, rowsPerSecond, idleMs, meanwhileMs, traffic: seen, usage };
}

function resultOf(rounds: readonly Round[], what: Record<string, unknown>): BenchResult {
  const times = (share: 'p50' | 'p99'): BenchClaim => {
    const ratios = rounds.map(({ idleMs, meanwhileMs }) => meanwhileMs[share] / idleMs[share]);
    const measured = Math.round(median(ratios) * 100) / 100;
    return {
      claim: `lag of the stream meanwhile, ${share}, of that without`,
      bar: LATENCY_BAR,
      measured,
      unit: '×',
      met: measured <= LATENCY_BAR,
    };
  };
  const lag = (of: 'idleMs' | 'meanwhileMs', share: 'p50' | 'p99'): number =>
    median(rounds.map((round) => round[of][share]));
  return {
    claims: [
      atLeast(
        'backfill into a null sink while writes go on',
        RATE_BAR,
        median(rounds.map((round) => round.rowsPerSecond)),
      ),
      times('p50'),
      times('p99'),
      { claim: 'lag without, p99', measured: lag('idleMs', 'p99'), unit: 'ms' },
      { claim: 'lag meanwhile, p99', measured: lag('meanwhileMs', 'p99'), unit: 'ms' },
      {
        claim: 'most memory of the process',
        measured: Math.max(...rounds.map(({ usage }) => usage.peakRssMiB)),
        unit: 'MiB',
      },
      {
        claim: 'writes that the server took meanwhile',
        measured: median(rounds.map(({ traffic }) => traffic.perSecond)),
        unit: 'writes/s',
      },
    ],
    details: { ...what, rounds },
  };
}
