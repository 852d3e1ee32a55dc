import { spawn } from 'node:child_process';
import { once as event } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'redis';
import type { PostgresServer, RedisServer } from '../servers/index.ts';
import { query } from '../servers/postgres.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { debeziumPeer } from './peers/fetch.ts';
import { CarryingProcess, drain, once, type Carried } from './postgres/carry.ts';
import { linesDatabase, offsetOf, sizes, walEnd, writeLines } from './postgres/lines.ts';
import type { TrafficSeen } from './postgres/messages.ts';
import { durablePostgres, durableRedis } from './postgres/servers.ts';
import { watchTraffic } from './postgres/watch.ts';

const JAVA = 'java';
const HEAP = '-Xmx512m';
const PER_SECOND = 1_000;
const WAIT_MS = 300_000;
const POLL_MS = 20;

/**
 * The same backlog and the same steady traffic, into Redis, by a flow and by Debezium's engine, one after the other on
 * the same servers. Debezium adds entries to a stream, unfenced, and its clock starts with the first of them; the flow
 * writes fenced rows, and its clock starts with its process.
 */
export const debeziumBench: Bench = {
  name: 'debezium',
  about: 'a backlog and steady writes from PostgreSQL into Redis, by a flow and by Debezium',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const peer = await debeziumPeer();
  if (peer === undefined) return { claims: [], details: { debezium: 'not to be had; see above' } };
  const rows = quick ? 20_000 : 200_000;
  const seconds = quick ? 3 : 20;
  await using postgres = await durablePostgres();
  const options = { postgres, dir, rows, seconds };
  const flow = await byFlow(options);
  const debezium = await byDebezium({ ...options, classPath: peer.classPath });
  const [ours, theirs] = [flow.traffic.visibleMs, debezium.traffic.visibleMs];
  const times = (measured: number): number => Math.round(measured * 100) / 100;
  return {
    claims: [
      { claim: 'backlog, flow', measured: flow.carried.rowsPerSecond, unit: 'rows/s' },
      {
        claim: `backlog, Debezium ${peer.version}`,
        measured: debezium.rowsPerSecond,
        unit: 'rows/s',
      },
      {
        claim: 'backlog, flow over Debezium',
        measured: times(flow.carried.rowsPerSecond / debezium.rowsPerSecond),
        unit: '×',
      },
      ...(['p50', 'p99'] as const).flatMap((share) => [
        {
          claim: `commit to visible, ${share}, flow`,
          measured: ours?.[share] ?? Number.NaN,
          unit: 'ms',
        },
        {
          claim: `commit to visible, ${share}, Debezium`,
          measured: theirs?.[share] ?? Number.NaN,
          unit: 'ms',
        },
      ]),
      { claim: 'most memory, flow', measured: flow.carried.usage.peakRssMiB, unit: 'MiB' },
      { claim: `most memory, Debezium with ${HEAP}`, measured: debezium.peakRssMiB, unit: 'MiB' },
    ],
    details: {
      rows,
      ...flow.row,
      perSecond: PER_SECOND,
      flow,
      debezium,
      postgres: postgres.version,
    },
  };
}

interface Options {
  readonly postgres: PostgresServer;
  readonly dir: string;
  readonly rows: number;
  readonly seconds: number;
}

async function byFlow({ postgres, dir, rows, seconds }: Options): Promise<{
  readonly carried: Carried;
  readonly traffic: TrafficSeen;
  readonly row: Record<string, number>;
}> {
  await using redis = await durableRedis();
  const url = await linesDatabase(postgres.url, 'by_flow');
  const settings = { kind: 'redis', dir: join(dir, 'flow'), url, targetUrl: redis.url } as const;
  await once(settings, offsetOf(await walEnd(url)));
  const end = await writeLines(url, 0, rows);
  const carried = await drain(settings, offsetOf(end), rows);
  await using worker = await CarryingProcess.start(settings);
  await worker.reach(offsetOf(await walEnd(url)));
  const traffic = await trafficInto(url, redis, seconds, 'keys');
  await worker.close();
  await dropSlots(url);
  return { carried, traffic, row: await sizes(url) };
}

async function byDebezium(options: Options & { readonly classPath: string }): Promise<{
  readonly rowsPerSecond: number;
  readonly readyMs: number;
  readonly traffic: TrafficSeen;
  readonly peakRssMiB: number;
}> {
  const { postgres, dir, rows, seconds, classPath } = options;
  await using redis = await durableRedis();
  const url = await linesDatabase(postgres.url, 'by_debezium');
  await query(url, 'CREATE PUBLICATION peer FOR TABLE lines');
  await query(url, `SELECT pg_create_logical_replication_slot('peer', 'pgoutput')`);
  await writeLines(url, 0, rows);
  const client = await createClient({ url: redis.url }).connect();
  const startedMs = performance.now();
  const args = [HEAP, '-Dorg.slf4j.simpleLogger.defaultLogLevel=error', '-cp', classPath, 'Drain'];
  const java = spawn(
    JAVA,
    [...args, url, 'peer', 'peer', redis.url, 'lines', join(dir, 'debezium.offsets')],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  try {
    const reached = async (count: number): Promise<number> => {
      while ((await client.xLen('lines')) < count) {
        if (java.exitCode !== null) throw new Error(`Debezium ended with ${java.exitCode}`);
        if (performance.now() - startedMs > WAIT_MS) throw new Error('Debezium did not get there');
        await sleep(POLL_MS);
      }
      return performance.now();
    };
    const firstMs = await reached(1);
    const lastMs = await reached(rows);
    const traffic = await trafficInto(url, redis, seconds, 'stream');
    const peakRssMiB = await peakRss(java.pid ?? 0);
    const rowsPerSecond = Math.round((rows * 1_000) / (lastMs - firstMs));
    return { rowsPerSecond, readyMs: Math.round(firstMs - startedMs), traffic, peakRssMiB };
  } finally {
    client.destroy();
    java.kill('SIGKILL');
    if (java.exitCode === null && java.signalCode === null) await event(java, 'exit');
    await dropSlots(url);
  }
}

function trafficInto(
  url: string,
  redis: RedisServer,
  seconds: number,
  reads: 'keys' | 'stream',
): Promise<TrafficSeen> {
  const steady = { firstId: 1e7, perSecond: PER_SECOND, seconds, warmUpSeconds: 3 };
  return watchTraffic({ url, targetUrl: redis.url, ...steady, reads });
}

async function peakRss(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) / 1_024);
}

async function dropSlots(url: string): Promise<void> {
  // A walsender whose client was killed leaves its slot when it notices.
  for (let tries = 0; ; tries++) {
    try {
      await query(
        url,
        `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`,
      );
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await sleep(100);
    }
  }
}
