import { must } from '../../../core/errors.ts';
import type { Finding, StoreUse } from '../../../ports/diagnose.ts';
import type { Database } from '../database.ts';
import { ageText, fail, ok, setting, sqlName, warn } from './finding.ts';

/** The newest version that the tests of this project run against. */
const VERSION_TESTED_MAX = 18;
/** A transaction that is open for longer is no longer a request that somebody waits for. */
const TRANSACTION_LONG_MS = 60_000;

/** Who asks, and of what kind the server is: what most other checks depend on. */
export interface Server {
  readonly user: string;
  readonly databaseName: string;
  readonly superuser: boolean;
  readonly replication: boolean;
  readonly recovering: boolean;
  readonly settings: Readonly<Record<string, string>>;
  readonly encoding: string;
}

/** What the checks below look at, in one statement. */
export async function readServer(database: Database): Promise<Server> {
  const [row] = await database.query<{
    readonly user: string;
    readonly db: string;
    readonly superuser: boolean;
    readonly replication: boolean;
    readonly recovering: boolean;
    readonly encoding: string;
    readonly settings: string;
  }>(`
    SELECT current_user::text AS user, current_database()::text AS db, r.rolsuper AS superuser,
      r.rolreplication OR EXISTS (SELECT FROM pg_roles g
        WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER')) AS replication,
      pg_is_in_recovery() AS recovering, current_setting('server_encoding') AS encoding,
      (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN (
        'wal_level', 'max_replication_slots', 'max_wal_senders', 'max_slot_wal_keep_size', 'wal_sender_timeout',
        'idle_replication_slot_timeout', 'synchronous_commit', 'fsync', 'full_page_writes'))::text AS settings
    FROM pg_roles r WHERE r.rolname = current_user`);
  const { user, db, superuser, replication, recovering, encoding, settings } = must(
    row,
    'the role of the connection',
  );
  return {
    user,
    databaseName: db,
    superuser,
    replication: replication || superuser,
    recovering,
    encoding,
    settings: JSON.parse(settings) as Record<string, string>,
  };
}

/** Whatever the store is used for: version, encoding, durability, a pooler in between. */
export async function checkServer(database: Database, server: Server): Promise<readonly Finding[]> {
  return [
    checkVersion(database.version),
    checkEncoding(server),
    ...checkDurability(server),
    await checkPooler(database),
  ];
}

/** A version that is newer than all that was tested works or does not: nobody has looked. */
export function checkVersion(version: number): Finding {
  const major = Math.floor(version / 10_000);
  const found = `PostgreSQL ${major}.${version % 10_000}`;
  if (major <= VERSION_TESTED_MAX) return ok('server_version', found);
  return warn(
    'server_version',
    `${found}, which is newer than all that was tested`,
    `use PostgreSQL 15 to ${VERSION_TESTED_MAX}, or run the tests of this project against it first`,
  );
}

function checkEncoding({ encoding, databaseName }: Server): Finding {
  if (encoding !== 'SQL_ASCII') return ok('server_encoding', encoding);
  return warn(
    'server_encoding',
    'SQL_ASCII: the server does not check text; what is not UTF-8 arrives as bytes',
    `dump the database and restore it into one made with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' (as a role with CREATEDB), in place of ${sqlName(databaseName)}`,
  );
}

function checkDurability({ settings, user }: Server): readonly Finding[] {
  const findings: Finding[] = [];
  const commit = settings['synchronous_commit'] ?? 'on';
  findings.push(
    commit === 'off'
      ? warn(
          'synchronous_commit',
          'off: if the server crashes, commits of up to three times wal_writer_delay (0.6 s) that were reported as done are lost; evidence of such a commit is never reached',
          `ALTER ROLE ${sqlName(user)} SET synchronous_commit = on; (as ${sqlName(user)} itself or a superuser), or where it was set: ALTER DATABASE, postgresql.conf, the URL`,
        )
      : ok('synchronous_commit', commit),
  );
  for (const name of ['fsync', 'full_page_writes'] as const) {
    if (settings[name] !== 'off') continue;
    findings.push(
      warn(
        name,
        'off: a crash of the machine can damage the whole database, and lose commits that were captured already',
        setting(name, 'on', 'reload'),
      ),
    );
  }
  return findings;
}

