import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { sqlite } from '../src/stores/sqlite/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { callers, fill, sample, seconds } from './events/callers.ts';
import { median } from './flow.ts';

const CALLERS = 256;
const BAR = 0.7;

/**
 * Single appends of 256 callers to an event store in SQLite, over transactions of 256 rows by hand: the same columns,
 * the same unique indexes, the same durability.
 */
export const eventsSqlite: Bench = {
  name: 'events-sqlite',
  about: 'single appends of 256 callers to an event store in SQLite, over batched inserts by hand',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const turnMs = quick ? 100 : 700;
  const context = { name: 'bank', clock: systemClock, random: systemRandom };
  await using store = await sqlite({ file: join(dir, 'events.db'), capture: 'events' }).open(
    context,
  );
  using raw = new DatabaseSync(join(dir, 'raw.db'));
  const batch = rawBatch(raw);
  const rounds: { readonly store: number; readonly raw: number }[] = [];
  for (let round = 0; round <= (quick ? 1 : 8); round += 1) {
    const one = {
      raw: CALLERS * (await callers(1, turnMs, async (n) => batch(n))).perSecond,
      store: (
        await callers(CALLERS, turnMs, (n) =>
          store.events.append(`stream-${n}-${round}`, [sample(n)]),
        )
      ).perSecond,
    };
    // The first round starts the thread.
    if (round > 0) rounds.push(one);
  }
  const measured = median(rounds.map((one) => one.store / one.raw));
  const before = await store.events.head();
  await fill(store.events, quick ? 10_000 : 100_000);
  const count = (await store.events.head()) - before;
  const took = await seconds(async () => {
    for await (const page of store.events.readAll({ after: before }))
      if (page.events.length === 0) throw new Error('a page is empty');
  });
  return {
    claims: [
      {
        claim: `single appends of ${CALLERS} callers over batched inserts`,
        bar: BAR,
        measured,
        unit: '×',
        met: measured >= BAR,
      },
      { claim: 'replay', measured: Math.round(count / took), unit: 'events/s' },
    ],
    details: {
      appendsPerSecond: Math.round(median(rounds.map((one) => one.store))),
      rawInsertsPerSecond: Math.round(median(rounds.map((one) => one.raw))),
    },
  };
}

function rawBatch(raw: DatabaseSync): (n: number) => void {
  raw.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE raw (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
      type TEXT NOT NULL, schema_version INTEGER NOT NULL, at_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, ends INTEGER NOT NULL,
      data TEXT NOT NULL, metadata TEXT NOT NULL, UNIQUE (stream, version)) STRICT`);
  const insert = raw.prepare(
    `INSERT INTO raw (stream, version, id, type, schema_version, at_ms, bytes, ends, data, metadata) VALUES (?, 1, ?, 'Deposited', 1, 1, 200, 1, ?, '{}')`,
  );
  let stream = 0;
  return (n) => {
    raw.exec('BEGIN IMMEDIATE');
    for (let row = 0; row < CALLERS; row += 1)
      insert.run(`stream-${(stream += 1)}`, randomUUID(), JSON.stringify(sample(n).data));
    raw.exec('COMMIT');
  };
}
