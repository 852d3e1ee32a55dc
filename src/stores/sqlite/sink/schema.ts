import type { DatabaseSync } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import type { Layout } from './layout.ts';
import { literal, quote, quoted, type TargetNames } from './names.ts';
import { affinityOf, columnSql } from './table-codec.ts';

// What a target consists of in the file: its table, the tombstones beside it, and what SQLite
// derives from the table (indexes; for full text the FTS5 index, the view it reads its texts
// through, and the triggers that keep it in step within the transaction of the row).

/** The fence of rows that were there before the table was adopted: older than any other. */
const ADOPTED_FENCE = -1;

interface ColumnInfo {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly dflt_value: string | null;
  readonly pk: number;
}

/**
 * Makes what is missing of a target. A table of the same name that is not ours is adopted if its
 * columns and key fit, by adding the fence columns. Throws CONFIG_INVALID if they do not.
 */
export function prepareTarget(db: DatabaseSync, names: TargetNames, layout: Layout): void {
  const present = objectType(db, names.table) !== undefined;
  try {
    if (present) adopt(db, names, layout);
    else {
      // Somebody may have dropped the table alone: what was kept beside it is of rows that are gone.
      dropTarget(db, names);
      db.exec(createTable(names, layout));
    }
    db.exec(createTombstones(names, layout));
    db.exec(createDerived(db, names, layout, present));
  } catch (error) {
    if (error instanceof TallyError) throw error;
    throw unfit(
      names,
      `SQLite refuses it: ${String(error instanceof Error ? error.message : error)}`,
      error,
    );
  }
}

/** Whether the table of a target is in the file. */
export function hasTable(db: DatabaseSync, names: TargetNames): boolean {
  return objectType(db, names.table) !== undefined;
}

/** Removes a target's generation with all that belongs to it. */
export function dropTarget(db: DatabaseSync, names: TargetNames): void {
  db.exec(detach(names));
  db.exec(`DROP TABLE IF EXISTS ${quote(names.index)}`);
  db.exec(`DROP TABLE IF EXISTS ${quote(names.tombstones)}`);
  db.exec(`DROP TABLE IF EXISTS ${quote(names.table)}`);
}

/** Empties a target: rows and tombstones. */
export function emptyTarget(db: DatabaseSync, names: TargetNames): void {
  db.exec(`DELETE FROM ${quote(names.table)}; DELETE FROM ${quote(names.tombstones)}`);
}

/**
 * Puts the generation `building` in the place of `seen`, which is dropped. Indexes and triggers
 * that people added to the old table are made again on the new one, and their views keep reading
 * the name. Runs inside a transaction. Throws CONFIG_INVALID if such an index no longer fits.
 */
export function replaceTarget(
  db: DatabaseSync,
  seen: TargetNames | undefined,
  building: TargetNames,
  into: TargetNames,
  layout: Layout,
): void {
  if (seen === undefined && objectType(db, into.table) !== undefined)
    throw unfit(into, 'there already is a table of this name, which the flow did not write before');
  if (seen !== undefined) refuseCaptured(db, seen);
  const added = seen === undefined ? [] : addedObjects(db, seen);
  // Without this, a rename checks every view of the file while the old name is gone, and rewrites
  // the views that people wrote over it.
  db.exec('PRAGMA legacy_alter_table = ON');
  try {
    if (seen !== undefined) dropTarget(db, seen);
    db.exec(detach(building));
    for (const part of ['index', 'tombstones', 'table'] as const) {
      if (objectType(db, building[part]) === undefined) continue;
      db.exec(`ALTER TABLE ${quote(building[part])} RENAME TO ${quote(into[part])}`);
    }
    db.exec(attach(into, layout));
  } finally {
    db.exec('PRAGMA legacy_alter_table = OFF');
  }
  for (const { name, sql } of added) {
    try {
      db.exec(sql);
    } catch (error) {
      throw unfit(into, `its ${name} cannot be made on the new generation`, error);
    }
  }
}

function createTable(names: TargetNames, layout: Layout): string {
  const key = quoted(layout.key.map(({ name }) => name));
  const columns = [
    // A full-text index refers to rows by number, which VACUUM may change unless it is a column.
    ...(layout.fullText === undefined ? [] : ['_id INTEGER PRIMARY KEY']),
    ...[...layout.key, ...layout.values].map(
      ({ name, type }) => `${quote(name)} ${columnSql(type)}`,
    ),
    ...layout.derived.map(
      ({ name, type, expression }) => `${quote(name)} ${generated(type, expression)}`,
    ),
    '_fence INTEGER NOT NULL',
    '_ordinal INTEGER NOT NULL',
    layout.fullText === undefined ? `PRIMARY KEY (${key})` : `UNIQUE (${key})`,
  ];
  return `CREATE TABLE ${quote(names.table)} (${columns.join(', ')})`;
}