/**
 * A pooler answers the start of a connection itself, with a process id of its own. One in transaction mode gives
 * each transaction another session of the server: nothing that a session keeps is there afterwards.
 */
async function checkPooler(database: Database): Promise<Finding> {
  await using session = await database.connect();
  const [row] = await session.query<{ readonly pid: number }>('SELECT pg_backend_pid() AS pid');
  const announced = (session.client as unknown as { readonly processID?: number | null }).processID;
  if (announced === undefined || announced === null || announced === row?.pid)
    return ok('connection', 'straight to the server');
  return fail(
    'connection',
    'goes through a pooler (the process that answers is not the one that was announced); replication and session settings do not pass through one in transaction mode',
    'give the URL of the server itself, past PgBouncer or the like; the application may keep its own pool on the pooler',
  );
}

/** What a new slot or snapshot would wait for. */
export async function checkTransactions(
  database: Database,
  longMs: number = TRANSACTION_LONG_MS,
): Promise<readonly Finding[]> {
  const [open] = await database.query<{
    readonly pid: number;
    readonly state: string | null;
    readonly age: number;
    readonly user: string | null;
  }>(
    `SELECT pid, state, usename::text AS user, (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::int8 AS age
     FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()
       AND (backend_type IS NULL OR backend_type NOT IN ('autovacuum worker', 'walsender'))
     ORDER BY xact_start LIMIT 1`,
  );
  const prepared = await database.query<{ readonly gid: string; readonly age: number }>(
    `SELECT gid, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::int8 AS age
     FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 3`,
  );
  const findings = prepared
    .filter(({ age }) => age > longMs)
    .map(({ gid, age }) =>
      warn(
        'prepared_transactions',
        `'${gid}' has been prepared for ${ageText(age)}: a new slot waits for its end, and WAL is kept from its start`,
        `COMMIT PREPARED '${gid.replaceAll("'", "''")}'; or ROLLBACK PREPARED (as who prepared it or a superuser)`,
      ),
    );
  if (open !== undefined && open.age > longMs)
    findings.push(
      warn(
        'long_transactions',
        `process ${open.pid} of ${open.user ?? 'unknown'} (${open.state ?? 'unknown'}) has had a transaction open for ${ageText(open.age)}: a new slot and a snapshot wait for its end, and WAL is kept from its start`,
        `end it in its application, or SELECT pg_terminate_backend(${open.pid}); (as its own role, one with pg_signal_backend, or a superuser); idle_in_transaction_session_timeout prevents the next one`,
      ),
    );
  return findings.length > 0 ? findings : [ok('long_transactions', 'none that is seen')];
}

/** The coordinator's own tables. */
export async function checkOwnSchema(
  database: Database,
  { user, databaseName, recovering }: Server,
  { tables, targets }: StoreUse,
): Promise<readonly Finding[]> {
  if (recovering || tables.length + targets.length === 0) return [];
  const name = database.schema;
  const [row] = await database.query<{
    readonly owner: string | null;
    readonly create: boolean | null;
    readonly database: boolean;
    readonly dba: string;
  }>(
    `SELECT n.nspowner::regrole::text AS owner, has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE') AS create,
       has_database_privilege(d.oid, 'CREATE') AS database, d.datdba::regrole::text AS dba
     FROM pg_database d LEFT JOIN pg_namespace n ON n.nspname = $1 WHERE d.datname = current_database()`,
    [name],
  );
  const { owner, create, database: may, dba } = must(row, 'the present database');
  if (owner !== null) {
    if (create === true) return [ok(`schema ${name}`, 'is there, and may be used')];
    return [
      fail(
        `schema ${name}`,
        `belongs to ${owner}, and ${user} may not make tables in it`,
        `GRANT USAGE, CREATE ON SCHEMA ${sqlName(name)} TO ${sqlName(user)}; (as ${owner} or a superuser)`,
      ),
    ];
  }
  if (may) return [ok(`schema ${name}`, 'is made at the first start')];
  return [
    fail(
      `schema ${name}`,
      `is not there, and ${user} may not make schemas in ${databaseName}`,
      `GRANT CREATE ON DATABASE ${sqlName(databaseName)} TO ${sqlName(user)}; or CREATE SCHEMA ${sqlName(name)} AUTHORIZATION ${sqlName(user)}; (as ${dba} or a superuser)`,
    ),
  ];
}
