/**
 * The process that the crash sweep kills: an application of two SQLite stores with a row flow, a fold and a
 * key whose projection throws, which writes numbered changes, asks for a rebuild half-way, and ends when
 * everything has arrived. Started again after a kill, it goes on where its database says it was.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { flow, open, put, tally, type OpenApp } from 'tallystick';
import { segmentLog } from 'tallystick/files';
import { sqlite, type SqliteStore } from 'tallystick/sqlite';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ask } from '../support/ask.ts';

const [dir = '', transactionsText = '0'] = process.argv.slice(2);
const transactions = Number(transactionsText);
const healed = process.env['SWEEP_HEALED'] === '1';
const sourceFile = join(dir, 'source.db');

/** Rows that are there before the flows are: the backfill has work. */
function seed(): void {
  using db = new DatabaseSync(sourceFile);
  db.exec(
    'CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, n INTEGER NOT NULL, chain INTEGER NOT NULL)',
  );
  if (db.prepare('SELECT count(*) AS rows FROM counters').get()?.['rows'] !== 0) return;
  const insert = db.prepare('INSERT INTO counters VALUES (?, 0, 0)');
  db.exec('BEGIN');
  for (let key = 0; key < 50; key += 1) insert.run(`old${key}`);
  db.exec('COMMIT');
}

/** The checksum of everything that happened to a key, in order: one change lost, doubled or swapped shows for ever. */
function chained(chain: number, n: number): number {
  return crc32(`${chain}:${n}`);
}

const app = tally({
  name: 'sweep',
  dir: join(dir, 'coordinator'),
  stores: {
    source: sqlite({ file: sourceFile }),
    target: sqlite({ file: join(dir, 'target.db') }),
  },
  log: () => segmentLog({ dir: join(dir, 'log'), segmentBytes: 16 * 1024 }),
  flows: {
    copy: flow({
      from: 'source',
      tables: ['counters'],
      to: 'target',
      into: 'copies',
      batchRows: 40,
      project: (row) => {
        if (!healed && row['key'] === 'poison') throw new Error('poisoned');
        return put('copies', [row['key'] as string], row);
      },
    }),
    chain: flow({
      from: 'source',
      tables: ['counters'],
      to: 'target',
      into: 'chains',
      batchRows: 40,
      fold: {
        apply: async ({ operation, key, after }, state) => {
          const name = String(key[0]);
          if (after === null) {
            state.delete(name);
            return { target: 'chains', key, row: null };
          }
          const before = ((await state.get(name)) as number | undefined) ?? 0;
          const chain =
            operation === 'read' ? Number(after['chain']) : chained(before, Number(after['n']));
          state.set(name, chain);
          return put('chains', key, { n: after['n'] ?? 0, chain });
        },
      },
    }),
  },
});

type Sweep = OpenApp<(typeof app)['stores']>;

async function transaction(running: Sweep, number: number): Promise<void> {
  await running.write('source', (db) => {
    const get = db.prepare('SELECT n, chain FROM counters WHERE key = ?');
    const set = db.prepare(
      'INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = excluded.n, chain = excluded.chain',
    );
    const touch = (key: string): void => {
      const row = get.get(key);
      set.run(key, number, chained(Number(row?.['chain'] ?? 0), number));
    };
    for (const key of [`hot${number % 3}`, `warm${number % 17}`, `old${number % 50}`, 'all', 'all'])
      touch(key);
    if (number % 10 === 0) touch('poison');
    if (number % 25 === 24)
      db.prepare('DELETE FROM counters WHERE key = ?').run(`warm${number % 17}`);
    db.exec(`PRAGMA user_version = ${number}`);
  });
}

async function main(): Promise<void> {
  seed();
  armFromEnvironment(process.env);
  await using running = await open(app);
  const store: SqliteStore = running.stores.source;
  const rebuilt = join(dir, 'rebuilt');
  for (
    let number = Number(store.client.prepare('PRAGMA user_version').get()?.['user_version']) + 1;
    number <= transactions;
    number += 1
  ) {
    await transaction(running, number);
    if (number % 10 === 0) await systemClock.sleep(5);
    if (number >= transactions / 2 && !existsSync(rebuilt)) {
      await ask(running, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } });
      writeFileSync(rebuilt, '');
    }
  }
  if (healed)
    await ask(running, {
      of: 'flow',
      flow: 'copy',
      request: { kind: 'retry-parked', unit: undefined },
    });
  const keys = healed ? {} : { keys: [{ table: 'counters', key: ['all'] }] };
  const head = await running.write('source', () => undefined);
  const freshness = await running.barrier('target', {
    after: head.evidence,
    within: '30s',
    ...keys,
  });
  // Some rounds of maintenance: the log is released, so that the point of that is passed too.
  if (process.env['SWEEP_LINGER'] === '1') await systemClock.sleep(2_500);
  if (freshness.kind === 'fresh') return;
  process.stderr.write(JSON.stringify({ freshness, status: await running.status() }));
  process.exitCode = 1;
}

await main();
