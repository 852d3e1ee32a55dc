import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DuckDBInstance } from '@duckdb/node-api';
import { describe, expect, test } from 'vitest';
import { crashPoints, serverCrashPoints } from '../../src/observe/point.ts';
import { runStory } from './story.ts';

/** Transactions of one story: each point is passed several times. */
const TRANSACTIONS = 80;

/** The points that lie in a target's way; those of capture, log and ledger have a sweep of their own. */
const points = crashPoints.filter(
  (name) => /^(sink|flow|rebuild)\./.test(name) && !serverCrashPoints.includes(name),
);

/** The fenced target has no generations to rebuild. */
const kinds = {
  duckdb: { points, check: checkDuckdb },
  files: { points: points.filter((name) => !name.startsWith('rebuild.')), check: checkFiles },
  sqlite: { points, check: checkSqlite },
} as const;

for (const [kind, { points: names, check }] of Object.entries(kinds)) {
  describe(`${kind} targets hold what the source holds after a kill`, () => {
    for (const [index, name] of names.entries()) {
      test.concurrent(`at ${name}`, { timeout: 90_000 }, async () => {
        const dir = await mkdtemp(join(tmpdir(), 'tally-targets-'));
        const story = (env: Readonly<Record<string, string>>) =>
          runStory('targets-worker.ts', [dir, kind, String(TRANSACTIONS)], env);
        try {
          // While rows are brought over, or later among the changes.
          const count = name.startsWith('sink.') ? [5, kind === 'files' ? 10 : 28][index % 2] : 1;
          const killed = await story({ TALLY_CRASH: `${name}:${count}` });
          expect(killed.signal, `it never came to ${name}: ${killed.errors}`).toBe('SIGKILL');
          expect(await story({ STORY_HEALED: '1' })).toMatchObject({ code: 0, errors: '' });
          await check(dir);
        } finally {
          await rm(dir, { recursive: true, force: true });
        }
      });
    }
  });
}

interface Item {
  readonly id: string;
  readonly n: number;
  readonly name: string;
}

interface Owned {
  readonly items: readonly Item[];
  readonly facts: readonly unknown[];
  readonly sums: readonly unknown[];
}

/** What the source holds, by plain SQL. */
function owned(dir: string): Owned {
  using db = new DatabaseSync(join(dir, 'source.db'), { readOnly: true });
  const all = (text: string): readonly unknown[] =>
    db
      .prepare(text)
      .all()
      .map((row) => ({ ...row }));
  expect(all('PRAGMA user_version')).toEqual([{ user_version: TRANSACTIONS }]);
  return {
    items: all('SELECT id, n, name FROM items ORDER BY id') as readonly Item[],
    facts: all('SELECT id, item, amount FROM facts ORDER BY id'),
    sums: all(
      'SELECT item, count(*) AS count, sum(amount) AS total FROM facts GROUP BY 1 ORDER BY 1',
    ),
  };
}

async function checkDuckdb(dir: string): Promise<void> {
  const { items, facts, sums } = owned(dir);
  const instance = await DuckDBInstance.create(join(dir, 'target.duckdb'));
  try {
    const connection = await instance.connect();
    const all = async (text: string): Promise<unknown> =>
      (await connection.runAndReadAll(text)).getRowObjectsJson();
    const numbers = (rows: unknown): unknown =>
      (rows as readonly Record<string, unknown>[]).map((row) => ({
        ...row,
        id: Number(row['id']),
      }));
    expect(await all('SELECT id, n, name FROM columns ORDER BY id')).toEqual(items);
    expect(
      await all(
        "SELECT doc ->> 'id' AS id, (doc ->> 'n')::INT AS n, doc ->> 'name' AS name FROM docs ORDER BY 1",
      ),
    ).toEqual(items);
    expect(numbers(await all('SELECT id, item, amount FROM facts ORDER BY id'))).toEqual(facts);
    expect(await all('SELECT item, count, total FROM sums ORDER BY item')).toEqual(sums);
    connection.closeSync();
  } finally {
    instance.closeSync();
  }
}

function checkSqlite(dir: string): Promise<void> {
  const { items, sums } = owned(dir);
  using db = new DatabaseSync(join(dir, 'target.db'), { readOnly: true });
  const all = (text: string): readonly unknown[] =>
    db
      .prepare(text)
      .all()
      .map((row) => ({ ...row }));
  const fields = "document ->> 'id' AS id, document ->> 'n' AS n, document ->> 'name' AS name";
  expect(all('SELECT id, n, name FROM typed ORDER BY id')).toEqual(items);
  for (const name of ['texts', 'pairs'])
    expect(all(`SELECT ${fields} FROM ${name} ORDER BY 1`), name).toEqual(items);
  expect(all('SELECT "from", "to" FROM links ORDER BY 1')).toEqual(
    items.map(({ id, n }) => ({ from: id, to: `n${n}` })),
  );
  expect(
    all(
      "SELECT document ->> 'item' AS item, document ->> 'count' AS count, document ->> 'total' AS total FROM sums ORDER BY 1",
    ),
  ).toEqual(sums);
  // Each word is found where it stands, and nowhere else: the index has no row too many.
  for (const { n } of items.slice(0, 10)) {
    const word = `word${n}`;
    const found = db
      .prepare(
        "SELECT t.document ->> 'id' AS id FROM texts_fts f JOIN texts t ON t._id = f.rowid WHERE texts_fts MATCH ? ORDER BY 1",
      )
      .all(word)
      .map((row) => row['id']);
    expect(found, word).toEqual(
      items.filter(({ name }) => name.split(' ').includes(word)).map(({ id }) => id),
    );
  }
  return Promise.resolve();
}

async function checkFiles(dir: string): Promise<void> {
  const root = join(dir, 'target', 'objects');
  const held: unknown[] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = await readFile(join(entry.parentPath, entry.name));
    const trailerBytes = bytes.readUInt32LE(bytes.length - 12);
    const trailer = JSON.parse(
      bytes.subarray(bytes.length - 12 - trailerBytes, bytes.length - 12).toString('utf8'),
    ) as { readonly size: number; readonly version: { readonly deleted?: true } };
    if (trailer.version.deleted === true) continue;
    held.push(JSON.parse(bytes.subarray(0, trailer.size).toString('utf8')));
  }
  const byId = (one: unknown, other: unknown): number =>
    (one as Item).id < (other as Item).id ? -1 : 1;
  expect(held.toSorted(byId)).toEqual([...owned(dir).items].toSorted(byId));
}
