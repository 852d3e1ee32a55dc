import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { must } from '../src/core/errors.ts';
import { open, type Evidence, type OpenApp } from '../src/index.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { median } from './flow.ts';
import { linesApp } from './postgres/app.ts';
import { INSERT_LINE, linesDatabase, offsetOf, walEnd } from './postgres/lines.ts';
import { durablePostgres, durableRedis } from './postgres/servers.ts';
import { spread, type Spread } from './postgres/spread.ts';

const CALLERS = 16;
const SLOWER_BAR = 2;
const ALONE_BAR_MS = 0.12;
const WAIT_BAR_MS = 100;
const PER_SECOND = 1_000;
const WRITING_MAX = 256;

/**
 * What `app.write` costs over the same transaction by hand on the same pool (BEGIN, one INSERT, COMMIT), by callers
 * that each wait for their own; in short turns, so that server and disk are the same for both. And what a barrier
 * costs that waits for such a write to arrive in Redis.
 */
export const evidencePostgres: Bench = {
  name: 'evidence-postgres',
  about:
    'app.write against the same transaction by hand on PostgreSQL; barriers that wait for Redis',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  await using postgres = await durablePostgres();
  await using redis = await durableRedis();
  const url = await linesDatabase(postgres.url, 'evidence');
  const declared = linesApp({
    dir: join(dir, 'tally'),
    target: 'redis',
    url,
    targetUrl: redis.url,
  });
  const shared = await turns(await open(declared, { run: false }), {
    callers: CALLERS,
    rounds: quick ? 3 : 41,
    roundMs: quick ? 100 : 400,
  });
  const alone = await turns(await open(declared, { run: false }), {
    callers: 1,
    rounds: quick ? 3 : 41,
    roundMs: quick ? 50 : 200,
  });
  await using app = await open(declared);
  await reach(app, offsetOf(await walEnd(url)));
  const waiting = await waits(app, quick ? 2 : 20);
  const covered = await fresh(app, quick ? 1_000 : 100_000);
  const slower = Math.round((1 - shared.ratio) * 1_000) / 10;
  const addedMs = Math.round(alone.addedMs * 1_000) / 1_000;
  return {
    claims: [
      atMost(`write with evidence, ${CALLERS} callers`, SLOWER_BAR, slower, '% slower'),
      atMost('write with evidence, one caller alone, added', ALONE_BAR_MS, addedMs, 'ms'),
      {
        claim: `barrier that waits, at ${PER_SECOND} writes/s, p50`,
        measured: waiting.p50,
        unit: 'ms',
      },
      atMost(`barrier that waits, at ${PER_SECOND} writes/s, p99`, WAIT_BAR_MS, waiting.p99, 'ms'),
      {
        claim: 'writes that the server took meanwhile',
        measured: waiting.writesPerSecond,
        unit: 'writes/s',
      },
      { claim: 'barrier that is covered already, p99', measured: covered, unit: 'µs' },
    ],
    details: {
      rowsPerTransaction: 1,
      callers: { [CALLERS]: shared, 1: alone },
      waitingMs: waiting,
      postgres: postgres.version,
      redis: redis.version,
    },
  };
}

interface Turns {
  /** Transactions per second of `app.write` over those by hand: the median of the rounds. */
  readonly ratio: number;
  readonly middleHalf: readonly [number, number];
  readonly byHandPerSecond: number;
  readonly writePerSecond: number;
  /** For each caller, from its call to the answer. */
  readonly byHandMs: number;
  readonly writeMs: number;
  /** Of each round the one less the other; the median of these, since rates drift between rounds. */
  readonly addedMs: number;
}

let nextId = 0;

