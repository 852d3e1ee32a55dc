import { TallyError } from '../../../core/errors.ts';
import type { Random } from '../../../ports/clock.ts';
import type { TableShape } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { imageSql, keySql } from './image.ts';
import { identifier, literal } from './names.ts';
import { ensureSchema, readNumber, writeSetting } from './schema.ts';
import { inspectTable, type Table } from './table.ts';
import { captureTriggers } from './triggers.ts';

/** A table that is captured now, as its triggers know it. */
interface Captured {
  readonly id: number;
  readonly table: Table;
}

/** What became of the tables that were captured before. */
export interface Refreshed {
  /** Tables whose changes were not all captured: the history that was being told has ended. */
  readonly lost: readonly string[];
}

/**
 * Makes tables capturable, in one transaction: all of them or none.
 *
 * **When a table is altered.** Triggers name columns, so they go stale when columns change:
 *   - DROP COLUMN of a captured column is refused by SQLite while the triggers stand: see
 *     `alter`, which takes them off and puts them back in one transaction;
 *   - ADD COLUMN, RENAME COLUMN, a new unique index, a new trigger of the application: the old
 *     triggers go on recording every change, but with images that lack the new column (or bear the
 *     old name), or in the wrong order to a trigger that writes the same row. The stream looks at
 *     schema_version before it yields anything; if it moved, the triggers are written anew
 *     and, in the same transaction, each key with a change that is not acknowledged is recorded once
 *     more with its whole present row (or its absence). So the last value of each key is always
 *     complete and right; images in between are as the old triggers saw them. What an ALTER does to
 *     rows that nobody writes (a DEFAULT) is no change and is not captured: rebuild to have it.
 *   - DROP TABLE, or a migration that copies a table and renames the copy: the triggers go with it, and
 *     what was written meanwhile is not known. That ends the history: a new one begins, and who
 *     resumes from a cursor of the old one gets HISTORY_LOST.
 */
export function prepareTables(
  connection: Connection,
  names: readonly string[],
  random: Random,
): readonly TableShape[] {
  ensureSchema(connection, random);
  return connection.transaction(() => {
    const tables = names.map((name) => inspectTable(connection, name));
    const known = capturedTables(connection);
    for (const table of tables) {
      const captured = known.find((one) => one.table.name === table.name);
      if (captured === undefined) install(connection, table);
      else renew(connection, captured, table, random);
    }
    return tables.map((table) => ({
      name: table.name,
      key: table.key,
      columns: table.columns.map((column) => column.name),
    }));
  });
}

/** Brings the triggers of all captured tables up to the present schema, inside the caller's transaction. */
export function refreshTables(connection: Connection, random: Random): Refreshed {
  const lost: string[] = [];
  for (const captured of capturedTables(connection)) {
    const { name } = captured.table;
    const exists = connection
      .prepare("SELECT 1 AS found FROM sqlite_schema WHERE type = 'table' AND name = ?")
      .get(name);
    const state =
      exists === undefined
        ? retire(connection, captured, random)
        : renew(connection, captured, inspectTable(connection, name), random);
    if (state === 'lost') lost.push(name);
  }
  return { lost };
}

/** Whether the triggers of all captured tables are right for the present schema: nothing to refresh. */
export function isFresh(connection: Connection): boolean {
  const names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  const present = new Set(names.map((row) => row['name']));
  return capturedTables(connection).every(
    ({ id, table: { name } }) =>
      present.has(name) && stateOf(connection, id, inspectTable(connection, name)) === 'same',
  );
}

/** Takes the triggers off tables. Inside the transaction that puts them back. */
export function uninstall(connection: Connection, tables: readonly string[]): void {
  for (const { id, table } of capturedTables(connection)) {
    if (tables.includes(table.name)) dropTriggers(connection, id);
  }
}

/** Puts back what {@link uninstall} took off, for the shape that the tables have now. */
export function reinstall(connection: Connection, tables: readonly string[]): void {
  for (const { id, table } of capturedTables(connection)) {
    if (tables.includes(table.name)) replace(connection, id, inspectTable(connection, table.name));
  }
}

