import type { DatabaseSync } from 'node:sqlite';
import { checkDuration, checkObject, checkOptions } from '../../core/options.ts';
import { EFFECT_RETENTION_MS } from '../../ports/effects.ts';
import type { Caches } from '../../ports/cache.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import { openConnection, type Connection, type Synchronous } from './connection.ts';
import { eventsStore, type SqliteEventsOptions, type SqliteEventsStore } from './events/store.ts';
import { checkFile, fileOptionNames, type FileOptions } from './options.ts';
import { SqliteCaches } from './cache/caches.ts';
import { openEffects, type SqliteEffects } from './effects/effects.ts';
import type { SqliteQuery } from './query/query.ts';
import {
  checkTargets,
  openTargetPorts,
  targetOptionNames,
  type TargetOptions,
  type TargetPorts,
} from './sink/attach.ts';
import { openSource, type SqliteSource } from './source/source.ts';
import { readVitals } from './vitals.ts';

/** Where the database is, how durable its commits are, and what flows write into it. */
export interface SqliteOptions extends FileOptions, TargetOptions {
  /** How long markers of effects are kept after the start of their saga. Default 30 days. */
  readonly effectRetention?: number | string;
}

/** An open SQLite database: the driver's own object, and the ports that coordinate it. */
export interface SqliteStore extends Store<DatabaseSync> {
  readonly system: 'sqlite';
  readonly source: SqliteSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  /** For all processes that open the file. */
  readonly caches: Caches;
  readonly scan: Scan;
  /** Effects of sagas' steps, whose marker is in the transaction of what they write. */
  readonly effects: SqliteEffects;
  /** Small queries over targets: by key, full text, along edges. */
  readonly query: SqliteQuery;
}

/**
 * Declares a store in an SQLite file (node:sqlite, nothing to install), in WAL mode with foreign
 * keys on. `client` is the DatabaseSync for the application's own queries; transactions whose
 * evidence is wanted go through `source.write`. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION; `open`
 * throws STORE_UNREACHABLE, STORE_BUSY or STORE_CORRUPT. A database in memory is refused: it cannot be
 * read by a second connection, which capture and snapshots need. With `capture: 'events'` it is an event store.
 */
export function sqlite(options: SqliteEventsOptions): StoreDefinition<SqliteEventsStore>;
export function sqlite(options: SqliteOptions): StoreDefinition<SqliteStore>;
export function sqlite(
  options: SqliteOptions | SqliteEventsOptions,
): StoreDefinition<SqliteStore | SqliteEventsStore> {
  checkObject(options, 'sqlite');
  if ('capture' in options) return eventsStore(options);
  checkOptions(options, [...fileOptionNames, 'effectRetention', ...targetOptionNames], 'sqlite');
  const { file, synchronous, busyTimeoutMs, pollMs } = checkFile(options);
  const retentionMs = Math.ceil(
    checkDuration(options.effectRetention ?? EFFECT_RETENTION_MS, 'sqlite.effectRetention', {
      min: 1_000,
    }),
  );
  const catalogue = checkTargets(options, 'sqlite');
  return {
    system: 'sqlite',
    open: async (context) => {
      const connection = openConnection({ file, synchronous, busyTimeoutMs });
      let ports: TargetPorts | undefined;
      try {
        const { clock } = context;
        ports = openTargetPorts({ file, synchronous, busyTimeoutMs, clock, catalogue });
        const caches = new SqliteCaches({ ...context, file, synchronous, busyTimeoutMs });
        return new OpenStore(context, connection, {
          synchronous,
          pollMs,
          ports,
          caches,
          retentionMs,
        });
      } catch (error) {
        ports?.close();
        connection.close();
        throw error;
      }
    },
  };
}

class OpenStore implements SqliteStore {
  readonly name: string;
  readonly system = 'sqlite';
  readonly client: DatabaseSync;
  readonly source: SqliteSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly caches: SqliteCaches;
  readonly scan: Scan;
  readonly effects: SqliteEffects;
  readonly query: SqliteQuery;
  readonly #connection: Connection;
  readonly #ports: TargetPorts;

  constructor(
    context: StoreContext,
    connection: Connection,
    options: {
      readonly synchronous: Synchronous;
      readonly pollMs: number;
      readonly ports: TargetPorts;
      readonly caches: SqliteCaches;
      readonly retentionMs: number;
    },
  ) {
    this.name = context.name;
    this.client = connection.database;
    this.#connection = connection;
    const { clock, random } = context;
    const { ports, caches, retentionMs, ...capture } = options;
    this.source = openSource({ connection, clock, random, ...capture });
    this.effects = openEffects({ connection, source: this.source, clock, retentionMs });
    this.#ports = ports;
    this.sink = ports.sink;
    this.keyValue = ports.keyValue;
    this.caches = caches;
    this.scan = ports.scan;
    this.query = ports.query;
  }

  async vitals(): Promise<Vitals> {
    return readVitals(this.#connection);
  }

  async close(): Promise<void> {
    this.source.close();
    await this.caches.close();
    this.#ports.close();
    // A transaction with awaits in it ends before the connection does.
    await this.#connection.exclusive(() => this.#connection.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
