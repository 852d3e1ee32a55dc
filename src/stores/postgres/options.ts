import type pg from 'pg';
import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, checkString, fieldPath } from '../../core/options.ts';

/** Connections of the pool that the application and the coordinator share, if not given. */
const POOL_MAX = 10;
/** How long a connection may take to open. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** How to reach the server. */
export interface ConnectionOptions {
  /**
   * `postgres://user:password@host:5432/database?sslmode=verify-full`. As a function it is asked again for the
   * password at every new connection, so that a rotated one is taken up; host and database are taken once.
   */
  readonly url: string | (() => string | Promise<string>);
  /** Instead of the URL's password; as a function it is asked at every new connection. */
  readonly password?: string | (() => string | Promise<string>);
  /** As the driver takes it: `true`, or Node's TLS options such as `{ ca }`. */
  readonly ssl?: pg.ClientConfig['ssl'];
  /** The driver's own options of the pool, such as `max` (10) or `idleTimeoutMillis`. */
  readonly pool?: PoolOptions;
  /** The schema of the coordinator's own tables. Default `_tally`. */
  readonly schema?: string;
}

/** Options of the driver's pool that are passed on as they are. */
export type PoolOptions = Pick<
  pg.PoolConfig,
  | 'max'
  | 'min'
  | 'idleTimeoutMillis'
  | 'connectionTimeoutMillis'
  | 'maxUses'
  | 'maxLifetimeSeconds'
  | 'statement_timeout'
  | 'query_timeout'
  | 'application_name'
  | 'keepAlive'
>;

const poolOptionNames: readonly (keyof PoolOptions)[] = [
  'max',
  'min',
  'idleTimeoutMillis',
  'connectionTimeoutMillis',
  'maxUses',
  'maxLifetimeSeconds',
  'statement_timeout',
  'query_timeout',
  'application_name',
  'keepAlive',
];

/** The names of {@link ConnectionOptions}. */
export const connectionOptionNames: readonly string[] = [
  'url',
  'password',
  'ssl',
  'pool',
  'schema',
];

/** The defaults of the pool under what the application gave. */
export function poolOptions(given: PoolOptions = {}): PoolOptions {
  return { max: POOL_MAX, connectionTimeoutMillis: CONNECT_TIMEOUT_MS, keepAlive: true, ...given };
}

/** A name of the coordinator's own in the server: lower case, so that it needs no quotes. */
export function checkName(value: unknown, path: string): string {
  return checkString(value, path, {
    charactersMax: 63,
    pattern: {
      matches: /^[a-z_][a-z0-9_]*$/,
      says: 'lower-case letters, digits and _, not starting with a digit',
    },
  });
}

/** Checks connection options without connecting. Throws CONFIG_INVALID. */
export function checkConnection(options: ConnectionOptions, path: string): void {
  const { url, password, schema, pool } = options;
  if (typeof url !== 'function') checkUrl(checkString(url, fieldPath(path, 'url')), path);
  if (password !== undefined && typeof password !== 'function')
    checkString(password, fieldPath(path, 'password'));
  if (schema !== undefined) checkName(schema, fieldPath(path, 'schema'));
  if (pool === undefined) return;
  checkOptions(pool, poolOptionNames, fieldPath(path, 'pool'));
  if (pool.max !== undefined)
    checkNumber(pool.max, fieldPath(path, 'pool.max'), { min: 1, max: 10_000, integer: true });
}

/** Throws CONFIG_INVALID; never repeats the text, which holds a password. */
export function checkUrl(url: string, path: string): void {
  if (/^(postgres|postgresql|socket):\/\//.test(url) && URL.canParse(url)) return;
  if (url.startsWith('/')) return;
  throw new TallyError('CONFIG_INVALID', {
    what: 'the text is not the URL of a PostgreSQL server',
    where: fieldPath(path, 'url'),
    mend: 'write postgres://user:password@host:5432/database; characters such as @ and / in a password are percent-encoded',
    details: { path: fieldPath(path, 'url') },
  });
}
