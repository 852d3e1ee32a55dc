import { isTallyError } from '../../../core/errors.ts';
import type { Finding } from '../../../ports/diagnose.ts';
import type { Database } from '../database.ts';
import { inspectTable, type CapturedTable } from '../source/table.ts';
import { fail, failure, ok, sqlName, warn } from './finding.ts';
import type { Server } from './server.ts';

/** Partitions that one finding names; the others are alike. */
const PARTITIONS_SHOWN_MAX = 5;

interface TableRow {
  readonly owner: string;
  readonly mine: boolean;
  readonly select: boolean;
  readonly usage: boolean;
  readonly rowSecurity: boolean;
  readonly published: boolean;
  /** A filter or column list of the publication for this table. */
  readonly restricted: boolean;
  /** JSON: itself and its leaf partitions, as far as they do not log whole rows before; its changes come as the root's. */
  readonly unidentified: string;
}

interface PublicationRow {
  readonly owner: string;
  readonly mine: boolean;
  readonly all: boolean;
  readonly whole: boolean;
  readonly viaRoot: boolean;
}

/** Whether each table can be captured, and whether the publication tells all of it. */
export async function checkTables(
  database: Database,
  server: Server,
  publication: string,
  tables: readonly string[],
): Promise<readonly Finding[]> {
  const [present] = await database.query<PublicationRow>(
    `SELECT pubowner::regrole::text AS owner, pg_has_role(pubowner, 'USAGE') AS mine, puballtables AS all,
       pubinsert AND pubupdate AND pubdelete AND pubtruncate AS whole, pubviaroot AS "viaRoot"
     FROM pg_publication WHERE pubname = $1`,
    [publication],
  );
  const findings = checkPublication(publication, present);
  for (const asked of tables) {
    const found = await checkTable(database, server, { asked, publication, present });
    findings.push(...(found.length > 0 ? found : [ok(`table ${asked}`, 'can be captured')]));
  }
  return findings;
}

interface Asked {
  readonly asked: string;
  readonly publication: string;
  readonly present: PublicationRow | undefined;
}

/** First what capture itself would refuse, in its own words; then rights. */
async function checkTable(
  database: Database,
  server: Server,
  { asked, publication, present }: Asked,
): Promise<readonly Finding[]> {
  const check = `table ${asked}`;
  let table: CapturedTable;
  try {
    table = await inspectTable(database, asked);
  } catch (error) {
    if (isTallyError(error, 'TABLE_UNKNOWN', 'TABLE_UNSUPPORTED')) return [failure(check, error)];
    throw error;
  }
  const [row] = await database.query<TableRow>(TABLE, [table.oid, publication]);
  if (row === undefined) return [fail(check, 'was dropped meanwhile', 'run it again')];
  return [
    ...checkIdentity(check, table, row),
    ...checkRights(check, server, table, row),
    ...checkPublished(check, publication, present, table, row),
  ];
}

function checkPublication(publication: string, row: PublicationRow | undefined): Finding[] {
  const check = `publication ${publication}`;
  const name = sqlName(publication);
  if (row === undefined) return [ok(check, 'is made at the first start')];
  const who = `(as ${row.owner} or a superuser)`;
  const findings: Finding[] = [];
  if (!row.whole)
    findings.push(
      fail(
        check,
        'leaves out some kinds of changes',
        `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate'); ${who}`,
      ),
    );
  if (!row.viaRoot)
    findings.push(
      fail(
        check,
        'names partitions instead of the tables that they are of',
        `ALTER PUBLICATION ${name} SET (publish_via_partition_root = true); ${who}`,
      ),
    );
  return findings.length > 0
    ? findings
    : [ok(check, row.mine ? 'is there' : `is there, and belongs to ${row.owner}`)];
}

function checkRights(
  check: string,
  { user }: Server,
  { schema, relation }: CapturedTable,
  row: TableRow,
): readonly Finding[] {
  const findings: Finding[] = [];
  if (!row.usage)
    findings.push(
      fail(
        check,
        `${user} may not use its schema`,
        `GRANT USAGE ON SCHEMA ${sqlName(schema)} TO ${sqlName(user)}; (as the owner of the schema or a superuser)`,
      ),
    );
  if (!row.select)
    findings.push(
      fail(
        check,
        `${user} may not read it, which a snapshot does`,
        `GRANT SELECT ON ${sqlName(schema, relation)} TO ${sqlName(user)}; (as ${row.owner}, who owns it, or a superuser)`,
      ),
    );
  if (row.rowSecurity)
    findings.push(
      fail(
        check,
        `has row security that applies to ${user}: a snapshot would leave rows out`,
        `ALTER ROLE ${sqlName(user)} BYPASSRLS; (as a superuser)`,
      ),
    );
  return findings;
}

/** The first start sets the identity where it may; else the owner has to. */
function checkIdentity(check: string, table: CapturedTable, row: TableRow): readonly Finding[] {
  const lacking = JSON.parse(row.unidentified) as readonly {
    readonly schema: string;
    readonly table: string;
    readonly owner: string;
    readonly mine: boolean;
  }[];
  const foreign = lacking.filter(({ mine }) => !mine);
  if (foreign.length === 0) return [];
  const shown = foreign.slice(0, PARTITIONS_SHOWN_MAX);
  const owners = [...new Set(foreign.map(({ owner }) => owner))];
  const more = foreign.length - shown.length;
  return [
    fail(
      check,
      table.partitioned
        ? `${foreign.length} of it and its partitions do not log whole rows before a change`
        : 'does not log whole rows before a change',
      `${shown
        .map((part) => `ALTER TABLE ${sqlName(part.schema, part.table)} REPLICA IDENTITY FULL;`)
        .join(
          ' ',
        )}${more > 0 ? ` and ${more} more` : ''} (as ${owners.join(', ')}, or a superuser)`,
    ),
  ];
}

