import type pg from 'pg';
import { TallyError } from '../../../core/errors.ts';
import { checkDuration, checkNumber, checkOptions } from '../../../core/options.ts';
import type { Diagnose } from '../../../ports/diagnose.ts';
import type { KeyValue } from '../../../ports/key-value.ts';
import type { Scan } from '../../../ports/scan.ts';
import type { Sink } from '../../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../../ports/store.ts';
import type { Vitals } from '../../../ports/vitals.ts';
import { openDatabase, type Database } from '../database.ts';
import { openDiagnose } from '../diagnose.ts';
import { openKeyValue } from '../key-value/index.ts';
import { checkConnection, connectionOptionNames, type ConnectionOptions } from '../options.ts';
import type { PostgresQuery } from '../query/query.ts';
import {
  checkTargets,
  openTargetPorts,
  targetOptionNames,
  type TargetOptions,
  type TargetPorts,
} from '../sink/attach.ts';
import { readVitals } from '../vitals.ts';
import { openOutboxSource, OUTBOX_POLL_MS, type OutboxSource } from './source.ts';
import { readOutbox } from './state.ts';
import { outboxName } from './table.ts';

const KEEP_DEFAULT = '7d';

/** Where the server is, which of its tables is the outbox, and what flows write into it. */
export interface PostgresOutboxOptions extends ConnectionOptions, TargetOptions {
  /** Reads the outbox by its own sequence, without logical replication. */
  readonly capture: 'outbox';
  /** The table, as `outboxSql` makes it. Default `outbox`. */
  readonly outbox?: string;
  /** How long messages stay in it after they were captured: milliseconds, or text. Default `'7d'`. */
  readonly keep?: number | string;
  /** How often a waiting stream looks for messages of other processes. Default 50 ms. */
  readonly pollMs?: number;
}

/** An open PostgreSQL database whose outbox is read by its own sequence. */
export interface PostgresOutboxStore extends Store<pg.Pool> {
  readonly system: 'postgres';
  readonly source: OutboxSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  /** Small queries over targets: by key, full text, along edges. */
  readonly query: PostgresQuery;
  readonly diagnose: Diagnose;
}

const optionNames: readonly string[] = [
  ...connectionOptionNames,
  ...targetOptionNames,
  'capture',
  'outbox',
  'keep',
  'pollMs',
];

/** `postgres({ capture: 'outbox', … })`. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function outboxStore(options: PostgresOutboxOptions): StoreDefinition<PostgresOutboxStore> {
  checkOptions(options, optionNames, 'postgres');
  checkConnection(options, 'postgres');
  if (options.capture !== 'outbox')
    throw new TallyError('CONFIG_INVALID', {
      what: `'${String(options.capture)}' is not a way to capture`,
      where: 'postgres.capture',
      mend: "write 'outbox' or 'events', or leave it out for logical replication",
    });
  const { outbox = 'outbox', keep = KEEP_DEFAULT, pollMs = OUTBOX_POLL_MS } = options;
  outboxName(outbox);
  const keepMs = checkDuration(keep, 'postgres.keep');
  checkNumber(pollMs, 'postgres.pollMs', { min: 1, max: 60_000 });
  const catalogue = checkTargets(options, 'postgres');
  return {
    system: 'postgres',
    open: async (context) => {
      const database = await openDatabase(context, options);
      const source = openOutboxSource({ database, table: outbox, keepMs, pollMs });
      return new OpenOutboxStore(context, database, {
        outbox,
        source,
        ports: openTargetPorts(database, catalogue),
      });
    },
  };
}

class OpenOutboxStore implements PostgresOutboxStore {
  readonly name: string;
  readonly system = 'postgres';
  readonly client: pg.Pool;
  readonly source: OutboxSource;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  readonly query: PostgresQuery;
  readonly diagnose: Diagnose;
  readonly #database: Database;
  readonly #outbox: string;
  readonly #ports: TargetPorts;

  constructor(
    context: StoreContext,
    database: Database,
    parts: {
      readonly outbox: string;
      readonly source: OutboxSource;
      readonly ports: TargetPorts;
    },
  ) {
    const { outbox, source, ports } = parts;
    this.name = context.name;
    this.client = database.pool;
    this.#database = database;
    this.#outbox = outbox;
    this.source = source;
    this.#ports = ports;
    this.sink = ports.sink;
    this.scan = ports.scan;
    this.query = ports.query;
    this.keyValue = openKeyValue(database);
    this.diagnose = openDiagnose(database, { slot: '', publication: '', outbox });
  }

  async vitals(): Promise<Vitals> {
    const found = await readVitals(this.#database);
    const state = await readOutbox(this.#database, this.#outbox);
    if (state === undefined) return found;
    const { newest, acknowledged } = state;
    return {
      ...found,
      measures: [
        ...found.measures,
        {
          name: 'outbox_newest',
          value: newest,
          unit: 'position',
          about: 'The newest message that has its number.',
        },
        {
          name: 'outbox_waiting',
          value: newest - acknowledged,
          unit: 'rows',
          about: 'Messages that are not known to be durable in the log.',
        },
      ],
    };
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
