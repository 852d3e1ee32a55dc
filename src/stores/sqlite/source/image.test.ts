import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { decodeRow, encodeKey, encodeValue } from '../../../core/codec.ts';
import type { Scalar } from '../../../core/row.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { changesOf, drain, withStore, type Bench } from '../../../../test/support/sqlite-source.ts';

/** Values as the driver takes them, with what they are read as where that differs. */
const values: readonly [given: Exclude<Scalar, boolean>, read?: Scalar][] = [
  [null],
  [0n, 0],
  [1n, 1],
  [-1n, -1],
  [9_007_199_254_740_991n, 9_007_199_254_740_991],
  [9_007_199_254_740_992n],
  [-9_007_199_254_740_993n],
  [9_223_372_036_854_775_807n],
  [-9_223_372_036_854_775_808n],
  [1.5],
  [0.1],
  [0.30000000000000004],
  [1.0],
  [-0, 0],
  [1e15],
  [1e21],
  [123_456_789_012_345_680],
  [1e-4],
  [1e-5],
  [5e-324],
  [1.7976931348623157e308],
  [Infinity],
  [-Infinity],
  [Number.NaN, null],
  [''],
  ['text'],
  ['1'],
  ['quote " backslash \\ slash / line \n tab \t bell \u0007 delete \u007f'],
  ['nul \u0000 inside'],
  ['\u2028 \ud83d\ude00 ü'],
  ['{"$b":"00"}'],
  ['null'],
  [new Uint8Array()],
  [new Uint8Array([0, 255, 128, 10])],
];

