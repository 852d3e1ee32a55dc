import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { Pool } from 'pg';
import { z } from 'zod';
import {
  aggregates,
  decider,
  type Aggregates,
  type Decider,
} from '../src/patterns/events/index.ts';
import type { EventStore } from '../src/ports/events.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { postgres } from '../src/stores/postgres/index.ts';
import { sqlite } from '../src/stores/sqlite/index.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { durablePostgres } from './postgres/servers.ts';

const EVENTS = 1_000;
/** Of the time that the driver needs for the same rows, their JSON parsed. */
const BAR = 1.3;

/** What a state costs, beside reading the rows that it is made of. */
export const aggregatesBench: Bench = {
  name: 'aggregates',
  about: `loading an aggregate of ${EVENTS} events, against the same rows read by the driver alone`,
  run,
};

type Counter = {
  readonly command: number;
  readonly state: { readonly total: number; readonly count: number };
  readonly event: {
    readonly type: 'counted';
    readonly data: { readonly by: number; readonly note: string };
  };
};

function counter(schema?: z.ZodType<Counter['event']['data']>): Decider<Counter> {
  return decider<Counter>({
    category: 'counter',
    initial: { total: 0, count: 0 },
    decide: (by) =>
      Array.from(
        { length: 100 },
        () => ({ type: 'counted', data: { by, note: 'x'.repeat(120) } }) as const,
      ),
    evolve: ({ total, count }, { data }) => ({ total: total + data.by, count: count + 1 }),
    events: { counted: schema === undefined ? {} : { schema } },
  });
}

const checked = counter(z.object({ by: z.number(), note: z.string() }));

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 3 : 60;
  const inSqlite = await onSqlite(dir, rounds);
  const inPostgres = await onPostgres(rounds);
  return {
    claims: [...claims('SQLite', inSqlite), ...claims('PostgreSQL', inPostgres)],
    details: { events: EVENTS, rounds, sqlite: inSqlite, postgres: inPostgres },
  };
}

/** Medians, in milliseconds. */
interface Times {
  /** The driver, all columns of an event; and those alone that a state is made of. */
  readonly raw: number;
  readonly needed: number;
  readonly pages: number;
  readonly load: number;
  readonly checked: number;
  /** Medians of load ÷ raw, and load ÷ needed, of the same round. */
  readonly ratio: number;
  readonly ratioNeeded: number;
}

function claims(engine: string, times: Times): readonly BenchClaim[] {
  return [
    {
      claim: `${engine}: loading ${EVENTS} events ÷ the driver's own read`,
      bar: BAR,
      measured: times.ratio,
      unit: '×',
      met: times.ratio <= BAR,
    },
    {
      claim: `${engine}: the same ÷ a read of nothing but version, type, data and metadata`,
      measured: times.ratioNeeded,
      unit: '×',
    },
    { claim: `${engine}: loading ${EVENTS} events, p50`, measured: times.load, unit: 'ms' },
    {
      claim: `${engine}: the same, each event checked by Zod, p50`,
      measured: times.checked,
      unit: 'ms',
    },
  ];
}

async function onSqlite(dir: string, rounds: number): Promise<Times> {
  const file = join(dir, 'events.db');
  await using store = await sqlite({ file, capture: 'events' }).open({
    name: 'bench',
    clock: systemClock,
    random: systemRandom,
  });
  await fill(store.events);
  using db = new DatabaseSync(file, { readOnly: true });
  const select = (columns: string): (() => Promise<readonly Row[]>) => {
    const statement = db.prepare(
      `SELECT ${columns} FROM _tally_events WHERE stream = ? ORDER BY version`,
    );
    return () => Promise.resolve(parsed(statement.all('counter-a') as unknown as Row[]));
  };
  const times = await measure(rounds, store.events, {
    rows: select('*'),
    needed: select('version, type, schema_version, data, metadata'),
  });
  return times;
}

async function onPostgres(rounds: number): Promise<Times> {
  await using server = await durablePostgres();
  await using store = await postgres({ url: server.url, capture: 'events' }).open({
    name: 'bench',
    clock: systemClock,
    random: systemRandom,
  });
  await fill(store.events);
  const pool = new Pool({ connectionString: server.url, max: 1 });
  const table = await pool.query<{ name: string }>(
    `SELECT schemaname || '.events' AS name FROM pg_tables WHERE tablename = 'events' AND schemaname LIKE '%tally%'`,
  );
  const select = (name: string, columns: string): (() => Promise<readonly Row[]>) => {
    // As text, so that the JSON is parsed once, here as there.
    const text = `SELECT ${columns}, data::text, metadata::text FROM ${String(table.rows[0]?.name)} WHERE stream = $1 ORDER BY version`;
    return async () => parsed((await pool.query<Row>({ name, text, values: ['counter-a'] })).rows);
  };
  const times = await measure(rounds, store.events, {
    rows: select(
      'rows',
      'stream, version::float8, position::float8, id, type, schema_version, correlation_id, causation_id, tags, extract(epoch FROM at)::float8 * 1000 AS at',
    ),
    needed: select('needed', 'version::float8, type, schema_version'),
  });
  await pool.end();
  return times;
}

interface Row {
  data: unknown;
  metadata: unknown;
}

/** In place: the raw side is spared every copy. */
function parsed(rows: Row[]): readonly Row[] {
  for (const row of rows) {
    row.data = JSON.parse(String(row.data));
    row.metadata = JSON.parse(String(row.metadata));
  }
  return rows;
}

async function fill(events: EventStore): Promise<void> {
  const all = aggregates(counter(), { events });
  for (let at = 0; at < EVENTS; at += 100) await all.handle('a', 1);
}

/** The sides take turns, so that a busy moment is one of all of them. */
async function measure(
  rounds: number,
  events: EventStore,
  raw: {
    readonly rows: () => Promise<readonly Row[]>;
    readonly needed: () => Promise<readonly Row[]>;
  },
): Promise<Times> {
  const plain = aggregates(counter(), { events });
  const withSchema = aggregates(checked, { events });
  const times = {
    raw: [] as number[],
    needed: [] as number[],
    pages: [] as number[],
    load: [] as number[],
    checked: [] as number[],
  };
  const ratios: number[] = [];
  const ratiosNeeded: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const rawMs = await timed(async () => expectAll((await raw.rows()).length));
    const neededMs = await timed(async () => expectAll((await raw.needed()).length));
    const pagesMs = await timed(async () => {
      let count = 0;
      for await (const page of events.readStream('counter-a')) count += page.length;
      expectAll(count);
    });
    const loadMs = await timed(() => load(plain));
    const checkedMs = await timed(() => load(withSchema));
    if (round < 0) continue;
    times.raw.push(rawMs);
    times.needed.push(neededMs);
    times.pages.push(pagesMs);
    times.load.push(loadMs);
    times.checked.push(checkedMs);
    ratios.push(loadMs / rawMs);
    ratiosNeeded.push(loadMs / neededMs);
  }
  return {
    raw: median(times.raw),
    needed: median(times.needed),
    pages: median(times.pages),
    load: median(times.load),
    checked: median(times.checked),
    ratio: median(ratios),
    ratioNeeded: median(ratiosNeeded),
  };
}

async function load(all: Aggregates<Counter>): Promise<void> {
  expectAll((await all.load('a')).state.count);
}

function expectAll(count: number): void {
  if (count !== EVENTS) throw new Error(`${count} events were read instead of ${EVENTS}`);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}

function median(numbers: readonly number[]): number {
  return (
    numbers.toSorted((left, right) => left - right)[Math.floor(numbers.length / 2)] ?? Number.NaN
  );
}
