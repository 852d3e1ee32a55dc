import type { DatabaseSync } from 'node:sqlite';
import { checkOneOf, checkOptions } from '../../../core/options.ts';
import type { EventStore } from '../../../ports/events.ts';
import type { KeyValue } from '../../../ports/key-value.ts';
import type { Scan } from '../../../ports/scan.ts';
import type { Sink } from '../../../ports/sink.ts';
import type { Source } from '../../../ports/source.ts';
import type { Store, StoreContext, StoreDefinition } from '../../../ports/store.ts';
import type { Vitals } from '../../../ports/vitals.ts';
import { openConnection } from '../connection.ts';
import { checkFile, fileOptionNames, type FileOptions } from '../options.ts';
import type { SqliteQuery } from '../query/query.ts';
import {
  checkTargets,
  openTargetPorts,
  targetOptionNames,
  type TargetOptions,
  type TargetPorts,
} from '../sink/attach.ts';
import { readVitals } from '../vitals.ts';
import { SqliteEvents } from './events.ts';
import { EventsFile, openEventsSource, type EventsFileParts } from './file.ts';

/** Where the file is that keeps the events, and what flows write into it. */
export interface SqliteEventsOptions extends FileOptions, TargetOptions {
  /** Makes it an event store: its lane is the order of all events, which flows read as the table `events`. */
  readonly capture: 'events';
}

/** An open event store in an SQLite file. */
export interface SqliteEventsStore extends Store<DatabaseSync> {
  readonly system: 'sqlite';
  readonly events: EventStore<DatabaseSync>;
  readonly source: Source<DatabaseSync>;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  /** Small queries over targets: by key, full text, along edges. */
  readonly query: SqliteQuery;
}

/** `sqlite({ capture: 'events', … })`. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function eventsStore(options: SqliteEventsOptions): StoreDefinition<SqliteEventsStore> {
  checkOptions(options, [...fileOptionNames, ...targetOptionNames, 'capture'], 'sqlite');
  checkOneOf(options.capture, 'sqlite.capture', ['events']);
  const { file, synchronous, busyTimeoutMs, pollMs } = checkFile(options);
  const catalogue = checkTargets(options, 'sqlite');
  return {
    system: 'sqlite',
    open: async (context) => {
      const connection = openConnection({ file, synchronous, busyTimeoutMs });
      const { clock, random } = context;
      try {
        const ports = openTargetPorts({ file, synchronous, busyTimeoutMs, clock, catalogue });
        const parts = { connection, synchronous, busyTimeoutMs, clock, random, pollMs };
        return new OpenEventsStore(context, parts, ports);
      } catch (error) {
        connection.close();
        throw error;
      }
    },
  };
}

class OpenEventsStore implements SqliteEventsStore {
  readonly name: string;
  readonly system = 'sqlite';
  readonly client: DatabaseSync;
  readonly events: SqliteEvents;
  readonly source: Source<DatabaseSync>;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  readonly query: SqliteQuery;
  readonly #file: EventsFile;
  readonly #ports: TargetPorts;

  constructor({ name }: StoreContext, parts: EventsFileParts, ports: TargetPorts) {
    this.name = name;
    this.client = parts.connection.database;
    this.#file = new EventsFile(parts);
    this.events = new SqliteEvents(this.#file);
    this.source = openEventsSource(this.#file);
    this.#ports = ports;
    this.sink = ports.sink;
    this.keyValue = ports.keyValue;
    this.scan = ports.scan;
    this.query = ports.query;
  }

  async vitals(): Promise<Vitals> {
    const found = readVitals(this.#file.parts.connection);
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
    const { connection } = this.#file.parts;
    await this.events.close();
    this.#file.close();
    this.#ports.close();
    // A transaction with awaits in it ends before the connection does.
    await connection.exclusive(() => connection.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