describe('row images', () => {
  test.each(['', ' STRICT'])(
    'are the canonical text of the row as the driver reads it%s',
    (strict) =>
      withStore(async (bench) => {
        const { store } = bench;
        store.client.exec(
          `CREATE TABLE v (k ANY PRIMARY KEY, v ANY NOT NULL DEFAULT 0, w ANY)${strict}`,
        );
        await store.source.prepare(['v']);
        for (const [given] of values) {
          if (given === null || Number.isNaN(given)) continue;
          await store.source.write((tx) =>
            tx.prepare('INSERT OR REPLACE INTO v VALUES (?, 0, ?)').run(given, given),
          );
        }
        for (const change of changesOf(await drain(store))) {
          if (change.after === null) continue;
          const row = decodeRow(change.after);
          expect(change.after).toBe(encodeValue(row));
          expect(change.key).toBe(encodeKey([row['k'] as Scalar]));
        }
      }),
  );

  test.each(values.map(([given, read]) => [given, read === undefined ? given : read] as const))(
    'carry %o exactly, streamed, snapshot and looked up',
    (given, read) =>
      withStore(async (bench) => {
        const { store } = bench;
        store.client.exec(
          'CREATE TABLE v (id INTEGER PRIMARY KEY, a, b TEXT, c REAL, d INTEGER, e BLOB)',
        );
        await store.source.prepare(['v']);
        store.client.prepare('INSERT INTO v (id, a) VALUES (1, ?)').run(given);
        const [change] = changesOf(await drain(store));
        expect(decodeRow(change?.after ?? '')['a']).toStrictEqual(read);
        await sameEverywhere(bench);
      }),
  );

  test('are the same for every declared type, whatever the row really holds', () =>
    withStore(async (bench) => {
      const { store } = bench;
      store.client.exec(
        'CREATE TABLE v (id INTEGER PRIMARY KEY, a, b TEXT, c REAL, d INTEGER, e BLOB, f VARCHAR(3), g NUMERIC)',
      );
      await store.source.prepare(['v']);
      const insert = store.client.prepare(
        'INSERT INTO v (a, b, c, d, e, f, g) VALUES (?, ?, ?, ?, ?, ?, ?)',
      );
      for (const [given] of values) insert.run(given, given, given, given, given, given, given);
      await sameEverywhere(bench);
    }));

  test('keep every bit of a real number', () =>
    withStore(async (bench) => {
      const { store } = bench;
      store.client.exec('CREATE TABLE v (id INTEGER PRIMARY KEY, a REAL)');
      await store.source.prepare(['v']);
      const insert = store.client.prepare('INSERT INTO v (a) VALUES (?)');
      const random = seededRandom('reals');
      const bits = new DataView(new ArrayBuffer(8));
      const given: number[] = [];
      while (given.length < 3_000) {
        bits.setUint32(0, Math.floor(random.next() * 2 ** 32));
        bits.setUint32(4, Math.floor(random.next() * 2 ** 32));
        const kinds = [
          bits.getFloat64(0),
          random.next() * 1e3,
          Math.round(random.next() * 1e6) / 100,
        ];
        const real = kinds[given.length % 3] ?? 0;
        if (Number.isFinite(real)) given.push(real);
      }
      await store.source.write(() => given.forEach((real) => insert.run(real)));
      const carried = changesOf(await drain(store)).map((change) => {
        const after = change.after ?? '';
        expect(after).toBe(encodeValue(decodeRow(after)));
        return decodeRow(after)['a'];
      });
      expect(carried).toEqual(given);
    }));

  test('survive names that look like tags, like indexes, like nothing at all', () =>
    withStore(async (bench) => {
      const { store } = bench;
      store.client.exec(
        `CREATE TABLE "we""ird 'table'" ("$i" INTEGER PRIMARY KEY, "$b", "7", "__proto__", "a""b'c", "select")`,
      );
      await store.source.prepare([`we"ird 'table'`]);
      store.client.exec(
        `INSERT INTO "we""ird 'table'" VALUES (1, x'01', 'seven', 'proto', 0.1, NULL)`,
      );
      store.client.exec(
        `REPLACE INTO "we""ird 'table'" VALUES (1, x'02', 'seven', 'proto', 0.1, NULL)`,
      );
      await sameEverywhere(bench, `we"ird 'table'`);
      for (const change of changesOf(await drain(store))) {
        const text = change.after ?? change.before ?? '';
        expect(text).toBe(encodeValue(decodeRow(text)));
      }
    }));

  test('are complete for tables of 200 columns and rows of 10 MB', () =>
    withStore(async (bench) => {
      const { store } = bench;
      const columns = Array.from({ length: 200 }, (_, index) => `c${index}`);
      store.client.exec(`CREATE TABLE wide (id INTEGER PRIMARY KEY, ${columns.join(',')})`);
      store.client.exec('CREATE TABLE long (id INTEGER PRIMARY KEY, body)');
      await store.source.prepare(['wide', 'long']);
      store.client.exec(
        `INSERT INTO wide VALUES (1, ${columns.map((_, index) => index).join(',')})`,
      );
      const body = 'ü'.repeat(5_000_000);
      store.client.prepare('INSERT INTO long VALUES (1, ?)').run(body);
      const [wide, long] = changesOf(await drain(store));
      expect(Object.keys(decodeRow(wide?.after ?? ''))).toHaveLength(201);
      expect(decodeRow(long?.after ?? '')['body']).toBe(body);
      await sameEverywhere(bench, 'wide');
    }));

  test('hold generated columns, and JSON text as text', () =>
    withStore(async (bench) => {
      const { store } = bench;
      store.client.exec(
        `CREATE TABLE v (id INTEGER PRIMARY KEY, a TEXT, j TEXT GENERATED ALWAYS AS (json_object('a', a)) VIRTUAL, s AS (json_array(a)) STORED)`,
      );
      await store.source.prepare(['v']);
      store.client.exec("INSERT INTO v (id, a) VALUES (1, 'x'); UPDATE v SET a = 'y'");
      const [, update] = changesOf(await drain(store));
      expect(decodeRow(update?.before ?? '')).toEqual({
        id: 1,
        a: 'x',
        j: '{"a":"x"}',
        s: '["x"]',
      });
      await sameEverywhere(bench);
    }));

  test('read text that is not UTF-8 as the driver does', () =>
    withStore(async (bench) => {
      const { store } = bench;
      store.client.exec('CREATE TABLE v (id INTEGER PRIMARY KEY, a TEXT)');
      await store.source.prepare(['v']);
      store.client.exec("INSERT INTO v VALUES (1, CAST(x'61ff62' AS TEXT))");
      await sameEverywhere(bench);
    }));

  test.skipIf(!hasShell())('are written alike by the sqlite3 shell, whatever its version', () =>
    withStore(async (bench) => {
      const { store, file } = bench;
      store.client.exec('CREATE TABLE v (id INTEGER PRIMARY KEY, a, b TEXT UNIQUE)');
      await store.source.prepare(['v']);
      store.client.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      execFileSync('sqlite3', [
        file,
        `INSERT INTO v VALUES (1, 0.30000000000000004, 'a'), (2, 9e999, 'b'), (3, x'00ff', 'c'), (4, 9223372036854775807, 'd');
         INSERT INTO v VALUES (5, 1e-7, 'nul'||char(0)||'ü'), (6, -9e999, 'f'); REPLACE INTO v VALUES (7, 9.99, 'a')`,
      ]);
      const keys = changesOf(await drain(store)).map(
        (change) => `${change.operation} ${change.key}`,
      );
      expect(keys.slice(-2)).toEqual(['delete [1]', 'create [7]']);
      await sameEverywhere(bench);
    }),
  );
});

function hasShell(): boolean {
  try {
    execFileSync('sqlite3', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** What the stream says about each row equals what a snapshot and a look-up say. */
async function sameEverywhere({ store }: Bench, table = 'v'): Promise<void> {
  const changes = changesOf(await drain(store)).filter((change) => change.table === table);
  const streamed = new Map(changes.map((change) => [change.key, change.after]));
  const { signal } = new AbortController();
  const chunks = store.source.snapshot({ tables: [table], rowsMax: 7, bytesMax: 1e9, signal });
  const keys = [];
  for await (const chunk of chunks) {
    for (const { key, row } of chunk.rows) {
      keys.push(key);
      const image = streamed.get(encodeKey(key)) ?? '';
      expect(decodeRow(image)).toStrictEqual(row);
      expect(encodeValue(row)).toBe(image);
    }
  }
  expect(keys.length).toBeGreaterThan(0);
  const { rows } = await store.source.lookup(table, keys);
  expect(rows.map((row) => row && encodeValue(row))).toEqual(
    keys.map((key) => streamed.get(encodeKey(key))),
  );
}
