import { TallyError } from '../../../core/errors.ts';
import { suggest } from '../../../core/options.ts';
import type { Connection } from '../connection.ts';
import { identifier } from './names.ts';
import { OWN_PREFIX } from './schema.ts';

/** What a column can hold, as far as SQLite guarantees it; `any` where a row may hold any type. */
export type Holds = 'integer' | 'real' | 'text' | 'text-or-blob' | 'blob' | 'any';

export interface Column {
  readonly name: string;
  readonly holds: Holds;
  readonly generated: boolean;
}

/** A column of a unique index, with the collation by which that index compares. */
export interface UniqueColumn {
  readonly name: string;
  readonly collation: string;
}

/** A table as capture sees it. All of it goes into the triggers; if it changes, they are rewritten. */
export interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  /** The columns of the primary key, in its order. */
  readonly key: readonly string[];
  /** The key is the rowid itself (INTEGER PRIMARY KEY). */
  readonly rowidKey: boolean;
  /** Columns of the key that SQLite lets hold NULL (a primary key of a rowid table may). */
  readonly nullableKey: readonly string[];
  /** What rows are unique by: the key, and each unique index. A partial one counts as a whole one. */
  readonly unique: readonly (readonly UniqueColumn[])[];
  /** Some unique index is partial: any column may decide whether a row is in it. */
  readonly partialUnique: boolean;
}

/** Reads the shape of a table. Throws TABLE_UNKNOWN or TABLE_UNSUPPORTED, with the remedy. */
export function inspectTable(connection: Connection, name: string): Table {
  return connection.guard(() => {
    const listed = listedTable(connection, name);
    const info = connection
      .prepare(`PRAGMA main.table_xinfo(${identifier(name)})`)
      .all()
      .filter((column) => column['hidden'] !== 1);
    const strict = listed['strict'] === 1;
    const columns = info.map((column) => ({
      name: String(column['name']),
      holds: holds(String(column['type']), strict),
      generated: column['hidden'] === 2 || column['hidden'] === 3,
    }));
    const keyInfo = info
      .filter((column) => Number(column['pk']) > 0)
      .toSorted((left, right) => Number(left['pk']) - Number(right['pk']));
    if (keyInfo.length === 0) {
      throw unsupported(name, 'it has no primary key, so its rows have no identity', {
        mend: 'give it one (INTEGER PRIMARY KEY costs nothing), or capture another table',
      });
    }
    const withoutRowid = listed['wr'] === 1;
    const rowidKey =
      !withoutRowid &&
      keyInfo.length === 1 &&
      String(keyInfo[0]?.['type']).toUpperCase() === 'INTEGER' &&
      !hasKeyIndex(connection, name);
    const key = keyInfo.map((column) => String(column['name']));
    return {
      name,
      columns: columns.map((column) =>
        rowidKey && column.name === key[0] ? { ...column, holds: 'integer' } : column,
      ),
      key,
      rowidKey,
      nullableKey:
        rowidKey || withoutRowid
          ? []
          : keyInfo
              .filter((column) => column['notnull'] !== 1)
              .map((column) => String(column['name'])),
      unique: uniqueColumns(connection, name, rowidKey ? key : []),
      partialUnique: connection
        .prepare(`PRAGMA main.index_list(${identifier(name)})`)
        .all()
        .some((index) => index['unique'] === 1 && index['partial'] === 1),
    };
  });
}

function listedTable(connection: Connection, name: string): Record<string, unknown> {
  const tables = connection
    .prepare(
      "SELECT * FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .all()
    .filter((table) => !String(table['name']).startsWith(OWN_PREFIX));
  const listed = tables.find((table) => table['name'] === name);
  if (listed === undefined) {
    const known = tables
      .filter((table) => table['type'] === 'table')
      .map((table) => String(table['name']));
    const nearest = suggest(name, known);
    throw new TallyError('TABLE_UNKNOWN', {
      what: `there is no table '${name}'`,
      where: connection.file,
      mend:
        nearest === undefined
          ? `create it first; there are: ${known.slice(0, 40).join(', ') || 'no tables'}`
          : `did you mean '${nearest}'? (tables of attached databases cannot be captured)`,
      details: { table: name, ...(nearest === undefined ? {} : { nearest }) },
    });
  }
  if (listed['type'] !== 'table') {
    throw unsupported(name, `it is a ${String(listed['type'])}, which has no row triggers`, {
      mend: 'capture the tables that it reads from',
    });
  }
  return listed;
}

function uniqueColumns(
  connection: Connection,
  name: string,
  rowidKey: readonly string[],
): readonly (readonly UniqueColumn[])[] {
  const unique: UniqueColumn[][] = rowidKey.map((column) => [
    { name: column, collation: 'BINARY' },
  ]);
  const indexes = connection.prepare(`PRAGMA main.index_list(${identifier(name)})`).all();
  for (const index of indexes) {
    if (index['unique'] !== 1) continue;
    const indexName = String(index['name']);
    const parts = connection
      .prepare(`PRAGMA main.index_xinfo(${identifier(indexName)})`)
      .all()
      .filter((part) => part['key'] === 1);
    if (parts.some((part) => part['name'] === null)) {
      throw unsupported(name, `its unique index '${indexName}' is over an expression`, {
        mend: 'put the expression into a generated column and the unique index over that column',
        index: indexName,
      });
    }
    unique.push(
      parts.map((part) => ({ name: String(part['name']), collation: String(part['coll']) })),
    );
  }
  return unique;
}

/** An `INTEGER PRIMARY KEY DESC` has an index of its own and is not the rowid. */
function hasKeyIndex(connection: Connection, name: string): boolean {
  return connection
    .prepare(`PRAGMA main.index_list(${identifier(name)})`)
    .all()
    .some((index) => index['origin'] === 'pk');
}

/** The rules of sqlite.org/datatype3.html section 3.1, as far as they exclude anything. */
function holds(declared: string, strict: boolean): Holds {
  const type = declared.toUpperCase();
  if (strict) {
    if (type === 'INT' || type === 'INTEGER') return 'integer';
    if (type === 'TEXT') return 'text';
    if (type === 'REAL') return 'real';
    return type === 'BLOB' ? 'blob' : 'any';
  }
  const isText = type.includes('CHAR') || type.includes('CLOB') || type.includes('TEXT');
  return isText && !type.includes('INT') ? 'text-or-blob' : 'any';
}

function unsupported(
  table: string,
  why: string,
  rest: { readonly mend: string; readonly index?: string },
): TallyError {
  return new TallyError('TABLE_UNSUPPORTED', {
    what: `table '${table}' cannot be captured: ${why}`,
    mend: rest.mend,
    details: { table, ...(rest.index === undefined ? {} : { index: rest.index }) },
  });
}