async function turns(
  app: OpenApp,
  options: { readonly callers: number; readonly rounds: number; readonly roundMs: number },
): Promise<Turns> {
  await using _ = app;
  const { callers, rounds, roundMs } = options;
  const pool = must(app.stores['orders'], 'the orders').client as Pool;
  const statement = (): { name: string; text: string; values: number[] } => ({
    name: 'line',
    text: INSERT_LINE,
    values: [nextId++],
  });
  const byHand = async (): Promise<void> => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(statement());
      await client.query('COMMIT');
    } finally {
      client.release();
    }
  };
  const write = async (): Promise<void> => {
    await app.write('orders', (tx) => (tx as Pool).query(statement()));
  };
  const pairs: { readonly byHand: number; readonly write: number }[] = [];
  for (let round = -1; round < rounds; round++) {
    const order = round % 2 === 0 ? [byHand, write] : [write, byHand];
    const rates = new Map<() => Promise<void>, number>();
    for (const call of order) rates.set(call, await rate(call, callers, roundMs));
    if (round >= 0) pairs.push({ byHand: rates.get(byHand) ?? 0, write: rates.get(write) ?? 0 });
  }
  const ratios = pairs.map((pair) => pair.write / pair.byHand).toSorted((one, two) => one - two);
  const ofHand = median(pairs.map((pair) => pair.byHand));
  const ofWrite = median(pairs.map((pair) => pair.write));
  return {
    ratio: median(ratios),
    middleHalf: [ratios[ratios.length >> 2] ?? 0, ratios[(ratios.length * 3) >> 2] ?? 0],
    byHandPerSecond: Math.round(ofHand),
    writePerSecond: Math.round(ofWrite),
    byHandMs: (callers * 1_000) / ofHand,
    writeMs: (callers * 1_000) / ofWrite,
    addedMs: median(
      pairs.map(
        ({ byHand: hand, write: own }) => (callers * 1_000) / own - (callers * 1_000) / hand,
      ),
    ),
  };
}

/** Transactions per second of all callers, each of which waits for its own before the next. */
async function rate(
  call: () => Promise<void>,
  callers: number,
  durationMs: number,
): Promise<number> {
  const startedMs = performance.now();
  let done = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - startedMs < durationMs) {
      await call();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (done * 1_000) / (performance.now() - startedMs);
}

/** Milliseconds from a write that has returned to the barrier behind it, at a steady rate. */
async function waits(
  app: OpenApp,
  seconds: number,
): Promise<Spread & { readonly writesPerSecond: number }> {
  const count = PER_SECOND * seconds;
  const times: number[] = [];
  const all: Promise<void>[] = [];
  let writing = 0;
  const one = async (): Promise<void> => {
    writing += 1;
    const { evidence } = await app.write('orders', (tx) =>
      (tx as Pool).query({ name: 'line', text: INSERT_LINE, values: [nextId++] }),
    );
    const writtenMs = performance.now();
    writing -= 1;
    await fulfilled(app, evidence);
    times.push(performance.now() - writtenMs);
  };
  const startedMs = performance.now();
  for (let begun = 0; begun < count;) {
    const due = Math.min(count, Math.ceil(((performance.now() - startedMs) * PER_SECOND) / 1_000));
    // A server that cannot take as many is not buried under more.
    const room = Math.min(due, begun + WRITING_MAX - writing);
    for (; begun < room; begun++) all.push(one());
    await sleep(1);
  }
  const writesPerSecond = Math.round((count * 1_000) / (performance.now() - startedMs));
  await Promise.all(all);
  // The first tenth is not compiled yet.
  return { ...spread(times.slice(count / 10)), writesPerSecond };
}

/** Microseconds, of which 99 of 100 calls take fewer, of a barrier whose evidence has arrived. */
async function fresh(app: OpenApp, calls: number): Promise<number> {
  const { evidence: after } = await app.write('orders', () => undefined);
  await fulfilled(app, after);
  const times: number[] = [];
  for (let call = 0; call < calls * 1.1; call++) {
    const startedMs = performance.now();
    await app.barrier('copy', { after });
    times.push((performance.now() - startedMs) * 1_000);
  }
  return spread(times.slice(-calls)).p99;
}

async function reach(app: OpenApp, offset: number): Promise<void> {
  await fulfilled(app, new Map([['orders', [{ epoch: 1, offset }]]]));
}

async function fulfilled(app: OpenApp, after: Evidence): Promise<void> {
  const { kind } = await app.barrier('copy', { after, within: '60s' });
  if (kind !== 'fresh') throw new Error(`the barrier answered ${kind}`);
}

function atMost(claim: string, bar: number, measured: number, unit: string): BenchClaim {
  return { claim, bar, measured, unit, met: measured <= bar };
}
