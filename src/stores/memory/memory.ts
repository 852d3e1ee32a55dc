import { checkOneOf, checkOptions } from '../../core/options.ts';
import type { SinkSupports } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import { MemoryCaches } from './cache.ts';
import { addTable, memoryClient, type MemoryClient, type MemoryTable } from './client.ts';
import { addEventTable, MemoryEvents } from './events.ts';
import { MemoryKeyValue } from './key-value.ts';
import { MemoryObjects } from './objects.ts';
import { MemoryScan } from './scan.ts';
import { MemorySink, memorySinkSupports } from './sink.ts';
import { MemorySource } from './source.ts';
import { Connection, createMemoryState, type MemoryState } from './state.ts';

/** How a memory store is made. */
export interface MemoryOptions {
  /** What outlives the opened store; not given: an empty one, which ends with the definition. */
  readonly state?: MemoryState;
  /** Tables that are there from the start. */
  readonly tables?: Readonly<Record<string, MemoryTable>>;
  /** What the sink can do, to have less than everything: a fenced one, one without fold state. */
  readonly sink?: Partial<SinkSupports>;
  /** Makes it an event store too: `events` appends, and flows read the table `events`. */
  readonly capture?: 'events';
}

/** An open memory store: every port, and a way to die. */
export interface MemoryStore extends Store<MemoryClient> {
  readonly system: 'memory';
  readonly source: MemorySource;
  readonly sink: MemorySink;
  readonly keyValue: MemoryKeyValue;
  readonly caches: MemoryCaches;
  /** Of use with `capture: 'events'`. */
  readonly events: MemoryEvents;
  readonly objects: MemoryObjects;
  readonly scan: MemoryScan;
  /** Ends it at once, as a killed process does: what is under way never reaches the state. */
  crash(): void;
}

/**
 * A store that keeps everything in this process, for tests and the simulator. It conforms like any
 * other and loses everything when its state does: opening two stores on one `state` is how a restart
 * is played. Throws CONFIG_UNKNOWN_OPTION.
 */
export function memory(options: MemoryOptions = {}): StoreDefinition<MemoryStore> {
  checkOptions(options, ['state', 'tables', 'sink', 'capture'], 'memory');
  const state = options.state ?? createMemoryState();
  return {
    system: 'memory',
    open: async (context) => {
      await Promise.resolve();
      for (const [name, table] of Object.entries(options.tables ?? {}))
        if (!state.source.tables.has(name)) addTable(state, name, table);
      if (options.capture !== undefined) {
        checkOneOf(options.capture, 'memory.capture', ['events']);
        addEventTable(state);
      }
      state.source.history ||= context.random.id();
      return openedMemory(new Connection(state, context.name), context, {
        ...memorySinkSupports,
        ...options.sink,
      });
    },
  };
}

function openedMemory(
  connection: Connection,
  { name, clock, random }: StoreContext,
  sinkSupports: SinkSupports,
): MemoryStore {
  const { state } = connection;
  const source = new MemorySource(connection, clock);
  const close = async (): Promise<void> => {
    connection.drop();
    await Promise.resolve();
  };
  return {
    name,
    system: 'memory',
    client: memoryClient(connection),
    source,
    events: new MemoryEvents(connection, { source, clock, random }),
    sink: new MemorySink(connection, sinkSupports),
    keyValue: new MemoryKeyValue(connection, clock),
    caches: new MemoryCaches(connection, clock, random),
    objects: new MemoryObjects(connection),
    scan: new MemoryScan(connection),
    vitals: async () => {
      await Promise.resolve();
      connection.check();
      return {
        system: 'memory',
        version: '1',
        measures: [
          { name: 'tables', value: state.source.tables.size, unit: 'count' },
          {
            name: 'transactions_retained',
            value: state.source.transactions.length,
            unit: 'count',
            about: 'Committed and not yet acknowledged.',
          },
          { name: 'head', value: state.source.head, unit: 'position' },
        ],
      };
    },
    crash: () => connection.drop(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
