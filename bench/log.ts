import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { LogRecord } from '../src/ports/log.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { segmentLog } from '../src/stores/files/log/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

/** A row image as captured from a small table, with its key: about 200 bytes. */
const PAYLOAD_BYTES = 200;
/** Two records of commit and change beside it are not worth their own batch size. */
const BATCHES = [1, 16, 256, 4096] as const;
const READ_BATCH = { recordsMax: 4096, bytesMax: 1024 * 1024 } as const;

const context = { name: 'bench', clock: systemClock, random: systemRandom };

interface Contender {
  /** Makes one batch durable. */
  write(records: readonly LogRecord[], bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** Append and read of the embedded log, against one writer of raw batches and against SQLite. */
export const logBench: Bench = {
  name: 'log',
  about: 'the embedded log: durable appends against raw writes and SQLite in one run, and reads',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 2 : 60;
  const roundMs = quick ? 10 : 40;
  const appended: Record<string, unknown> = {};
  let worst = Infinity;
  let worstToSqlite = Infinity;
  for (const batch of BATCHES) {
    const rates = await appendRates(join(dir, `batch-${batch}`), batch, rounds, roundMs);
    appended[`batches of ${batch}`] = rates;
    worst = Math.min(worst, rates.ofRaw);
    worstToSqlite = Math.min(worstToSqlite, rates.ofSqlite);
  }
  const read = await readRates(join(dir, 'read'), quick ? 50_000 : 1_000_000);
  return {
    claims: [
      claim(
        'append by two callers, of the rate of one raw writer, worst batch size',
        0.8,
        round(worst),
        'x',
      ),
      {
        claim: 'append by two callers, of the rate of SQLite, worst batch size',
        measured: round(worstToSqlite),
        unit: 'x',
      },
      claim('read in sequence', 500_000, Math.round(read.log), 'entries/s'),
    ],
    details: {
      payloadBytes: PAYLOAD_BYTES,
      appendedRecordsPerSecond: appended,
      readPerSecond: read,
    },
  };
}

interface Rates {
  readonly raw: number;
  readonly log: number;
  readonly alone: number;
  readonly sqlite: number;
  readonly ofRaw: number;
  /** One caller that waits for each append before it makes the next. */
  readonly aloneOfRaw: number;
  readonly ofSqlite: number;
}

/**
 * Records per second of each contender. They take turns in short rounds, and the median of the
 * rounds' ratios counts: the speed of a disk's sync wanders, and would else decide the comparison.
 */
async function appendRates(
  dir: string,
  batch: number,
  rounds: number,
  roundMs: number,
): Promise<Rates> {
  await mkdir(dir, { recursive: true });
  const records = recordsOf(0, batch);
  const bytes = Buffer.from(records.map(({ payload }) => payload).join(''));
  const contenders = {
    raw: await raw(dir),
    log: await ours(dir),
    alone: await ours(join(dir, 'alone')),
    sqlite: sqlite(dir),
  };
  const names = ['raw', 'log', 'alone', 'sqlite'] as const;
  const rates: Record<(typeof names)[number], number[]> = {
    raw: [],
    log: [],
    alone: [],
    sqlite: [],
  };
  for (let turn = 0; turn <= rounds; turn += 1) {
    for (const name of names) {
      const start = performance.now();
      let done = 0;
      const call = async (): Promise<void> => {
        while (performance.now() - start < roundMs) {
          await contenders[name].write(records, bytes);
          done += batch;
        }
      };
      // The second caller's batch waits while the first's is written: frames stay of one batch.
      await Promise.all(name === 'log' ? [call(), call()] : [call()]);
      // The first turn warms up.
      if (turn > 0) rates[name].push((done * 1000) / (performance.now() - start));
    }
  }
  for (const contender of Object.values(contenders)) await contender.close();
  const over = (name: 'log' | 'alone', base: 'raw' | 'sqlite'): number =>
    round(median(rates[name].map((rate, turn) => rate / (rates[base][turn] ?? Infinity))));
  return {
    raw: Math.round(median(rates.raw)),
    log: Math.round(median(rates.log)),
    alone: Math.round(median(rates.alone)),
    sqlite: Math.round(median(rates.sqlite)),
    ofRaw: over('log', 'raw'),
    aloneOfRaw: over('alone', 'raw'),
    ofSqlite: over('log', 'sqlite'),
  };
}

async function raw(dir: string): Promise<Contender> {
  const handle = await open(join(dir, 'raw'), 'w');
  let position = 0;
  return {
    write: async (_records, bytes) => {
      await handle.write(bytes, 0, bytes.length, position);
      await handle.datasync();
      position += bytes.length;
    },
    close: () => handle.close(),
  };
}

async function ours(dir: string): Promise<Contender> {
  const log = await segmentLog({ dir: join(dir, 'log') }).open(context);
  const appender = await log.openAppender(1);
  return {
    write: async (records) => {
      await appender.append(records);
    },
    close: () => log.close(),
  };
}

/** The same records as rows, a transaction a batch, in the mode of SQLite that is as durable. */
function sqlite(dir: string): Contender {
  const { database, insert } = openSqlite(join(dir, 'log.sqlite'));
  return {
    write: async (records) => {
      database.exec('BEGIN');
      for (const record of records) insert(record);
      database.exec('COMMIT');
    },
    close: async () => database.close(),
  };
}

function openSqlite(file: string): { database: DatabaseSync; insert: (record: LogRecord) => void } {
  const database = new DatabaseSync(file);
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec(
    'CREATE TABLE log (at INTEGER PRIMARY KEY, kind INTEGER, epoch INTEGER, offset INTEGER, ordinal INTEGER, payload TEXT)',
  );
  const statement = database.prepare(
    'INSERT INTO log (kind, epoch, offset, ordinal, payload) VALUES (?, ?, ?, ?, ?)',
  );
  const insert = ({ kind, epoch, offset, ordinal, payload }: LogRecord): void => {
    statement.run(kind === 'commit' ? 1 : 0, epoch, offset, ordinal, payload);
  };
  return { database, insert };
}

/** Records per second that one reader takes out of a log that is closed and opened again. */
async function readRates(dir: string, count: number): Promise<{ log: number; sqlite: number }> {
  await mkdir(dir, { recursive: true });
  const writer = await ours(dir);
  const { database, insert } = openSqlite(join(dir, 'log.sqlite'));
  for (let from = 0; from < count; from += 1000) {
    const records = recordsOf(from, 1000);
    await writer.write(records, Buffer.alloc(0));
    database.exec('BEGIN');
    for (const record of records) insert(record);
    database.exec('COMMIT');
  }
  await writer.close();

  const start = performance.now();
  await using log = await segmentLog({ dir: join(dir, 'log') }).open(context);
  const { signal } = new AbortController();
  let next = 0;
  while (next < count) ({ next } = await log.read({ from: next, ...READ_BATCH, signal }));
  const logMs = performance.now() - start;

  const rows = database.prepare('SELECT * FROM log WHERE at > ? ORDER BY at LIMIT ?');
  const sqliteStart = performance.now();
  let at = 0;
  while (at < count) at += rows.all(at, READ_BATCH.recordsMax).length;
  const sqliteMs = performance.now() - sqliteStart;
  database.close();
  return { log: (count * 1000) / logMs, sqlite: (count * 1000) / sqliteMs };
}

/** Changes of one row each, with a commit after every tenth. */
function recordsOf(from: number, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, index) => {
    const ordinal = (from + index) % 10;
    const offset = Math.floor((from + index) / 10);
    const payload = `{"t":"orders","o":"u","k":[${from + index}],"b":null,"a":{"note":"`;
    return {
      kind: ordinal === 9 ? 'commit' : 'change',
      epoch: 1,
      offset,
      ordinal,
      payload: `${payload.padEnd(PAYLOAD_BYTES - 3, 'x')}"}}`,
    };
  });
}

function claim(
  text: string,
  bar: number,
  measured: number,
  unit: string,
): BenchResult['claims'][number] {
  return { claim: text, bar, measured, unit, met: measured >= bar };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
