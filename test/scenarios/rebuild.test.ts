import { DuckDBInstance } from '@duckdb/node-api';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flow, open, put, tally, type FlowDefinition, type OpenApp, type Row } from 'tallystick';
import { columnar, duckdb } from 'tallystick/duckdb';
import { files } from 'tallystick/files';
import * as pg from 'tallystick/postgres';
import { documents, edges, fullText, keyValue, sqlite, table } from 'tallystick/sqlite';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';
import { ask, fresh, rowsOf, sql, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();

interface Kind {
  readonly target: () => StoreDefinition;
  /** What a row becomes; the second version is that of the new code. */
  readonly project: (row: Row, version: number) => Row;
  /** What readers see, by a driver of its own, as ids with their values. */
  readonly read: () => readonly unknown[] | Promise<readonly unknown[]>;
}

const value = (row: Row, version: number): string => `${String(row['name'])} v${version}`;
const documentRow = (row: Row, version: number): Row => ({
  id: row['id'] ?? null,
  name: value(row, version),
});

function inSqlite(
  declaration: Parameters<typeof sqlite>[0]['targets'],
  name = "document ->> 'name'",
): Pick<Kind, 'target' | 'read'> {
  return {
    target: () =>
      sqlite({
        file: path('target.db'),
        ...(declaration === undefined ? {} : { targets: declaration }),
      }),
    read: () => rowsOf(path('target.db'), `SELECT ${name} AS name FROM copies ORDER BY 1`),
  };
}

function inDuckdb(
  targets: Parameters<typeof duckdb>[0]['targets'],
  name: string,
): Pick<Kind, 'target' | 'read'> {
  return {
    target: () =>
      duckdb({ file: path('target.duckdb'), ...(targets === undefined ? {} : { targets }) }),
    read: async () => {
      const instance = await DuckDBInstance.create(path('target.duckdb'));
      try {
        const connection = await instance.connect();
        const reader = await connection.runAndReadAll(
          `SELECT ${name} AS name FROM copies ORDER BY 1`,
        );
        connection.closeSync();
        return reader.getRowObjectsJson();
      } finally {
        instance.closeSync();
      }
    },
  };
}

let database: FreshDatabase | undefined;

/** A schema of its own, for targets and for the coordinator's tables. */
function inPostgres(
  schema: string,
  targets: pg.Targets,
  name = "document ->> 'name'",
): Pick<Kind, 'target' | 'read'> {
  const url = (): string =>
    `${database?.url ?? ''}?options=${encodeURIComponent(`-c search_path=${schema}`)}`;
  return {
    target: () => pg.postgres({ url: url(), schema: `tally_${schema}`, targets }),
    read: async () => {
      const client = new Client({ connectionString: url() });
      await client.connect();
      try {
        return (await client.query(`SELECT ${name} AS name FROM copies ORDER BY 1`)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

const columns = { id: 'BIGINT', name: 'VARCHAR' };

const kinds: Readonly<Record<string, Kind>> = {
  'sqlite documents': { ...inSqlite({ copies: documents() }), project: documentRow },
  'sqlite table': {
    ...inSqlite(
      { copies: table({ key: ['id'], columns: { id: 'INTEGER', name: 'TEXT' } }) },
      'name',
    ),
    project: documentRow,
  },
  'sqlite fullText': {
    ...inSqlite({ copies: fullText({ columns: ['name'] }) }, 'name'),
    project: documentRow,
  },
  'sqlite edges': {
    ...inSqlite({ copies: edges() }, '"to"'),
    project: (row, version) => ({ from: row['id'] ?? null, to: value(row, version), kind: 'is' }),
  },
  'sqlite keyValue': { ...inSqlite({ copies: keyValue({ ttl: '1h' }) }), project: documentRow },
  'duckdb documents': { ...inDuckdb(undefined, "doc ->> 'name'"), project: documentRow },
  'duckdb columnar': {
    ...inDuckdb({ copies: columnar({ key: ['id'], columns }) }, 'name'),
    project: documentRow,
  },
};

const postgresKinds: Readonly<Record<string, Kind>> = {
  'postgres documents': {
    ...inPostgres('documents', { copies: pg.documents() }),
    project: documentRow,
  },
  'postgres table': {
    ...inPostgres('rows', { copies: pg.table({ key: ['id'], columns }) }, 'name'),
    project: documentRow,
  },
  'postgres fullText': {
    ...inPostgres('texts', { copies: pg.fullText({ columns: ['name'] }) }),
    project: documentRow,
  },
  'postgres edges': {
    ...inPostgres('edges', { copies: pg.edges() }, '"to"'),
    project: (row, version) => ({ from: row['id'] ?? null, to: value(row, version), kind: 'is' }),
  },
  'postgres keyValue': {
    ...inPostgres('sessions', { copies: pg.keyValue({ ttl: '1h' }) }),
    project: documentRow,
  },
};

beforeAll(async () => {
  if (!hasPostgres) return;
  database = await freshDatabase();
  const client = new Client({ connectionString: database.url });
  await client.connect();
  for (const schema of ['documents', 'rows', 'texts', 'edges', 'sessions'])
    await client.query(`CREATE SCHEMA ${schema}`);
  await client.end();
});

afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

function shop(target: StoreDefinition, copy: FlowDefinition) {
  return tally({
    name: 'shop',
    dir: path('tally'),
    stores: {
      orders: sqlite({ file: path('orders.db') }),
      target,
    },
    flows: { copy },
  });
}

type Shop = OpenApp<ReturnType<typeof shop>['stores']>;

function copyFlow(project: (row: Row) => Row, into = 'copies'): FlowDefinition {
  return flow({
    from: 'orders',
    tables: ['items'],
    to: 'target',
    into,
    batchRows: 100,
    project: (row) => put(into, [row['id'] as number], project(row)),
  });
}

function seed(): void {
  sql(
    path('orders.db'),
    `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
     INSERT INTO items SELECT i, 'seed' || i FROM n`,
  );
}

/** Inserts, updates and deletes until the work is done. */
async function writeWhile(app: Shop, work: Promise<unknown>, from: number): Promise<number> {
  const end = { reached: false };
  const done = work.finally(() => (end.reached = true));
  let id = from;
  while (!end.reached) {
    id += 1;
    await app.write('orders', (db) => {
      db.prepare('INSERT INTO items VALUES (?, ?)').run(id, `new${id}`);
      db.prepare('UPDATE items SET name = ? WHERE id = ?').run(`changed${id}`, (id % 500) + 1);
      db.prepare('DELETE FROM items WHERE id = ?').run(id - 3);
    });
    await systemClock.sleep(2);
  }
  await done;
  return id;
}

const pure = (version: number): readonly unknown[] =>
  rowsOf(path('orders.db'), `SELECT name || ' v${version}' AS name FROM items ORDER BY 1`);

const settle = async (app: Shop): Promise<void> =>
  fresh(app, 'target', (await app.write('orders', () => undefined)).evidence);

test.each(Object.entries({ ...kinds, ...(hasPostgres ? postgresKinds : {}) }))(
  'a rebuild of %s with new code, twice in a row and under writes, equals a pure recomputation',
  async (_name, { target, project, read }) => {
    seed();
    {
      await using app = await open(
        shop(
          target(),
          copyFlow((row) => project(row, 1)),
        ),
      );
      await settle(app);
    }
    expect(await read()).toEqual(pure(1));
    {
      await using app = await open(
        shop(
          target(),
          copyFlow((row) => project(row, 2)),
        ),
      );
      await settle(app);
      const rebuild = () => ask(app, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } });
      let id = await writeWhile(app, rebuild(), 1_000);
      id = await writeWhile(app, rebuild(), id);
      await settle(app);
    }
    expect(await read()).toEqual(pure(2));
    {
      await using app = await open(
        shop(
          target(),
          copyFlow((row) => project(row, 3)),
        ),
      );
      await settle(app);
      await writeWhile(app, ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' }), 5_000);
      await settle(app);
    }
    expect(await read()).toEqual(pure(3));
  },
);

test('facts that are only appended are rebuilt and resnapshotted without a double', async () => {
  seed();
  const { target, read } = inDuckdb(
    { copies: columnar({ key: ['id'], columns, appendOnly: true }) },
    'name',
  );
  {
    await using app = await open(
      shop(
        target(),
        copyFlow((row) => documentRow(row, 1)),
      ),
    );
    await settle(app);
    let id = 1_000;
    const append = async (work: Promise<unknown>): Promise<void> => {
      const end = { reached: false };
      const done = work.finally(() => (end.reached = true));
      do {
        id += 1;
        await app.write('orders', (db) =>
          db.prepare('INSERT INTO items VALUES (?, ?)').run(id, `new${id}`),
        );
        await systemClock.sleep(2);
      } while (!end.reached);
      await done;
    };
    await append(ask(app, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } }));
    await append(ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' }));
    await append(ask(app, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } }));
    await settle(app);
  }
  expect(await read()).toEqual(pure(1));
});

test('files refuse a rebuild with the remedy, and the remedy compares every object', async () => {
  seed();
  const target = files({ dir: path('target'), fsync: 'os' });
  {
    await using app = await open(
      shop(
        target,
        copyFlow((row) => documentRow(row, 1)),
      ),
    );
    await settle(app);
    const refused = ask(app, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } });
    await expect(refused).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
    await expect(refused).rejects.toThrow('tally resnapshot APP.ts orders');
  }
  await using app = await open(
    shop(
      target,
      copyFlow((row) => documentRow(row, 2)),
    ),
  );
  await writeWhile(app, ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' }), 1_000);
  await settle(app);
  const { objects } = app.stores.target;
  const held: unknown[] = [];
  for await (const { key } of objects?.list('copies/') ?? []) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await objects?.get(key))?.body ?? []) chunks.push(chunk);
    held.push({
      name: (JSON.parse(Buffer.concat(chunks).toString('utf8')) as { name: string }).name,
    });
  }
  const byName = (one: unknown, other: unknown): number =>
    (one as { name: string }).name < (other as { name: string }).name ? -1 : 1;
  expect(held.toSorted(byName)).toEqual([...pure(2)].toSorted(byName));
});

