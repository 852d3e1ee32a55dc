import { describe, expect, test } from 'vitest';
import { changesOf, SlotBench } from '../../../../../test/support/replication.ts';
import { hasPostgres } from '../../../../../test/support/servers.ts';
import { decodeRow } from '../../../../core/codec.ts';
import { must } from '../../../../core/errors.ts';
import { readTypes } from '../catalog.ts';
import { codecOf, textToValue, valueOptions } from '../values.ts';

/** Types, each with values as SQL writes them. */
const samples: Readonly<Record<string, readonly string[]>> = {
  smallint: ['-32768'],
  bigint: ['9007199254740991', '9007199254740993', '-9223372036854775808'],
  oid: ['4294967295'],
  real: ['0.1', '-0', 'NaN', '3.4028235e38'],
  'double precision': ['0.1', '5e-324', '-0', 'NaN', '-Infinity', '1e20'],
  numeric: ['12.50', 'NaN', 'Infinity', '1e-20', '-123456789012345678901234567890.1'],
  money: ['1234.5'],
  boolean: ['true', 'false'],
  bytea: ['', '\\x00ff', 'plain'],
  text: ['', 'a"b\\c\n\r\t\u0001\u001f\u007f', '\u20ac\u2028\u{1F600}', '{"$i":"5"}'],
  'char(5)': ['ab'],
  '"char"': ['x'],
  json: ['{"a" : 9007199254740993, "$b": [1, null]}', '" \\u0024 "', '1e400'],
  jsonb: ['{"b": 1.50, "a": -0.0}', '[1,[2,[3]]]', '123456789012345678901234567890'],
  uuid: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  date: ['2024-02-29', 'infinity', '4713-01-01 BC', '5874897-12-31'],
  time: ['24:00:00', '12:34:56.789'],
  timetz: ['12:34:56+02'],
  timestamp: ['2024-02-29 12:00:00.000001', '-infinity', '294276-12-31 23:59:59'],
  timestamptz: ['2024-02-29 12:00:00+02', '0001-01-01 00:00:00+00 BC'],
  interval: ['1 year 2 mons -3 days 04:05:06.789', '-00:00:01'],
  inet: ['192.168.0.1/24'],
  'bit(3)': ['101'],
  point: ['(1.5,-2)'],
  int4range: ['[1,5)', 'empty'],
  tsvector: [`'a':1 'b':2`],
  xml: ['<a b="c">d</a>'],
  'text[]': ['{}', '{a,NULL,"NULL","","x\\"y\\\\z"}', '{{a,b},{c,d}}', '[0:1]={a,b}'],
  'bigint[]': ['{1,9007199254740993,NULL}'],
  'double precision[]': ['{NaN,-0,Infinity}'],
  'bytea[]': ['{"\\\\x00ff"}'],
  'jsonb[]': ['{"{\\"$i\\": 9007199254740993}",NULL}'],
  'box[]': ['{(1,1),(0,0);(2,2),(1,1)}'],
  mood: ['sad'],
  'mood[]': ['{ok,sad}'],
  pair: ['(1,"a b")'],
  'pair[]': ['{"(1,\\"a b\\")"}'],
  cents: ['9007199254740993'],
  'cents[]': ['{1,9007199254740993}'],
  amounts: ['{1,9007199254740993}'],
  'amounts[]': ['{"{1,2}","{3}"}'],
};

const types = `CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE TYPE pair AS (n int, t text);
  CREATE DOMAIN cents AS bigint; CREATE DOMAIN amounts AS bigint[];`;

describe.skipIf(!hasPostgres)('a value of each type', () => {
  test('is the same from the stream as from the text that a session reads', async () => {
    const columns = Object.keys(samples);
    const table = columns.map((type, index) => `c${index} ${type}`).join(', ');
    await using bench = await SlotBench.open(
      ['kinds'],
      `${types} CREATE TABLE kinds (id int PRIMARY KEY, ${table}); ALTER TABLE kinds REPLICA IDENTITY FULL`,
    );
    const literal = (text: string): string => `E'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
    let id = 0;
    for (const [index, type] of columns.entries())
      for (const sample of must(samples[type], type))
        await bench.sql(`INSERT INTO kinds (id, c${index}) VALUES (${++id}, ${literal(sample)})`);
    // Large and not changed: from the row before.
    await bench.sql(`UPDATE kinds SET id = id + 1000`);
    const changes = changesOf(await bench.collect(['kinds']));
    const created = changes.filter(({ operation }) => operation === 'create');
    const streamed = new Map(
      created.map(({ after }) => [Number(decodeRow(after ?? '')['id']), decodeRow(after ?? '')]),
    );
    await using session = await bench.database.connect({ options: valueOptions() });
    const { fields, rows } = await session.client.query<(string | null)[]>({
      text: 'SELECT * FROM kinds ORDER BY id',
      rowMode: 'array',
      types: { getTypeParser: () => (text: string) => text },
    });
    const known = await readTypes(
      bench.database,
      fields.map(({ dataTypeID }) => dataTypeID),
    );
    expect(rows).toHaveLength(id);
    for (const row of rows) {
      const wanted = Object.fromEntries(
        fields.map(({ name, dataTypeID }, index) => {
          const text = row[index] ?? null;
          return [name, text === null ? null : textToValue(codecOf(dataTypeID, known), text)];
        }),
      );
      expect(streamed.get(Number(row[0]))).toStrictEqual(wanted);
    }
    expect(streamed.size).toBe(2 * id);
  });
});
