import { isTallyError } from '../../../core/errors.ts';
import type { Finding } from '../../../ports/diagnose.ts';
import type { Database } from '../database.ts';
import { messageColumnNames } from '../outbox/rows.ts';
import { outboxSql } from '../outbox/table.ts';
import { inspectTable, type CapturedTable } from '../source/table.ts';
import { fail, failure, ok, sqlName, warn } from './finding.ts';
import type { Server } from './server.ts';

/** An outbox that is read by its own sequence needs no replication: only its columns, and rights on them. */
export async function checkOutbox(
  database: Database,
  server: Server,
  outbox: string,
  tables: readonly string[],
): Promise<readonly Finding[]> {
  const check = `outbox ${outbox}`;
  const others = tables.filter((name) => name !== outbox);
  const refused = others.map((name) =>
    fail(
      `table ${name}`,
      `is not read: this store captures its outbox ${outbox} only`,
      "place what the flow needs as messages, or leave out capture: 'outbox', which needs logical replication",
    ),
  );
  let table: CapturedTable;
  try {
    table = await inspectTable(database, outbox);
  } catch (error) {
    if (!isTallyError(error, 'TABLE_UNKNOWN', 'TABLE_UNSUPPORTED')) throw error;
    return [...refused, failure(check, error)];
  }
  const names = new Set(table.columns.map(({ name }) => name));
  const missing = [...messageColumnNames, 'xact', 'seq'].filter((name) => !names.has(name));
  if (missing.length > 0)
    return [
      ...refused,
      fail(
        check,
        `lacks ${missing.join(', ')}`,
        `${outboxSql({ table: outbox, capture: 'outbox' })}(as its owner or a superuser)`,
      ),
    ];
  return [...refused, await checkRights(database, server, check, table)];
}

async function checkRights(
  database: Database,
  { user }: Server,
  check: string,
  { oid, schema, relation }: CapturedTable,
): Promise<Finding> {
  const [row] = await database.query<{
    readonly owner: string;
    readonly may: boolean;
    readonly prune: boolean;
  }>(
    `SELECT relowner::regrole::text AS owner,
       has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'UPDATE') AS may,
       has_table_privilege(oid, 'DELETE') AS prune
     FROM pg_class WHERE oid = $1::int8::oid`,
    [oid],
  );
  const { owner = '', may = false, prune = false } = row ?? {};
  const remedy = `GRANT SELECT, UPDATE, DELETE ON ${sqlName(schema, relation)} TO ${sqlName(user)}; (as ${owner}, who owns it, or a superuser)`;
  if (!may) return fail(check, `${user} may not read and number its messages`, remedy);
  if (!prune) return warn(check, `${user} may not prune it: it grows for ever`, remedy);
  return ok(check, 'can be captured');
}
