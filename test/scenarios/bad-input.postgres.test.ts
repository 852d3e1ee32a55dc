import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { flow, open, put, tally, type Key, type OpenApp } from 'tallystick';
import { postgres, type PostgresOptions } from 'tallystick/postgres';
import { sqlite } from 'tallystick/sqlite';
import { runSql } from '../support/postgres-source.ts';
import { fresh, rowsOf, tempDir, waitFor } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

const path = tempDir();

function copying(url: string, table: string, options: Partial<PostgresOptions> = {}, key = 'id') {
  return tally({
    name: 'copy',
    dir: path('tally'),
    stores: { owner: postgres({ url, ...options }), copy: sqlite({ file: path('copy.db') }) },
    flows: {
      copy: flow({
        from: 'owner',
        tables: [table],
        to: 'copy',
        into: 'd',
        project: (row) => put('d', [row[key] as Key[number]], row),
      }),
    },
  });
}

type Copying = OpenApp<ReturnType<typeof copying>['stores']>;

async function caughtUp(app: Copying): Promise<void> {
  await fresh(app, 'copy', (await app.write('owner', () => undefined)).evidence);
}

/** The documents in the target, without the ids of their rows. */
function copies(): readonly string[] {
  return rowsOf(path('copy.db'), 'SELECT document FROM d ORDER BY key').map(
    (row) => (row as { document: string }).document,
  );
}

/** Types and values that a row may have, as a flow gets them. */
const values: readonly (readonly [string, string, unknown])[] = [
  ['numeric', `'NaN'`, 'NaN'],
  ['numeric', `'-Infinity'`, '-Infinity'],
  ['float8', `'NaN'`, { $n: 'nan' }],
  ['float8', `'-0'`, { $n: '-0' }],
  ['float4', `'-Infinity'`, { $n: '-inf' }],
  ['timestamptz', `'294276-12-31 23:59:59+00'`, '294276-12-31 23:59:59+00'],
  ['timestamp', `'4713-01-01 BC'`, '4713-01-01 00:00:00 BC'],
  ['date', `'-infinity'`, '-infinity'],
  ['interval', `'-1 year 3 days'`, '-1 years +3 days'],
  ['bytea', `''`, { $b: '' }],
  [
    'int[]',
    `'{{1,2},{NULL,4}}'`,
    [
      [1, 2],
      [null, 4],
    ],
  ],
  ['int[]', `'[0:1]={1,2}'`, '[0:1]={1,2}'],
  ['mood[]', `'{"so so",NULL}'`, ['so so', null]],
  ['pair', `ROW(1, 'a,"b"')`, '(1,"a,""b""")'],
  ['pair[]', `ARRAY[ROW(1, NULL)::pair]`, ['(1,)']],
  ['cents', `9007199254740993`, { $i: '9007199254740993' }],
  ['int4range', `'[1,5)'`, '[1,5)'],
  ['int4multirange', `'{[1,2),[5,7)}'`, '{[1,2),[5,7)}'],
  ['xml', `'<a>é</a>'`, '<a>é</a>'],
  ['inet', `'::1/64'`, '::1/64'],
  ['bit(3)', `B'101'`, '101'],
  ['money', `12.34`, '$12.34'],
  ['tsvector', `'a fat cat'`, "'a' 'cat' 'fat'"],
  ['point', `'(1,2)'`, '(1,2)'],
  [
    'json',
    `'{"a": 1, "a": 2, "n": 12345678901234567890, "f": 1e400}'`,
    {
      a: 2,
      n: { $i: '12345678901234567890' },
      f: '1e400',
    },
  ],
  ['json', String.raw`'"\u0000"'`, '\0'],
  ['jsonb', `'{"$i": "5"}'`, { $o: { $i: '5' } }],
  ['text', String.raw`E'a\t\x01\x7f\u2028\U0001F600'`, 'a\t\u0001\u007f\u2028\u{1F600}'],
  ['text[]', `'{"NULL",NULL,""}'`, ['NULL', null, '']],
  ['int8', `-9007199254740993`, { $i: '-9007199254740993' }],
];