function checkPublished(
  check: string,
  publication: string,
  present: PublicationRow | undefined,
  { schema, relation }: CapturedTable,
  row: TableRow,
): readonly Finding[] {
  const name = sqlName(schema, relation);
  const add = (statement: string): string =>
    `${statement} (as ${row.owner}, who owns the table${present === undefined || present.owner === row.owner ? '' : `, made a member of ${present.owner}, who owns the publication`}, or as a superuser)`;
  if (present === undefined)
    return row.mine
      ? []
      : [
          fail(
            check,
            `belongs to ${row.owner}, so that its changes cannot be published by somebody else`,
            add(
              `CREATE PUBLICATION ${sqlName(publication)} FOR TABLE ${name} WITH (publish_via_partition_root = true);`,
            ),
          ),
        ];
  if (row.published)
    return row.restricted
      ? [
          fail(
            check,
            `the publication ${publication} lists only some of its rows or columns`,
            add(
              `ALTER PUBLICATION ${sqlName(publication)} DROP TABLE ${name}; ALTER PUBLICATION ${sqlName(publication)} ADD TABLE ${name};`,
            ),
          ),
        ]
      : [];
  if (present.all || (present.mine && row.mine)) return [];
  return [
    fail(
      check,
      `is not in the publication ${publication}`,
      add(`ALTER PUBLICATION ${sqlName(publication)} ADD TABLE ${name};`),
    ),
  ];
}

const TABLE = `
  SELECT c.relowner::regrole::text AS owner, pg_has_role(c.relowner, 'USAGE') AS mine,
    has_table_privilege(c.oid, 'SELECT') AS select, has_schema_privilege(c.relnamespace, 'USAGE') AS usage,
    row_security_active(c.oid) AS "rowSecurity",
    EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $2 AND (p.puballtables
      OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
      OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))) AS published,
    EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
      WHERE p.pubname = $2 AND r.prrelid = c.oid AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)) AS restricted,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('schema', ln.nspname, 'table', l.relname,
        'owner', l.relowner::regrole::text, 'mine', pg_has_role(l.relowner, 'USAGE')) ORDER BY l.oid), '[]')
      FROM (SELECT c.oid AS relid
        UNION SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE c.relkind = 'p' AND t.isleaf) AS parts
      JOIN pg_class l ON l.oid = parts.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace
      WHERE l.relkind IN ('r', 'p') AND l.relreplident <> 'f')::text AS unidentified
  FROM pg_class c WHERE c.oid = $1::int8::oid`;

interface TargetRow {
  readonly schema: string | null;
  readonly owner: string | null;
  readonly create: boolean | null;
  readonly targets: string;
  readonly absent: boolean;
}

/** Whether flows can make what they write to, and a rebuild its next generation. */
export async function checkTargets(
  database: Database,
  server: Server,
  targets: readonly string[],
): Promise<readonly Finding[]> {
  if (targets.length === 0) return [];
  if (server.recovering)
    return [
      fail(
        'targets',
        'the server is a standby, which takes no writes',
        'point the URL to the primary',
      ),
    ];
  const rows = await database.query<TargetRow>(TARGETS, [targets]);
  return rows.map((row) => checkTargetSchema(server, row));
}

function checkTargetSchema({ user }: Server, row: TargetRow): Finding {
  const check = `targets ${row.targets}`;
  if (row.schema === null)
    return fail(
      check,
      'no schema of the search path exists, or may be used',
      `CREATE SCHEMA ${sqlName(user)} AUTHORIZATION ${sqlName(user)}; or GRANT USAGE, CREATE ON SCHEMA public TO ${sqlName(user)}; (as the owner of the database or a superuser)`,
    );
  if (row.owner === null)
    return fail(
      check,
      `there is no schema ${row.schema}`,
      `CREATE SCHEMA ${sqlName(row.schema)} AUTHORIZATION ${sqlName(user)}; (as the owner of the database or a superuser)`,
    );
  if (row.create === true) return ok(check, `can be made in schema ${row.schema}`);
  const remedy = `GRANT USAGE, CREATE ON SCHEMA ${sqlName(row.schema)} TO ${sqlName(user)}; (as ${row.owner} or a superuser)`;
  return row.absent
    ? fail(check, `${user} may not make tables in schema ${row.schema}`, remedy)
    : warn(
        check,
        `are there, but ${user} may not make tables in schema ${row.schema}: a rebuild cannot build beside them`,
        remedy,
      );
}

const TARGETS = `
  SELECT t.schema, n.nspowner::regrole::text AS owner,
    has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE') AS create,
    string_agg(t.asked, ', ' ORDER BY t.asked) AS targets, bool_or(c.oid IS NULL) AS absent
  FROM (SELECT asked, CASE WHEN strpos(asked, '.') > 0 THEN split_part(asked, '.', 1) ELSE current_schema()::text END AS schema,
      substr(asked, strpos(asked, '.') + 1) AS name FROM unnest($1::text[]) AS asked) AS t
    LEFT JOIN pg_namespace n ON n.nspname = t.schema
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
  GROUP BY t.schema, n.oid, n.nspowner`;
