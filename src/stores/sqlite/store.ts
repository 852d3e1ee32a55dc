import type { DatabaseSync } from 'node:sqlite';
import { checkDuration, checkNumber, checkOptions, checkString } from '../../core/options.ts';
import { TallyError } from '../../core/errors.ts';
import { EFFECT_RETENTION_MS } from '../../ports/effects.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import {
  BUSY_TIMEOUT_MS,
  openConnection,
  type Connection,
  type Synchronous,
} from './connection.ts';
import { openEffects, type SqliteEffects } from './effects/effects.ts';
import type { SqliteQuery } from './query/query.ts';
import {
  checkTargets,
  openTargetPorts,
  targetOptionNames,
  type TargetOptions,
  type TargetPorts,
} from './sink/attach.ts';
import { openSource, POLL_MS, type SqliteSource } from './source/source.ts';
import { readVitals } from './vitals.ts';

/** Where the database is, how durable its commits are, and what flows write into it. */
export interface SqliteOptions extends TargetOptions {
  /** The path of the database file; it is created if it does not exist. */
  readonly file: string;
  /** `FULL` (default): a commit survives the loss of power. `NORMAL`: of the process only. */
  readonly synchronous?: Synchronous;
  /** How long a statement waits for another writer, blocking; then it throws STORE_BUSY. Default 5 s. */
  readonly busyTimeoutMs?: number;
  /** How often a waiting stream looks for writes of other programs. Default 50 ms. */
  readonly pollMs?: number;
  /** How long markers of effects are kept after the start of their saga. Default 30 days. */
  readonly effectRetention?: number | string;
}

/** An open SQLite database: the driver's own object, and the ports that coordinate it. */
export interface SqliteStore extends Store<DatabaseSync> {
  readonly system: 'sqlite';
  readonly source: SqliteSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
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
 * read by a second connection, which capture and snapshots need.
 */
export function sqlite(options: SqliteOptions): StoreDefinition<SqliteStore> {
  const known = [
    'file',
    'synchronous',
    'busyTimeoutMs',
    'pollMs',
    'effectRetention',
    ...targetOptionNames,
  ];
  checkOptions(options, known, 'sqlite');
  checkString(options.file, 'sqlite.file');
  if (options.file === ':memory:' || options.file.startsWith('file:')) {
    throw new TallyError('CONFIG_INVALID', {
      what: `'${options.file}' is not the path of a file`,
      where: 'sqlite.file',
      mend: 'give a plain path, in a temporary directory if it need not last',
    });
  }
  const { synchronous = 'FULL', busyTimeoutMs = BUSY_TIMEOUT_MS, pollMs = POLL_MS } = options;
  if (synchronous !== 'FULL' && synchronous !== 'NORMAL') {
    throw new TallyError('CONFIG_INVALID', {
      what: `'${String(synchronous)}' is not a way to synchronise`,
      where: 'sqlite.synchronous',
      mend: "write 'FULL' or 'NORMAL'",
    });
  }
  checkNumber(busyTimeoutMs, 'sqlite.busyTimeoutMs', { min: 0, max: 600_000, integer: true });
  checkNumber(pollMs, 'sqlite.pollMs', { min: 1, max: 60_000 });
  const retentionMs = Math.ceil(
    checkDuration(options.effectRetention ?? EFFECT_RETENTION_MS, 'sqlite.effectRetention', {
      min: 1_000,
    }),
  );
  const catalogue = checkTargets(options, 'sqlite');
  return {
    system: 'sqlite',
    open: async (context) => {
      const { file } = options;
      const connection = openConnection({ file, synchronous, busyTimeoutMs });
      let ports: TargetPorts | undefined;
      try {
        const { clock } = context;
        ports = openTargetPorts({ file, synchronous, busyTimeoutMs, clock, catalogue });
        return new OpenStore(context, connection, { synchronous, pollMs, ports, retentionMs });
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
      readonly retentionMs: number;
    },
  ) {
    this.name = context.name;
    this.client = connection.database;
    this.#connection = connection;
    const { clock, random } = context;
    const { ports, retentionMs, ...capture } = options;
    this.source = openSource({ connection, clock, random, ...capture });
    this.effects = openEffects({ connection, source: this.source, clock, retentionMs });
    this.#ports = ports;
    this.sink = ports.sink;
    this.keyValue = ports.keyValue;
    this.scan = ports.scan;
    this.query = ports.query;
  }

  async vitals(): Promise<Vitals> {
    return readVitals(this.#connection);
  }

  async close(): Promise<void> {
    this.source.close();
    this.#ports.close();
    // A transaction with awaits in it ends before the connection does.
    await this.#connection.exclusive(() => this.#connection.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
