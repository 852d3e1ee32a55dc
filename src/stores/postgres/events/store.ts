import type pg from 'pg';
import { checkNumber, checkOneOf, checkOptions } from '../../../core/options.ts';
import type { Diagnose } from '../../../ports/diagnose.ts';
import type { EventStore } from '../../../ports/events.ts';
import type { KeyValue } from '../../../ports/key-value.ts';
import type { Scan } from '../../../ports/scan.ts';
import type { Sink } from '../../../ports/sink.ts';
import type { Source } from '../../../ports/source.ts';
import type { Store, StoreDefinition } from '../../../ports/store.ts';
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
import { PostgresEvents } from './events.ts';
import { EVENTS_POLL_MS, EventsPulse } from './pulse.ts';
import { openEventsSource } from './source.ts';

/** Where the server is that keeps the events, and what flows write into it. */
export interface PostgresEventsOptions extends ConnectionOptions, TargetOptions {
  /** Makes it an event store: its lane is the order of all events, which flows read as the table `events`. */
  readonly capture: 'events';
  /** How often, at least, whoever waits looks for events of other processes; more often while some come. Default 50 ms. */
  readonly pollMs?: number;
}

/** An open event store in PostgreSQL. */
export interface PostgresEventsStore extends Store<pg.Pool> {
  readonly system: 'postgres';
  readonly events: EventStore<pg.ClientBase>;
  readonly source: Source<pg.PoolClient>;
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
  'pollMs',
];

/** `postgres({ capture: 'events', … })`. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function eventsStore(options: PostgresEventsOptions): StoreDefinition<PostgresEventsStore> {
  checkOptions(options, optionNames, 'postgres');
  checkConnection(options, 'postgres');
  checkOneOf(options.capture, 'postgres.capture', ['events']);
  const { pollMs = EVENTS_POLL_MS } = options;
  checkNumber(pollMs, 'postgres.pollMs', { min: 1, max: 60_000 });
  const catalogue = checkTargets(options, 'postgres');
  return {
    system: 'postgres',
    open: async (context) => {
      const database = await openDatabase(context, options);
      return new OpenEventsStore(database, pollMs, openTargetPorts(database, catalogue));
    },
  };
}

class OpenEventsStore implements PostgresEventsStore {
  readonly name: string;
  readonly system = 'postgres';
  readonly client: pg.Pool;
  readonly events: PostgresEvents;
  readonly source: Source<pg.PoolClient>;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  readonly query: PostgresQuery;
  readonly diagnose: Diagnose;
  readonly #database: Database;
  readonly #pulse: EventsPulse;
  readonly #ports: TargetPorts;

  constructor(database: Database, pollMs: number, ports: TargetPorts) {
    this.name = database.name;
    this.client = database.pool;
    this.#database = database;
    this.#pulse = new EventsPulse(database, pollMs);
    this.events = new PostgresEvents(database, this.#pulse);
    this.source = openEventsSource(database, this.#pulse);
    this.#ports = ports;
    this.sink = ports.sink;
    this.scan = ports.scan;
    this.query = ports.query;
    this.keyValue = openKeyValue(database);
    this.diagnose = openDiagnose(database, { slot: '', publication: '', events: true });
  }

  async vitals(): Promise<Vitals> {
    const found = await readVitals(this.#database);
    const { rows } = await this.source.retained();
    return {
      ...found,
      measures: [
        ...found.measures,
        {
          name: 'events_newest',
          value: await this.events.head(),
          unit: 'position',
          about: 'The newest event.',
        },
        {
          name: 'events_waiting',
          value: rows,
          unit: 'rows',
          about: 'Events that are not known to be durable in the log.',
        },
      ],
    };
  }

  async close(): Promise<void> {
    this.#pulse.close();
    await this.events.close();
    await this.#ports.close();
    await this.#database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
