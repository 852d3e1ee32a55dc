import type { Database } from './database.ts';
import { listed, type Layout } from './layout.ts';
import { literal, quote } from './targets.ts';

const OWN_COLUMNS = '_fence BIGINT, _ordinal INTEGER, _deleted BOOLEAN';

/** The table of one generation of a target; readers look through a view of the target's own name. */
export function tableName(target: string, generation: number): string {
  return `${target}__g${generation}`;
}

/** Creates the table of a generation if it is not there; returns false if one with other columns is. */
export async function createTable(db: Database, table: string, layout: Layout): Promise<boolean> {
  const wanted = layout.columns.map(({ name, type }) => [name, type] as const);
  const columns = wanted.map(([name, type]) => `${quote(name)} ${type}`).join(', ');
  await db.run(`CREATE TABLE IF NOT EXISTS ${quote(table)} (${columns}, ${OWN_COLUMNS})`);
  const present = await db.rows(
    `SELECT column_name, column_type FROM (DESCRIBE ${quote(table)}) WHERE column_name NOT IN ('_fence', '_ordinal', '_deleted')`,
  );
  return JSON.stringify(present) === JSON.stringify(wanted);
}

/** Lets readers of the target's name see this table: its declared columns, without deleted rows. */
export async function showTable(db: Database, table: string, layout: Layout): Promise<void> {
  await db.run(
    `CREATE OR REPLACE VIEW ${quote(layout.target)} AS SELECT ${listed(layout.columns)} FROM ${quote(table)} WHERE NOT _deleted`,
  );
}

/** Creates the empty staging table that a batch is loaded into; it lives in memory, or is spilled. */
export async function createStage(db: Database, stage: string, layout: Layout): Promise<void> {
  const columns = layout.columns
    .map(({ name, codec }) => `${quote(name)} ${codec.loadedAs}`)
    .join(', ');
  await db.run(
    `CREATE OR REPLACE TEMP TABLE ${quote(stage)} (${columns}, ${OWN_COLUMNS}, _repair BOOLEAN, _index INTEGER)`,
  );
}

/** Staged texts that DuckDB cannot cast: index of the write, column and type. */
export async function uncastable(
  db: Database,
  stage: string,
  layout: Layout,
): Promise<readonly { readonly index: number; readonly column: string; readonly type: string }[]> {
  const cast = layout.columns.filter(({ type, codec }) => codec.loadedAs !== type);
  if (cast.length === 0) return [];
  const bad = cast.map(
    ({ name, type }) =>
      `${quote(name)} IS NOT NULL AND TRY_CAST(${quote(name)} AS ${type}) IS NULL`,
  );
  const which = `CASE ${bad.map((test, index) => `WHEN ${test} THEN ${index}`).join(' ')} END`;
  const rows = await db.rows(
    `SELECT _index, ${which} FROM temp.${quote(stage)} WHERE ${bad.map((test) => `(${test})`).join(' OR ')}`,
  );
  return rows.map(([index, at]) => {
    const column = cast[Number(at)];
    return { index: Number(index), column: column?.name ?? '', type: column?.type ?? '' };
  });
}

/**
 * Merges staged rows into a table by key; returns how many were newer than what it held. What is not
 * newer leaves the stage, what it replaces leaves the table, and the rest goes in: for the wide rows
 * with texts that reports are made of, deleting and inserting costs about half of what MERGE does,
 * which updates column by column. Each pass reads the key columns only; an index would have to fit
 * in memory, and costs more to keep than the passes do. A delete goes in as a row of nulls that
 * keeps the fence, so the one comparison covers rows and tombstones.
 */
export async function mergeStage(
  db: Database,
  stage: string,
  table: string,
  layout: Layout,
): Promise<number> {
  const same = layout.key.map(({ name }) => `t.${quote(name)} = s.${quote(name)}`).join(' AND ');
  const newer = `s._fence > t._fence OR (s._fence = t._fence AND
    (s._ordinal > t._ordinal OR (s._repair AND s._ordinal = t._ordinal)))`;
  const staged = `temp.${quote(stage)}`;
  await db.run(
    `DELETE FROM ${staged} AS s USING ${quote(table)} AS t WHERE ${same} AND NOT (${newer})`,
  );
  await db.run(`DELETE FROM ${quote(table)} AS t USING ${staged} AS s WHERE ${same}`);
  return appendStage(db, stage, table, layout);
}

/** Puts staged rows in without looking for their keys; returns how many. */
export async function appendStage(
  db: Database,
  stage: string,
  table: string,
  layout: Layout,
): Promise<number> {
  const order =
    layout.orderBy.length === 0 ? '' : ` ORDER BY ${layout.orderBy.map(quote).join(', ')}`;
  return db.run(
    `INSERT INTO ${quote(table)} SELECT ${casts(layout)}, _fence, _ordinal, _deleted FROM temp.${quote(stage)}${order}`,
  );
}

/** Turns rows older than `before` into tombstones that stand at it; returns how many. */
export async function sweepTable(
  db: Database,
  table: string,
  layout: Layout,
  before: bigint,
  ordinal: number,
): Promise<number> {
  const keys = new Set(layout.key);
  const nulls = layout.columns
    .filter((column) => !keys.has(column))
    .map(({ name }) => `${quote(name)} = NULL, `)
    .join('');
  return db.run(
    `UPDATE ${quote(table)} SET ${nulls}_deleted = true, _fence = ${before}, _ordinal = ${ordinal} WHERE NOT _deleted AND _fence < ${before}`,
  );
}

/** The highest version in a table, tombstones included; undefined if it is empty. */
export async function highestVersion(
  db: Database,
  table: string,
): Promise<{ readonly fence: bigint; readonly ordinal: number } | undefined> {
  const [row] = await db.rows(
    `SELECT _fence, max(_ordinal) FROM ${quote(table)} WHERE _fence = (SELECT max(_fence) FROM ${quote(table)}) GROUP BY _fence`,
  );
  if (row === undefined) return undefined;
  return { fence: row[0] as bigint, ordinal: Number(row[1]) };
}

/** The type that DuckDB gives each of these names. */
export async function describeTypes(
  db: Database,
  types: readonly string[],
): Promise<readonly string[]> {
  const rows = await db.read(
    `DESCRIBE SELECT ${types.map((type, index) => `CAST(NULL AS ${type}) AS c${index}`).join(', ')}`,
  );
  return rows.map((row) => String(row[1]));
}

/** Whether something that is not the coordinator's view already has the target's name. */
export async function nameTaken(db: Database, target: string): Promise<boolean> {
  const rows = await db.rows(
    `SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND NOT temporary AND lower(table_name) = lower(${literal(target)})`,
  );
  return rows.length > 0;
}

function casts(layout: Layout): string {
  return layout.columns
    .map(({ name, type, codec }) =>
      codec.loadedAs === type ? quote(name) : `CAST(${quote(name)} AS ${type}) AS ${quote(name)}`,
    )
    .join(', ');
}