function generated(type: string, expression: string): string {
  const [words = '', ...constraints] = type.split(' ');
  return `${words} GENERATED ALWAYS AS (${expression}) VIRTUAL ${constraints.join(' ')}`;
}

/** Key columns with the affinity and collation of the target's: equal there must be equal here. */
function createTombstones(names: TargetNames, layout: Layout): string {
  const columns = layout.key.map(({ name, type }) => {
    const collation = /\bCOLLATE\s+\w+/i.exec(type)?.[0] ?? '';
    return `${quote(name)} ${affinityOf(type)} ${collation} NOT NULL`;
  });
  const key = quoted(layout.key.map(({ name }) => name));
  return `CREATE TABLE IF NOT EXISTS ${quote(names.tombstones)}
    (${columns.join(', ')}, _fence INTEGER NOT NULL, _ordinal INTEGER NOT NULL, PRIMARY KEY (${key})) WITHOUT ROWID`;
}

function createDerived(
  db: DatabaseSync,
  names: TargetNames,
  layout: Layout,
  present: boolean,
): string {
  const indexes = layout.indexes.map(
    (columns) =>
      `CREATE INDEX IF NOT EXISTS ${quote(`_tally_index_${names.target}_${names.generation}_${columns.join('_')}`)} ON ${quote(names.table)} (${quoted(columns)});`,
  );
  if (layout.fullText === undefined) return indexes.join('\n');
  const { columns, tokenize } = layout.fullText;
  const using = `USING fts5(${quoted(columns)}, content=${literal(names.content)}, content_rowid='_id', tokenize=${literal(tokenize)})`;
  const before = schemaSql(db, names.index);
  if (before !== undefined && !before.endsWith(using))
    throw unfit(names, 'its full-text index was made with other options');
  return [
    ...indexes,
    detach(names),
    ...(before === undefined ? [`CREATE VIRTUAL TABLE ${quote(names.index)} ${using};`] : []),
    attach(names, layout),
    ...(before === undefined && present
      ? [`INSERT INTO ${quote(names.index)} (${quote(names.index)}) VALUES ('rebuild');`]
      : []),
  ].join('\n');
}

/** The view and triggers of a full-text target; made again whenever its table is renamed. */
function attach(names: TargetNames, layout: Layout): string {
  if (layout.fullText === undefined) return '';
  const index = quote(names.index);
  const table = quote(names.table);
  const columns = quoted(layout.fullText.columns);
  const of = (row: 'new' | 'old'): string =>
    layout.fullText === undefined
      ? ''
      : layout.fullText.columns.map((name) => `${row}.${quote(name)}`).join(', ');
  const add = `INSERT INTO ${index} (rowid, ${columns}) VALUES (new._id, ${of('new')});`;
  const take = `INSERT INTO ${index} (${index}, rowid, ${columns}) VALUES ('delete', old._id, ${of('old')});`;
  return `
    CREATE VIEW ${quote(names.content)} AS SELECT _id, ${columns} FROM ${table};
    CREATE TRIGGER ${trigger(names, 'insert')} AFTER INSERT ON ${table} BEGIN ${add} END;
    CREATE TRIGGER ${trigger(names, 'delete')} AFTER DELETE ON ${table} BEGIN ${take} END;
    CREATE TRIGGER ${trigger(names, 'update')} AFTER UPDATE ON ${table} BEGIN ${take} ${add} END;`;
}

function detach(names: TargetNames): string {
  const triggers = ['insert', 'delete', 'update'].map(
    (event) => `DROP TRIGGER IF EXISTS ${trigger(names, event)};`,
  );
  return `${triggers.join(' ')} DROP VIEW IF EXISTS ${quote(names.content)};`;
}

function trigger(names: TargetNames, event: string): string {
  return quote(`_tally_${event}_${names.target}_${names.generation}`);
}

