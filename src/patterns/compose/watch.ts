import { TallyError } from '../../core/errors.ts';
import { currentAttempt } from './call.ts';
import { commandFingerprint, sqlFingerprint } from './fingerprint.ts';
import { currentQueryLog, type LogEntry } from './query-log.ts';

/** Methods of a driver's client that make a query, and what the query is called. */
type Methods = Readonly<Record<string, (args: readonly unknown[]) => string>>;

const bySystem: ReadonlyMap<string, Methods> = new Map([
  ['postgres', { query: sqlOf }],
  ['redis', { sendCommand: commandOf }],
  ['duckdb', { run: sqlOf, runAndReadAll: sqlOf, stream: sqlOf }],
]);

/** What runs a prepared statement of node:sqlite. */
const STATEMENT_METHODS = ['all', 'get', 'run', 'iterate'] as const;
const watched = new WeakSet<object>();

/**
 * Lets the logs of requests see the queries that a store's native client makes, by wrapping the methods of this
 * one object: `query` of a pg pool or client, `sendCommand` of a Redis client, `prepare` and `exec` of node:sqlite,
 * `run`, `runAndReadAll` and `stream` of DuckDB. Outside of a logged request a call costs one look more. The same
 * client is returned; it is wrapped once. Throws CAPABILITY_MISSING for other systems: give their calls a guard.
 */
export function watchClient<Client extends object>(store: {
  readonly name: string;
  readonly system: string;
  readonly client: Client;
}): Client {
  const { client, system, name } = store;
  if (watched.has(client)) return client;
  const methods = bySystem.get(system);
  if (system === 'sqlite') watchSqlite(client as Record<string, unknown>, name);
  else if (methods !== undefined)
    for (const [method, nameOf] of Object.entries(methods))
      wrap(client as Record<string, unknown>, method, name, nameOf);
  else
    throw new TallyError('CAPABILITY_MISSING', {
      what: `what a client of ${system} asks cannot be seen`,
      where: `store ${name}`,
      mend: 'call it through guard(…).run with a name',
    });
  watched.add(client);
  return client;
}

function watchSqlite(client: Record<string, unknown>, store: string): void {
  wrap(client, 'exec', store, sqlOf);
  const prepare = client['prepare'];
  if (typeof prepare !== 'function') throw noMethod(store, 'prepare');
  client['prepare'] = (...args: unknown[]): unknown => {
    const statement = prepare.apply(client, args) as Record<string, unknown>;
    const fingerprint = sqlOf(args);
    for (const method of STATEMENT_METHODS) wrap(statement, method, store, () => fingerprint);
    return statement;
  };
}

function wrap(
  object: Record<string, unknown>,
  method: string,
  store: string,
  nameOf: (args: readonly unknown[]) => string,
): void {
  const original = object[method];
  if (typeof original !== 'function') throw noMethod(store, method);
  object[method] = function (this: unknown, ...args: unknown[]): unknown {
    const log = currentQueryLog();
    if (log === undefined) return original.apply(this, args);
    const entry = log.begin(store, nameOf(args), 'query');
    currentAttempt()?.coverInLog();
    return endsWith(entry, () => original.apply(this, args) as unknown);
  };
}

/** Ends the entry when the query does: with its promise, or at once. A callback's end is not seen. */
function endsWith(entry: LogEntry | undefined, query: () => unknown): unknown {
  let result: unknown;
  try {
    result = query();
  } catch (error) {
    entry?.end();
    throw error;
  }
  if (!(result instanceof Promise)) {
    entry?.end();
    return result;
  }
  const end = (): void => entry?.end();
  result.then(end, end);
  return result;
}

function sqlOf([query]: readonly unknown[]): string {
  if (typeof query === 'string') return sqlFingerprint(query);
  const text = (query as { readonly text?: unknown } | null | undefined)?.text;
  return typeof text === 'string' ? sqlFingerprint(text) : 'a query';
}

function commandOf([command]: readonly unknown[]): string {
  return Array.isArray(command) ? commandFingerprint(command) : 'a command';
}

function noMethod(store: string, method: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `the client has no ${method} to watch`,
    where: `store ${store}`,
    mend: 'give the native client of the store as it was opened',
  });
}
