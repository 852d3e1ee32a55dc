import { createHash } from 'node:crypto';
import type pg from 'pg';
import {
  checkDuration,
  checkNumber,
  checkObject,
  checkOptions,
  checkString,
} from '../../core/options.ts';
import type { Diagnose } from '../../ports/diagnose.ts';
import { EFFECT_RETENTION_MS } from '../../ports/effects.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import { openDatabase, type Database } from './database.ts';
import { openDiagnose } from './diagnose.ts';
import {
  checkConnection,
  checkName,
  connectionOptionNames,
  type ConnectionOptions,
} from './options.ts';
import { openEffects, type PostgresEffects } from './effects/effects.ts';
import { openKeyValue } from './key-value/index.ts';
import {
  eventsStore,
  type PostgresEventsOptions,
  type PostgresEventsStore,
} from './events/store.ts';
import {
  outboxStore,
  type PostgresOutboxOptions,
  type PostgresOutboxStore,
} from './outbox/store.ts';
import type { PostgresQuery } from './query/query.ts';
import { openReplica, type OpenReplica } from './replica.ts';
import {
  checkTargets,
  openTargetPorts,
  targetOptionNames,
  type TargetOptions,
  type TargetPorts,
} from './sink/attach.ts';
import type { Catalogue } from './sink/catalogue.ts';
import { openSource, type PostgresSource, type SourceParts } from './source/source.ts';
import { readVitals } from './vitals.ts';

/** Connections that read a snapshot: one reads while rows of the other are applied. */
const READERS = 2;
/** As much log as one segment holds: a slot that lags by less costs nothing. */
const HEARTBEAT_BYTES = 16 * 1024 * 1024;
/** The longest name in the server. */
const NAME_BYTES_MAX = 63;

/** Where the server is, how it is captured, and what flows write into it. */
export interface PostgresOptions extends ConnectionOptions, TargetOptions {
  /**
   * The replication slot of capture, one for each application that captures this database. Names of slots are of the
   * whole server. Default `tally_<database>_<store>`.
   */
  readonly slot?: string;
  /** The publication of capture. Default: the name of the slot. */
  readonly publication?: string;
  /** Connections that read a snapshot side by side. Default 2. */
  readonly readers?: number;
  /** How far the slot may lag, in a server that is busy with other tables, before a message moves it on. Default 16 MiB. */
  readonly heartbeatBytes?: number;
  /** How long markers of effects are kept after the start of their saga. Default 30 days. */
  readonly effectRetention?: number | string;
}

/** A physical standby of another store of the application. */
export interface PostgresReplicaOptions extends ConnectionOptions {
  /** The name of the store that this server is a read replica of. */
  readonly replicaOf: string;
}

/** An open PostgreSQL database: the driver's own pool, and the ports that coordinate it. */
export interface PostgresStore extends Store<pg.Pool> {
  readonly system: 'postgres';
  readonly source: PostgresSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  /** Effects of sagas' steps, whose marker is in the transaction of what they write. */
  readonly effects: PostgresEffects;
  /** Small queries over targets: by key, full text, along edges. */
  readonly query: PostgresQuery;
  readonly diagnose: Diagnose;
}

/** An open read replica. */
export interface PostgresReplicaStore extends Store<pg.Pool> {
  readonly system: 'postgres';
  readonly replica: OpenReplica;
  readonly diagnose: Diagnose;
}

const replicaOptionNames: readonly string[] = [...connectionOptionNames, 'replicaOf'];
const optionNames: readonly string[] = [
  ...connectionOptionNames,
  ...targetOptionNames,
  'slot',
  'publication',
  'readers',
  'heartbeatBytes',
  'effectRetention',
];

/**
 * Declares a store in PostgreSQL 15 to 18, through the driver `pg`, which has to be installed. `client` is that
 * driver's own Pool for the application's queries; transactions whose evidence is wanted go through `source.write`,
 * or give their id to `source.resolve`. Capture needs `wal_level = logical` and the REPLICATION attribute; what stands
 * in the way, `tally doctor` says. With `replicaOf` it is a physical standby of another store: nothing is captured or
 * written there, and reads can wait until it has replayed given evidence. With `capture: 'outbox'` one table of
 * messages is read without logical replication; with `capture: 'events'` it is an event store. Throws CONFIG_INVALID,
 * CONFIG_UNKNOWN_OPTION; `open` throws DRIVER_MISSING, STORE_UNREACHABLE, CONFIG_INVALID, CAPABILITY_MISSING.
 */
