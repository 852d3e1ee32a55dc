import { Client, type ClientBase, type PoolClient } from 'pg';
import { describe, test, vi } from 'vitest';
import {
  sourceConformance,
  sourceTables,
  type SourceStep,
  type SourceSubject,
} from '../../src/conformance/source.ts';
import type { ColumnKind } from '../../src/conformance/sink.ts';
import type { Value } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { postgres, type PostgresStore } from '../../src/stores/postgres/store.ts';
import { sourceSupports } from '../../src/stores/postgres/supports.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

const types: Readonly<Record<ColumnKind, string>> = {
  text: 'text',
  whole: 'bigint',
  fraction: 'double precision',
  big: 'bigint',
  bytes: 'bytea',
  boolean: 'boolean',
  list: 'jsonb',
  object: 'jsonb',
  any: 'text',
};

const documents = new Set(
  sourceTables.flatMap(({ columns }) =>
    Object.entries(columns).flatMap(([name, kind]) => (types[kind] === 'jsonb' ? [name] : [])),
  ),
);

const urls = new WeakMap<SourceSubject, string>();

// Each case makes a slot, and a slot waits for the end of every transaction of its server: tests of other files have long ones there.
vi.setConfig({ testTimeout: 60_000 });

describe.skipIf(!hasPostgres)('on PostgreSQL', () => {
  sourceConformance({
    test,
    supports: sourceSupports,
    clock: systemClock,
    open: openSubject,
    kinds: ['text', 'whole', 'fraction', 'big', 'bytes', 'boolean', 'list', 'object'],
    evidence: 'covering',
    truncate: async (tx, table) => {
      await (tx as PoolClient).query(`TRUNCATE ${table}`);
    },
    foreignWrite: (subject, steps) =>
      withClient(subject, async (client) => {
        await client.query('BEGIN');
        for (const step of steps) await runStep(client, step);
        await client.query('COMMIT');
      }),
    createKeylessTable: (subject, name) =>
      withClient(subject, async (client) => {
        await client.query(`CREATE TABLE ${name} (a int, b int)`);
      }),
  });
});

async function openSubject(): Promise<SourceSubject> {
  const database = await freshDatabase();
  let store = await openStore(database.url);
  for (const { name, key, columns } of sourceTables) {
    const list = Object.entries(columns).map(([column, kind]) => `"${column}" ${types[kind]}`);
    await store.client.query(
      `CREATE TABLE ${name} (${list.join(', ')}, PRIMARY KEY (${key.join(', ')}))`,
    );
  }
  const subject: SourceSubject = {
    get source() {
      return store.source;
    },
    run: (tx, step) => runStep(tx as PoolClient, step),
    async reopen() {
      await store.close();
      store = await openStore(database.url);
    },
    async dispose() {
      await store.close();
      await database[Symbol.asyncDispose]();
    },
  };
  urls.set(subject, database.url);
  return subject;
}

function openStore(url: string): Promise<PostgresStore> {
  return postgres({ url }).open({ name: 'owner', clock: systemClock, random: systemRandom });
}

async function withClient(
  subject: SourceSubject,
  work: (client: Client) => Promise<void>,
): Promise<void> {
  const client = new Client({ connectionString: urls.get(subject) });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

async function runStep(client: ClientBase, step: SourceStep): Promise<void> {
  const key = sourceTables.find(({ name }) => name === step.table)?.key ?? [];
  const where = (from: number): string =>
    key.map((column, index) => `"${column}" = $${from + index}`).join(' AND ');
  if (step.kind === 'delete') {
    await client.query(`DELETE FROM ${step.table} WHERE ${where(1)}`, [...step.key]);
    return;
  }
  const columns = Object.keys(step.row);
  const values = columns.map((column) => bound(column, step.row[column] ?? null));
  const marks = columns.map((_, index) => `$${index + 1}`);
  if (step.kind === 'insert') {
    await client.query(
      `INSERT INTO ${step.table} ("${columns.join('", "')}") VALUES (${marks.join(', ')})`,
      values,
    );
    return;
  }
  const set = columns.map((column, index) => `"${column}" = ${marks[index]}`).join(', ');
  await client.query(`UPDATE ${step.table} SET ${set} WHERE ${where(columns.length + 1)}`, [
    ...values,
    ...step.key,
  ]);
}

function bound(column: string, value: Value): unknown {
  return value !== null && documents.has(column) ? JSON.stringify(value) : value;
}