/** Whether the table that is there can hold the target; adds the fences to one that has none. */
function adopt(db: DatabaseSync, names: TargetNames, layout: Layout): void {
  if (objectType(db, names.table) !== 'table') throw unfit(names, 'it is not an ordinary table');
  const present = tableColumns(db, names.table);
  const wanted = [...layout.key, ...layout.values, ...layout.derived];
  for (const { name, type } of wanted) {
    const column = present.get(name.toLowerCase());
    if (column === undefined) throw unfit(names, `it has no column ${name}`);
    if (affinityOf(column.type) !== affinityOf(columnSql(type)))
      throw unfit(names, `its column ${name} is ${column.type === '' ? 'untyped' : column.type}`);
  }
  if (layout.fullText !== undefined && present.get('_id')?.pk !== 1)
    throw unfit(names, 'it has no column _id INTEGER PRIMARY KEY');
  const filled = new Set([
    ...wanted.map(({ name }) => name.toLowerCase()),
    '_id',
    '_fence',
    '_ordinal',
  ]);
  for (const column of present.values())
    if (
      !filled.has(column.name.toLowerCase()) &&
      column.notnull === 1 &&
      column.dflt_value === null
    )
      throw unfit(names, `its column ${column.name} must have a value and no write gives it one`);
  if (
    !hasUniqueKey(
      db,
      names.table,
      layout.key.map(({ name }) => name),
    )
  )
    throw unfit(
      names,
      `it has no primary key or unique index on exactly (${layout.key.map(({ name }) => name).join(', ')})`,
    );
  for (const name of ['_fence', '_ordinal'])
    if (!present.has(name))
      db.exec(
        `ALTER TABLE ${quote(names.table)} ADD COLUMN ${name} INTEGER NOT NULL DEFAULT ${ADOPTED_FENCE}`,
      );
}

function tableColumns(db: DatabaseSync, table: string): ReadonlyMap<string, ColumnInfo> {
  const rows = db
    .prepare('SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?)')
    .all(table);
  return new Map(
    (rows as unknown as readonly ColumnInfo[]).map((row) => [row.name.toLowerCase(), row]),
  );
}

function hasUniqueKey(db: DatabaseSync, table: string, key: readonly string[]): boolean {
  const wanted = key
    .map((name) => name.toLowerCase())
    .toSorted()
    .join('\0');
  const same = (names: readonly unknown[]): boolean =>
    names
      .map((name) => String(name).toLowerCase())
      .toSorted()
      .join('\0') === wanted;
  if (
    same([...tableColumns(db, table).values()].filter(({ pk }) => pk > 0).map(({ name }) => name))
  )
    return true;
  const indexes = db
    .prepare('SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 AND partial = 0')
    .all(table);
  return indexes.some(({ name }) =>
    same(
      db
        .prepare('SELECT name FROM pragma_index_info(?)')
        .all(String(name))
        .map((column) => column['name']),
    ),
  );
}

/** Indexes and triggers that people put on the table. */
function addedObjects(
  db: DatabaseSync,
  names: TargetNames,
): readonly { readonly name: string; readonly sql: string }[] {
  return db
    .prepare(
      `SELECT type || ' ' || name AS name, sql FROM sqlite_schema
       WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL AND name NOT LIKE '\\_tally\\_%' ESCAPE '\\'`,
    )
    .all(names.table)
    .map(({ name, sql }) => ({ name: String(name), sql: String(sql) }));
}

/**
 * Refuses to build beside a table that is captured. Capture works by triggers, and dropping a table fires
 * none: whoever follows the table's changes would never hear that its rows are others now.
 */
export function refuseCaptured(db: DatabaseSync, seen: TargetNames): void {
  if (!isCaptured(db, seen.table)) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `the table ${seen.table} cannot be switched for another: its changes are captured, and a switch is not a change that capture can see`,
    where: `target ${seen.target}`,
    mend: 'run tally resnapshot APP.ts with the store that the flow reads from: it compares every row in place, and what differs is captured',
    details: { target: seen.target, table: seen.table },
  });
}

/** Whether capture has triggers on the table. */
function isCaptured(db: DatabaseSync, table: string): boolean {
  const sql =
    "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name GLOB '_tally_[0-9]*'";
  return db.prepare(sql).get(table) !== undefined;
}

function objectType(db: DatabaseSync, name: string): 'table' | 'other' | undefined {
  const found = db
    .prepare('SELECT type, sql FROM sqlite_schema WHERE name = ? COLLATE NOCASE')
    .get(name);
  if (found === undefined) return undefined;
  return found['type'] === 'table' && !/^\s*CREATE\s+VIRTUAL/i.test(String(found['sql']))
    ? 'table'
    : 'other';
}

function schemaSql(db: DatabaseSync, name: string): string | undefined {
  const sql = db.prepare('SELECT sql FROM sqlite_schema WHERE name = ?').get(name)?.['sql'];
  return typeof sql === 'string' ? sql : undefined;
}

function unfit(names: TargetNames, what: string, cause?: unknown): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `the table ${names.table} cannot hold the target ${names.target}: ${what}`,
    where: `target ${names.target}`,
    mend: 'give the target another name, make its declaration fit the table, or rebuild the flow if its declaration has changed',
    details: { target: names.target, table: names.table },
    cause,
  });
}