export function postgres(options: PostgresReplicaOptions): StoreDefinition<PostgresReplicaStore>;
export function postgres(options: PostgresOutboxOptions): StoreDefinition<PostgresOutboxStore>;
export function postgres(options: PostgresEventsOptions): StoreDefinition<PostgresEventsStore>;
export function postgres(options: PostgresOptions): StoreDefinition<PostgresStore>;
export function postgres(
  options: PostgresOptions | PostgresReplicaOptions | PostgresOutboxOptions | PostgresEventsOptions,
): StoreDefinition<
  PostgresStore | PostgresReplicaStore | PostgresOutboxStore | PostgresEventsStore
> {
  checkObject(options, 'postgres');
  if ('capture' in options)
    return options.capture === 'events' ? eventsStore(options) : outboxStore(options);
  if ('replicaOf' in options) {
    checkOptions(options, replicaOptionNames, 'postgres');
    checkConnection(options, 'postgres');
    checkString(options.replicaOf, 'postgres.replicaOf');
    return {
      system: 'postgres',
      open: async (context) =>
        new OpenReplicaStore(context, await openDatabase(context, options), options.replicaOf),
    };
  }
  checkOptions(options, optionNames, 'postgres');
  checkConnection(options, 'postgres');
  const { readers = READERS, heartbeatBytes = HEARTBEAT_BYTES } = options;
  checkNumber(readers, 'postgres.readers', { min: 1, max: 64, integer: true });
  checkNumber(heartbeatBytes, 'postgres.heartbeatBytes', { min: 65_536, integer: true });
  if (options.slot !== undefined) checkName(options.slot, 'postgres.slot');
  if (options.publication !== undefined)
    checkString(options.publication, 'postgres.publication', { charactersMax: NAME_BYTES_MAX });
  const retentionMs = Math.ceil(
    checkDuration(options.effectRetention ?? EFFECT_RETENTION_MS, 'postgres.effectRetention', {
      min: 1_000,
    }),
  );
  const catalogue = checkTargets(options, 'postgres');
  return {
    system: 'postgres',
    open: async (context) => {
      const database = await openDatabase(context, options);
      const slot = options.slot ?? defaultSlot(database);
      const publication = options.publication ?? slot;
      const capture = { database, slot, publication, readers, heartbeatBytes };
      return new OpenStore(context, capture, { catalogue, retentionMs });
    },
  };
}

class OpenStore implements PostgresStore {
  readonly name: string;
  readonly system = 'postgres';
  readonly client: pg.Pool;
  readonly source: PostgresSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  readonly effects: PostgresEffects;
  readonly query: PostgresQuery;
  readonly diagnose: Diagnose;
  readonly #database: Database;
  readonly #ports: TargetPorts;

  constructor(
    context: StoreContext,
    parts: SourceParts,
    { catalogue, retentionMs }: { readonly catalogue: Catalogue; readonly retentionMs: number },
  ) {
    const { database, slot, publication } = parts;
    this.name = context.name;
    this.client = database.pool;
    this.#database = database;
    this.source = openSource(parts);
    this.effects = openEffects({ database, source: this.source, retentionMs });
    this.#ports = openTargetPorts(database, catalogue);
    this.sink = this.#ports.sink;
    this.scan = this.#ports.scan;
    this.query = this.#ports.query;
    this.keyValue = this.#ports.sweeping(openKeyValue(database));
    this.diagnose = openDiagnose(database, { slot, publication });
  }

  vitals(): Promise<Vitals> {
    return readVitals(this.#database, this.source.slot);
  }

  async close(): Promise<void> {
    this.source.close();
    await this.#ports.close();
    await this.#database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

class OpenReplicaStore implements PostgresReplicaStore {
  readonly name: string;
  readonly system = 'postgres';
  readonly client: pg.Pool;
  readonly replica: OpenReplica;
  readonly diagnose: Diagnose;
  readonly #database: Database;

  constructor(context: StoreContext, database: Database, replicaOf: string) {
    this.name = context.name;
    this.client = database.pool;
    this.#database = database;
    this.replica = openReplica(database, replicaOf);
    this.diagnose = openDiagnose(database, { slot: '', publication: '', replicaOf });
  }

  vitals(): Promise<Vitals> {
    return readVitals(this.#database);
  }

  async close(): Promise<void> {
    await this.replica.close();
    await this.#database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Names of slots are of the whole server: the database is in it, and the store, because each has its own capture. */
function defaultSlot({ config, name }: Database): string {
  const wanted = `tally_${config.database ?? ''}_${name}`;
  const plain = wanted.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_');
  if (plain === wanted && plain.length <= NAME_BYTES_MAX) return plain;
  // What was cut off or replaced still tells two apart.
  const rest = createHash('sha256').update(wanted).digest('hex').slice(0, 8);
  return `${plain.slice(0, NAME_BYTES_MAX - 9)}_${rest}`;
}
