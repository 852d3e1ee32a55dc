import type { SQLOutputValue } from 'node:sqlite';
import type { Random } from '../../../ports/clock.ts';
import type { Connection } from '../connection.ts';

/**
 * What capture keeps inside the owner's file.
 *
 * - `_tally_changes`: one row per captured row change, written by triggers in the transaction of
 *   whoever changes the row. SQLite has one writer at a time and a rowid is the largest plus one,
 *   so the order of `seq` is the order of commits, without gaps. **The newest acknowledged row is never
 *   pruned**: it holds the tag by which a cursor is recognised, and as the largest rowid it keeps
 *   any seq from being given out twice. AUTOINCREMENT would promise only the second, for a write to
 *   sqlite_sequence in every statement (bench/capture-sqlite.ts measures it), and not replace the tag.
 *   Marks stand in it too, behind the last change of a transaction: `write()` adds one in its own
 *   transaction, the stream adds one behind what other programs wrote before it yields any of that, so
 *   that a restart cuts it at the same place again. See marks.ts.
 * - `_tally_commits`: the marks of long transactions, to be found from far away.
 * - `_tally_displaced`: see triggers.ts. Holds nothing that matters outside a single statement.
 * - `_tally_captured`: the shapes of tables that the triggers were written for.
 * - `_tally_source`: history, worker epoch, how far was acknowledged.
 *
 * The conflict policy of an outer statement (INSERT OR IGNORE) overrides that of statements in
 * triggers, so no constraint stands on what triggers write: an ignored one would be a lost change.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS _tally_source (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tally_captured (
  id INTEGER PRIMARY KEY, name TEXT, current INTEGER, shape TEXT, triggers TEXT
);
CREATE TABLE IF NOT EXISTS _tally_changes (
  seq INTEGER PRIMARY KEY, tbl INTEGER, op TEXT, key TEXT, before TEXT, after TEXT,
  tag INTEGER DEFAULT (random() & 9007199254740991)
);
CREATE TABLE IF NOT EXISTS _tally_commits (seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS _tally_displaced (
  tbl INTEGER, by TEXT, key TEXT, rid INTEGER, before TEXT, PRIMARY KEY (tbl, by, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _tally_displaced_key ON _tally_displaced (tbl, key);
`;

/** Names that belong to the coordinator; tables called so are never captured. */
export const OWN_PREFIX = '_tally_';

/** Creates the tables of capture and the identity of the history. Idempotent. */
export function ensureSchema(connection: Connection, random: Random): void {
  if (hasCapture(connection)) return;
  connection.transaction(() => {
    connection.database.exec(SCHEMA);
    setIfAbsent(connection, 'history', random.id());
    setIfAbsent(connection, 'worker_epoch', 0);
    setIfAbsent(connection, 'acknowledged', 0);
  });
}

/** Whether the file holds the tables of capture. */
export function hasCapture(connection: Connection): boolean {
  const found = connection.guard(() =>
    connection
      .prepare(
        "SELECT 1 AS found FROM sqlite_schema WHERE type = 'table' AND name = '_tally_source'",
      )
      .get(),
  );
  return found !== undefined;
}

/** What `_tally_source` holds under a name. */
export function readText(connection: Connection, name: SettingName): string {
  const value = readSetting(connection, name);
  return typeof value === 'string' ? value : '';
}

/** {@link readText} for a number; 0 where there is none. */
export function readNumber(connection: Connection, name: SettingName): number {
  return Number(readSetting(connection, name) ?? 0);
}

/** Stores a setting. Inside the caller's transaction. */
export function writeSetting(
  connection: Connection,
  name: SettingName,
  value: string | number,
): void {
  connection
    .prepare(
      'INSERT INTO _tally_source (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
    )
    .run(name, value);
}

/** The newest change that is kept, 0 if there never was one. */
export function newestSeq(connection: Connection): number {
  const row = connection.prepare('SELECT seq FROM _tally_changes ORDER BY seq DESC LIMIT 1').get();
  return row === undefined ? 0 : Number(row['seq']);
}

type SettingName = 'history' | 'worker_epoch' | 'acknowledged';

function readSetting(connection: Connection, name: SettingName): SQLOutputValue | undefined {
  return connection.guard(
    () => connection.prepare('SELECT value FROM _tally_source WHERE name = ?').get(name)?.['value'],
  );
}

function setIfAbsent(connection: Connection, name: SettingName, value: string | number): void {
  connection
    .prepare('INSERT INTO _tally_source (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING')
    .run(name, value);
}
