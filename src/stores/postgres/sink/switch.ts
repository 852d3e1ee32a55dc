import { TallyError } from '../../../core/errors.ts';
import { identifier } from '../database.ts';
import type { Tx } from './connection.ts';
import { boundName, type TargetNames } from './names.ts';
import { asUnfit, hasTable, refuseCaptured, unfit } from './schema.ts';

// The switch of a generation: the new table takes the name of the old one, which is dropped, in one transaction.
// In PostgreSQL views, foreign keys and privileges hold on to a table, not to its name: what people added to the old
// one is written down first, and made again on the new one. What is not carried over refuses the switch: nothing of
// it is lost in silence.

/** What people added to a table. */
interface Added {
  /** Constraints that the declaration does not make. */
  readonly constraints: readonly (readonly [name: string, definition: string])[];
  readonly indexes: readonly (readonly [name: string, unique: boolean, using: string])[];
  readonly triggers: readonly (readonly [name: string, definition: string])[];
  /** Foreign keys of other tables. */
  readonly references: readonly (readonly [table: string, name: string, definition: string])[];
  readonly views: readonly (readonly [name: string, options: string, definition: string])[];
  /** What the statement GRANT takes, but for the table. */
  readonly grants: readonly (readonly [privilege: string, grantee: string])[];
}

/** How long the switch waits for the transactions that read the old table; new readers wait behind it. */
const LOCK_TIMEOUT = '10s';

/**
 * Puts the generation `building` in the place of `seen`, which is dropped. Runs inside a transaction, of which it
 * changes the search path. Throws CONFIG_INVALID if what was added to the old table does not fit the new one, and
 * STORE_BUSY if the old one is being read for too long.
 */
export async function replaceTarget(
  tx: Tx,
  seen: TargetNames | undefined,
  building: TargetNames,
  into: TargetNames,
): Promise<void> {
  if (seen === undefined) {
    if (await hasTable(tx, into))
      throw unfit(
        into,
        'there already is a table of this name, which the flow did not write before',
      );
    await rename(tx, building.table, into.name);
    return;
  }
  await refuseCaptured(tx, seen);
  await tx.script(
    `SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'; SET LOCAL search_path = pg_catalog; LOCK TABLE ${seen.table} IN ACCESS EXCLUSIVE MODE`,
  );
  await refuseUnmovable(tx, seen);
  const added = await addedTo(tx, seen, building);
  try {
    await putInPlace(tx, { seen, building, into }, added);
  } catch (error) {
    throw asUnfit(into, error);
  }
}

async function putInPlace(
  tx: Tx,
  tables: {
    readonly seen: TargetNames;
    readonly building: TargetNames;
    readonly into: TargetNames;
  },
  added: Added,
): Promise<void> {
  const { seen, building, into } = tables;
  const old = boundName(`${seen.name}__g${seen.generation}__old`);
  const oldTable = `${identifier(seen.schema)}.${identifier(old)}`;
  const indexName = (index: number): string =>
    identifier(boundName(`_tally_new_${into.target}_${into.generation}_${index}`));
  for (const [index, [, unique, using]] of added.indexes.entries())
    await tx.script(
      `CREATE ${unique ? 'UNIQUE ' : ''}INDEX ${indexName(index)} ON ${building.table} USING ${using}`,
    );
  for (const [table, name] of added.references)
    await tx.script(`ALTER TABLE ${table} DROP CONSTRAINT ${identifier(name)}`);
  await rename(tx, seen.table, old);
  await rename(tx, building.table, into.name);
  for (const [name, options, definition] of added.views)
    await tx.script(
      `CREATE OR REPLACE VIEW ${name} ${options === '' ? '' : `WITH (${options})`} AS ${definition}`,
    );
  await tx.script(`DROP TABLE ${oldTable}; DROP TABLE IF EXISTS ${seen.tombstones}`);
  for (const [index, [name]] of added.indexes.entries())
    await tx.script(
      `ALTER INDEX ${identifier(into.schema)}.${indexName(index)} RENAME TO ${identifier(name)}`,
    );
  for (const [name, definition] of added.constraints)
    await tx.script(`ALTER TABLE ${into.table} ADD CONSTRAINT ${identifier(name)} ${definition}`);
  for (const [, definition] of added.triggers) await tx.script(definition);
  for (const [table, name, definition] of added.references)
    await tx.script(`ALTER TABLE ${table} ADD CONSTRAINT ${identifier(name)} ${definition}`);
  await grant(tx, into, added.grants);
}

