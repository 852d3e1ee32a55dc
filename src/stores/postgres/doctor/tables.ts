import type { Finding } from '../../../ports/diagnose.ts';
import type { Database } from '../database.ts';
import { fail, ok, sqlName, warn } from './finding.ts';
import type { Server } from './server.ts';

/** Partitions that one finding names; the others are alike. */
const PARTITIONS_SHOWN_MAX = 5;

interface TableRow {
  /** As the application named it. */
  readonly asked: string;
  readonly schema: string | null;
  readonly table: string;
  readonly kind: string;
  readonly persistence: string;
  readonly owner: string;
  readonly mine: boolean;
  readonly select: boolean;
  readonly usage: boolean;
  readonly rowSecurity: boolean;
  readonly primaryKey: boolean;
  readonly published: boolean;
  /** Filters or column lists of the publication for this table. */
  readonly restricted: boolean;
  /** JSON: tables that hold rows (itself or its leaf partitions) and do not log whole rows before. */
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
    const row = await readTable(database, publication, asked);
    if (row.schema === null) {
      findings.push(
        fail(
          `table ${asked}`,
          'does not exist',
          'correct its name in the flow, write its schema before it (sales.orders), or run the migration that makes it',
        ),
      );
      continue;
    }
    const found = checkTable(server, publication, present, { ...row, schema: row.schema });
    findings.push(...(found.length > 0 ? found : [ok(`table ${asked}`, 'can be captured')]));
  }
  return findings;
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

function checkTable(
  server: Server,
  publication: string,
  present: PublicationRow | undefined,
  row: TableRow & { readonly schema: string },
): readonly Finding[] {
  const check = `table ${row.asked}`;
  const name = sqlName(row.schema, row.table);
  const owner = `(as ${row.owner}, who owns it, or a superuser)`;
  if (row.kind !== 'r' && row.kind !== 'p')
    return [
      fail(
        check,
        `is not a table but ${kinds[row.kind] ?? 'something else'}: it has no changes of its own in the WAL`,
        'name the tables under it in the flow',
      ),
    ];
  const findings: Finding[] = [];
  const bad = (found: string, remedy: string): void =>
    void findings.push(fail(check, found, remedy));
  if (row.persistence !== 'p')
    bad(
      `is ${row.persistence === 'u' ? 'unlogged' : 'temporary'}: its changes are not in the WAL`,
      row.persistence === 'u'
        ? `ALTER TABLE ${name} SET LOGGED; ${owner}`
        : 'make it an ordinary table',
    );
  if (!row.primaryKey)
    bad(
      'has no primary key',
      `ALTER TABLE ${name} ADD PRIMARY KEY (…); with the columns that tell its rows apart ${owner}`,
    );
  findings.push(...checkIdentity(check, row));
  if (!row.usage)
    bad(
      `${server.user} may not use its schema`,
      `GRANT USAGE ON SCHEMA ${sqlName(row.schema)} TO ${sqlName(server.user)}; (as the owner of the schema or a superuser)`,
    );
  if (!row.select)
    bad(
      `${server.user} may not read it, which a snapshot does`,
      `GRANT SELECT ON ${name} TO ${sqlName(server.user)}; ${owner}`,
    );
  if (row.rowSecurity)
    bad(
      `has row security that applies to ${server.user}: a snapshot would leave rows out`,
      `ALTER ROLE ${sqlName(server.user)} BYPASSRLS; (as a superuser)`,
    );
  findings.push(...checkPublished(check, publication, present, row));
  return findings;
}

const kinds: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
  S: 'a sequence',
};

/** The first start sets the identity where it may; else the owner has to. */
function checkIdentity(check: string, row: TableRow): readonly Finding[] {
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
      row.kind === 'p'
        ? `${foreign.length} of its partitions do not log whole rows before a change`
        : 'does not log whole rows before a change',
      `${shown
        .map(({ schema, table }) => `ALTER TABLE ${sqlName(schema, table)} REPLICA IDENTITY FULL;`)
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
  row: TableRow & { readonly schema: string },
): readonly Finding[] {
  const name = sqlName(row.schema, row.table);
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

/** `sales.orders` names a schema; `orders` is looked for along the search path, as statements do. */
async function readTable(
  database: Database,
  publication: string,
  asked: string,
): Promise<{ readonly asked: string; readonly schema: string | null } & TableRow> {
  const dot = asked.indexOf('.');
  const [schema, table] = dot < 0 ? [null, asked] : [asked.slice(0, dot), asked.slice(dot + 1)];
  const [row] = await database.query<Omit<TableRow, 'asked'>>(TABLE, [schema, table, publication]);
  return row === undefined ? { ...NO_TABLE, asked } : { ...row, asked };
}

const NO_TABLE: Omit<TableRow, 'asked'> = {
  schema: null,
  table: '',
  kind: '',
  persistence: '',
  owner: '',
  mine: false,
  select: false,
  usage: false,
  rowSecurity: false,
  primaryKey: false,
  published: false,
  restricted: false,
  unidentified: '[]',
};

const TABLE = `
  WITH c AS (
    SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND CASE WHEN $1::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1 END)
  SELECT c.nspname::text AS schema, c.relname::text AS table, c.relkind::text AS kind, c.relpersistence::text AS persistence,
    c.relowner::regrole::text AS owner, pg_has_role(c.relowner, 'USAGE') AS mine,
    has_table_privilege(c.oid, 'SELECT') AS select, has_schema_privilege(c.relnamespace, 'USAGE') AS usage,
    c.relkind IN ('r', 'p') AND row_security_active(c.oid) AS "rowSecurity",
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS "primaryKey",
    EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $3 AND (p.puballtables
      OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
      OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))) AS published,
    EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
      WHERE p.pubname = $3 AND r.prrelid = c.oid AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)) AS restricted,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('schema', ln.nspname, 'table', l.relname,
        'owner', l.relowner::regrole::text, 'mine', pg_has_role(l.relowner, 'USAGE'))), '[]')
      FROM (SELECT c.oid AS relid WHERE c.relkind = 'r'
        UNION ALL SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE c.relkind = 'p' AND t.isleaf) AS leaves
      JOIN pg_class l ON l.oid = leaves.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace
      WHERE l.relkind = 'r' AND l.relreplident <> 'f')::text AS unidentified
  FROM c`;

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
