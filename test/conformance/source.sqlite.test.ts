import { DatabaseSync } from 'node:sqlite';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import {
  sourceConformance,
  sourceTables,
  type SourceStep,
  type SourceSubject,
} from '../../src/conformance/source.ts';
import type { ColumnKind } from '../../src/conformance/sink.ts';
import type { Row, Scalar } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { sourceSupports } from '../../src/stores/sqlite/supports.ts';
import { openStore } from '../support/sqlite-source.ts';

const files = new WeakMap<SourceSubject, string>();

sourceConformance({
  test,
  supports: sourceSupports,
  clock: systemClock,
  open: openSubject,
  kinds: ['text', 'whole', 'fraction', 'big', 'bytes'],
  foreignWrite: async (subject, steps) =>
    withFile(subject, (database) => {
      database.exec('BEGIN');
      for (const step of steps) runStep(database, step);
      database.exec('COMMIT');
    }),
  createKeylessTable: async (subject, name) =>
    withFile(subject, (database) => database.exec(`CREATE TABLE ${name} (a, b)`)),
});

const types: Readonly<Record<ColumnKind, string>> = {
  text: 'TEXT',
  whole: 'INTEGER',
  fraction: 'REAL',
  big: 'INTEGER',
  bytes: 'BLOB',
  boolean: 'INTEGER',
  list: 'TEXT',
  object: 'TEXT',
  any: 'ANY',
};

async function openSubject(): Promise<SourceSubject> {
  const directory = await mkdtemp(join(tmpdir(), 'tally-source-'));
  const file = join(directory, 'owner.db');
  let store = await openStore(file);
  for (const { name, key, columns } of sourceTables) {
    const list = Object.entries(columns).map(([column, kind]) => `"${column}" ${types[kind]}`);
    store.client.exec(`CREATE TABLE ${name} (${list.join(', ')}, PRIMARY KEY (${key.join(', ')}))`);
  }
  const subject: SourceSubject = {
    get source() {
      return store.source;
    },
    run: (tx, step) => runStep(tx as DatabaseSync, step),
    async reopen() {
      await store.close();
      store = await openStore(file);
    },
    async dispose() {
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  files.set(subject, file);
  return subject;
}

function withFile(subject: SourceSubject, work: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(files.get(subject) ?? '');
  try {
    work(database);
  } finally {
    database.close();
  }
}

function runStep(database: DatabaseSync, step: SourceStep): void {
  const key = sourceTables.find(({ name }) => name === step.table)?.key ?? [];
  const where = key.map((column) => `"${column}" = ?`).join(' AND ');
  if (step.kind === 'delete') {
    database.prepare(`DELETE FROM ${step.table} WHERE ${where}`).run(...step.key.map(bound));
    return;
  }
  const columns = Object.keys(step.row);
  const values = valuesOf(step.row);
  if (step.kind === 'insert') {
    const marks = columns.map(() => '?').join(', ');
    database
      .prepare(`INSERT INTO ${step.table} ("${columns.join('", "')}") VALUES (${marks})`)
      .run(...values);
    return;
  }
  const set = columns.map((column) => `"${column}" = ?`).join(', ');
  database
    .prepare(`UPDATE ${step.table} SET ${set} WHERE ${where}`)
    .run(...values, ...step.key.map(bound));
}

function valuesOf(row: Row): Exclude<Scalar, boolean>[] {
  return Object.values(row).map((value) => bound(value as Scalar));
}

function bound(value: Scalar): Exclude<Scalar, boolean> {
  return typeof value === 'boolean' ? Number(value) : value;
}
