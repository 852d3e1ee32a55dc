import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { PostgresServer, RedisServer } from '../servers/index.ts';
import { query } from '../servers/postgres.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { median } from './flow.ts';
import { drain, once, type Carried } from './postgres/carry.ts';
import { linesDatabase, offsetOf, sizes, walEnd, writeLines } from './postgres/lines.ts';
import type { WorkerKind } from './postgres/messages.ts';
import { durablePostgres, durableRedis } from './postgres/servers.ts';

const RATIO_BAR = 0.8;
const RATE_BAR = 30_000;
const RSS_BAR_MIB = 150;
const execute = promisify(execFile);

/**
 * A backlog of small transactions, drained by PostgreSQL's own client into /dev/null, by our stream into nothing, by
 * capture into the durable log, and by a whole flow into Redis: each through a slot of its own over the same log,
 * each in a process of its own, in turns. The server runs beside them, and its decoding is what all of them wait for.
 */
export const capturePostgres: Bench = {
  name: 'capture-postgres',
  about: 'a backlog drained by pg_recvlogical, by our stream, into the log, and into Redis',
  run,
};

interface Round {
  readonly recvlogical: number;
  readonly stream: Carried;
  readonly capture: Carried;
  readonly redis: Carried;
}

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const rows = quick ? 20_000 : 200_000;
  await using postgres = await durablePostgres();
  await using redis = await durableRedis();
  const rounds: Round[] = [];
  let row: Record<string, number> = {};
  for (let round = 0; round < (quick ? 1 : 5); round++) {
    const prepared = await prepare({ postgres, redis, dir, round, rows });
    rounds.push(await measure(prepared, round));
    row = await sizes(prepared.url);
    await dropSlots(prepared.url);
  }
  return resultOf(rounds, { rows, ...row, postgres: postgres.version, redis: redis.version });
}

interface Prepared {
  readonly dir: string;
  readonly url: string;
  readonly targetUrl: string;
  readonly rows: number;
  readonly end: string;
}

/** A database of its own: every reader's slot is made, and what it reads first is read, before the backlog is written. */
async function prepare(options: {
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly dir: string;
  readonly round: number;
  readonly rows: number;
}): Promise<Prepared> {
  const { postgres, redis, round, rows } = options;
  const dir = join(options.dir, `round-${round}`);
  const url = await linesDatabase(postgres.url, `round_${round}`);
  const targetUrl = `${redis.url}/${round}`;
  await query(url, 'CREATE PUBLICATION raw FOR TABLE lines');
  await query(url, `SELECT pg_create_logical_replication_slot('raw', 'pgoutput')`);
  const start = offsetOf(await walEnd(url));
  for (const kind of ['stream', 'capture', 'redis'] as const)
    await once({ kind, dir: join(dir, kind), url, targetUrl }, start);
  const end = await writeLines(url, 0, rows);
  return { dir, url, targetUrl, rows, end };
}

async function measure(prepared: Prepared, round: number): Promise<Round> {
  const { dir, url, targetUrl, rows, end } = prepared;
  const through = (kind: WorkerKind): Promise<Carried> =>
    drain({ kind, dir: join(dir, kind), url, targetUrl }, offsetOf(end), rows);
  // In turns first and last: what the system keeps of the log in memory is the same for both.
  const first = round % 2 === 0 ? await recvlogical(prepared) : undefined;
  const stream = await through('stream');
  const recv = first ?? (await recvlogical(prepared));
  return {
    recvlogical: recv,
    stream,
    capture: await through('capture'),
    redis: await through('redis'),
  };
}

/** Rows per second of PostgreSQL's own client. */
async function recvlogical({ url, rows, end }: Prepared): Promise<number> {
  const startedMs = performance.now();
  const which = ['--dbname', url, '--slot', 'raw', '--start', '--no-loop', '--endpos', end];
  const how = ['-o', 'proto_version=1', '-o', 'publication_names=raw', '--file', '/dev/null'];
  await execute('pg_recvlogical', [...which, ...how]);
  return (rows * 1_000) / (performance.now() - startedMs);
}

async function dropSlots(url: string): Promise<void> {
  await query(
    url,
    `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`,
  );
}

function resultOf(rounds: readonly Round[], what: Record<string, unknown>): BenchResult {
  const ratio = (of: 'stream' | 'capture'): number =>
    Math.round(median(rounds.map((round) => round[of].rowsPerSecond / round.recvlogical)) * 100) /
    100;
  const rate = (of: 'stream' | 'capture' | 'redis'): number =>
    median(rounds.map((round) => round[of].rowsPerSecond));
  const peak = (of: 'capture' | 'redis'): BenchClaim => {
    const measured = Math.max(...rounds.map((round) => round[of].usage.peakRssMiB));
    return {
      claim: `most memory of the process, ${of === 'redis' ? 'into Redis' : 'into the log'}`,
      bar: RSS_BAR_MIB,
      measured,
      unit: 'MiB',
      met: measured <= RSS_BAR_MIB,
    };
  };
  const [overStream, overCapture, intoRedis] = [ratio('stream'), ratio('capture'), rate('redis')];
  return {
    claims: [
      atLeast('stream into nothing, of pg_recvlogical', RATIO_BAR, overStream, '×'),
      atLeast('capture into the durable log, of pg_recvlogical', RATIO_BAR, overCapture, '×'),
      {
        claim: 'pg_recvlogical',
        measured: Math.round(median(rounds.map((round) => round.recvlogical))),
        unit: 'rows/s',
      },
      { claim: 'stream into nothing', measured: rate('stream'), unit: 'rows/s' },
      { claim: 'capture into the durable log', measured: rate('capture'), unit: 'rows/s' },
      atLeast('end to end into Redis', RATE_BAR, intoRedis, 'rows/s'),
      peak('capture'),
      peak('redis'),
    ],
    details: { ...what, rounds },
  };
}

function atLeast(claim: string, bar: number, measured: number, unit: string): BenchClaim {
  return { claim, bar, measured, unit, met: measured >= bar };
}
