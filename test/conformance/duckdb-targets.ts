import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { sinkTargets, type ColumnKind } from '../../src/conformance/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import {
  columnar,
  duckdb,
  type ColumnarTarget,
  type DuckdbStore,
} from '../../src/stores/duckdb/index.ts';

const types: Readonly<Record<ColumnKind, string>> = {
  text: 'VARCHAR',
  whole: 'BIGINT',
  fraction: 'DOUBLE',
  big: 'HUGEINT',
  bytes: 'BLOB',
  boolean: 'BOOLEAN',
  list: 'JSON',
  object: 'JSON',
  any: 'VARCHAR',
};

/** The suite's targets with declared columns. */
export const suiteColumns: Readonly<Record<string, ColumnarTarget>> = Object.fromEntries(
  sinkTargets.map(({ name, key, columns }) => [
    name,
    columnar({
      key,
      columns: Object.fromEntries(
        Object.entries(columns).map(([column, kind]) => [column, types[kind]]),
      ),
    }),
  ]),
);

/** A DuckDB file in a directory of its own, that can be closed and opened again. */
export interface DuckdbFile {
  readonly store: DuckdbStore;
  read(target: string): Promise<ReadonlyMap<string, Row>>;
  reopen(): Promise<void>;
  dispose(): Promise<void>;
}

export async function duckdbFile(
  targets: Readonly<Record<string, ColumnarTarget>>,
): Promise<DuckdbFile> {
  const directory = await mkdtemp(join(tmpdir(), 'tally-duckdb-'));
  const definition = duckdb({ file: join(directory, 'reports.duckdb'), targets });
  const open = (): Promise<DuckdbStore> =>
    definition.open({ name: 'reports', clock: systemClock, random: seededRandom(1) });
  let store = await open();
  return {
    get store() {
      return store;
    },
    async read(target) {
      const rows = new Map<string, Row>();
      for await (const page of store.scan.scan(target, { rowsMax: 10_000 }))
        for (const { key, row } of page) rows.set(encodeKey(key), row);
      return rows;
    },
    async reopen() {
      await store.close();
      store = await open();
    },
    async dispose() {
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
}
