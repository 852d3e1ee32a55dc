import type pg from 'pg';
import { must, TallyError } from '../../core/errors.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type { StoreContext } from '../../ports/store.ts';
import { loadDriver, type PgDriver } from './driver.ts';
import { isConnectionLost, postgresError, sqlState } from './errors.ts';
import { clientConfig, containParser } from './client-config.ts';
import { CONNECT_TIMEOUT_MS, poolOptions, type ConnectionOptions } from './options.ts';
import { ownTypes } from './types.ts';

/** The oldest server that works: exported snapshots, `publish_via_partition_root`, pgoutput messages. */
const SERVER_VERSION_MIN = 150_000;

/** What may be bound to a statement of ours: values of the driver, lists of them for `ANY($1)`. */
export type Bindable =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | readonly (string | number | bigint | boolean | null | Uint8Array)[];

/** A row of one of our own statements; see {@link ownTypes} for what its values are. */
export type Cells = Readonly<Record<string, unknown>>;

/** Runs statements: on the pool, in a transaction, or on a connection of its own. */
export interface Queryable {
  /** The rows of one statement. Throws TallyError for failures of the server, else the driver's own error. */
  query<Row extends object = Cells>(
    text: string,
    values?: readonly Bindable[],
  ): Promise<readonly Row[]>;
  /** Rows as lists of values, and how many rows a statement without RETURNING touched. */
  run(
    text: string,
    values?: readonly Bindable[],
  ): Promise<{ readonly rows: readonly (readonly unknown[])[]; readonly count: number }>;
}

/** A connection outside of the pool, for whoever keeps state in a session. */
export interface Session extends Queryable, AsyncDisposable {
  readonly client: pg.Client;
  close(): Promise<void>;
}

/**
 * One PostgreSQL database as the coordinator uses it. The pool is also the application's (`store.client`), and its
 * sessions have whatever settings the application gives them: our statements do not depend on any.
 */
export interface Database extends Queryable {
  readonly pg: PgDriver;
  readonly pool: pg.Pool;
  /** `host:port/database`, for messages. */
  readonly where: string;
  /** The name of the store in the application. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** The schema of the coordinator's own tables, a plain identifier that needs no quotes. */
  readonly schema: string;
  /** As `server_version_num`: 150004. */
  readonly version: number;
  /** How a connection outside of the pool reaches the server; `password` may be a function. */
  readonly config: pg.ClientConfig;
  /** Runs work between BEGIN and COMMIT on one connection of the pool; rolled back if it throws. */
  transaction<Result>(work: (tx: Queryable) => Promise<Result>): Promise<Result>;
  /** Opens a connection outside of the pool. The caller closes it; what is left when the database closes ends then. */
  connect(extra?: pg.ClientConfig): Promise<Session>;
  /**
   * Makes a part of the coordinator's own schema, once: `statements` (`CREATE TABLE IF NOT EXISTS …`) run under an
   * advisory lock, because concurrent CREATE SCHEMA or CREATE TABLE fail in spite of IF NOT EXISTS. A part that is
   * there at `version` costs one SELECT per process, and asks for no right to create anything.
   */
  ensure(part: string, version: number, statements: string): Promise<void>;
  /** Ends the pool, as soon as what was borrowed is back, and all sessions, at once. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the pool and asks the server who it is. Throws STORE_UNREACHABLE, DRIVER_MISSING, CONFIG_INVALID, and
 * CAPABILITY_MISSING for a server before PostgreSQL 15.
 */
export async function openDatabase(
  context: StoreContext,
  options: ConnectionOptions,
): Promise<Database> {
  const driver = await loadDriver();
  const config = await clientConfig(driver, options);
  const where = `${config.host ?? 'localhost'}:${config.port ?? 5432}/${config.database ?? ''}`;
  const pool = new driver.Pool({ ...poolOptions(options.pool), ...config });
  // An idle connection that breaks is replaced; a borrowed one fails its statement. Neither may end the process.
  pool.on('error', ignore);
  pool.on('connect', (client) => containParser(client.on('error', ignore)));
  try {
    const version = await serverVersion(pool, where);
    return new OpenDatabase(context, { driver, pool, config, where, version, options });
  } catch (error) {
    await pool.end();
    throw error;
  }
}

class OpenDatabase implements Database {
  readonly pg: PgDriver;
  readonly pool: pg.Pool;
  readonly where: string;
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly schema: string;
  readonly version: number;
  readonly config: pg.ClientConfig;
  readonly #ensured = new Map<string, Promise<void>>();
  readonly #sessions = new Set<pg.Client>();
  #ended: Promise<void> | undefined;

