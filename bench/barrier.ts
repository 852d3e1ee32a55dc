import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { open, type Evidence, type OpenApp } from '../src/index.ts';
import { must } from '../src/core/errors.ts';
import { barrier } from '../src/flow/barrier.ts';
import { ProgressBoard } from '../src/flow/progress.ts';
import { systemClock } from '../src/runtime/clock.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { COLUMNS, flowApp, INSERT, lineOf } from './flow/app.ts';

const BAR_MICROSECONDS = 20;
const WAITERS = 10_000;

/** What a read pays for asking whether its store is fresh: when it is, and when it has to wait. */
export const barrierBench: Bench = {
  name: 'barrier',
  about: 'a barrier that is covered already, one that waits for a write, ten thousand that wait',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const calls = quick ? 1_000 : 100_000;
  await mkdir(dir, { recursive: true });
  const database = new DatabaseSync(join(dir, 'orders.db'));
  database.exec(`CREATE TABLE lines (${COLUMNS})`);
  database.close();
  await using app = await open(flowApp(dir, 'sqlite', 'NORMAL'));
  const insert = (must(app.stores['orders'], 'the orders').client as DatabaseSync).prepare(INSERT);
  const write = async (id: number): Promise<Evidence> =>
    (await app.write('orders', () => insert.run(...lineOf(id)))).evidence;
  const after = await write(0);
  await app.barrier('copy', { after, within: '30s' });

  const alone = await microseconds(calls, bare());
  const asked = await microseconds(calls, () => app.barrier('copy', { after }));
  const read = await microseconds(calls, () => app.read('copy', { after }, () => 0));
  const waking = await wakeUps(app, write, quick ? 100 : 5_000);
  const many = await crowd(app, write);
  return {
    claims: [
      covered('barrier() itself, p50', alone.p50),
      covered('barrier() itself, p99', alone.p99),
      covered('app.barrier, p50', asked.p50),
      covered('app.barrier, p99', asked.p99),
      covered('app.read of nothing, p99', read.p99),
      { claim: 'from commit to fresh at 1 000 writes/s, p50', measured: waking.p50, unit: 'ms' },
      { claim: 'from commit to fresh at 1 000 writes/s, p99', measured: waking.p99, unit: 'ms' },
      {
        claim: `${WAITERS} that wait for one write, from commit to the last`,
        measured: many,
        unit: 'ms',
      },
    ],
    details: { calls, microseconds: { barrier: alone, appBarrier: asked, appRead: read }, waking },
  };
}

function covered(claim: string, measured: number): BenchResult['claims'][number] {
  const met = measured <= BAR_MICROSECONDS;
  return { claim: `covered: ${claim}`, bar: BAR_MICROSECONDS, measured, unit: 'µs', met };
}

/** The kernel's barrier, without the options and the clock of an application. */
function bare(): () => Promise<unknown> {
  const board = new ProgressBoard();
  const through = { epoch: 1, offset: 5 };
  board.publish('lines', { lane: 'orders', through, throughAtMs: undefined, parkedUnits: [] });
  const after: Evidence = new Map([['orders', [through]]]);
  const flows = [{ name: 'lines', lane: 'orders' }];
  return () => barrier({ after, flows, board, clock: systemClock, withinMs: 1_000 });
}

interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

async function microseconds(calls: number, call: () => Promise<unknown>): Promise<Spread> {
  const times: number[] = [];
  for (let done = 0; done < calls * 1.1; done++) {
    const startedMs = performance.now();
    await call();
    times.push((performance.now() - startedMs) * 1_000);
  }
  // The first calls are not compiled yet.
  return spread(times.slice(-calls));
}

/** Milliseconds from a write that has returned to the target that has it, while others are written. */
async function wakeUps(
  app: OpenApp,
  write: (id: number) => Promise<Evidence>,
  count: number,
): Promise<Spread> {
  const times: number[] = [];
  const waiting: Promise<void>[] = [];
  const startedMs = performance.now();
  for (let id = 1; id <= count; id++) {
    const after = await write(id);
    const writtenMs = performance.now();
    const wait = async (): Promise<void> => {
      const { kind } = await app.barrier('copy', { after, within: '30s' });
      if (kind !== 'fresh') throw new Error(`the barrier answered ${kind}`);
      times.push(performance.now() - writtenMs);
    };
    waiting.push(wait());
    const aheadMs = id - (performance.now() - startedMs);
    if (aheadMs > 0) await sleep(aheadMs);
  }
  await Promise.all(waiting);
  return spread(times);
}

/** Milliseconds from a write to the last of many barriers that waited for it. */
async function crowd(app: OpenApp, write: (id: number) => Promise<Evidence>): Promise<number> {
  const after = await write(1e9);
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: WAITERS }, () => app.barrier('copy', { after, within: '30s' })),
  );
  return Math.round((performance.now() - startedMs) * 10) / 10;
}

function spread(times: readonly number[]): Spread {
  const sorted = times.toSorted((left, right) => left - right);
  const at = (share: number): number =>
    Math.round((sorted[Math.floor((sorted.length - 1) * share)] ?? 0) * 100) / 100;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
