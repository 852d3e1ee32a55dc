import { TallyError } from '../../../core/errors.ts';
import { identifier, type Database, type Queryable } from '../database.ts';
import { sqlState } from '../errors.ts';
import { sqlName, unsupported, type CapturedTable } from './table.ts';
import { REREAD_PREFIX } from './replication/assembler.ts';
import { userName } from './slot.ts';

/** How long a change of a table's definition may wait for its readers: whoever comes after it waits too. */
const LOCK_TIMEOUT_MS = 5_000;

/** What is known of tables that were captured before, by which slot. */
export interface Rereading {
  readonly slot: string;
  readonly captured: readonly string[];
}

/**
 * Sees to it that the publication has these tables, wholly: every operation, every row, every column, partitions as
 * their root. Answers whether it was there. Throws CAPABILITY_MISSING with the exact statement where the user lacks the right, CONFIG_INVALID
 * where somebody made it otherwise.
 */
export async function ensurePublication(
  database: Database,
  publication: string,
  tables: readonly CapturedTable[],
  rereading: Rereading,
): Promise<'there' | 'made'> {
  let done: 'there' | 'made';
  for (let round = 0; ; round += 1) {
    try {
      done = await publish(database, publication, tables, rereading);
      break;
    } catch (error) {
      // Another process made or altered it meanwhile: look again.
      const state = sqlState(error) ?? '';
      if (!['42710', '23505', 'XX000'].includes(state) || round === 5) throw error;
    }
  }
  await refuseNested(database, publication, tables);
  return done;
}

async function publish(
  database: Database,
  publication: string,
  tables: readonly CapturedTable[],
  rereading: Rereading,
): Promise<'there' | 'made'> {
  const name = identifier(publication);
  const [present] = await database.query<{ whole: boolean; root: boolean }>(
    `SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AS whole, pubviaroot AS root
     FROM pg_catalog.pg_publication WHERE pubname = $1`,
    [publication],
  );
  if (present === undefined) {
    const list = tables.length === 0 ? '' : ` FOR TABLE ${tables.map(published).join(', ')}`;
    await alter(
      database,
      `CREATE PUBLICATION ${name}${list} WITH (publish_via_partition_root = true)`,
    );
    return 'made';
  }
  if (!present.whole || !present.root)
    await alter(
      database,
      `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`,
    );
  const members = await readMembers(database, publication);
  const partial = members.find(
    ({ oid, partial: part }) => part && tables.some((table) => table.oid === oid),
  );
  if (partial !== undefined)
    throw new TallyError('CONFIG_INVALID', {
      what: `the publication '${publication}' has only some rows or columns of ${partial.sql}`,
      where: database.where,
      mend: `run ALTER PUBLICATION ${name} DROP TABLE ${partial.sql}; it is then added as a whole`,
    });
  const missing = tables.filter((table) => !members.some(({ oid }) => oid === table.oid));
  if (missing.length > 0)
    await alter(
      database,
      `ALTER PUBLICATION ${name} ADD TABLE ${missing.map(published).join(', ')}`,
      missing.map((table) => table.name).filter((added) => rereading.captured.includes(added)),
      rereading.slot,
    );
  return 'there';
}

interface Member {
  readonly oid: number;
  readonly sql: string;
  /** Only some of its rows or columns. */
  readonly partial: boolean;
}

async function readMembers(on: Queryable, publication: string): Promise<readonly Member[]> {
  return on.query<Member>(
    `SELECT c.oid::int8 AS oid, quote_ident(t.schemaname) || '.' || quote_ident(t.tablename) AS sql,
       (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL) IS TRUE AS partial
     FROM pg_catalog.pg_publication_tables t
     JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
     JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
     JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname
     LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
     WHERE t.pubname = $1`,
    [publication],
  );
}

/** Changes of a partition whose root is published come as the root's: nothing would come under its own name. */
async function refuseNested(
  on: Queryable,
  publication: string,
  tables: readonly CapturedTable[],
): Promise<void> {
  const members = await readMembers(on, publication);
  const hidden = tables.find((table) => !members.some(({ oid }) => oid === table.oid));
  if (hidden !== undefined)
    throw unsupported(
      hidden.name,
      `the publication '${publication}' has a table that it is a partition of, and all its changes come as that table's`,
      'read that table instead: it has all rows of its partitions',
    );
}

/**
 * Sees to it that the server logs whole rows before a change. Throws TABLE_UNSUPPORTED with the exact statements if
 * the user may not do it, STORE_BUSY if somebody holds a table for long.
 */
export async function ensureIdentity(
  database: Database,
  tables: readonly CapturedTable[],
): Promise<void> {
  for (const table of tables) {
    const statements = table.parts
      .filter(({ identity }) => identity !== 'f')
      .map(({ sql }) => `ALTER TABLE ${sql} REPLICA IDENTITY FULL`);
    if (statements.length === 0) continue;
    try {
      await database.transaction(async (tx) => {
        await tx.run(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
        for (const statement of statements) await tx.run(statement);
      });
    } catch (error) {
      if (sqlState(error) !== '42501') throw error;
      throw unsupported(
        table.name,
        'the server does not log its rows before a change, and this user may not make it so',
        `run as the owner of the table: ${statements.join('; ')}`,
        { statements },
        error,
      );
    }
  }
}

function published(table: CapturedTable): string {
  return table.partitioned ? sqlName(table) : `ONLY ${sqlName(table)}`;
}

/**
 * Runs the statement and, in the same transaction, says of tables that were captured before that they have to be read
 * again: one that was dropped and made anew, or left out for a while, has changed without being published.
 */
async function alter(
  database: Database,
  statement: string,
  reread: readonly string[] = [],
  slot = '',
): Promise<void> {
  try {
    await database.transaction(async (tx) => {
      await tx.run(statement);
      for (const table of reread)
        await tx.query('SELECT pg_logical_emit_message(true, $1, $2)', [
          `${REREAD_PREFIX}${slot}`,
          table,
        ]);
    });
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    throw new TallyError('CAPABILITY_MISSING', {
      what: `the user '${await userName(database)}' may not publish changes`,
      where: database.where,
      mend: `run as a superuser, or as the owner of tables and database: ${statement}`,
      details: { statement },
      cause: error,
    });
  }
}
