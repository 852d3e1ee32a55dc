import { errorText, TallyError } from '../../../core/errors.ts';
import { identifier } from '../database.ts';
import { sqlState } from '../errors.ts';
import type { TableColumn } from './column-codec.ts';
import type { Tx } from './connection.ts';
import type { Layout } from './layout.ts';
import { boundName, quoted, type TargetNames } from './names.ts';

// What a target consists of in the database: its table, with the columns and indexes that PostgreSQL derives from
// it, and the tombstones beside it in the coordinator's schema.

/** The fence of rows that were there before the table was adopted: older than any other. */
const ADOPTED_FENCE = -1;

interface PresentColumn extends TableColumn {
  /** Whether an INSERT that leaves it out fails. */
  readonly demanded: boolean;
}

/**
 * Makes what is missing of a target. A table of the same name that is not ours is adopted if its columns and key fit,
 * by adding the fence columns. Throws CONFIG_INVALID if they do not.
 */
export async function prepareTarget(tx: Tx, names: TargetNames, layout: Layout): Promise<void> {
  try {
    if (await hasTable(tx, names)) await adopt(tx, names, layout);
    else {
      // Somebody may have dropped the table alone: what was kept beside it is of rows that are gone.
      await tx.script(`DROP TABLE IF EXISTS ${names.tombstones}`);
      await tx.script(createTable(names.table, layout));
    }
    const key = quoted(layout.key.map(({ name }) => name));
    if ((await relationKind(tx, names.tombstones)) === undefined)
      await tx.script(
        `CREATE TABLE ${names.tombstones} AS SELECT ${key}, _fence, _ordinal FROM ${names.table} WITH NO DATA;
         ALTER TABLE ${names.tombstones} ADD PRIMARY KEY (${key}), ALTER _fence SET NOT NULL, ALTER _ordinal SET NOT NULL`,
      );
    for (const { name, using } of layout.indexes)
      await tx.script(
        `CREATE INDEX IF NOT EXISTS ${identifier(boundName(`_tally_index_${names.target}_${names.generation}_${name}`))} ON ${names.table} USING ${using}`,
      );
  } catch (error) {
    throw asUnfit(names, error);
  }
}

/** Whether the table of a target is in the database. */
export async function hasTable(tx: Tx, { table }: TargetNames): Promise<boolean> {
  return (await relationKind(tx, table)) !== undefined;
}

/** Removes a target's generation with all that belongs to it. */
export async function dropTarget(tx: Tx, { table, tombstones }: TargetNames): Promise<void> {
  await tx.script(`DROP TABLE IF EXISTS ${table}; DROP TABLE IF EXISTS ${tombstones}`);
}

/** Empties a target: rows and tombstones. */
export async function emptyTarget(
  tx: Tx,
  { table, tombstones }: TargetNames,
  place: 'seen' | 'building',
): Promise<void> {
  // TRUNCATE would hold readers up, and show an empty table to those that began before it.
  await tx.script(place === 'building' ? `TRUNCATE ${table}` : `DELETE FROM ${table}`);
  await tx.script(`TRUNCATE ${tombstones}`);
}

