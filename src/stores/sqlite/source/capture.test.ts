import { execFileSync } from 'node:child_process';
import type { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import {
  brief,
  changesOf,
  commitsOf,
  drain,
  fold,
  withStore,
} from '../../../../test/support/sqlite-source.ts';

const ITEMS = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE)';

describe('what is captured', () => {
  test('records inserts, updates and deletes with their rows before and after', () =>
    withStore(async ({ store }) => {
      store.client.exec(ITEMS);
      await store.source.prepare(['items']);
      await store.source.write((tx) => {
        tx.exec("INSERT INTO items VALUES (1, 'a', NULL)");
        tx.exec("UPDATE items SET name = 'b'");
        tx.exec('DELETE FROM items');
      });
      expect(brief(await drain(store))).toEqual([
        'create [1] - {"id":1,"name":"a","code":null}',
        'update [1] {"id":1,"name":"a","code":null} {"id":1,"name":"b","code":null}',
        'delete [1] {"id":1,"name":"b","code":null} -',
      ]);
    }));

  test('captures what other programs write, and nothing that they roll back', () =>
    withStore(async ({ store, file, foreign }) => {
      store.client.exec(ITEMS);
      await store.source.prepare(['items']);
      const other = foreign();
      other.exec("INSERT INTO items VALUES (1, 'other', NULL)");
      other.exec("BEGIN; INSERT INTO items VALUES (2, 'gone', NULL); ROLLBACK");
      other.exec(
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (3, 'gone', NULL); ROLLBACK TO s; COMMIT",
      );
      expect(() => other.exec("INSERT INTO items VALUES (5, 'x', 'u'), (1, 'y', NULL)")).toThrow();
      const script = `new (require('node:sqlite').DatabaseSync)(${JSON.stringify(file)}).exec("INSERT INTO items VALUES (4, 'process', NULL)")`;
      execFileSync(process.execPath, ['-e', script], { stdio: 'ignore' });
      expect(changesOf(await drain(store)).map((change) => change.key)).toEqual(['[1]', '[4]']);
    }));

  test('captures DELETE without WHERE and rows deleted by foreign keys, at any depth', () =>
    withStore(async ({ store }) => {
      store.client.exec(
        `CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE leaf (id INTEGER PRIMARY KEY, tree INTEGER REFERENCES tree ON DELETE SET NULL)`,
      );
      await store.source.prepare(['tree', 'leaf']);
      store.client.exec(
        `INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (9, NULL); INSERT INTO leaf VALUES (1, 4)`,
      );
      store.client.exec('UPDATE tree SET id = 20 WHERE id = 2');
      const inserted = await drain(store);
      expect([...fold(inserted, 'tree').keys()].toSorted()).toEqual([
        '[1]',
        '[20]',
        '[3]',
        '[4]',
        '[9]',
      ]);
      store.client.exec('DELETE FROM tree WHERE id = 1');
      let entries = await drain(store);
      expect([...fold(entries, 'tree').keys()]).toEqual(['[9]']);
      expect(fold(entries, 'leaf').get('[1]')).toEqual({ id: 1, tree: null });
      store.client.exec('INSERT INTO tree VALUES (10, NULL); DELETE FROM tree');
      entries = await drain(store);
      expect(fold(entries, 'tree').size).toBe(0);
    }));

  test('records what a trigger of the application does to the same row after the statement did', () =>
    withStore(async ({ store }) => {
      store.client
        .exec(`CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, touched INTEGER DEFAULT 0);
        CREATE TRIGGER touch_old AFTER UPDATE OF name ON items BEGIN UPDATE items SET touched = touched + 1 WHERE id = NEW.id; END`);
      await store.source.prepare(['items']);
      store.client.exec(
        `INSERT INTO items (id, name) VALUES (1, 'a'); UPDATE items SET name = 'b' WHERE id = 1`,
      );
      // A trigger that is newer than ours fires before ours until prepare has put ours in front.
      store.client.exec(
        'CREATE TRIGGER touch_new AFTER UPDATE OF name ON items BEGIN UPDATE items SET touched = touched + 10 WHERE id = NEW.id; END',
      );
      await store.source.prepare(['items']);
      store.client.exec("UPDATE items SET name = 'c' WHERE id = 1");
      const rows = fold(await drain(store), 'items');
      expect(rows.get('[1]')).toEqual({ id: 1, name: 'c', touched: 12 });
    }));

  test('mends on its own the order to a trigger that was created after prepare', () =>
    withStore(async ({ store }) => {
      store.client.exec(
        'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, touched INTEGER DEFAULT 0)',
      );
      await store.source.prepare(['items']);
      store.client.exec("INSERT INTO items (id, name) VALUES (1, 'a'), (2, 'a')");
      store.client
        .exec(`CREATE TRIGGER touch AFTER UPDATE OF name ON items BEGIN UPDATE items SET touched = 1 WHERE id = NEW.id; END;
        CREATE TRIGGER purge AFTER UPDATE OF name ON items WHEN NEW.name = 'bye' BEGIN DELETE FROM items WHERE id = NEW.id; END`);
      store.client.exec(
        "UPDATE items SET name = 'b' WHERE id = 1; UPDATE items SET name = 'bye' WHERE id = 2",
      );
      const last = new Map(
        changesOf(await drain(store)).map((change) => [change.key, change.after]),
      );
      expect(last.get('[1]')).toBe('{"id":1,"name":"b","touched":1}');
      expect(last.get('[2]')).toBeNull();
    }));

  test('does not see other databases: ATTACHed tables are not known', () =>
    withStore(async ({ store, directory }) => {
      store.client.exec(
        `ATTACH '${directory}/side.db' AS side; CREATE TABLE side.far (id INTEGER PRIMARY KEY)`,
      );
      await expect(store.source.prepare(['far'])).rejects.toMatchObject({ code: 'TABLE_UNKNOWN' });
      store.client.exec(ITEMS);
      await store.source.prepare(['items']);
      await store.source.write((tx) => {
        tx.exec('INSERT INTO side.far VALUES (1)');
        tx.exec("INSERT INTO items VALUES (1, 'near', NULL)");
      });
      expect(changesOf(await drain(store)).map((change) => change.table)).toEqual(['items']);
    }));
});

