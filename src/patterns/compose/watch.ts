import { TallyError } from '../../core/errors.ts';
import { currentAttempt } from './call.ts';
import { commandFingerprint, sqlFingerprint } from './fingerprint.ts';
import { currentQueryLog, type LogEntry } from './query-log.ts';

/** Methods of a driver's client that make a query, and what the query is called. */
type Methods = Readonly<Record<string, (args: readonly unknown[]) => string>>;

const bySystem: ReadonlyMap<string, Methods> = new Map([
  ['duckdb', { run: sqlOf, runAndReadAll: sqlOf, stream: sqlOf }],
]);

/** What runs a prepared statement of node:sqlite. */
const STATEMENT_METHODS = ['all', 'get', 'run', 'iterate'] as const;
const watched = new WeakSet<object>();

/**
 * Lets the logs of requests see the queries that a store's native client makes, by wrapping the methods of this
 * one object: `query` of a pg pool or client and of the clients that a pool hands out by a promise; all commands of
 * a Redis client, a MULTI being one; `prepare` and `exec` of node:sqlite; `run`, `runAndReadAll` and `stream` of
 * DuckDB. Outside of a logged request a call costs one look more. The same client is returned; it is wrapped once.
 * Throws CAPABILITY_MISSING for other systems and for a cluster of Redis: give their calls a guard.
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
  else if (system === 'postgres') watchPostgres(client as Record<string, unknown>, name);
  else if (system === 'redis') watchRedis(client as Record<string, unknown>, name);
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

/**
 * A pool, or one client. What a pool hands out is watched until it is given back, and not for good: the pool's own
 * `query` takes the same clients, and would be seen twice.
 */
function watchPostgres(client: Record<string, unknown>, store: string): void {
  wrap(client, 'query', store, sqlOf);
  const connect = client['connect'];
  if (typeof connect !== 'function') return;
  client['connect'] = (...args: unknown[]): unknown => {
    const connected = connect.apply(client, args) as unknown;
    // With a callback it is the pool's `query` that asks.
    if (args.length > 0 || !(connected instanceof Promise)) return connected;
    return connected.then((lent: unknown) => {
      if (isLent(lent)) watchLent(lent, store);
      return lent;
    });
  };
}

interface LentClient extends Record<string, unknown> {
  release: (...args: unknown[]) => unknown;
}

function isLent(value: unknown): value is LentClient {
  return typeof (value as { readonly release?: unknown } | undefined)?.release === 'function';
}

function watchLent(lent: LentClient, store: string): void {
  const { release } = lent;
  wrap(lent, 'query', store, sqlOf);
  lent.release = (...args) => {
    delete lent['query'];
    return release.apply(lent, args);
  };
}

function watchRedis(client: Record<string, unknown>, store: string): void {
  if ('slots' in client)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'what a client of a cluster asks cannot be seen: it asks through clients of its nodes',
      where: `store ${store}`,
      mend: 'call it through guard(…).run with a name',
    });
  // What `createClient` gives, and a client with options, inherit from the one that their commands go through.
  const base = (client['_self'] ?? client) as Record<string, unknown>;
  wrap(base, 'sendCommand', store, commandOf);
  const multi = base['multi'];
  if (typeof multi !== 'function') return;
  base['multi'] = function (this: unknown, ...args: unknown[]): unknown {
    const chain = multi.apply(this, args) as Record<string, unknown>;
    wrap(chain, 'execAsPipeline', store, () => 'a pipeline');
    const pipeline = chain['execAsPipeline'];
    wrap(chain, 'exec', store, () => 'MULTI');
    const exec = chain['exec'] as (...given: unknown[]) => unknown;
    chain['exec'] = (...given: unknown[]): unknown =>
      // It would call the other, and be seen twice.
      given[0] === true && typeof pipeline === 'function'
        ? pipeline.call(chain)
        : exec.apply(chain, given);
    return chain;
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
