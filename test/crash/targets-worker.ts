/**
 * The process that the sweep over targets kills: an application that flows from one SQLite store into the
 * targets of one other store, of every kind it has. It writes numbered transactions, rebuilds what can be
 * rebuilt, and ends when everything has arrived.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { flow, open, put, tally, type FlowDefinition, type Key, type Row } from 'tallystick';
import { columnar, duckdb } from 'tallystick/duckdb';
import { files, segmentLog } from 'tallystick/files';
import { edges, fullText, keyValue, sqlite, table } from 'tallystick/sqlite';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ask } from '../support/ask.ts';

const [dir = '', kind = '', transactionsText = '0'] = process.argv.slice(2);
const transactions = Number(transactionsText);
const healed = process.env['STORY_HEALED'] === '1';

function items(into: string, asRow: (row: Row) => Row): FlowDefinition {
  return flow({
    from: 'source',
    tables: ['items'],
    to: 'target',
    into,
    batchRows: 20,
    project: (row) => {
      if (!healed && row['id'] === 'poison') throw new Error('poisoned');
      return put(into, [row['id'] as string], asRow(row));
    },
  });
}

/** Adds up by group, from changes and from rows of a snapshot alike. */
function sums(into: string): FlowDefinition {
  return flow({
    from: 'source',
    tables: ['facts'],
    to: 'target',
    into,
    batchRows: 20,
    fold: {
      apply: async ({ before, after }, state) => {
        const group = String((after ?? before)?.['item']);
        const [count = 0, total = 0] = ((await state.get(group)) ?? []) as readonly number[];
        const sign = (after === null ? 0 : 1) - (before === null ? 0 : 1);
        const amount = Number(after?.['amount'] ?? 0) - Number(before?.['amount'] ?? 0);
        state.set(group, [count + sign, total + amount]);
        return put(into, [group], { item: group, count: count + sign, total: total + amount });
      },
    },
  });
}

const item = ({ id = null, n = null, name = null }: Row): Row => ({ id, n, name });

const setups: Readonly<
  Record<string, () => { target: StoreDefinition; flows: Record<string, FlowDefinition> }>
> = {
  duckdb: () => ({
    target: duckdb({
      file: join(dir, 'target.duckdb'),
      targets: {
        columns: columnar({
          key: ['id'],
          columns: { id: 'VARCHAR', n: 'INTEGER', name: 'VARCHAR' },
        }),
        facts: columnar({
          key: ['id'],
          columns: { id: 'BIGINT', item: 'VARCHAR', amount: 'INTEGER' },
          appendOnly: true,
        }),
        sums: columnar({
          key: ['item'],
          columns: { item: 'VARCHAR', count: 'INTEGER', total: 'INTEGER' },
        }),
      },
    }),
    flows: {
      columns: items('columns', item),
      docs: items('docs', item),
      facts: flow({
        from: 'source',
        tables: ['facts'],
        to: 'target',
        into: 'facts',
        batchRows: 20,
        project: (row) => put('facts', [row['id']] as Key, row),
      }),
      sums: sums('sums'),
    },
  }),
  files: () => ({
    target: files({ dir: join(dir, 'target'), fsync: 'os' }),
    flows: { objects: items('objects', item) },
  }),
  sqlite: () => ({
    target: sqlite({
      file: join(dir, 'target.db'),
      targets: {
        typed: table({ key: ['id'], columns: { id: 'TEXT', n: 'INTEGER', name: 'TEXT' } }),
        texts: fullText({ columns: ['name'] }),
        links: edges(),
        pairs: keyValue({ ttl: '1h' }),
      },
    }),
    flows: {
      typed: items('typed', item),
      texts: items('texts', item),
      links: items('links', ({ id = null, n = null }) => ({
        from: id,
        to: `n${String(n)}`,
        kind: 'has',
      })),
      pairs: items('pairs', item),
      sums: sums('sums'),
    },
  }),
};

const sourceFile = join(dir, 'source.db');

