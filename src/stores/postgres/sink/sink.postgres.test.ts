import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { manualClock, sinkBed, type Given } from '../../../../test/support/postgres-sink.ts';
import {
  freshDatabase,
  hasPostgres,
  type FreshDatabase,
} from '../../../../test/support/servers.ts';
import { ORDINAL_MAX } from '../../../core/position.ts';
import type { Row } from '../../../core/row.ts';
import { openKeyValue } from '../key-value/index.ts';
import { keyValue, table } from './targets.ts';

// What every sink must do stands in the conformance suite; here is what only PostgreSQL targets do.

let fresh: FreshDatabase | undefined;
const url = (): string => fresh?.url ?? '';

beforeAll(async () => {
  if (hasPostgres) fresh = await freshDatabase();
});

afterAll(async () => {
  await fresh?.[Symbol.asyncDispose]();
});

const products = table({
  key: ['sku'],
  columns: {
    sku: 'TEXT',
    name: 'TEXT NOT NULL',
    price: 'NUMERIC(8,2) CONSTRAINT fair CHECK (price >= 0)',
    code: 'VARCHAR(3) UNIQUE',
  },
});

const put = (sku: string, row: Row): Given => ({ key: [sku], row: { sku, ...row } });

describe.skipIf(!hasPostgres)('PostgreSQL targets', () => {
  test('T10 refuses a snapshot row that comes long after the delete of its key', async () => {
    const clock = manualClock(1_000);
    await using bed = await sinkBed(url(), {}, clock);
    const into = await bed.session('papers');
    await bed.apply(into, 'papers', [{ key: ['a'], row: { n: 1 }, offset: 10 }]);
    await bed.apply(into, 'papers', [{ key: ['a'], row: null, offset: 20 }]);
    clock.set(1_000 + 10 * 60_000);
    const late: Given = {
      key: ['a'],
      row: { n: 1 },
      offset: 15,
      ordinal: ORDINAL_MAX,
      mode: 'snapshot',
    };
    expect(await bed.apply(into, 'papers', [late])).toMatchObject({ applied: 0, older: 1 });
    expect(await bed.sql('SELECT * FROM papers')).toEqual([]);
  });

  test('T11 ends with the newest of insert and delete, in whatever order they come', async () => {
    await using bed = await sinkBed(url(), {});
    const into = await bed.session('papers');
    const insert: Given = { key: ['a'], row: { n: 2 }, offset: 30 };
    const removal: Given = { key: ['a'], row: null, offset: 20 };
    // Across batches: the delete comes after the insert that is newer than it.
    expect(await bed.apply(into, 'papers', [insert])).toMatchObject({ applied: 1 });
    expect(await bed.apply(into, 'papers', [removal])).toMatchObject({ applied: 0, older: 1 });
    expect(await bed.ports.query.get('papers', ['a'])).toEqual({ n: 2 });
    // Within a batch, of several keys: deletes and inserts of one transaction.
    await bed.apply(into, 'papers', [
      { key: ['a'], row: null, offset: 40, ordinal: 3 },
      { key: ['b'], row: { n: 1 }, offset: 40, ordinal: 1 },
      { key: ['c'], row: null, offset: 40, ordinal: 0 },
    ]);
    const again = await bed.apply(into, 'papers', [
      { key: ['a'], row: { n: 9 }, offset: 40, ordinal: 2 },
      { key: ['b'], row: null, offset: 40, ordinal: 0 },
      { key: ['c'], row: { n: 3 }, offset: 40, ordinal: 4 },
    ]);
    expect(again).toMatchObject({ applied: 1, older: 2 });
    expect(await bed.sql('SELECT key FROM papers ORDER BY key')).toEqual([
      { key: 'b' },
      { key: 'c' },
    ]);
  });

  test('T12 names each refused row of a large batch, and takes the others once they are out', async () => {
    await using bed = await sinkBed(url(), { products });
    const into = await bed.session('products');
    const bad = new Map<number, Row>([
      [3, { name: null, price: 1 }],
      [250, { name: 'x', price: -1 }],
      [251, { name: 'x', price: 'dear' }],
      [777, { name: 'x', price: 1, code: 'long' }],
      [900, { name: 'x', price: 2 ** 40 }],
      [999, { name: 'a\0b', price: 1 }],
    ]);
    const writes = Array.from({ length: 1_000 }, (_, index) =>
      put(`sku ${index}`, bad.get(index) ?? { name: 'fine', price: index }),
    );
    const report = await bed.apply(into, 'products', writes);
    expect(report).toMatchObject({ applied: 0, older: 0 });
    expect(
      report.failed.map(({ index, error: { code, details } }) => [
        index,
        code,
        details['state'],
        details['constraint'] ?? details['column'],
      ]),
    ).toEqual([
      [3, 'WRITE_REFUSED', '23502', 'name'],
      [250, 'WRITE_REFUSED', '23514', 'fair'],
      [251, 'WRITE_REFUSED', '22P02', undefined],
      [777, 'WRITE_REFUSED', '22001', undefined],
      [900, 'WRITE_REFUSED', '22003', undefined],
      [999, 'VALUE_UNSUPPORTED', undefined, 'name'],
    ]);
    expect(report.failed[1]?.error.message).toContain('constraint fair');
    expect(await bed.sql('SELECT * FROM products')).toEqual([]);
    expect(await into.checkpoint()).toBeUndefined();
    const rest = writes.filter((_, index) => !bad.has(index));
    expect(await bed.apply(into, 'products', rest)).toMatchObject({ applied: 994, failed: [] });
  });

  test('T12 looks for a bounded number of refused rows at a time', async () => {
    await using bed = await sinkBed(url(), { products });
    const into = await bed.session('products');
    const writes = Array.from({ length: 200 }, (_, n) => put(`${n}`, { name: null, price: n }));
    const { failed } = await bed.apply(into, 'products', writes);
    expect(failed).toHaveLength(32);
    expect(await bed.sql('SELECT * FROM products')).toEqual([]);
  });

  test('T14 refuses what a worker writes late, and keeps what it committed before', async () => {
    await using bed = await sinkBed(url(), {});
    const zombie = await bed.session('papers', { workerEpoch: 1 });
    await bed.apply(zombie, 'papers', [{ key: ['a'], row: { n: 1 }, offset: 10 }]);
    // The zombie is in the middle of a step, holding the flow: the heir waits for its end.
    await bed.sql('BEGIN');
    await bed.sql(`SELECT * FROM ${bed.database.schema}.sink_flows WHERE flow = 'f' FOR UPDATE`);
    const opening = bed.session('papers', { workerEpoch: 2 });
    await waiting((text) => bed.sql(text));
    await bed.sql('COMMIT');
    const heir = await opening;
    expect((await heir.checkpoint())?.last?.offset).toBe(10);
    const late = bed.apply(zombie, 'papers', [{ key: ['a'], row: { n: 666 }, offset: 99 }]);
    await expect(late).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(zombie.readState(['x'])).rejects.toMatchObject({ code: 'FENCED_OUT' });
    expect(await bed.ports.query.get('papers', ['a'])).toEqual({ n: 1 });
    expect(
      await bed.apply(heir, 'papers', [{ key: ['a'], row: { n: 2 }, offset: 11 }]),
    ).toMatchObject({ applied: 1 });
  });

  test('T16 T21 lets the source position alone decide, not the log offset nor the clock', async () => {
    const clock = manualClock(1_000_000);
    await using bed = await sinkBed(url(), { sessions: keyValue({ ttl: '1h' }) }, clock);
    const into = await bed.session('sessions');
    const at = (offset: number, log: number, n: number): ReturnType<typeof into.apply> => {
      const last = { epoch: 1, offset, ordinal: 0 };
      const write = {
        ...last,
        target: 'sessions',
        key: ['a'],
        row: { n },
        mode: 'stream' as const,
      };
      const checkpoint = { log, last, through: last, backfill: undefined };
      return into.apply({ writes: [write], state: [], checkpoint });
    };
    expect(await at(500, 9_000, 1)).toMatchObject({ applied: 1 });
    // The log was made again and counts from zero; the clock was set back by days.
    clock.set(1);
    expect(await at(501, 3, 2)).toMatchObject({ applied: 1 });
    // A clock far ahead and a large log offset make no old position new.
    clock.set(2);
    expect(await at(499, 1_000_000, 3)).toMatchObject({ applied: 0, older: 1 });
    expect(await bed.ports.query.get('sessions', ['a'])).toEqual({ n: 2 });
  });

  test('T24 holds neither data nor position when the connection ends before or during COMMIT', async () => {
    await using bed = await sinkBed(url(), { products });
    const into = await bed.session('products');
    await bed.apply(into, 'products', [put('a', { name: 'first' })]);
    const held = await into.checkpoint();
    await bed.sql(`CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'`);
    for (const [when, code] of [
      ['AFTER INSERT OR UPDATE ON products FOR EACH ROW', 'STORE_UNREACHABLE'],
      [
        'AFTER INSERT OR UPDATE ON products DEFERRABLE INITIALLY DEFERRED FOR EACH ROW',
        'COMMIT_UNKNOWN',
      ],
    ] as const) {
      await bed.sql(`CREATE CONSTRAINT TRIGGER deadly ${when} EXECUTE FUNCTION die()`);
      const applying = bed.apply(into, 'products', [put('b', { name: 'lost' })]);
      await expect(applying).rejects.toMatchObject({ code, retryable: true });
      // The session connects again by itself, and tells.
      expect(await into.checkpoint()).toEqual(held);
      expect(await bed.sql('SELECT sku FROM products')).toEqual([{ sku: 'a' }]);
      await bed.sql('DROP TRIGGER deadly ON products');
    }
    expect(await bed.apply(into, 'products', [put('b', { name: 'b' })])).toMatchObject({
      applied: 1,
    });
  });

  test('lets rows of one batch pass a unique value on, whatever the order', async () => {
    await using bed = await sinkBed(url(), { products });
    const into = await bed.session('products');
    await bed.apply(into, 'products', [
      put('a', { name: 'a', code: 'x' }),
      put('b', { name: 'b', code: 'y' }),
    ]);
    const handed = await bed.apply(into, 'products', [
      put('c', { name: 'c', code: 'x' }),
      { key: ['a'], row: null },
    ]);
    expect(handed).toMatchObject({ applied: 2, failed: [] });
    // In one statement the second would be refused; one by one they go in.
    const apart = table({ key: ['id'], columns: { id: 'TEXT', upper: 'TEXT' } });
    await using other = await sinkBed(url(), { apart });
    const session = await other.session('apart');
    const same = await other.apply(session, 'apart', [
      { key: [1], row: { id: 1 } },
      { key: ['1'], row: { id: '1', upper: 'later' } },
    ]);
    expect(same).toMatchObject({ applied: 2, failed: [] });
    expect(await other.sql('SELECT id, upper FROM apart')).toEqual([{ id: '1', upper: 'later' }]);
  });

  test('finds the row that a deferred constraint refuses at COMMIT', async () => {
    await using bed = await sinkBed(url(), {
      lines: table({
        key: ['id'],
        columns: { id: 'INT8', shop: 'TEXT REFERENCES shops DEFERRABLE INITIALLY DEFERRED' },
      }),
    });
    await bed.sql(`CREATE TABLE shops (id TEXT PRIMARY KEY); INSERT INTO shops VALUES ('here')`);
    const into = await bed.session('lines');
    const report = await bed.apply(into, 'lines', [
      { key: [1], row: { shop: 'here' } },
      { key: [2], row: { shop: 'nowhere' } },
    ]);
    expect(report.failed.map(({ index, error }) => [index, error.details['state']])).toEqual([
      [1, '23503'],
    ]);
    expect(await bed.sql('SELECT * FROM lines')).toEqual([]);
  });

  test('stores values by the type of their column, and reads them as capture does', async () => {
    const typed = table({
      key: ['id', 'day'],
      columns: {
        id: 'UUID',
        day: 'DATE',
        n: 'INTEGER',
        small: 'INT2',
        flag: 'INTEGER',
        yes: 'BOOLEAN',
        text: 'TEXT',
        exact: 'NUMERIC(10,3)',
        real: 'REAL',
        bytes: 'BLOB',
        at: 'TIMESTAMPTZ',
        tags: 'TEXT[]',
        grid: 'INT8[]',
        list: 'JSON',
        any: 'JSONB',
      },
    });
    await using bed = await sinkBed(url(), { typed });
    await bed.sql(`ALTER DATABASE ${fresh?.name ?? ''} SET timezone = 'Asia/Tokyo'`);
    try {
      const into = await bed.session('typed');
      const id = '6f1c3c1e-0f9e-4f0b-8a3e-0a4d5c3b2a10';
      const row: Row = {
        n: 2n ** 60n,
        small: -3,
        flag: true,
        yes: 1,
        text: 5,
        exact: 12.5,
        real: 0.1,
        bytes: new Uint8Array([0, 92, 255]),
        at: '2026-03-01 10:00:00.5+00',
        tags: ['a', 'b "c" \\d,{}', null, 'NULL', ''],
        grid: [
          [1, 2n ** 60n],
          [3, null],
        ],
        list: [1, { a: null }],
        any: { $i: -0, big: 2n ** 70n },
      };
      const report = await bed.apply(into, 'typed', [{ key: [id, '2026-03-01'], row }]);
      expect(report).toMatchObject({ applied: 1, failed: [] });
      await bed.reopen();
      expect(await bed.ports.query.get('typed', [id, '2026-03-01'])).toEqual({
        ...row,
        id,
        day: '2026-03-01',
        flag: 1,
        yes: true,
        text: '5',
        exact: '12.500',
      });
      expect(
        await bed.sql(`SELECT pg_typeof(n)::text AS n, pg_typeof(real)::text AS real FROM typed`),
      ).toEqual([{ n: 'bigint', real: 'double precision' }]);
    } finally {
      await bed.sql(`ALTER DATABASE ${fresh?.name ?? ''} RESET timezone`);
    }
  });

  test.each([
    ['U+0000', { text: 'a\0b' }],
    ['U+0000 deep inside', { list: [{ 'k\0': 1 }] }],
    ['half of a surrogate pair', { text: '\ud800' }],
  ])('refuses a document with %s alone, and not one that only looks like it', async (_, row) => {
    await using bed = await sinkBed(url(), {});
    const into = await bed.session('papers');
    const looks: Row = { text: '\\u0000 \\\\ud800', more: '\u{1F600}' };
    const given: readonly Given[] = [
      { key: ['a\0b'], row: looks },
      { key: ['b'], row },
    ];
    const { failed } = await bed.apply(into, 'papers', given);
    expect(failed.map(({ index, error }) => [index, error.code])).toEqual([
      [1, 'VALUE_UNSUPPORTED'],
    ]);
    expect(await bed.apply(into, 'papers', given.slice(0, 1))).toMatchObject({ applied: 1 });
    expect(await bed.ports.query.get('papers', ['a\0b'])).toEqual(looks);
  });

  test('refuses alone what the encoding of the database lacks', async () => {
    await using latin = await freshDatabase({ encoding: 'LATIN1' });
    await using bed = await sinkBed(latin.url, {});
    const into = await bed.session('papers');
    const { failed } = await bed.apply(into, 'papers', [
      { key: ['a'], row: { text: 'é' } },
      { key: ['b'], row: { text: '\u{1F600}' } },
    ]);
    expect(failed.map(({ index, error }) => [index, error.code])).toEqual([
      [1, 'VALUE_UNSUPPORTED'],
    ]);
  });

  test('keeps checkpoints whose keys are of every type', async () => {
    await using bed = await sinkBed(url(), {});
    const into = await bed.session('papers');
    const last = { epoch: 1, offset: 7, ordinal: 0 };
    const checkpoint = {
      log: 1,
      last,
      through: { epoch: 1, offset: 7 },
      backfill: {
        state: 'running' as const,
        tables: { a: [2n ** 60n, 'x\0y', new Uint8Array([1])], b: 'done' as const },
        epoch: 1,
        atMin: 1,
        atMax: 2,
      },
    };
    await into.apply({ writes: [], state: [], checkpoint });
    expect(await into.checkpoint()).toEqual(checkpoint);
  });

  test('leaves expired rows out at once, and sweeps them without letting older writes back in', async () => {
    const clock = manualClock(1_000_000);
    await using bed = await sinkBed(url(), { sessions: keyValue({ ttl: '10s' }) }, clock);
    const swept = bed.ports.sweeping(openKeyValue(bed.database));
    expect(await swept.sweep()).toBe(0);
    const into = await bed.session('sessions');
    await bed.apply(into, 'sessions', [
      { key: ['a'], row: { user: 1 }, offset: 5 },
      { key: ['b'], row: { user: 2 }, offset: 5 },
    ]);
    clock.set(1_009_999);
    expect(await bed.ports.query.get('sessions', ['a'])).toEqual({ user: 1 });
    clock.set(1_010_000);
    expect(await bed.ports.query.get('sessions', ['a'])).toBeUndefined();
    expect(await bed.ports.scan.count('sessions')).toBe(0);
    expect(await swept.sweep(1)).toBe(1);
    expect(await swept.sweep(10)).toBe(1);
    expect(await bed.sql('SELECT * FROM sessions')).toEqual([]);
    expect(
      await bed.apply(into, 'sessions', [{ key: ['a'], row: { user: 1 }, offset: 4 }]),
    ).toMatchObject({ applied: 0, older: 1 });
  });
});

/** Resolves once some other connection waits for a lock of this one. */
async function waiting(
  sql: (text: string) => Promise<readonly Record<string, unknown>[]>,
): Promise<void> {
  for (;;) {
    const rows = await sql(
      'SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))',
    );
    if (rows.length > 0) return;
  }
}