describe.skipIf(!hasPostgres)(
  'what PostgreSQL holds arrives as it is, or is refused by name',
  () => {
    test('values of every kind are the same from a snapshot and from the stream', async () => {
      await using database = await freshDatabase();
      const columns = values.map(([type], index) => `c${index} ${type}`);
      const cells = values.map(([type, value]) => `(${value})::${type}`);
      await runSql(
        database.url,
        `CREATE TYPE mood AS ENUM ('so so'); CREATE TYPE pair AS (a int, b text);
       CREATE DOMAIN cents AS bigint; CREATE TABLE t (id int PRIMARY KEY, ${columns.join(', ')});
       INSERT INTO t VALUES (1, ${cells.join(', ')})`,
      );
      await using app = await open(copying(database.url, 't'));
      await caughtUp(app);
      await runSql(database.url, `INSERT INTO t VALUES (2, ${cells.join(', ')})`);
      await caughtUp(app);
      const wanted = Object.fromEntries(values.map(([, , value], index) => [`c${index}`, value]));
      const found = copies().map((text) => JSON.parse(text) as unknown);
      expect(found).toEqual([
        { id: 1, ...wanted },
        { id: 2, ...wanted },
      ]);
    });

    test('names of every kind, and as many columns as there may be', async () => {
      await using database = await freshDatabase();
      const many = Array.from({ length: 1_593 }, (_, index) => `"Col ${index}" boolean`);
      await runSql(
        database.url,
        `CREATE SCHEMA "S x"; CREATE TABLE "S x"."T""q.é" ("$i" int PRIMARY KEY, "__proto__" text,
       "constructor" text, "a""b" text, "ÜBER" text, "1" int, "0" int, ${many.join(', ')});
       INSERT INTO "S x"."T""q.é" VALUES (1, 'p')`,
      );
      await using app = await open(copying(database.url, 'S x.T"q.é', {}, '$i'));
      await caughtUp(app);
      await runSql(
        database.url,
        `INSERT INTO "S x"."T""q.é" VALUES (2, 'p'); UPDATE "S x"."T""q.é" SET "__proto__" = 'q'`,
      );
      await caughtUp(app);
      const found = copies();
      expect(found).toHaveLength(2);
      for (const text of found) expect(text).toContain('"__proto__":"q","constructor":null');
    });

    test('limits and habits that an administrator has set for the user change nothing', async () => {
      await using database = await freshDatabase();
      const role = `r${randomBytes(4).toString('hex')}`;
      const settings = [
        `statement_timeout = '5s'`,
        `lock_timeout = '5s'`,
        `idle_in_transaction_session_timeout = '5s'`,
        `idle_session_timeout = '5s'`,
        `default_transaction_isolation = 'serializable'`,
        `search_path = 'nowhere'`,
        `bytea_output = 'escape'`,
        `DateStyle = 'German'`,
        `client_encoding = 'LATIN1'`,
        `standard_conforming_strings = off`,
        `extra_float_digits = -15`,
      ];
      await runSql(
        database.url,
        `CREATE ROLE ${role} SUPERUSER LOGIN;
       ${settings.map((setting) => `ALTER ROLE ${role} SET ${setting};`).join('')}
       CREATE TABLE t (id int PRIMARY KEY, b bytea, d date, f float8, v text);
       INSERT INTO t VALUES (1, '\\xff', '2020-01-31', 0.1, 'é\\n')`,
      );
      const url = new URL(database.url);
      url.username = role;
      try {
        await using app = await open(copying(url.href, 'public.t'));
        await caughtUp(app);
        await runSql(database.url, `INSERT INTO t VALUES (2, '\\xff', '2020-01-31', 0.1, 'é\\n')`);
        await caughtUp(app);
        const rest = String.raw`"b":{"$b":"/w=="},"d":"2020-01-31","f":0.1,"v":"é\\n"}`;
        expect(copies()).toEqual([`{"id":1,${rest}`, `{"id":2,${rest}`]);
      } finally {
        await runSql(database.url, `DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
      }
    });

    test('a user whose transactions are read-only is told which setting it is', async () => {
      await using database = await freshDatabase();
      await runSql(database.url, 'CREATE TABLE t (id int PRIMARY KEY)');
      const name = new URL(database.url).pathname.slice(1);
      await runSql(database.url, `ALTER DATABASE ${name} SET default_transaction_read_only = on`);
      await expect(open(copying(database.url, 't'))).rejects.toMatchObject({
        code: 'STORE_UNREACHABLE',
        message: expect.stringContaining('default_transaction_read_only') as string,
      });
    });

    test.each([
      ['dropped and made again', `DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)`],
      ['exchanged for another', `ALTER TABLE t RENAME TO u; CREATE TABLE t (id int PRIMARY KEY)`],
    ])('T15: a table that is %s while it is captured is read as the new one', async (_, ddl) => {
      await using database = await freshDatabase();
      await runSql(database.url, `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`);
      await using app = await open(copying(database.url, 't'));
      await caughtUp(app);
      await runSql(database.url, `${ddl}; INSERT INTO t VALUES (7)`);
      await waitFor(() => (copies().join() === '{"id":7}' ? true : undefined));
      await runSql(database.url, 'INSERT INTO t VALUES (8)');
      await waitFor(() => (copies().length === 2 ? true : undefined));
      await caughtUp(app);
    });

    test('T15: a key that becomes of another type leaves no row behind under the old one', async () => {
      await using database = await freshDatabase();
      await runSql(
        database.url,
        `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')`,
      );
      await using app = await open(copying(database.url, 't'));
      await caughtUp(app);
      await runSql(
        database.url,
        `ALTER TABLE t ALTER id TYPE text; UPDATE t SET v = 'c' WHERE id = '1'`,
      );
      await waitFor(() =>
        copies().join() === '{"id":"1","v":"c"},{"id":"2","v":"b"}' ? true : undefined,
      );
      await caughtUp(app);
    });

    test('T15: a table that is dropped stops its lane by name, and goes on when it is there again', async () => {
      await using database = await freshDatabase();
      await runSql(database.url, `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`);
      {
        await using app = await open(copying(database.url, 't'));
        await caughtUp(app);
        await runSql(database.url, 'DROP TABLE t');
        await waitFor(async () => {
          const worker = (await app.status()).lanes[0]?.worker;
          return worker?.kind === 'failed' && worker.code === 'TABLE_UNKNOWN' ? true : undefined;
        });
      }
      await runSql(database.url, `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (2)`);
      await using app = await open(copying(database.url, 't'));
      await waitFor(() => (copies().join() === '{"id":2}' ? true : undefined));
      await caughtUp(app);
    });
  },
);
