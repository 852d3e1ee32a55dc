import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Key, Row } from '../../core/row.ts';
import { ORDINAL_MAX } from '../../core/position.ts';
import type { Write } from '../../core/write.ts';
import { armPoints } from '../../observe/point.ts';
import type { Clock } from '../../ports/clock.ts';
import type { SinkReport, SinkSession } from '../../ports/sink.ts';
import {
  columnar,
  duckdb,
  type ColumnarTarget,
  type DuckdbOptions,
  type DuckdbStore,
} from './index.ts';

let directory: string;
let opened: DuckdbStore[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tally-duckdb-'));
  opened = [];
});

afterEach(async () => {
  armPoints(undefined);
  for (const store of opened) await store.close();
  await rm(directory, { recursive: true, force: true });
});

// The sink waits only for another worker of the same process, which a turn of the event loop lets on.
const clock: Clock = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  sleep: () => new Promise((resolve) => setImmediate(resolve)),
  after: () => () => undefined,
};
const random = { next: () => 0.5, id: () => '00000000-0000-4000-8000-000000000000' };

async function open(
  targets: Readonly<Record<string, ColumnarTarget>> = {},
  more: Partial<DuckdbOptions> = {},
): Promise<DuckdbStore> {
  const definition = duckdb({ file: join(directory, 'reports.duckdb'), targets, ...more });
  const store = await definition.open({ name: 'reports', clock, random });
  opened.push(store);
  return store;
}

function session(
  store: DuckdbStore,
  target: string,
  { workerEpoch = 1, flow = 'shop', generation = 1 } = {},
): Promise<SinkSession> {
  return store.sink.open({ flow, generation, workerEpoch, targets: [{ target }] });
}

function write(
  target: string,
  key: Key,
  row: Row | null,
  offset: number,
  mode: Write['mode'] = 'stream',
): Write {
  const ordinal = mode === 'snapshot' ? ORDINAL_MAX : 0;
  return { target, key, row, mode, epoch: 1, offset, ordinal };
}

let log = 0;
function apply(to: SinkSession, ...writes: readonly Write[]): Promise<SinkReport> {
  log += 1;
  return to.apply({
    writes,
    state: [],
    checkpoint: { log, last: undefined, through: undefined, backfill: undefined },
  });
}

async function rows(store: DuckdbStore, sql: string): Promise<unknown> {
  return (await store.client.runAndReadAll(sql)).getRows();
}

describe('append-only targets', () => {
  const facts = columnar({
    key: ['id'],
    columns: { id: 'INTEGER', note: 'VARCHAR' },
    appendOnly: true,
  });
  const fact = (id: number, offset: number, mode?: Write['mode']): Write =>
    write('facts', [id], { id, note: `fact ${id}` }, offset, mode);

  test('hold each fact once, however snapshot, stream and replay meet', async () => {
    const store = await open({ facts });
    const to = await session(store, 'facts');
    expect(await apply(to, fact(1, 10), fact(2, 11))).toMatchObject({ applied: 2, older: 0 });
    // A snapshot taken at 30 saw 1 and 2, and 3, which the stream has yet to bring.
    const chunk = [1, 2, 3].map((id) => fact(id, 30, 'snapshot'));
    expect(await apply(to, ...chunk)).toMatchObject({ applied: 3, older: 0, failed: [] });
    expect(await apply(to, fact(3, 25), fact(4, 31))).toMatchObject({ applied: 1, older: 1 });
    expect(await apply(to, fact(3, 25), fact(4, 31))).toMatchObject({ applied: 0, older: 2 });
    expect(await rows(store, 'SELECT id FROM facts ORDER BY ALL')).toEqual([[1], [2], [3], [4]]);
  });

  test('remember after a reopening what a replay must not append again', async () => {
    const store = await open({ facts });
    await apply(await session(store, 'facts'), fact(1, 10), fact(2, 11));
    await store.close();
    const again = await open({ facts });
    const to = await session(again, 'facts', { workerEpoch: 2 });
    expect(await apply(to, fact(2, 11), fact(3, 12))).toMatchObject({ applied: 1, older: 1 });
    expect(await again.scan.count('facts')).toBe(3);
  });

  test('append a batch that was rolled back before, all of it', async () => {
    const store = await open({ facts });
    const to = await session(store, 'facts');
    armPoints((name) => {
      if (name === 'sink.after-checkpoint-before-commit') throw new Error('died');
    });
    await expect(apply(to, fact(1, 10), fact(2, 11))).rejects.toThrow('died');
    armPoints(undefined);
    expect(await store.scan.count('facts')).toBe(0);
    expect(await apply(to, fact(1, 10), fact(2, 11))).toMatchObject({ applied: 2, older: 0 });
  });

  test('find their row by key for deletes and sweeps', async () => {
    const store = await open({ facts });
    const to = await session(store, 'facts');
    await apply(to, fact(1, 10), fact(2, 11), fact(3, 12));
    expect(await apply(to, write('facts', [2], null, 13))).toMatchObject({ applied: 1, older: 0 });
    expect(await to.sweep(['facts'], { epoch: 1, offset: 11 })).toBe(1);
    expect(await apply(to, fact(1, 10), fact(2, 12))).toMatchObject({ applied: 0, older: 2 });
    expect(await rows(store, 'SELECT id FROM facts')).toEqual([[3]]);
  });

  test('sort what they append by the columns they were told', async () => {
    const { key, columns } = facts;
    const ordered = columnar({ key, columns, appendOnly: true, orderBy: ['note', 'id'] });
    const store = await open({ facts: ordered });
    const to = await session(store, 'facts');
    expect(await apply(to, fact(3, 10), fact(1, 11), fact(2, 12))).toMatchObject({ applied: 3 });
    const stored = await rows(store, 'SELECT id FROM facts__g1 ORDER BY rowid');
    expect(stored).toEqual([[1], [2], [3]]);
  });
});