test('a rebuild while work is parked takes it up where the projection is right now, and parks it where it is not', async () => {
  seed();
  let poisoned = true;
  const copy = copyFlow((row) => {
    if (poisoned && row['id'] === 7) throw new Error('not yet');
    return documentRow(row, 1);
  });
  await using app = await open(shop(sqlite({ file: path('target.db') }), copy));
  const about = async (keys: boolean) =>
    app.barrier('target', {
      after: (await app.write('orders', () => undefined)).evidence,
      within: '10s',
      ...(keys ? { keys: [{ table: 'items', key: [8] }] } : {}),
    });
  expect((await about(true)).kind).toBe('fresh');
  expect((await about(false)).kind).toBe('blocked');
  const rebuild = () => ask(app, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } });
  await app.write('orders', (db) => db.exec("UPDATE items SET name = 'queued' WHERE id = 7"));
  expect(await rebuild()).toBe(2);
  expect((await about(false)).kind).toBe('blocked');
  poisoned = false;
  expect(await rebuild()).toBe(3);
  expect((await about(false)).kind).toBe('fresh');
  expect(await app.ledger.list('parked/copy')).toEqual([]);
  expect(
    rowsOf(path('target.db'), "SELECT document ->> 'name' AS name FROM copies ORDER BY 1"),
  ).toEqual(pure(1));
  await waitFor(async () => ((await app.status()).flows[0]?.parked === 0 ? true : undefined));
});