/** The tables that are captured, in the order in which they were first prepared. */
export function capturedTables(connection: Connection): readonly Captured[] {
  return connection
    .prepare('SELECT id, shape FROM _tally_captured WHERE current = 1 ORDER BY id')
    .all()
    .map((row) => ({ id: Number(row['id']), table: JSON.parse(String(row['shape'])) as Table }));
}

function renew(
  connection: Connection,
  captured: Captured,
  table: Table,
  random: Random,
): 'same' | 'renewed' | 'lost' {
  const state = stateOf(connection, captured.id, table);
  if (state === 'same') return 'same';
  if (state === 'lost') {
    retire(connection, captured, random);
    install(connection, table);
    return 'lost';
  }
  replace(connection, captured.id, table);
  return 'renewed';
}

/** `stale`: present, but not what we would write now, or not the newest of the table. */
function stateOf(connection: Connection, id: number, table: Table): 'same' | 'stale' | 'lost' {
  const present = connection
    .prepare(
      "SELECT rowid AS place, name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?",
    )
    .all(table.name);
  const wanted = new Map(captureTriggers(table, id).map((trigger) => [trigger.name, trigger.sql]));
  const own = present.filter((trigger) => wanted.has(String(trigger['name'])));
  if (own.length < wanted.size) return 'lost';
  const oldestOwn = Math.min(...own.map((trigger) => Number(trigger['place'])));
  const inOrder = present.every(
    (trigger) => wanted.has(String(trigger['name'])) || Number(trigger['place']) < oldestOwn,
  );
  const sameText = own.every((trigger) => wanted.get(String(trigger['name'])) === trigger['sql']);
  return inOrder && sameText ? 'same' : 'stale';
}

function install(connection: Connection, table: Table): number {
  for (const name of table.nullableKey) {
    const row = connection
      .prepare(
        `SELECT 1 AS found FROM ${identifier(table.name)} WHERE ${identifier(name)} IS NULL LIMIT 1`,
      )
      .get();
    if (row === undefined) continue;
    throw new TallyError('TABLE_UNSUPPORTED', {
      what: `table '${table.name}' cannot be captured: '${name}' of its primary key is NULL in some rows`,
      mend: 'give those rows a value and declare the column NOT NULL',
      details: { table: table.name, column: name },
    });
  }
  const { lastInsertRowid } = connection
    .prepare('INSERT INTO _tally_captured (name, current, shape) VALUES (?, 1, ?)')
    .run(table.name, JSON.stringify(table));
  const id = Number(lastInsertRowid);
  for (const trigger of captureTriggers(table, id)) connection.database.exec(trigger.sql);
  return id;
}

/** New triggers under a new id, and once more the rows that the old ones may have told wrongly. */
function replace(connection: Connection, oldId: number, table: Table): void {
  dropTriggers(connection, oldId);
  connection.prepare('UPDATE _tally_captured SET current = 0 WHERE id = ?').run(oldId);
  const id = install(connection, table);
  const name = identifier(table.name);
  const acknowledged = readNumber(connection, 'acknowledged');
  const touched = `SELECT key FROM _tally_changes WHERE tbl = ${oldId} AND seq > ${acknowledged}`;
  const key = keySql(table, 'o');
  const image = imageSql(table, 'o');
  connection.database.exec(
    `INSERT INTO _tally_changes (tbl, op, key) SELECT ${id}, 'd', key FROM (${touched} EXCEPT SELECT ${key} FROM ${name} AS o);
     INSERT INTO _tally_changes (tbl, op, key, before, after)
       SELECT ${id}, 'u', ${key}, ${image}, ${image} FROM ${name} AS o WHERE ${key} IN (${touched})`,
  );
}

function retire(connection: Connection, captured: Captured, random: Random): 'lost' {
  dropTriggers(connection, captured.id);
  connection.prepare('UPDATE _tally_captured SET current = 0 WHERE id = ?').run(captured.id);
  writeSetting(connection, 'history', random.id());
  return 'lost';
}

function dropTriggers(connection: Connection, id: number): void {
  const triggers = connection
    .prepare(
      `SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE ${literal(`\\_tally\\_${id}\\___`)} ESCAPE '\\'`,
    )
    .all();
  for (const trigger of triggers) {
    connection.database.exec(`DROP TRIGGER ${identifier(String(trigger['name']))}`);
  }
}