describe('columns', () => {
  const columns = {
    id: 'BIGINT',
    small: 'TINYINT',
    amount: 'DECIMAL(10,2)',
    day: 'DATE',
    at: 'TIMESTAMP',
    uuid: 'UUID',
    size: `ENUM('s', 'm')`,
    extra: 'JSON',
    huge: 'HUGEINT',
  };
  const target = columnar({ key: ['id'], columns });
  const nulls: Row = { small: null, day: null, uuid: null, size: null, extra: null, huge: null };

  test('take the values that their documentation names, and give them back', async () => {
    const store = await open({ things: target });
    const to = await session(store, 'things');
    const full: Row = {
      id: 1,
      small: -128,
      amount: '12.5',
      day: '2024-02-29',
      at: '2024-02-29T10:00:00.123Z',
      uuid: '00000000-0000-4000-8000-00000000000a',
      size: 'm',
      extra: { list: [1, 2n ** 70n, new Uint8Array([1])] },
      huge: 2n ** 100n,
    };
    const other: Row = { id: 2n ** 60n, amount: 3, at: 1_700_000_000_000, ...nulls };
    const report = await apply(
      to,
      write('things', [1], full, 1),
      write('things', [2n ** 60n], other, 2),
    );
    expect(report).toEqual({ applied: 2, older: 0, failed: [] });
    const seen: Row[] = [];
    for await (const page of store.scan.scan('things', { rowsMax: 10 }))
      seen.push(...page.map(({ row }) => row));
    expect(seen).toEqual([
      { ...full, amount: '12.50', at: '2024-02-29 10:00:00.123' },
      { ...other, amount: '3.00', at: '2023-11-14 22:13:20' },
    ]);
  });

  test('refuse what they cannot hold, all of it in one report, and apply nothing', async () => {
    const store = await open({ things: target });
    const to = await session(store, 'things');
    const bad: readonly (readonly [Key, Row, string])[] = [
      [[1], { small: 128 }, 'VALUE_UNSUPPORTED'],
      [[2], { small: 1.5 }, 'VALUE_UNSUPPORTED'],
      [[3], { day: '2024-02-30' }, 'WRITE_REFUSED'],
      [[4], { amount: '123456789.00' }, 'WRITE_REFUSED'],
      [[5], { size: 'xl' }, 'WRITE_REFUSED'],
      [[6], { smal: 1 }, 'WRITE_REFUSED'],
      [[7], { id: 8 }, 'WRITE_REFUSED'],
      [[null], { small: 1 }, 'WRITE_REFUSED'],
      [[9, 9], { small: 1 }, 'WRITE_REFUSED'],
      [['10'], { small: 1 }, 'VALUE_UNSUPPORTED'],
    ];
    const writes = bad.map(([key, row], index) => write('things', key, row, index + 1));
    const { failed, applied } = await apply(to, write('things', [99], { small: 1 }, 1), ...writes);
    expect(applied).toBe(0);
    expect(failed.map(({ index, error }) => [index, error.code])).toEqual(
      bad.map(([, , code], index) => [index + 1, code]),
    );
    expect(failed[5]?.error.message).toContain('did you mean small?');
    expect(await store.scan.count('things')).toBe(0);
    expect(await to.checkpoint()).toBeUndefined();
  });

  test('keep a row of ten megabytes, text of any script, and nulls', async () => {
    const notes = columnar({
      key: ['id'],
      columns: { id: 'INTEGER', note: 'VARCHAR', raw: 'BLOB' },
    });
    const store = await open({ notes });
    const to = await session(store, 'notes');
    const note = 'e\u0301 \u{1F600} \0 '.repeat(1_000_000);
    const raw = new Uint8Array(1_000_000).fill(7);
    await apply(
      to,
      write('notes', [1], { id: 1, note, raw }, 1),
      write('notes', [2], { id: 2 }, 2),
    );
    for await (const page of store.scan.scan('notes', { rowsMax: 10 })) {
      expect(page[0]?.row['note'] === note).toBe(true);
      expect(page[0]?.row['raw']).toEqual(raw);
      expect(page[1]?.row).toEqual({ id: 2, note: null, raw: null });
    }
  });

  test('are refused at opening if DuckDB does not know the type, or it cannot be written or keyed by', async () => {
    const wrong = ['TEKST', 'INTEGER NOT NULL', 'INTEGER[]', 'STRUCT(a INTEGER)'];
    for (const type of wrong) {
      const store = await open({
        things: columnar({ key: ['id'], columns: { id: 'INTEGER', type } }),
      });
      await expect(session(store, 'things')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
    const store = await open({ things: columnar({ key: ['id'], columns: { id: 'DOUBLE' } }) });
    await expect(session(store, 'things')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('constraints that people add', () => {
  test('fail the writes they refuse by index; the others go in with the next call', async () => {
    const target = columnar({ key: ['id'], columns: { id: 'INTEGER', email: 'VARCHAR' } });
    const store = await open({ people: target });
    const to = await session(store, 'people');
    await store.client.run('CREATE UNIQUE INDEX one_email ON people__g1 (email)');
    const person = (id: number, email: string): Write => write('people', [id], { id, email }, id);
    await apply(to, person(1, 'a'));
    const batch = [person(2, 'b'), person(3, 'a'), person(4, 'c'), person(5, 'b'), person(6, 'd')];
    const { failed } = await apply(to, ...batch);
    expect(failed.map(({ index, error }) => [index, error.code])).toEqual([
      [1, 'WRITE_REFUSED'],
      [3, 'WRITE_REFUSED'],
    ]);
    const rest = batch.filter((_, index) => index !== 1 && index !== 3);
    expect(await apply(to, ...rest)).toEqual({ applied: 3, older: 0, failed: [] });
    expect(await rows(store, 'SELECT id FROM people ORDER BY id')).toEqual([[1], [2], [4], [6]]);
  });
});

describe('two workers in one process', () => {
  const target = columnar({ key: ['id'], columns: { id: 'INTEGER' } });

  test('meet at the row of the flow: the heir waits for the batch, and the zombie writes no more', async () => {
    const [one, two] = [await open({ things: target }), await open({ things: target })];
    const zombie = await session(one, 'things');
    let heir: Promise<SinkSession> | undefined;
    armPoints((name) => {
      if (name === 'sink.mid-apply') heir ??= session(two, 'things', { workerEpoch: 2 });
    });
    await apply(zombie, write('things', [1], { id: 1 }, 1));
    armPoints(undefined);
    const next = await heir;
    expect((await next?.checkpoint())?.log).toBe(log);
    const late = apply(zombie, write('things', [2], { id: 2 }, 2));
    await expect(late).rejects.toMatchObject({ code: 'FENCED_OUT' });
    expect(await two.scan.count('things')).toBe(1);
  });
});

describe('opening', () => {
  const target = columnar({ key: ['id'], columns: { id: 'INTEGER' } });

  test('refuses options that are not there or make no sense', () => {
    const file = join(directory, 'x.duckdb');
    const invalid = { code: 'CONFIG_INVALID' };
    const unknown = { file, memorylimit: '1GB' } as unknown as DuckdbOptions;
    expect(() => duckdb(unknown)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }),
    );
    for (const wrong of [
      { file: ':memory:' },
      { memoryLimit: 'plenty' },
      { threads: 0 },
      { targets: { a__g1: target } },
    ])
      expect(() => duckdb({ file, ...wrong })).toThrow(expect.objectContaining(invalid));
    for (const wrong of [
      { key: ['other'] },
      { key: [] },
      { columns: { id: 'INTEGER', ID: 'INTEGER' } },
      { columns: { id: 'INTEGER', _fence: 'BIGINT' } },
      { orderBy: ['id'] },
    ])
      expect(() => columnar({ key: ['id'], columns: { id: 'INTEGER' }, ...wrong })).toThrow(
        expect.objectContaining(invalid),
      );
  });

  test('says what is wrong with a file that is none, or lies in no directory, or is open otherwise', async () => {
    const other = join(directory, 'notes.txt');
    await writeFile(other, 'not a database\n'.repeat(1_000));
    await expect(open({}, { file: other })).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    const nowhere = open({}, { file: join(directory, 'none', 'x.duckdb') });
    await expect(nowhere).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await open();
    await expect(open({}, { threads: 1 })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('refuses a target of another flow, of other columns, or with the name of a table that is there', async () => {
    const store = await open({ things: target });
    await session(store, 'things');
    const refused = { code: 'CONFIG_INVALID' };
    await expect(session(store, 'things', { flow: 'other' })).rejects.toMatchObject(refused);
    await store.client.run('CREATE TABLE mine (a INTEGER)');
    await expect(session(store, 'mine')).rejects.toMatchObject(refused);
    const wider = columnar({ key: ['id'], columns: { id: 'INTEGER', more: 'VARCHAR' } });
    await store.close();
    const changed = await open({ things: wider });
    await expect(session(changed, 'things')).rejects.toMatchObject(refused);
    await session(changed, 'things', { generation: 2 });
    await changed.sink.switchTo('shop', 2, [{ target: 'things' }], 1);
    expect(await rows(changed, 'DESCRIBE things')).toHaveLength(2);
    const tables = await rows(
      changed,
      `SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'things%'`,
    );
    expect(tables).toEqual([['things__g2']]);
  });

  test('is over after close, also for sessions and scans', async () => {
    const store = await open({ things: target });
    const to = await session(store, 'things');
    await store.close();
    await store.close();
    const closed = { code: 'STORE_CLOSED' };
    await expect(apply(to)).rejects.toMatchObject(closed);
    await expect(store.scan.count('things')).rejects.toMatchObject(closed);
    await expect(store.sink.peek('shop')).rejects.toMatchObject(closed);
  });
});

describe('around the sink', () => {
  test('writes a Parquet file of what readers see', async () => {
    const target = columnar({ key: ['id'], columns: { id: 'INTEGER', at: 'TIMESTAMP' } });
    const store = await open({ things: target });
    const to = await session(store, 'things');
    await apply(to, write('things', [1], { id: 1, at: 0 }, 1), write('things', [2], null, 2));
    const file = join(directory, `it's.parquet`);
    expect(await store.exportParquet('things', file)).toBe(1);
    const sql = `SELECT id, "at"::VARCHAR FROM read_parquet('${file.replaceAll("'", "''")}')`;
    expect(await rows(store, sql)).toEqual([[1, '1970-01-01 00:00:00']]);
    await expect(store.exportParquet('thing', file)).rejects.toMatchObject({
      code: 'TABLE_UNKNOWN',
    });
  });

  test('shows the vitals of DuckDB, its limits as they were set', async () => {
    const store = await open({}, { memoryLimit: '256MiB' });
    const { system, version, measures } = await store.vitals();
    expect([system, version]).toEqual(['duckdb', expect.stringMatching(/^v\d+\.\d+/)]);
    const byName = new Map(measures.map(({ name, value }) => [name, value]));
    expect(byName.get('memory_limit')).toBe('256.0 MiB');
    expect(byName.get('block_size')).toBe(262_144);
    expect(byName.get('wal_bytes')).toBeGreaterThan(0);
  });
});