describe('rows that REPLACE displaces', () => {
  const cases: readonly [name: string, ddl: string, sql: string, keys: readonly string[]][] = [
    [
      'under its own key',
      ITEMS,
      "REPLACE INTO items VALUES (1, 'new', 'z')",
      ['[1]', '[2]', '[3]'],
    ],
    [
      'by another unique index',
      ITEMS,
      "REPLACE INTO items VALUES (9, 'new', 'b')",
      ['[1]', '[3]', '[9]'],
    ],
    ['by two at once', ITEMS, "REPLACE INTO items VALUES (1, 'new', 'b')", ['[1]', '[3]']],
    [
      'by an UPDATE OR REPLACE',
      ITEMS,
      "UPDATE OR REPLACE items SET code = 'b' WHERE id = 1",
      ['[1]', '[3]'],
    ],
    ['by a changed key', ITEMS, 'UPDATE OR REPLACE items SET id = 2 WHERE id = 1', ['[2]', '[3]']],
    [
      'by a changed rowid',
      ITEMS,
      'UPDATE OR REPLACE items SET rowid = 2 WHERE id = 1',
      ['[2]', '[3]'],
    ],
    [
      'with an allotted key',
      ITEMS,
      "REPLACE INTO items (name, code) VALUES ('new', 'b')",
      ['[1]', '[3]', '[4]'],
    ],
    [
      'without rowid',
      'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE) WITHOUT ROWID',
      "REPLACE INTO items VALUES (1, 'new', 'b')",
      ['[1]', '[3]'],
    ],
    [
      'by a partial index only where it holds',
      `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT);
       CREATE UNIQUE INDEX some ON items (code) WHERE name = 'x'`,
      "REPLACE INTO items VALUES (7, 'x', 'b'), (8, 'y', 'a')",
      ['[1]', '[3]', '[7]', '[8]'],
    ],
    [
      'by a generated column',
      `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT, up TEXT GENERATED ALWAYS AS (upper(code)) VIRTUAL UNIQUE)`,
      "REPLACE INTO items (id, name, code) VALUES (7, 'x', 'B')",
      ['[1]', '[3]', '[7]'],
    ],
    [
      'by a collation of the index',
      `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT); CREATE UNIQUE INDEX nc ON items (code COLLATE NOCASE)`,
      "REPLACE INTO items VALUES (7, 'x', 'B')",
      ['[1]', '[3]', '[7]'],
    ],
    [
      'under a key that differs in case only',
      'CREATE TABLE items (id TEXT COLLATE NOCASE PRIMARY KEY, name TEXT, code TEXT UNIQUE)',
      "REPLACE INTO items VALUES ('A', 'x', 'b')",
      ['["A"]', '["c"]'],
    ],
    [
      'by the clause of the table',
      'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE ON CONFLICT REPLACE)',
      "INSERT INTO items VALUES (7, 'x', 'b')",
      ['[1]', '[3]', '[7]'],
    ],
    [
      'not by OR IGNORE',
      ITEMS,
      "INSERT OR IGNORE INTO items VALUES (7, 'x', 'b'); INSERT INTO items VALUES (8, 'y', 'y')",
      ['[1]', '[2]', '[3]', '[8]'],
    ],
    [
      'not by ON CONFLICT DO UPDATE',
      ITEMS,
      "INSERT INTO items VALUES (7, 'x', 'b') ON CONFLICT (code) DO UPDATE SET id = 77; INSERT INTO items VALUES (8, 'y', 'y')",
      ['[1]', '[3]', '[77]', '[8]'],
    ],
    [
      'not a row whose key is -1',
      ITEMS,
      "INSERT INTO items VALUES (-1, 'minus', 'm'); INSERT INTO items (name) VALUES ('allotted')",
      ['[-1]', '[1]', '[2]', '[3]', '[4]'],
    ],
  ];

  test.each(cases.flatMap((one) => [[0, ...one] as const, [1, ...one] as const]))(
    'recursive_triggers %i: are deleted in the history, %s',
    (recursive, _name, ddl, sql, keys) =>
      withStore(async ({ store, foreign }) => {
        store.client.exec(ddl);
        await store.source.prepare(['items']);
        const other = foreign();
        other.exec(`PRAGMA recursive_triggers = ${recursive}`);
        const ids = ddl.includes('id TEXT') ? ["'a'", "'b'", "'c'"] : ['1', '2', '3'];
        other.exec(
          `INSERT INTO items (id, name, code) VALUES (${ids[0]}, 'n', 'a'), (${ids[1]}, 'x', 'b'), (${ids[2]}, 'n', 'c')`,
        );
        other.exec(sql);
        const rows = fold(await drain(store), 'items');
        expect([...rows.keys()].toSorted()).toEqual(keys);
        const stored = other.prepare('SELECT * FROM items ORDER BY CAST(id AS TEXT)').all();
        expect(rows.size).toBe(stored.length);
        for (const row of stored) {
          expect(rows.get(JSON.stringify([row['id']]))).toEqual({ ...row });
        }
      }),
  );
});

