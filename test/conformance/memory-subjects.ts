import type { EventsSubject } from '../../src/conformance/events.ts';
import type { KeyValueSubject } from '../../src/conformance/key-value.ts';
import type { ObjectsSubject } from '../../src/conformance/objects.ts';
import type { KeyedRow, ScanSubject } from '../../src/conformance/scan.ts';
import { sinkTargets, type SinkSubject } from '../../src/conformance/sink.ts';
import {
  sourceTables,
  type SourceConformanceOptions,
  type SourceStep,
  type SourceSubject,
} from '../../src/conformance/source.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { SinkSupports } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  createMemoryState,
  memory,
  type MemoryState,
  type MemoryStore,
  type MemoryTransaction,
} from '../../src/stores/memory/index.ts';
import { memorySinkSupports } from '../../src/stores/memory/sink.ts';
import { memorySourceSupports } from '../../src/stores/memory/source.ts';

const context = { name: 'memory', clock: systemClock, random: systemRandom };

/** A store that can be dropped and opened again on the same state. */
class Restartable {
  readonly state: MemoryState = createMemoryState();
  readonly #options: Parameters<typeof memory>[0];
  readonly #clock: Clock;
  store: MemoryStore;

  private constructor(
    options: Parameters<typeof memory>[0],
    clock: Clock,
    store: MemoryStore,
    state: MemoryState,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.store = store;
    this.state = state;
  }

  static async open(
    options: Parameters<typeof memory>[0] = {},
    clock: Clock = systemClock,
  ): Promise<Restartable> {
    const state = createMemoryState();
    const store = await memory({ ...options, state }).open({ ...context, clock });
    return new Restartable(options, clock, store, state);
  }

  async reopen(): Promise<void> {
    this.store.crash();
    this.store = await memory({ ...this.#options, state: this.state }).open({
      ...context,
      clock: this.#clock,
    });
  }
}

/** The whole memory sink, with a limit that the suite reaches quickly. */
export const wholeSink: SinkSupports = { ...memorySinkSupports, rowBytesMax: 100_000 };

export async function memorySink(supports: SinkSupports): Promise<SinkSubject> {
  const held = await Restartable.open({ sink: supports });
  return {
    get sink() {
      return held.store.sink;
    },
    read: async (target) => held.store.client.rows(target),
    reopen: () => held.reopen(),
    dispose: () => held.store.close(),
  };
}

interface MemorySubject extends SourceSubject {
  readonly state: MemoryState;
}

const tables = Object.fromEntries(
  sourceTables.map(({ name, key, columns }) => [name, { key, columns: Object.keys(columns) }]),
);

function run(tx: MemoryTransaction, step: SourceStep): void {
  if (step.kind === 'insert') tx.insert(step.table, step.row);
  else if (step.kind === 'update') tx.update(step.table, step.key, step.row);
  else tx.delete(step.table, step.key);
}

export async function memorySource(): Promise<MemorySubject> {
  const held = await Restartable.open({ tables });
  return {
    state: held.state,
    get source() {
      return held.store.source;
    },
    run: (tx, step) => run(tx as MemoryTransaction, step),
    reopen: () => held.reopen(),
    dispose: () => held.store.close(),
  };
}

/** All that the source suite needs for the memory source, but its runner. */
export const memorySourceSuite: Omit<SourceConformanceOptions, 'test'> = {
  supports: memorySourceSupports,
  open: memorySource,
  clock: systemClock,
  kinds: ['text', 'whole', 'fraction', 'big', 'bytes', 'boolean', 'list', 'object'],
  foreignWrite: async (subject, steps) => {
    const other = await memory({ state: (subject as MemorySubject).state }).open(context);
    await other.source.write((tx) => {
      for (const step of steps) run(tx, step);
    });
    await other.close();
  },
  createKeylessTable: async (subject, name) => {
    const { state } = subject as MemorySubject;
    const other = await memory({ state, tables: { [name]: { key: [] } } }).open(context);
    await other.close();
  },
};

export async function memoryKeyValue(): Promise<KeyValueSubject> {
  let nowMs = 1_700_000_000_000;
  const held = await Restartable.open({}, { ...systemClock, nowMs: () => nowMs });
  return {
    get keyValue() {
      return held.store.keyValue;
    },
    advance: async (delayMs) => {
      nowMs += delayMs;
    },
    reopen: () => held.reopen(),
    dispose: () => held.store.close(),
  };
}

export async function memoryEvents(): Promise<EventsSubject> {
  let turnedMs = 0;
  const clock: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + turnedMs };
  const held = await Restartable.open({ capture: 'events' }, clock);
  const { state } = held;
  return {
    get events() {
      return held.store.events;
    },
    write: async (work) => (await held.store.source.write(work)).value,
    another: async () =>
      (await memory({ state, capture: 'events' }).open({ ...context, clock })).events,
    tamper: async () => {
      state.source.tables.get('events')?.rows.clear();
    },
    advance: (byMs) => {
      turnedMs += byMs;
    },
    reopen: () => held.reopen(),
    dispose: () => held.store.close(),
  };
}

export async function memoryObjects(): Promise<ObjectsSubject> {
  const held = await Restartable.open();
  return {
    get objects() {
      return held.store.objects;
    },
    reopen: () => held.reopen(),
    close: () => held.store.close(),
    dispose: () => held.store.close(),
  };
}

export async function memoryScan(): Promise<ScanSubject> {
  const { store } = await Restartable.open();
  const session = await store.sink.open({
    flow: 'scan',
    generation: 1,
    targets: sinkTargets.map(({ name, key }) => ({ target: name, key })),
    workerEpoch: 1,
  });
  let offset = 0;
  const apply = async (
    target: string,
    rows: readonly { key: Key; row: Row | null }[],
  ): Promise<void> => {
    offset += 1;
    const place = { epoch: 1, offset };
    const writes = rows.map(({ key, row }, ordinal) => ({
      target,
      key,
      row,
      mode: 'stream' as const,
      ordinal,
      ...place,
    }));
    const last = { ...place, ordinal: rows.length };
    await session.apply({
      writes,
      state: [],
      checkpoint: { log: offset, last, through: last, backfill: undefined },
    });
  };
  return {
    scan: store.scan,
    put: (target, rows: readonly KeyedRow[]) => apply(target, rows),
    remove: (target, keys) =>
      apply(
        target,
        keys.map((key) => ({ key, row: null })),
      ),
    dispose: () => store.close(),
  };
}
