import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { sqlite, type SqliteStore } from '../src/stores/sqlite/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

const COLUMNS =
  'id INTEGER PRIMARY KEY, customer TEXT, sku TEXT, quantity INTEGER, price REAL, note TEXT';
const INSERT = 'INSERT INTO orders (customer, sku, quantity, price, note) VALUES (?, ?, ?, ?, ?)';
const CALLERS = 16;
const PER_ROUND = 64;
const TRANSACTIONS = 10;
const BATCH = { rowsMax: 2_000, bytesMax: 4 * 2 ** 20 };

/**
 * What capture costs the writer, and how fast it is read.
 *
 * Triggers or the session extension? A session (createSession, changeset) costs the writer less, but it
 * sees only what its own connection writes: another program, the sqlite3 shell, a second process of
 * the same application are not captured; and it keeps the changes in memory until somebody stores
 * the changeset, so those that were committed before a crash and not yet stored are lost. Storing it in the
 * same transaction costs what the triggers cost. Triggers lose nothing: that decides, not the speed.
 */
export const captureSqlite: Bench = {
  name: 'capture-sqlite',
  about: 'SQLite as a source: trigger overhead, evidence on the write path, stream rate',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const rows = quick ? 5_000 : 100_000;
  const plain = insertRate(open(dir, 'plain'), rows);
  const session = sessionRate(dir, rows);
  await using store = await openStore(dir, 'captured', 'NORMAL');
  store.client.exec(`CREATE TABLE orders (${COLUMNS})`);
  await store.source.prepare(['orders']);
  const captured = insertRate(store.client, rows);
  const streamed = await streamRate(store, rows);
  const autoincrement = autoincrementCost(dir, rows);

  const evidence = {
    'one row, FULL': await evidenceCost(dir, { synchronous: 'FULL', rowsEach: 1, quick }),
    'order of eight rows, FULL': await evidenceCost(dir, {
      synchronous: 'FULL',
      rowsEach: 8,
      quick,
    }),
    'one row, NORMAL': await evidenceCost(dir, { synchronous: 'NORMAL', rowsEach: 1, quick }),
  };
  return {
    claims: [
      ...Object.entries(evidence).map(([name, cost]) => ({
        claim: `evidence of write(), against the same transactions by hand, 16 callers, ${name}`,
        // Without fsync the transaction itself is so short that the one statement more shows: no bar.
        ...(name.includes('FULL') ? { bar: 2, met: cost.percent <= 2 } : {}),
        measured: round(cost.percent),
        unit: '% more time',
      })),
      {
        claim: 'stream of small rows',
        bar: 250_000,
        measured: Math.round(streamed),
        unit: 'rows/s',
        met: streamed >= 250_000,
      },
      {
        claim: 'inserts with capture, of the same without',
        measured: round(plain / captured),
        unit: 'times the time',
      },
      {
        claim: 'inserts with a session and its stored changeset, of the same without',
        measured: round(plain / session),
        unit: 'times the time',
      },
    ],
    details: {
      rows,
      insertsPerSecond: {
        plain: Math.round(plain),
        session: Math.round(session),
        captured: Math.round(captured),
      },
      captureMicrosecondsPerRow: round(1e6 / captured - 1e6 / plain),
      autoincrementTimesTheTime: round(autoincrement),
      evidence,
    },
  };
}

interface EvidenceCost {
  readonly byHandMicroseconds: number;
  readonly writeMicroseconds: number;
  readonly percent: number;
}

/**
 * `write()` against the same transaction by hand on the same table with its triggers. Short rounds in
 * turns, and medians of them, so that a disk or a neighbour that is slow for a moment hits both alike.
 */
async function evidenceCost(
  dir: string,
  options: {
    readonly synchronous: 'FULL' | 'NORMAL';
    readonly rowsEach: number;
    readonly quick: boolean;
  },
): Promise<EvidenceCost> {
  const { synchronous, rowsEach, quick } = options;
  await using store = await openStore(dir, `evidence-${synchronous}-${rowsEach}`, synchronous);
  const { client, source } = store;
  client.exec(`CREATE TABLE orders (${COLUMNS})`);
  await source.prepare(['orders']);
  const insert = client.prepare(INSERT);
  const begin = client.prepare('BEGIN IMMEDIATE');
  const commit = client.prepare('COMMIT');
  const place = (row: number): void => {
    for (let line = 0; line < rowsEach; line++) insert.run(...order(row + line));
  };
  const byHand: number[] = [];
  const write: number[] = [];
  for (let turn = 0; turn < (quick ? 5 : 300); turn++) {
    const each = [
      async () => {
        byHand.push(
          await callersMs(async (row) => {
            begin.run();
            place(row);
            commit.run();
          }),
        );
      },
      async () => {
        write.push(
          await callersMs(async (row) => {
            await source.write(() => place(row));
          }),
        );
      },
    ];
    for (const measure of turn % 2 === 0 ? each : each.toReversed()) await measure();
  }
  const [handMs, writeMs] = [median(byHand), median(write)];
  return {
    byHandMicroseconds: round((handMs / PER_ROUND) * 1_000),
    writeMicroseconds: round((writeMs / PER_ROUND) * 1_000),
    percent: (writeMs / handMs - 1) * 100,
  };
}

