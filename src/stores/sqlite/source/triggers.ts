import { columnsSql, imageSql, keySql } from './image.ts';
import { identifier, literal } from './names.ts';
import type { Table, UniqueColumn } from './table.ts';

/**
 * The triggers that capture one table. They stand in the file, so they run for every program that
 * writes it, inside its transaction: what rolls back was never captured, what commits always is.
 *
 * **Order.** SQLite fires the newest trigger of an event first (sqlite.org calls the order undefined;
 * a test holds us to it). An AFTER trigger of the application that writes the same row again must
 * fire after ours: otherwise the log would hold its change first and the older row last. So ours
 * are the newest AFTER triggers of their table, or they are written anew (prepare.ts).
 *
 * **INSERT OR REPLACE, UPDATE OR REPLACE.** A row that such a statement displaces is deleted
 * without DELETE triggers, unless the connection of whoever writes has set recursive_triggers; and it
 * can be a row with another key, displaced through any unique index. Nobody can make other programs
 * set a pragma, so the BEFORE trigger notes the rows that stand in the way of the new one as
 * candidates (with their images), and the AFTER trigger, which only runs if the row went in,
 * records the deletion of those that are gone:
 *   - INSERT OR IGNORE, ON CONFLICT DO UPDATE/NOTHING: no AFTER INSERT; the candidates stay, harmless,
 *     tied to the unique values of the insert that noted them; the next such insert, the
 *     update or deletion of the row, and acknowledge() remove them;
 *   - recursive_triggers on: the DELETE trigger records the deletion and removes the candidate;
 *   - a partial unique index counts as a whole one, which any update may bring a row into: its
 *     candidates are too many, but those that still exist are not displaced;
 *   - nothing in the way, which is nearly always: the BEFORE trigger costs its look-ups in indexes
 *     that the insert is about to visit.
 * Not covered: a BEFORE trigger of the application that itself inserts the row which the same
 * statement then displaces.
 *
 * A displaced row is a `delete`, then a `create`, also under its own key; so is a changed key.
 */
export interface Trigger {
  readonly name: string;
  readonly sql: string;
}

/** The triggers for a table, in the order in which they have to be created (the last fires first). */
export function captureTriggers(table: Table, id: number): readonly Trigger[] {
  const on = identifier(table.name);
  const make = (suffix: string, event: string, when: string, body: readonly string[]): Trigger => {
    const name = `_tally_${id}_${suffix}`;
    const condition = when === '' ? '' : `WHEN ${when} `;
    return {
      name,
      sql: `CREATE TRIGGER ${name} ${event} ON ${on} ${condition}BEGIN ${body.join('; ')}; END`,
    };
  };
  const sql = statements(table, id);
  return [
    make('bi', 'BEFORE INSERT', sql.standsInWay(''), sql.noteCandidates('')),
    make('bu', 'BEFORE UPDATE', `(${sql.uniqueChanged}) AND (${sql.standsInWay(sql.isOther)})`, [
      ...sql.noteCandidates(sql.isOther),
    ]),
    make('ad', 'AFTER DELETE', '', [sql.recordDelete]),
    make('dx', 'AFTER DELETE', sql.hasCandidates, [sql.forgetOld]),
    make('ai', 'AFTER INSERT', '', [...sql.refuseNullKey, sql.recordCreate]),
    make('ix', 'AFTER INSERT', sql.hasCandidates, sql.recordDisplaced('1')),
    make('ak', 'AFTER UPDATE', `NOT (${sql.sameKey})`, [
      ...sql.refuseNullKey,
      sql.recordDelete,
      sql.recordCreate,
    ]),
    make('au', 'AFTER UPDATE', sql.sameKey, [sql.recordUpdate]),
    make('ux', 'AFTER UPDATE', sql.hasCandidates, [
      sql.forgetOld,
      ...sql.recordDisplaced(`NOT (${sql.sameKey})`),
    ]),
  ];
}

interface Statements {
  readonly uniqueChanged: string;
  readonly isOther: string;
  readonly sameKey: string;
  readonly hasCandidates: string;
  readonly refuseNullKey: readonly string[];
  readonly recordCreate: string;
  readonly recordUpdate: string;
  readonly recordDelete: string;
  readonly forgetOld: string;
  /** `keyTaken`: SQL for whether the new row came to its key by this statement. */
  recordDisplaced(keyTaken: string): readonly string[];
  standsInWay(also: string): string;
  noteCandidates(also: string): readonly string[];
}