/** The columns of a table in their order; none if there is no such table. */
export async function tableColumns(
  tx: Pick<Tx, 'query'>,
  table: string,
): Promise<readonly PresentColumn[]> {
  // A domain over a domain over a type is as deep as anybody goes; what is deeper is read as text.
  const rows = await tx.query(
    `SELECT a.attname, format_type(a.atttypid, -1), b.oid, CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE 0 END, b.typcategory,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type d ON d.oid = t.typbasetype
       JOIN pg_type b ON b.oid = coalesce(nullif(d.typbasetype, 0), nullif(t.typbasetype, 0), t.oid)
     WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
    [table],
  );
  return rows.map(([name, cast, oid, element, category, demanded]) => ({
    name: String(name),
    cast: String(cast),
    oid: Number(oid),
    element: Number(element),
    category: String(category),
    demanded: demanded === true,
  }));
}

/**
 * Refuses to build beside a table that is published. A switch is no change that logical replication carries: whoever
 * follows the table's changes would never hear that its rows are others now. Throws CONFIG_INVALID.
 */
export async function refuseCaptured(tx: Tx, seen: TargetNames): Promise<void> {
  const [published] = await tx.query(
    `SELECT p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = to_regclass($1)`,
    [seen.table],
  );
  if (published === undefined) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `the table ${seen.table} cannot be switched for another: its changes are published by ${String(published[0])}, and a switch is not a change that is published`,
    where: `target ${seen.target}`,
    mend: 'run tally resnapshot APP.ts with the store that the flow reads from: it compares every row in place, and what differs is published; if nobody follows the publication, take the table out of it',
    details: { target: seen.target, table: seen.table, publication: published[0] },
  });
}

/** CONFIG_INVALID: the table that is there is not what the target asks for. */
export function unfit({ target, table }: TargetNames, what: string, cause?: unknown): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `the table ${table} cannot hold the target ${target}: ${what}`,
    where: `target ${target}`,
    mend: 'give the target another name, make its declaration fit the table, or rebuild the flow if its declaration has changed',
    details: { target, table },
    cause,
  });
}

/** What PostgreSQL says against a declaration, as CONFIG_INVALID; failures of the store itself as they are. */
export function asUnfit(names: TargetNames, error: unknown): unknown {
  if (error instanceof TallyError || sqlState(error) === undefined) return error;
  const detail =
    typeof error === 'object' && error !== null && 'detail' in error && error.detail !== undefined
      ? ` (${errorText(error.detail, 300)})`
      : '';
  return unfit(names, `PostgreSQL refuses it: ${errorText(error, 300)}${detail}`, error);
}

function createTable(table: string, layout: Layout): string {
  const columns = [
    ...[...layout.key, ...layout.values].map(({ name, type }) => `${identifier(name)} ${type}`),
    ...layout.derived.map(({ name, type, expression }) => {
      const [words = '', constraint = ''] = type.split(/(?= NOT NULL$)/);
      return `${identifier(name)} ${words} GENERATED ALWAYS AS (${expression}) STORED${constraint}`;
    }),
    '_fence bigint NOT NULL',
    '_ordinal int NOT NULL',
    `PRIMARY KEY (${quoted(layout.key.map(({ name }) => name))})`,
  ];
  return `CREATE TABLE ${table} (${columns.join(', ')})`;
}

/** Whether the table that is there can hold the target; adds the fences to one that has none. */
async function adopt(tx: Tx, names: TargetNames, layout: Layout): Promise<void> {
  const kind = await relationKind(tx, names.table);
  if (kind !== 'r' && kind !== 'p') throw unfit(names, 'it is not an ordinary table');
  const present = new Map((await tableColumns(tx, names.table)).map((one) => [one.name, one]));
  const declared = new Map(
    (await declaredColumns(tx, names, layout)).map((one) => [one.name, one]),
  );
  for (const { name } of [...layout.key, ...layout.values, ...layout.derived]) {
    const [there, wanted] = [present.get(name), declared.get(name)];
    if (there === undefined) throw unfit(names, `it has no column ${name}`);
    // Any kind of text or number will do: what does not fit it refuses its write.
    const alike = 'SN'.includes(there.category) && there.category === wanted?.category;
    if (there.oid !== wanted?.oid && !alike)
      throw unfit(names, `its column ${name} is of type ${there.cast}`);
  }
  const filled = new Set([...declared.keys(), '_fence', '_ordinal']);
  for (const { name, demanded } of present.values())
    if (demanded && !filled.has(name))
      throw unfit(names, `its column ${name} must have a value and no write gives it one`);
  const key = layout.key.map(({ name }) => name);
  if (!(await hasUniqueKey(tx, names.table, key)))
    throw unfit(names, `it has no primary key or unique index on exactly (${key.join(', ')})`);
  for (const [name, type] of [
    ['_fence', 'bigint'],
    ['_ordinal', 'int'],
  ] as const)
    if (!present.has(name))
      await tx.script(
        `ALTER TABLE ${names.table} ADD COLUMN ${name} ${type} NOT NULL DEFAULT ${ADOPTED_FENCE}`,
      );
}

/** The columns that the declaration would make: the server is asked what its types are. */
async function declaredColumns(
  tx: Tx,
  names: TargetNames,
  layout: Layout,
): Promise<readonly TableColumn[]> {
  const table = `${identifier(names.schema)}.${identifier(boundName(`_tally_fit_${names.target}_${names.generation}`))}`;
  await tx.script('SAVEPOINT tally_fit');
  await tx.script(createTable(table, layout));
  const columns = await tableColumns(tx, table);
  await tx.script('ROLLBACK TO SAVEPOINT tally_fit; RELEASE SAVEPOINT tally_fit');
  return columns;
}

async function hasUniqueKey(tx: Tx, table: string, key: readonly string[]): Promise<boolean> {
  const rows = await tx.query(
    `SELECT 1 FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
       AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C") FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
         = (SELECT array_agg(k ORDER BY k COLLATE "C") FROM unnest($2::text[]) AS k)`,
    [table, [...key]],
  );
  return rows.length > 0;
}

async function relationKind(tx: Tx, table: string): Promise<string | undefined> {
  const [row] = await tx.query('SELECT relkind FROM pg_class WHERE oid = to_regclass($1)', [table]);
  return row && String(row[0]);
}
