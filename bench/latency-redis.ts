import { join } from 'node:path';
import { query } from '../servers/postgres.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { median } from './flow.ts';
import { CarryingProcess } from './postgres/carry.ts';
import { linesDatabase, offsetOf, sizes, walEnd } from './postgres/lines.ts';
import type { TrafficSeen } from './postgres/messages.ts';
import { durablePostgres, durableRedis } from './postgres/servers.ts';
import type { Spread } from './postgres/spread.ts';
import { watchTraffic } from './postgres/watch.ts';

const P50_BAR_MS = 5;
const P99_BAR_MS = 50;
const PER_SECOND = 1_000;

/**
 * From the answer to a writer that his row is committed to the moment at which Redis tells a reader that it is there:
 * single rows in transactions of their own, at a steady rate whether or not the ones before were quick.
 */
export const latencyRedis: Bench = {
  name: 'latency-redis',
  about: 'from commit in PostgreSQL to visible in Redis, at a steady 1 000 writes/s',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  await using postgres = await durablePostgres();
  await using redis = await durableRedis();
  const url = await linesDatabase(postgres.url, 'latency');
  const settings = { kind: 'redis', dir: join(dir, 'tally'), url, targetUrl: redis.url } as const;
  await using worker = await CarryingProcess.start(settings);
  await worker.reach(offsetOf(await walEnd(url)));
  const rounds: TrafficSeen[] = [];
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    rounds.push(
      await watchTraffic({
        url,
        targetUrl: redis.url,
        firstId: round * 1e7,
        perSecond: PER_SECOND,
        seconds: quick ? 2 : 20,
        warmUpSeconds: quick ? 1 : 3,
        reads: 'keys',
      }),
    );
  }
  const usage = await worker.usage();
  await worker.close();
  const row = await sizes(url);
  await query(url, 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
  const at = (share: keyof Spread): number =>
    median(rounds.map(({ visibleMs }) => visibleMs?.[share] ?? Number.NaN));
  return {
    claims: [
      atMost('commit to visible, p50', P50_BAR_MS, at('p50')),
      atMost('commit to visible, p99', P99_BAR_MS, at('p99')),
      { claim: 'commit to visible, p99.9', measured: at('p999'), unit: 'ms' },
      {
        claim: 'the commit itself, p99',
        measured: median(rounds.map(({ commitMs }) => commitMs.p99)),
        unit: 'ms',
      },
      {
        claim: 'writes that the server took',
        measured: median(rounds.map((round) => round.perSecond)),
        unit: 'writes/s',
      },
    ],
    details: {
      ...row,
      rowsPerTransaction: 1,
      perSecond: PER_SECOND,
      rounds,
      usage,
      postgres: postgres.version,
      redis: redis.version,
    },
  };
}

function atMost(claim: string, bar: number, measured: number): BenchClaim {
  return { claim, bar, measured, unit: 'ms', met: measured <= bar };
}