  constructor(
    context: StoreContext,
    opened: {
      readonly driver: PgDriver;
      readonly pool: pg.Pool;
      readonly config: pg.ClientConfig;
      readonly where: string;
      readonly version: number;
      readonly options: ConnectionOptions;
    },
  ) {
    this.pg = opened.driver;
    this.pool = opened.pool;
    this.where = opened.where;
    this.name = context.name;
    this.clock = context.clock;
    this.random = context.random;
    this.schema = opened.options.schema ?? '_tally';
    this.version = opened.version;
    this.config = opened.config;
  }

  async query<Row extends object = Cells>(
    text: string,
    values?: readonly Bindable[],
  ): Promise<readonly Row[]> {
    this.#open();
    return (await ask(this.pool, this.where, text, values)) as readonly Row[];
  }

  async run(
    text: string,
    values?: readonly Bindable[],
  ): Promise<{ readonly rows: readonly (readonly unknown[])[]; readonly count: number }> {
    this.#open();
    return askArrays(this.pool, this.where, text, values);
  }

  async transaction<Result>(work: (tx: Queryable) => Promise<Result>): Promise<Result> {
    const client = await this.#borrow();
    let broken: Error | undefined;
    try {
      const tx = queryable(client, this.where);
      await tx.run('BEGIN');
      let result: Result;
      try {
        result = await work(tx);
      } catch (error) {
        broken = await rollBack(client);
        throw error;
      }
      // COMMIT of a transaction that failed answers ROLLBACK, without an error.
      const { command } = await guarded(this.where, () => client.query('COMMIT'));
      if (command !== 'COMMIT') throw rolledBack(this.where);
      return result;
    } catch (error) {
      if (isConnectionLost(error)) broken ??= new Error('the connection is lost');
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async connect(extra: pg.ClientConfig = {}): Promise<Session> {
    this.#open();
    const client = new this.pg.Client({
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      ...this.config,
      ...extra,
    });
    try {
      await client.on('error', ignore).connect();
      containParser(client);
    } catch (error) {
      await client.end().catch(ignore);
      throw postgresError(error, this.where);
    }
    this.#sessions.add(client);
    client.once('end', () => this.#sessions.delete(client));
    const close = async (): Promise<void> => {
      this.#sessions.delete(client);
      await client.end().catch(ignore);
    };
    return { ...queryable(client, this.where), client, close, [Symbol.asyncDispose]: close };
  }

  ensure(part: string, version: number, statements: string): Promise<void> {
    const running = this.#ensured.get(part);
    if (running !== undefined) return running;
    const started = this.#ensure(part, version, statements);
    this.#ensured.set(part, started);
    // A failure is not remembered: the next caller tries again.
    started.catch(() => this.#ensured.delete(part));
    return started;
  }

  async close(): Promise<void> {
    this.#ended ??= this.#end();
    await this.#ended;
  }

  async #end(): Promise<void> {
    // One that waits for the server (a lock, a slot) would wait on: its statement fails.
    const sessions = [...this.#sessions].map((client) => client.end().catch(ignore));
    this.#sessions.clear();
    await Promise.all([...sessions, this.pool.end()]);
  }

  async #ensure(part: string, version: number, statements: string): Promise<void> {
    const { schema } = this;
    const present = `SELECT version FROM ${schema}.parts WHERE part = $1 AND version >= $2`;
    const there = await this.query(present, [part, version]).catch((error: unknown) => {
      // Neither schema nor table: nothing was made here yet.
      if (['3F000', '42P01'].includes(sqlState(error) ?? '')) return [];
      throw error;
    });
    if (there.length > 0) return;
    try {
      await this.#make(part, version, statements, present);
    } catch (error) {
      throw await this.#mayNot(error);
    }
  }

  /** What a user without the right to make a schema is told: the statement that gives it. */
  async #mayNot(error: unknown): Promise<unknown> {
    if (sqlState(error) !== '42501') return error;
    const [user] = await this.query<{ name: string; database: string }>(
      'SELECT current_user::text AS name, current_database()::text AS database',
    );
    const { name, database } = must(user, 'the name of the user');
    return new TallyError('CAPABILITY_MISSING', {
      what: `the user '${name}' may not make the coordinator's own tables in schema '${this.schema}'`,
      where: this.where,
      mend: `run GRANT CREATE ON DATABASE ${identifier(database)} TO ${identifier(name)}, or CREATE SCHEMA IF NOT EXISTS ${this.schema} AUTHORIZATION ${identifier(name)}, as a superuser`,
      cause: error,
    });
  }

  async #make(part: string, version: number, statements: string, present: string): Promise<void> {
    const { schema } = this;
    await this.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [
        `tallystick ${schema}`,
      ]);
      // Even IF NOT EXISTS asks for the right to make one.
      const [there] = await tx.query('SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1', [
        schema,
      ]);
      if (there === undefined) await tx.run(`CREATE SCHEMA IF NOT EXISTS ${schema}`);
      await tx.run(
        `CREATE TABLE IF NOT EXISTS ${schema}.parts (part text PRIMARY KEY, version integer NOT NULL)`,
      );
      if ((await tx.query(present, [part, version])).length > 0) return;
      await tx.run(statements);
      await tx.run(
        `INSERT INTO ${schema}.parts VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET version = excluded.version`,
        [part, version],
      );
    });
  }

  async #borrow(): Promise<pg.PoolClient> {
    this.#open();
    return guarded(this.where, () => this.pool.connect());
  }

  #open(): void {
    if (this.#ended === undefined) return;
    throw new TallyError('STORE_CLOSED', {
      what: `the store '${this.name}' was closed`,
      where: this.where,
    });
  }
}