const SEEDS: number[] = Array.from(
  { length: Number(process.env['SEEDS'] ?? 4) },
  (_, index) => index + 1,
);

/** Random statements over tables with every kind of key; what was captured must equal the table. */
describe('any mixture of statements', () => {
  const shapes: Readonly<Record<string, string>> = {
    rowid: 'CREATE TABLE t (a INTEGER PRIMARY KEY, b, c UNIQUE, d, UNIQUE (b, d))',
    composite: 'CREATE TABLE t (a, b, c UNIQUE, d, PRIMARY KEY (a, b))',
    'without rowid':
      'CREATE TABLE t (a NOT NULL, b, c UNIQUE, d, PRIMARY KEY (a, b)) WITHOUT ROWID',
    partial:
      'CREATE TABLE t (a TEXT COLLATE NOCASE PRIMARY KEY, b, c, d); CREATE UNIQUE INDEX i ON t (c DESC, d) WHERE b > 2',
    touched: `CREATE TABLE t (a INTEGER PRIMARY KEY, b, c UNIQUE, d);
      CREATE TRIGGER touch AFTER UPDATE OF b ON t BEGIN UPDATE t SET d = coalesce(d, 0) + 1 WHERE a = NEW.a; END;
      CREATE TRIGGER again AFTER INSERT ON t WHEN NEW.b = 3 BEGIN INSERT OR REPLACE INTO t (a, b, c) VALUES (NEW.a + 1, 1, NEW.c); END`,
  };
  for (const [name, ddl] of Object.entries(shapes)) {
    test.each(SEEDS)(`${name}: folds into the table, seed %i`, (seed) =>
      withStore(async ({ store, foreign }) => {
        store.client.exec(ddl);
        await store.source.prepare(['t']);
        const other = foreign();
        other.exec(`PRAGMA recursive_triggers = ${seed % 2}`);
        const statement = statements(seed);
        for (let round = 0; round < 300; round++) attempt(other, statement());
        const entries = await drain(store, undefined, { rowsMax: 1 + seed * 7 });
        const rows = fold(entries, 't');
        const stored = new Map(
          other
            .prepare('SELECT * FROM t')
            .all()
            .map((row) => [keyOf(name, row), { ...row }]),
        );
        expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(stored));
        expect(rows.size).toBe(stored.size);
        expect(commitsOf(entries).reduce((sum, commit) => sum + commit.changes, 0)).toBe(
          changesOf(entries).length,
        );
      }),
    );
  }

  function keyOf(name: string, row: Record<string, unknown>): string {
    const composite = name === 'composite' || name === 'without rowid';
    return JSON.stringify(composite ? [row['a'], row['b']] : [row['a']]);
  }

  function attempt(database: DatabaseSync, sql: string): void {
    try {
      database.exec(sql);
    } catch {
      // A constraint: the statement left nothing behind, and neither may the capture.
      if (database.isTransaction) database.exec('ROLLBACK');
    }
  }

  function statements(seed: number): () => string {
    const random = seededRandom(seed);
    const digit = (): number => Math.floor(random.next() * 6);
    const letter = (): string => (random.next() < 0.5 ? `'${'aAbBcC'[digit()]}'` : String(digit()));
    const value = (): string => (random.next() < 0.15 ? 'NULL' : String(digit()));
    const row = (): string => `(${letter()}, ${digit()}, ${value()}, ${value()})`;
    const policy = (): string =>
      ['', '', 'OR REPLACE', 'OR REPLACE', 'OR IGNORE', 'OR FAIL'][digit()] ?? '';
    const kinds: readonly (() => string)[] = [
      () => `INSERT ${policy()} INTO t VALUES ${row()}, ${row()}`,
      () =>
        `INSERT INTO t VALUES ${row()} ON CONFLICT DO UPDATE SET d = ${value()}, c = excluded.c`,
      () => `UPDATE ${policy()} t SET ${'abcd'[digit() % 4]} = ${digit()} WHERE b = ${digit()}`,
      () => `UPDATE ${policy()} t SET a = ${letter()}, c = ${value()} WHERE d = ${digit()}`,
      () => `DELETE FROM t WHERE c = ${digit()}`,
      () => `BEGIN; ${kinds[digit() % 5]?.() ?? ''}; ${kinds[digit() % 5]?.() ?? ''}; COMMIT`,
    ];
    return () => kinds[digit()]?.() ?? '';
  }
});
