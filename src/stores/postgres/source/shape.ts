import { TallyError } from '../../../core/errors.ts';
import type { Cells, Database } from '../database.ts';
import { REREAD_PREFIX } from './replication/assembler.ts';
import type { CapturedTable } from './table.ts';

/** What a table was when it was last prepared: a change of any of it is in no change of a row. */
const SHAPE_TABLES = (schema: string): string => `
CREATE TABLE IF NOT EXISTS ${schema}.shapes (slot text, name text, shape text NOT NULL, PRIMARY KEY (slot, name));`;

/** A table under its name in the catalog, whether it is published, by itself or with others, and what it is made of. */
interface Standing extends Cells {
  readonly oid: number;
  /** Schema and name now; null if it is gone. */
  readonly called: string | null;
  readonly listed: boolean;
  readonly published: boolean;
  /** Its key by number and type of its columns; then the type of each column. */
  readonly shape: string | null;
}

const STANDINGS = `
SELECT asked.oid, n.nspname || '.' || c.relname AS called,
  EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid) AS listed,
  p.oid IS NOT NULL AND (p.puballtables
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)
  ) AS published,
  jsonb_build_object('oid', c.oid::int8,
    'key', (SELECT jsonb_agg(jsonb_build_array(a.attnum, a.atttypid::int8) ORDER BY array_position(i.indkey::int2[], a.attnum))
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a
        ON a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
      WHERE i.indrelid = c.oid AND i.indisprimary),
    'columns', (SELECT jsonb_object_agg(a.attnum::text, a.atttypid::int8)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))::text AS shape
FROM unnest($1::int8[]) AS asked(oid)
LEFT JOIN pg_catalog.pg_class c ON c.oid = asked.oid::oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_publication p ON p.pubname = $2`;

/** What is captured where. */
export interface Capturing {
  readonly database: Database;
  readonly slot: string;
  readonly publication: string;
}

/**
 * Keeps what tables are made of, and has those read again whose rows have changed with it, in one transaction:
 *   1. `ALTER COLUMN id TYPE text` rewrites every row, and publishes none  2. the next change of row 1 has the key "1"
 *   3. the row that was written under 1 stays for ever.
 * Columns that were added, dropped or renamed change no value; rows show them from their next change on.
 */
export async function settleShapes(
  { database, slot, publication }: Capturing,
  tables: readonly CapturedTable[],
): Promise<Shapes> {
  const shapes: Shapes = new Map();
  if (tables.length === 0) return shapes;
  await database.ensure('shapes', 1, SHAPE_TABLES(database.schema));
  const standings = await readStandings(database, publication, tables);
  const known = new Map(
    (
      await database.query<{ name: string; shape: string }>(
        `SELECT name, shape FROM ${database.schema}.shapes WHERE slot = $1`,
        [slot],
      )
    ).map(({ name, shape }) => [name, shape]),
  );
  for (const table of tables) {
    const standing = standings.find(({ oid }) => oid === table.oid);
    if (standing?.shape == null) continue;
    shapes.set(table.name, standing.shape);
    const before = known.get(table.name);
    if (before === standing.shape) continue;
    const again = before !== undefined && isOther(before, standing);
    await database.transaction(async (tx) => {
      if (again)
        await tx.query('SELECT pg_logical_emit_message(true, $1, $2)', [
          `${REREAD_PREFIX}${slot}`,
          table.name,
        ]);
      await tx.query(
        `INSERT INTO ${database.schema}.shapes VALUES ($1, $2, $3)
         ON CONFLICT (slot, name) DO UPDATE SET shape = excluded.shape`,
        [slot, table.name, standing.shape],
      );
    });
  }
  return shapes;
}

/** The shape of each table, by its name in flows. */
export type Shapes = Map<string, string>;

/**
 * Throws a retryable error if a table is not what it was when it was prepared: it was dropped, made again, renamed,
 * taken out of the publication, or rewritten. Nothing of that is in the stream, which would go on in silence: what
 * is written to the table that has the name now would never come.
 */
export async function checkStandings(
  { database, publication }: Capturing,
  tables: readonly CapturedTable[],
  shapes: Shapes,
): Promise<void> {
  if (tables.length === 0) return;
  const standings = await readStandings(database, publication, tables);
  for (const table of tables) {
    const standing = standings.find(({ oid }) => oid === table.oid);
    const why = changed(table, standing, shapes.get(table.name));
    if (why === undefined) continue;
    throw new TallyError('STORE_BUSY', {
      what: `table '${table.name}' ${why} while it was captured`,
      where: database.where,
      mend: 'nothing, if it is there and has a key: capture begins again with what it is now, and flows read it again where they must',
      details: { table: table.name },
    });
  }
}

function changed(
  table: CapturedTable,
  standing: Standing | undefined,
  shape: string | undefined,
): string | undefined {
  if (standing?.called == null) return 'was dropped';
  if (standing.called !== `${table.schema}.${table.relation}`)
    return `was renamed to ${standing.called}`;
  if (!standing.published) return 'was taken out of the publication';
  if (shape !== undefined && isOther(shape, standing))
    return 'was given another key or other types';
  return undefined;
}

async function readStandings(
  database: Database,
  publication: string,
  tables: readonly CapturedTable[],
): Promise<readonly Standing[]> {
  return database.query<Standing>(STANDINGS, [tables.map(({ oid }) => oid), publication]);
}

interface Shape {
  readonly oid: number;
  readonly key: readonly (readonly [number, number])[] | null;
  readonly columns: Readonly<Record<string, number>> | null;
}

/** Whether rows of before may be other ones now. A table that was added to the publication is read again anyway. */
function isOther(before: string, { shape, listed }: Standing): boolean {
  const [was, is] = [JSON.parse(before) as Shape, JSON.parse(shape ?? '{}') as Shape];
  if (was.oid !== is.oid) return !listed;
  if (JSON.stringify(was.key) !== JSON.stringify(is.key)) return true;
  return Object.entries(was.columns ?? {}).some(
    ([number, type]) => is.columns?.[number] !== undefined && is.columns[number] !== type,
  );
}