function openStore(
  dir: string,
  name: string,
  synchronous: 'FULL' | 'NORMAL',
): Promise<SqliteStore> {
  const definition = sqlite({ file: join(dir, `${name}.db`), synchronous });
  return definition.open({ name, clock: systemClock, random: systemRandom });
}

function open(dir: string, name: string): DatabaseSync {
  const database = new DatabaseSync(join(dir, `${name}.db`));
  database.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE orders (${COLUMNS})`,
  );
  return database;
}

/** Rows per second of the fastest of some transactions: what it costs when nobody interferes. */
function insertRate(database: DatabaseSync, rows: number): number {
  const insert = database.prepare(INSERT);
  const each = rows / TRANSACTIONS;
  const rates = Array.from({ length: TRANSACTIONS }, () =>
    rate(each, () => {
      database.exec('BEGIN IMMEDIATE');
      for (let row = 0; row < each; row++) insert.run(...order(row));
      database.exec('COMMIT');
    }),
  );
  return Math.max(...rates);
}

function order(row: number): [string, string, number, number, string] {
  return [
    `customer ${row % 1_000}`,
    `sku-${row % 100}`,
    row % 7,
    (row % 100) + 0.99,
    'a note of some words',
  ];
}

/** As {@link insertRate}, with a session whose changeset is stored in the same transaction. */
function sessionRate(dir: string, rows: number): number {
  const database = open(dir, 'session');
  database.exec('CREATE TABLE changesets (seq INTEGER PRIMARY KEY, body BLOB)');
  const insert = database.prepare(INSERT);
  const store = database.prepare('INSERT INTO changesets (body) VALUES (?)');
  const each = rows / TRANSACTIONS;
  const rates = Array.from({ length: TRANSACTIONS }, () =>
    rate(each, () => {
      const session = database.createSession({ table: 'orders' });
      database.exec('BEGIN IMMEDIATE');
      for (let row = 0; row < each; row++) insert.run(...order(row));
      store.run(session.changeset());
      database.exec('COMMIT');
      session.close();
    }),
  );
  database.close();
  return Math.max(...rates);
}

/** How much longer the same inserts into a table like ours take with AUTOINCREMENT. */
function autoincrementCost(dir: string, rows: number): number {
  const [without = 1, withIt = 1] = ['', ' AUTOINCREMENT'].map((word, index) => {
    const database = open(dir, `sequence-${index}`);
    database.exec(`CREATE TABLE changes (seq INTEGER PRIMARY KEY${word}, body TEXT);
      CREATE TRIGGER captured AFTER INSERT ON orders BEGIN INSERT INTO changes (body) VALUES (NEW.note); END`);
    const measured = insertRate(database, rows);
    database.close();
    return measured;
  });
  return without / withIt;
}

async function streamRate(store: SqliteStore, rows: number): Promise<number> {
  const stop = new AbortController();
  const startMs = systemClock.monotonicMs();
  let changes = 0;
  for await (const batch of store.source.stream({
    after: undefined,
    ...BATCH,
    signal: stop.signal,
  })) {
    changes += batch.filter((entry) => entry.kind === 'change').length;
    if (changes >= rows) break;
  }
  return (changes / (systemClock.monotonicMs() - startMs)) * 1_000;
}

/** How long a round of calls takes that {@link CALLERS} callers share. */
async function callersMs(call: (row: number) => Promise<void>): Promise<number> {
  const startMs = systemClock.monotonicMs();
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < PER_ROUND) await call(next++);
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return systemClock.monotonicMs() - startMs;
}

function rate(count: number, work: () => void): number {
  const startMs = systemClock.monotonicMs();
  work();
  return (count / (systemClock.monotonicMs() - startMs)) * 1_000;
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