/** Statements on one connection, in order. */
export function queryable(client: pg.ClientBase, where: string): Queryable {
  return {
    query: async <Row extends object = Cells>(text: string, values?: readonly Bindable[]) =>
      (await ask(client, where, text, values)) as readonly Row[],
    run: (text, values) => askArrays(client, where, text, values),
  };
}

/** Ends a transaction that is not wanted; an error means that the connection must not be used again. */
export async function rollBack(client: pg.ClientBase): Promise<Error | undefined> {
  try {
    await client.query('ROLLBACK');
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** A text within single quotes, for places where nothing can be bound. */
export function literal(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** A name within double quotes. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** What a COMMIT that answered ROLLBACK is for its caller. */
export function rolledBack(where: string): TallyError {
  return new TallyError('INPUT_INVALID', {
    what: 'the transaction was rolled back: a statement in it had failed, and its error was not passed on',
    where,
    mend: 'let the error of the statement leave the function, or use a savepoint around it',
  });
}

interface Asked {
  query(config: unknown): Promise<pg.QueryResult>;
}

async function ask(
  on: pg.Pool | pg.ClientBase,
  where: string,
  text: string,
  values: readonly Bindable[] | undefined,
): Promise<readonly unknown[]> {
  const types = ownTypes;
  const { rows } = await guarded(where, () =>
    (on as Asked).query(
      values === undefined ? { text, types } : { text, values: [...values], types },
    ),
  );
  return rows;
}

async function askArrays(
  on: pg.Pool | pg.ClientBase,
  where: string,
  text: string,
  values: readonly Bindable[] | undefined,
): Promise<{ readonly rows: readonly (readonly unknown[])[]; readonly count: number }> {
  const base = { text, types: ownTypes, rowMode: 'array' };
  const result: unknown = await guarded(where, () =>
    (on as Asked).query(values === undefined ? base : { ...base, values: [...values] }),
  );
  // Several statements in one text answer with a list; the last one is what was asked.
  const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryArrayResult;
  return { rows: last.rows, count: last.rowCount ?? 0 };
}

async function guarded<Result>(where: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw postgresError(error, where);
  }
}

async function serverVersion(pool: pg.Pool, where: string): Promise<number> {
  const rows = await ask(
    pool,
    where,
    `SELECT current_setting('server_version_num')::int AS version`,
    undefined,
  );
  const { version } = must(
    rows[0] as { readonly version: number } | undefined,
    'the version of the server',
  );
  if (version >= SERVER_VERSION_MIN) return version;
  throw new TallyError('CAPABILITY_MISSING', {
    what: `the server is PostgreSQL ${Math.floor(version / 10_000)}; 15 is the oldest that works`,
    where,
    mend: 'upgrade the server',
    details: { version },
  });
}

function ignore(): void {
  // Whoever waits for a statement is told by its promise.
}
