import { sinkTargets, type ColumnKind } from '../../src/conformance/sink.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { openDatabase, type Database } from '../../src/stores/postgres/database.ts';
import {
  checkTargets,
  openTargetPorts,
  type TargetPorts,
} from '../../src/stores/postgres/sink/attach.ts';
import {
  documents,
  edges,
  fullText,
  keyValue,
  table,
  type TargetDeclaration,
  type Targets,
} from '../../src/stores/postgres/sink/targets.ts';

/** The rows of the suites are small, and a limit of a megabyte is as good as one of 64. */
export const rowBytesMax: number = 2 ** 20;

/** Spelled as for SQLite where both have a word for it. */
const columnTypes: Readonly<Record<ColumnKind, string>> = {
  text: 'TEXT',
  whole: 'INTEGER',
  fraction: 'REAL',
  big: 'INTEGER',
  bytes: 'BLOB',
  boolean: 'BOOLEAN',
  list: 'JSON',
  object: 'JSONB',
  any: 'JSONB',
};

/** The suites' targets, declared as each kind that PostgreSQL has. */
export const targetKinds: Readonly<Record<TargetDeclaration['kind'], Targets>> = {
  documents: declared(() => documents()),
  table: declared(({ key, columns }) => {
    const types = Object.entries(columns).map(([name, kind]) => [name, columnTypes[kind]]);
    return table({ key, columns: Object.fromEntries(types) as Record<string, string> });
  }),
  fullText: declared(({ columns }) => fullText({ columns: Object.keys(columns) })),
  edges: declared(({ key, columns }) => {
    const [from = ''] = key;
    return edges({ from, to: key[1] ?? from, kind: Object.keys(columns).at(-1) ?? from });
  }),
  keyValue: declared(() => keyValue({ ttl: '1h' })),
};

function declared(of: (target: (typeof sinkTargets)[number]) => TargetDeclaration): Targets {
  return Object.fromEntries(sinkTargets.map((target) => [target.name, of(target)]));
}

/** Ports over a new schema, which can be closed and opened again. */
export interface TargetSchema {
  readonly database: Database;
  readonly ports: TargetPorts;
  /** With the schema of its own in it. */
  readonly url: string;
  reopen(): Promise<void>;
  dispose(): Promise<void>;
}

let schemas = 0;

/** Makes a schema in the database of `url`, which is then the only one in the search path. */
export async function targetSchema(
  base: string,
  targets: Targets,
  clock: Clock = systemClock,
): Promise<TargetSchema> {
  schemas += 1;
  const [schema, own] = [`targets_${schemas}`, `tally_${schemas}`];
  const url = new URL(base);
  url.searchParams.set('options', `-c search_path=${schema}`);
  const context = { name: 'target', clock, random: systemRandom };
  const connect = async (): Promise<{ database: Database; ports: TargetPorts }> => {
    const database = await openDatabase(context, { url: url.href, schema: own, pool: { max: 3 } });
    const catalogue = checkTargets({ targets, rowBytesMax }, 'postgres');
    return { database, ports: openTargetPorts(database, catalogue) };
  };
  let opened = await connect();
  await opened.database.query(`CREATE SCHEMA ${schema}`);
  const close = async (): Promise<void> => {
    await opened.ports.close();
    await opened.database.close();
  };
  return {
    get database() {
      return opened.database;
    },
    get ports() {
      return opened.ports;
    },
    url: url.href,
    async reopen() {
      await close();
      opened = await connect();
    },
    async dispose() {
      await opened.database.query(`DROP SCHEMA IF EXISTS ${schema}, ${own} CASCADE`);
      await close();
    },
  };
}
