import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { COLUMNS, INSERT, lineOf, SOURCE_FILE, type Target } from './app.ts';
import type {
  CoordinatorAnswer,
  CoordinatorRequest,
  Reached,
  WriterSettings,
  Written,
} from './messages.ts';
import { child, type Child } from './process.ts';

type Coordinator = Child<CoordinatorRequest, CoordinatorAnswer>;

/** What carrying some rows came to. */
export interface Carried {
  readonly rows: number;
  readonly rowsPerSecond: number;
  /** The rate of the process that wrote them: beside the flow, or while it was down. */
  readonly writtenPerSecond?: number;
  readonly peakRssMiB: number;
}

/** Rows that are in the table before its flow exists: from opening the application to applied. */
export async function backfill(
  dir: string,
  target: Target,
  rows: number,
  nodeOptions: readonly string[] = [],
): Promise<Carried> {
  await prepare(dir, rows);
  await using coordinator: Coordinator = child('coordinator.ts', { dir, target }, nodeOptions);
  const { startedAtMs } = opened(await coordinator.next());
  const reached = await reach(coordinator, 0);
  await coordinator.end({ kind: 'close' });
  check(dir, target, reached, rows);
  return carried(rows, startedAtMs, reached);
}

/** Rows written while the flow stands at the head: from the first append to the last row applied. */
export async function burst(
  dir: string,
  target: Target,
  rows: number,
  rowsPerTransaction: number,
  nodeOptions: readonly string[] = [],
): Promise<Carried> {
  await prepare(dir, 0);
  await using coordinator: Coordinator = child('coordinator.ts', { dir, target }, nodeOptions);
  opened(await coordinator.next());
  await reach(coordinator, 0);
  const written = await write({ dir, target, firstId: 0, rows, rowsPerTransaction });
  const reached = await reach(coordinator, written.head);
  await coordinator.end({ kind: 'close' });
  check(dir, target, reached, rows);
  return { ...carried(rows, written.firstAtMs, reached), ...writtenRate(rows, written) };
}

/** Rows written while the worker was down: from opening it again to the last row applied. */
export async function catchUp(
  dir: string,
  target: Target,
  rows: number,
  rowsPerTransaction: number,
): Promise<Carried> {
  await prepare(dir, 0);
  {
    await using first: Coordinator = child('coordinator.ts', { dir, target });
    opened(await first.next());
    await reach(first, 0);
    await first.end({ kind: 'close' });
  }
  const written = await write({ dir, target, firstId: 0, rows, rowsPerTransaction });
  await using coordinator: Coordinator = child('coordinator.ts', { dir, target });
  const { startedAtMs } = opened(await coordinator.next());
  const reached = await reach(coordinator, written.head);
  await coordinator.end({ kind: 'close' });
  check(dir, target, reached, rows);
  return { ...carried(rows, startedAtMs, reached), ...writtenRate(rows, written) };
}

/** Lag in milliseconds from commit to applied, at a steady rate. */
export async function lag(
  dir: string,
  target: Target,
  rowsPerSecond: number,
  seconds: number,
): Promise<{ readonly p50: number; readonly p99: number; readonly max: number }> {
  await prepare(dir, 0);
  await using coordinator: Coordinator = child('coordinator.ts', { dir, target });
  opened(await coordinator.next());
  await reach(coordinator, 0);
  const rows = rowsPerSecond * seconds;
  const settings = { dir, target, firstId: 0, rows, rowsPerTransaction: 10, rowsPerSecond };
  const { head } = await write(settings);
  const { flow } = await reach(coordinator, head);
  await coordinator.end({ kind: 'close' });
  const { p50, p99, max } = flow.lagMs;
  return { p50: round(p50), p99: round(p99), max: round(max) };
}

/** The same rows by hand: read and inserted in batches, each as durable as the flow's. */
export async function byHand(dir: string, rows: number): Promise<number> {
  await prepare(dir, rows);
  const source = new DatabaseSync(join(dir, SOURCE_FILE), { readOnly: true });
  const target = new DatabaseSync(join(dir, 'by-hand.db'));
  target.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  target.exec(`CREATE TABLE lines (${COLUMNS})`);
  const insert = target.prepare(INSERT);
  const select = source.prepare('SELECT * FROM lines WHERE id > ? ORDER BY id LIMIT 2000');
  const startedMs = performance.now();
  for (let after = -1; ;) {
    const batch = select.all(after);
    if (batch.length === 0) break;
    target.exec('BEGIN IMMEDIATE');
    for (const row of batch) insert.run(...Object.values(row));
    target.exec('COMMIT');
    after = Number(batch.at(-1)?.['id']);
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  source.close();
  target.close();
  return Math.round(rows / seconds);
}

async function prepare(dir: string, rows: number): Promise<void> {
  await mkdir(dir, { recursive: true });
  const database = new DatabaseSync(join(dir, SOURCE_FILE));
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
  database.exec(`CREATE TABLE lines (${COLUMNS})`);
  const insert = database.prepare(INSERT);
  database.exec('BEGIN');
  for (let id = 0; id < rows; id++) insert.run(...lineOf(id));
  database.exec('COMMIT');
  database.close();
}

async function write(settings: WriterSettings): Promise<Written> {
  await using writer: Child<never, Written> = child('writer.ts', settings);
  const written = await writer.next();
  await writer.end();
  return written;
}

async function reach(coordinator: Coordinator, head: number): Promise<Reached> {
  const answer = await coordinator.ask({ kind: 'reach', head });
  if (answer.kind !== 'reached' || answer.freshness !== 'fresh')
    throw new Error(`the flow did not get there: ${JSON.stringify(answer)}`);
  return answer;
}

function opened(answer: CoordinatorAnswer): { readonly startedAtMs: number } {
  if (answer.kind !== 'open') throw new Error(`unexpected answer ${answer.kind}`);
  return answer;
}

function check(dir: string, target: Target, { flow }: Reached, rows: number): void {
  if (flow.applied !== rows)
    throw new Error(`${flow.applied} of ${rows} rows were applied to ${target} in ${dir}`);
}

function writtenRate(rows: number, { firstAtMs, lastAtMs }: Written): { writtenPerSecond: number } {
  return { writtenPerSecond: Math.round((rows * 1_000) / (lastAtMs - firstAtMs)) };
}

function carried(rows: number, startedAtMs: number, reached: Reached): Carried {
  return {
    rows,
    rowsPerSecond: Math.round((rows * 1_000) / (reached.atMs - startedAtMs)),
    peakRssMiB: Math.round(reached.peakRssBytes / 2 ** 20),
  };
}

function round(value: number | null): number {
  return Math.round((value ?? 0) * 10) / 10;
}