function statements(table: Table, id: number): Statements {
  const on = identifier(table.name);
  const newKey = keySql(table, 'NEW');
  const oldKey = keySql(table, 'OLD');
  const conflicts = table.unique.map(conflictSql);
  const conflict = conflicts.map((sql) => `(${sql})`).join(' OR ');
  // The rowid of a new row is not known to a BEFORE trigger if SQLite allots it.
  const others = [...new Set(table.unique.flat().map((column) => column.name))].filter(
    (name) => !table.rowidKey || name !== table.key[0],
  );
  const by = others.length === 0 ? newKey : columnsSql(table, others, 'NEW');
  const keyColumn = identifier(table.key[0] ?? '');
  const rid = table.rowidKey ? `o.${keyColumn}` : 'NULL';
  const survives = table.rowidKey
    ? `SELECT 1 FROM ${on} AS o WHERE o.${keyColumn}=c.rid`
    : `SELECT 1 FROM ${on} AS o WHERE (${conflict}) AND ${keySql(table, 'o')}=c.key`;
  const displaced = (keyTaken: string): string =>
    `_tally_displaced AS c WHERE c.tbl=${id} AND c.by=${by} AND ((c.key=${newKey} AND ${keyTaken}) OR NOT EXISTS (${survives}))`;
  const and = (also: string): string => (also === '' ? '' : ` AND ${also}`);
  const every = (sql: (column: string) => string, joint: string): string =>
    table.key.map((name) => sql(identifier(name))).join(joint);
  return {
    uniqueChanged: table.partialUnique
      ? '1'
      : [...new Set(table.unique.flat().map((column) => identifier(column.name)))]
          .map((name) => `OLD.${name} IS NOT (NEW.${name} COLLATE BINARY)`)
          .join(' OR '),
    isOther: `NOT (${every((name) => `o.${name} IS OLD.${name}`, ' AND ')})`,
    sameKey: every((name) => `OLD.${name} IS (NEW.${name} COLLATE BINARY)`, ' AND '),
    hasCandidates: `EXISTS (SELECT 1 FROM _tally_displaced WHERE tbl=${id})`,
    refuseNullKey: table.nullableKey.map(
      (name) =>
        `SELECT RAISE(ABORT, ${literal(`tallystick: ${table.name}.${name} is NULL, so the row has no identity and cannot be captured`)}) WHERE NEW.${identifier(name)} IS NULL`,
    ),
    recordCreate: `INSERT INTO _tally_changes (tbl,op,key,after) VALUES (${id},'c',${newKey},${imageSql(table, 'NEW')})`,
    recordUpdate: `INSERT INTO _tally_changes (tbl,op,key,before,after) VALUES (${id},'u',${newKey},${imageSql(table, 'OLD')},${imageSql(table, 'NEW')})`,
    recordDelete: `INSERT INTO _tally_changes (tbl,op,key,before) VALUES (${id},'d',${oldKey},${imageSql(table, 'OLD')})`,
    forgetOld: `DELETE FROM _tally_displaced WHERE tbl=${id} AND key=${oldKey}`,
    recordDisplaced: (keyTaken) => [
      `INSERT INTO _tally_changes (tbl,op,key,before) SELECT ${id},'d',c.key,c.before FROM ${displaced(keyTaken)}`,
      // Another statement, one that was ignored, may have noted the same rows.
      `DELETE FROM _tally_displaced WHERE tbl=${id} AND (by=${by} OR key IN (SELECT c.key FROM ${displaced(keyTaken)}))`,
    ],
    standsInWay: (also) =>
      conflicts
        .map((sql) => `EXISTS (SELECT 1 FROM ${on} AS o WHERE ${sql}${and(also)})`)
        .join(' OR '),
    noteCandidates: (also) => [
      `DELETE FROM _tally_displaced WHERE tbl=${id} AND by=${by}`,
      `INSERT INTO _tally_displaced (tbl,by,key,rid,before) SELECT ${id},${by},${keySql(table, 'o')},${rid},${imageSql(table, 'o')} FROM ${on} AS o WHERE (${conflict})${and(also)}`,
    ],
  };
}

/** Whether row `o` has the unique values of NEW, compared as their index compares them. */
function conflictSql(columns: readonly UniqueColumn[]): string {
  return columns
    .map(({ name, collation }) => {
      const collate = collation === 'BINARY' ? '' : ` COLLATE ${identifier(collation)}`;
      return `o.${identifier(name)}=NEW.${identifier(name)}${collate}`;
    })
    .join(' AND ');
}
