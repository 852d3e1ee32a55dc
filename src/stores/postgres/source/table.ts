import { TallyError } from '../../../core/errors.ts';
import { suggest } from '../../../core/options.ts';
import { identifier, type Queryable } from '../database.ts';

/** A column that changes and snapshots carry. Generated ones are left out: the stream does not have them. */
export interface CapturedColumn {
  readonly name: string;
  /** The oid of its type. */
  readonly type: number;
  /** Its type as SQL writes it, for casts. */
  readonly typeName: string;
}

/** A table, or a partitioned one with all its partitions, as capture sees it. */
export interface CapturedTable {
  /** As the application wrote it: `orders`, `sales.orders`. Changes and chunks carry this name. */
  readonly name: string;
  readonly oid: number;
  readonly schema: string;
  readonly relation: string;
  readonly partitioned: boolean;
  /** The columns of the primary key, in its order. */
  readonly key: readonly string[];
  readonly columns: readonly CapturedColumn[];
  /** Generated columns, which neither changes nor snapshots carry. */
  readonly generated: readonly string[];
  /** The table itself and, of a partitioned one, every partition below it that holds rows. */
  readonly parts: readonly TablePart[];
}

export interface TablePart {
  readonly oid: number;
  /** Schema and name, quoted. */
  readonly sql: string;
  /** `relreplident`: `f` is FULL. */
  readonly identity: string;
}

/** Schema and name, quoted. */
export function sqlName(table: Pick<CapturedTable, 'schema' | 'relation'>): string {
  return `${identifier(table.schema)}.${identifier(table.relation)}`;
}

/** What to read rows from. A table that others inherit from is itself only; partitions are one table. */
export function fromClause(table: CapturedTable): string {
  return table.partitioned ? sqlName(table) : `ONLY ${sqlName(table)}`;
}

/** Describes tables, in the order asked. Throws TABLE_UNKNOWN, TABLE_UNSUPPORTED. */
export async function inspectTables(
  on: Queryable,
  names: readonly string[],
): Promise<readonly CapturedTable[]> {
  const tables: CapturedTable[] = [];
  for (const name of names) tables.push(await inspectTable(on, name));
  return tables;
}

/** {@link inspectTables} for one. */
export async function inspectTable(on: Queryable, name: string): Promise<CapturedTable> {
  const found = (await on.query<Relation>(FIND, [name]))[0];
  if (found === undefined) throw await unknown(on, name);
  refuseKind(name, found);
  const columns = await on.query<Column>(COLUMNS, [found.oid]);
  const key = keyOf(name, found, columns);
  const parts = await on.query<TablePart>(PARTS, [found.oid]);
  return {
    name,
    oid: found.oid,
    schema: found.schema,
    relation: found.relation,
    partitioned: found.kind === 'p',
    key,
    columns: columns
      .filter(({ generated }) => !generated)
      .map((column) => ({ name: column.name, type: column.type, typeName: column.typeName })),
    generated: columns.filter(({ generated }) => generated).map(({ name: column }) => column),
    parts,
  };
}

/** TABLE_UNSUPPORTED for this table. */
export function unsupported(
  name: string,
  why: string,
  mend: string,
  details: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): TallyError {
  return new TallyError('TABLE_UNSUPPORTED', {
    what: `table '${name}' cannot be captured: ${why}`,
    mend,
    details: { table: name, ...details },
    ...(cause === undefined ? {} : { cause }),
  });
}

interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly relation: string;
  readonly kind: string;
  readonly persistence: string;
  readonly catalog: boolean;
}

interface Column {
  readonly name: string;
  readonly type: number;
  readonly typeName: string;
  readonly generated: boolean;
  /** The place in the primary key, from 1; null outside of it. */
  readonly keyPlace: number | null;
  /** Whether a value can be a key: no list and no document. */
  readonly scalar: boolean;
}

// The whole name first: it may have a dot in it. A name without a schema is what the search path finds.
const FIND = `
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS relation, c.relkind::text AS kind,
  c.relpersistence::text AS persistence, n.nspname IN ('pg_catalog', 'information_schema') AS catalog
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND ((c.relname = $1 AND pg_catalog.pg_table_is_visible(c.oid)) OR n.nspname || '.' || c.relname = $1)
ORDER BY (c.relname = $1) DESC LIMIT 1`;

const COLUMNS = `
SELECT a.attname AS name, a.atttypid::int8 AS type, pg_catalog.format_type(a.atttypid, -1) AS "typeName",
  a.attgenerated <> '' AS generated, array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum) AS "keyPlace",
  NOT (base.typcategory = 'A' OR base.typname IN ('json', 'jsonb')) AS scalar
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type base ON base.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`;

const PARTS = `
SELECT c.oid::int8 AS oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS sql, c.relreplident::text AS identity
FROM (SELECT $1::int8::oid AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree($1::int8::oid::regclass) WHERE isleaf) AS part
JOIN pg_catalog.pg_class c ON c.oid = part.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY c.oid <> $1::int8::oid, c.oid`;

const NEIGHBOURS = `
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
LIMIT 10000`;

async function unknown(on: Queryable, name: string): Promise<TallyError> {
  const known = (await on.query<{ name: string }>(NEIGHBOURS)).map((row) => row.name);
  const nearest = suggest(name, known) ?? known.find((other) => other.endsWith(`.${name}`));
  return new TallyError('TABLE_UNKNOWN', {
    what: `there is no table '${name}'`,
    mend:
      nearest === undefined
        ? 'check the name, its schema (write schema.table if it is not in the search path), and the database of the URL'
        : `did you mean ${nearest}?`,
    details: { table: name, ...(nearest === undefined ? {} : { nearest }) },
  });
}

function refuseKind(name: string, { kind, persistence, catalog }: Relation): void {
  if (kind === 'v' || kind === 'm')
    throw unsupported(name, 'it is a view', 'name the tables that the view reads');
  if (kind === 'f')
    throw unsupported(
      name,
      'it is a foreign table',
      'capture it in the database that holds its rows',
    );
  if (catalog) throw unsupported(name, 'it is a system catalog', 'name a table of your own');
  if (persistence !== 'p')
    throw unsupported(
      name,
      `it is ${persistence === 'u' ? 'unlogged' : 'temporary'}, so that the server logs no changes of it`,
      `run ALTER TABLE ${name} SET LOGGED`,
    );
}

function keyOf(name: string, found: Relation, columns: readonly Column[]): readonly string[] {
  const key = columns
    .filter(({ keyPlace }) => keyPlace !== null)
    .toSorted((left, right) => Number(left.keyPlace) - Number(right.keyPlace));
  if (key.length === 0)
    throw unsupported(
      name,
      'it has no primary key',
      `run ALTER TABLE ${sqlName(found)} ADD PRIMARY KEY (…) with the columns that tell its rows apart`,
    );
  const generated = key.find((column) => column.generated);
  if (generated !== undefined)
    throw unsupported(
      name,
      `'${generated.name}' of its primary key is a generated column, which the server does not publish`,
      'make the key of the columns that it is generated from',
    );
  const compound = key.find((column) => !column.scalar);
  if (compound !== undefined)
    throw unsupported(
      name,
      `'${compound.name}' of its primary key is of type ${compound.typeName}`,
      'make the key of columns with single values',
    );
  return key.map((column) => column.name);
}