async function rename(tx: Tx, table: string, name: string): Promise<void> {
  await tx.script(`ALTER TABLE ${table} RENAME TO ${identifier(name)}`);
}

/** Exactly the privileges of the old table: those that defaults gave to the new one are taken back first. */
async function grant(tx: Tx, into: TargetNames, grants: Added['grants']): Promise<void> {
  const defaults = await tx.query(
    `SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
     FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner`,
    [into.table],
  );
  for (const [grantee] of defaults)
    await tx.script(`REVOKE ALL ON TABLE ${into.table} FROM ${String(grantee)}`);
  for (const [privilege, grantee] of grants)
    await tx.script(`GRANT ${privilege} ON TABLE ${into.table} TO ${grantee}`);
}

/** Refuses what cannot be carried over and must not be lost. */
async function refuseUnmovable(tx: Tx, seen: TargetNames): Promise<void> {
  const [row] = await tx.query(
    `SELECT c.relrowsecurity, (SELECT m.oid::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
         JOIN pg_class m ON m.oid = r.ev_class WHERE d.classid = 'pg_rewrite'::regclass
           AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND m.relkind = 'm' LIMIT 1)
     FROM pg_class c WHERE c.oid = to_regclass($1)`,
    [seen.table],
  );
  const what =
    row?.[0] === true
      ? 'it has row level security, which a new table would not have'
      : typeof row?.[1] === 'string'
        ? `the materialized view ${row[1]} reads it, and cannot be pointed to another table`
        : undefined;
  if (what === undefined) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `the table ${seen.table} cannot be switched for another: ${what}`,
    where: `target ${seen.target}`,
    mend: 'run tally resnapshot APP.ts, which compares every row in place, instead of a rebuild',
    details: { target: seen.target, table: seen.table },
  });
}

async function addedTo(tx: Tx, seen: TargetNames, building: TargetNames): Promise<Added> {
  const ask = async (text: string): Promise<readonly (readonly string[])[]> =>
    (await tx.query(text, [seen.table])).map((row) => row.map(String));
  const constraints = await tx.query(
    `SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass($1)
       AND contype IN ('c', 'u', 'x', 'f') AND conparentid = 0 AND pg_get_constraintdef(oid) NOT IN
       (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass($2)) ORDER BY oid`,
    [seen.table, building.table],
  );
  const indexes = await ask(
    `SELECT c.relname, i.indisunique, pg_get_indexdef(i.indexrelid), format('ON %s USING ', i.indrelid::regclass)
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass($1)
       AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid)
       AND c.relname NOT LIKE '\\_tally\\_index\\_%' ORDER BY i.indexrelid`,
  );
  return {
    constraints: constraints.map(([name, definition]) => [String(name), String(definition)]),
    indexes: indexes.map(([name = '', unique, definition = '', on = '']) => [
      name,
      unique === 'true',
      definition.slice(definition.indexOf(on) + on.length),
    ]),
    triggers: (
      await ask(
        `SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal ORDER BY tgname`,
      )
    ).map(([name = '', definition = '']) => [name, definition]),
    references: (
      await ask(
        `SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE confrelid = to_regclass($1) AND conrelid <> confrelid AND contype = 'f' AND conparentid = 0 ORDER BY oid`,
      )
    ).map(([table = '', name = '', definition = '']) => [table, name, definition]),
    views: (
      await ask(
        `SELECT DISTINCT c.oid::regclass::text, coalesce(array_to_string(c.reloptions, ', '), ''), pg_get_viewdef(c.oid)
         FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class
         WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.refobjid = to_regclass($1) AND c.relkind = 'v'`,
      )
    ).map(([name = '', options = '', definition = '']) => [name, options, definition]),
    grants: (
      await ask(
        `SELECT a.privilege_type || x.col, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
           || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
         FROM (SELECT relacl AS acl, '' AS col, relowner AS owner FROM pg_class WHERE oid = to_regclass($1)
           UNION ALL SELECT attacl, format(' (%I)', attname), 0 FROM pg_attribute WHERE attrelid = to_regclass($1)) x,
           aclexplode(x.acl) a WHERE a.grantee <> x.owner OR x.owner = 0`,
      )
    ).map(([privilege = '', grantee = '']) => [privilege, grantee]),
  };
}
