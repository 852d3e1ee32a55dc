import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { open } from '../src/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { median } from './flow.ts';
import { COLUMNS, flowApp, INSERT, lineOf } from './flow/app.ts';

const CALLERS = 16;
const ROWS_PER_TRANSACTION = 1;
const BAR = 2;

/**
 * What `app.write` costs over the same transaction by hand: BEGIN IMMEDIATE, one INSERT, COMMIT on the
 * same connection, file and triggers, by as many callers. Both take short turns, so that the machine
 * and the disk are the same for both; the median of the rounds' ratios counts.
 */
export const evidenceBench: Bench = {
  name: 'evidence',
  about: 'the cost of app.write against the same transaction by hand, 16 callers',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const roundMs = quick ? 20 : 250;
  const full = await overhead(join(dir, 'full'), 'FULL', quick ? 3 : 41, roundMs);
  const normal = await overhead(join(dir, 'normal'), 'NORMAL', quick ? 3 : 21, roundMs);
  return {
    claims: [
      {
        claim: `write with evidence, commits that survive the loss of power (FULL), ${CALLERS} callers`,
        bar: BAR,
        measured: full.percentSlower,
        unit: '% slower',
        met: full.percentSlower <= BAR,
      },
      {
        claim: `write with evidence, commits that do not wait for the disk (NORMAL), ${CALLERS} callers`,
        measured: normal.percentSlower,
        unit: '% slower',
      },
    ],
    details: {
      callers: CALLERS,
      rowsPerTransaction: ROWS_PER_TRANSACTION,
      FULL: full,
      NORMAL: normal,
    },
  };
}

interface Overhead {
  readonly percentSlower: number;
  /** Half of the rounds lay between these: if that is wide, others used the machine. */
  readonly middleHalf: readonly [number, number];
  readonly byHandPerSecond: number;
  readonly writePerSecond: number;
}

async function overhead(
  dir: string,
  synchronous: 'FULL' | 'NORMAL',
  rounds: number,
  roundMs: number,
): Promise<Overhead> {
  const app = flowApp(dir, 'sqlite', synchronous);
  const { mkdir } = await import('node:fs/promises');
  await mkdir(dir, { recursive: true });
  const { DatabaseSync: Database } = await import('node:sqlite');
  const database = new Database(join(dir, 'orders.db'));
  database.exec(`CREATE TABLE lines (${COLUMNS})`);
  database.close();
  await using running = await open(app, { run: false });
  const client = running.stores['orders']?.client as DatabaseSync;
  const insert = client.prepare(INSERT);
  const [begin, commit] = [client.prepare('BEGIN IMMEDIATE'), client.prepare('COMMIT')];
  let id = 0;
  const byHand = async (): Promise<void> => {
    begin.run();
    insert.run(...lineOf(id++));
    commit.run();
  };
  const write = async (): Promise<void> => {
    await running.write('orders', () => insert.run(...lineOf(id++)));
  };
  const ratios: number[] = [];
  const rates: { readonly byHand: number; readonly write: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0 ? await rate(byHand, roundMs) : await rate(write, roundMs);
    const second = round % 2 === 0 ? await rate(write, roundMs) : await rate(byHand, roundMs);
    const pair =
      round % 2 === 0 ? { byHand: first, write: second } : { byHand: second, write: first };
    if (round === 0) continue;
    rates.push(pair);
    ratios.push(pair.write / pair.byHand);
  }
  const sorted = ratios.toSorted((left, right) => right - left);
  const percent = (ratio: number | undefined): number =>
    Math.round((1 - (ratio ?? 0)) * 1_000) / 10;
  return {
    percentSlower: percent(median(ratios)),
    middleHalf: [percent(sorted[sorted.length >> 2]), percent(sorted[(sorted.length * 3) >> 2])],
    byHandPerSecond: Math.round(median(rates.map((pair) => pair.byHand))),
    writePerSecond: Math.round(median(rates.map((pair) => pair.write))),
  };
}

/** Transactions per second of all callers, each of which waits for its own before the next. */
async function rate(call: () => Promise<void>, durationMs: number): Promise<number> {
  const startedMs = performance.now();
  let done = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - startedMs < durationMs) {
      await call();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (done * 1_000) / (performance.now() - startedMs);
}