/** Rows that are there before the flows are: the backfill has work. */
function seed(): void {
  using db = new DatabaseSync(sourceFile);
  db.exec(`CREATE TABLE IF NOT EXISTS items (id TEXT PRIMARY KEY, n INTEGER NOT NULL, name TEXT);
    CREATE TABLE IF NOT EXISTS facts (id INTEGER PRIMARY KEY, item TEXT NOT NULL, amount INTEGER NOT NULL)`);
  if (db.prepare('SELECT count(*) AS rows FROM items').get()?.['rows'] !== 0) return;
  db.exec('BEGIN');
  for (let id = 0; id < 30; id += 1) {
    db.prepare('INSERT INTO items VALUES (?, 0, ?)').run(`old${id}`, `word${id} seeded`);
    db.prepare('INSERT INTO facts (item, amount) VALUES (?, ?)').run(`old${id % 4}`, id);
  }
  db.exec('COMMIT');
}

/** Inserts, updates, deletes, a key that comes back, and one row written twice in a transaction. */
function transaction(db: DatabaseSync, number: number): void {
  const set = db.prepare(
    'INSERT INTO items VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = excluded.n, name = excluded.name',
  );
  const remove = db.prepare('DELETE FROM items WHERE id = ?');
  const fact = db.prepare('INSERT INTO facts (item, amount) VALUES (?, ?)');
  for (const id of [`hot${number % 3}`, `old${number % 30}`, 'all', 'all'])
    set.run(id, number, `word${number} ${id}`);
  if (number % 7 === 0) set.run('poison', number, 'poison');
  if (number % 5 === 2) remove.run(`hot${number % 3}`);
  if (number % 11 === 3) remove.run(`old${(number + 5) % 30}`);
  fact.run(`item${number % 4}`, number);
  if (number % 13 === 6) db.exec(`UPDATE items SET id = 'moved' WHERE id = 'old${number % 30}'`);
  if (number % 13 === 8) remove.run('moved');
  db.exec(`PRAGMA user_version = ${number}`);
}

async function main(): Promise<void> {
  seed();
  armFromEnvironment(process.env);
  const setup = setups[kind]?.() ?? { target: sqlite({ file: sourceFile }), flows: {} };
  const app = tally({
    name: 'targets',
    dir: join(dir, 'coordinator'),
    stores: { source: sqlite({ file: sourceFile }), target: setup.target },
    log: () => segmentLog({ dir: join(dir, 'log') }),
    flows: setup.flows,
  });
  await using running = await open(app);
  const { client } = running.stores.source;
  const done = Number(client.prepare('PRAGMA user_version').get()?.['user_version']);
  const rebuilt = join(dir, 'rebuilt');
  for (let number = done + 1; number <= transactions; number += 1) {
    await running.write('source', (db) => transaction(db, number));
    if (number % 10 === 0) await systemClock.sleep(10);
    // The first ones beside the backfill, the others after it: else a slow one would read them all as rows.
    if (number === 10)
      await running.barrier('target', {
        after: (await running.write('source', () => undefined)).evidence,
        within: '30s',
        keys: [{ table: 'items', key: ['all'] }],
      });
    if (number < transactions / 2 || existsSync(rebuilt) || kind === 'files') continue;
    await Promise.all(
      Object.keys(setup.flows).map((name) =>
        ask(running, { of: 'flow', flow: name, request: { kind: 'rebuild' } }),
      ),
    );
    writeFileSync(rebuilt, '');
  }
  if (healed)
    for (const name of Object.keys(setup.flows))
      await ask(running, {
        of: 'flow',
        flow: name,
        request: { kind: 'retry-parked', unit: undefined },
      });
  const head = await running.write('source', () => undefined);
  const keys = healed ? {} : { keys: [{ table: 'items', key: ['all'] }] };
  const freshness = await running.barrier('target', {
    after: head.evidence,
    within: '30s',
    ...keys,
  });
  if (freshness.kind === 'fresh') return;
  process.stderr.write(JSON.stringify({ freshness, status: await running.status() }));
  process.exitCode = 1;
}

await main();
