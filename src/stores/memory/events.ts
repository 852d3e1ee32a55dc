import { must } from '../../core/errors.ts';
import {
  appendTexts,
  checkStream,
  EVENT_BYTES_MAX,
  eventColumns,
  eventRow,
  EVENTS_TABLE,
  isAsExpected,
  isRepeated,
  storedEvent,
  streamConflict,
  type AppendText,
  type AppendTexts,
  type StoredText,
} from '../../ports/append.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type {
  AllRange,
  Appended,
  EventPage,
  EventStore,
  EventStoreSupports,
  ExpectedVersion,
  FollowRange,
  NewEvent,
  Placed,
  StoredEvent,
  StreamAppend,
  StreamRange,
} from '../../ports/events.ts';
import { addTable } from './client.ts';
import { EventIndex } from './event-index.ts';
import type { MemorySource } from './source.ts';
import type { Connection, MemoryState, SourceState } from './state.ts';
import type { MemoryTransaction } from './transaction.ts';

/** What the memory event store can do. */
export const memoryEventSupports: EventStoreSupports = {
  durable: false,
  shared: false,
  transactions: 'exclusive',
  // Its table is one of a Map: whoever holds the state can do anything.
  refusesChange: false,
  eventBytesMax: EVENT_BYTES_MAX,
};

const PAGE_EVENTS = 1_000;

/** Of all connections to one state. */
const indexes = new WeakMap<SourceState, EventIndex>();

/** Makes the table of events, if it is not there. */
export function addEventTable(state: MemoryState): void {
  if (!state.source.tables.has(EVENTS_TABLE))
    addTable(state, EVENTS_TABLE, { key: ['position'], columns: eventColumns });
}

/** The event store of a memory store: its events are rows of the table `events`, and captured like any others. */
export class MemoryEvents implements EventStore<MemoryTransaction> {
  readonly supports: EventStoreSupports = memoryEventSupports;
  readonly #connection: Connection;
  readonly #source: MemorySource;
  readonly #clock: Clock;
  readonly #random: Random;
  /** What a transaction that is still open has appended. */
  readonly #pending = new WeakMap<MemoryTransaction, StoredText[]>();

  constructor(
    connection: Connection,
    parts: { readonly source: MemorySource; readonly clock: Clock; readonly random: Random },
  ) {
    this.#connection = connection;
    this.#source = parts.source;
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  async append(
    stream: string,
    events: readonly NewEvent[],
    options: { readonly expected?: ExpectedVersion } = {},
  ): Promise<Appended> {
    const [appended] = await this.appendMany([{ stream, events, ...options }]);
    return must(appended, 'the outcome of the append');
  }

  async appendMany(appends: readonly StreamAppend[]): Promise<readonly Appended[]> {
    const texts = this.#texts(appends);
    const { value, offset } = await this.#source.write((tx) => this.#place(tx, texts));
    const { ids } = this.#index();
    return value.map((placed) => ({
      ...placed,
      position: must(ids.get(placed.ids.at(-1) ?? ''), 'the event').position,
      offset,
    }));
  }

  async appendIn(
    tx: MemoryTransaction,
    appends: readonly StreamAppend[],
  ): Promise<readonly Placed[]> {
    return this.#place(tx, this.#texts(appends));
  }

  async *readStream(
    stream: string,
    range: StreamRange = {},
  ): AsyncGenerator<readonly StoredEvent[], void, undefined> {
    checkStream(stream);
    const { from = 1, to = Infinity, direction = 'forward', limit = Infinity, signal } = range;
    const all = await this.#look(({ streams }) => streams.get(stream) ?? []);
    const wanted = all.filter(({ version }) => version >= from && version <= to);
    if (direction === 'backward') wanted.reverse();
    for (let at = 0; at < Math.min(wanted.length, limit); at += PAGE_EVENTS) {
      signal?.throwIfAborted();
      yield wanted.slice(at, Math.min(at + PAGE_EVENTS, limit)).map(storedEvent);
    }
  }

  async *readAll(range: AllRange = {}): AsyncGenerator<EventPage, void, undefined> {
    const { after = 0, limit = Infinity, signal } = range;
    const upTo = range.upTo ?? (await this.head());
    let left = limit;
    for (let at = after; at < upTo && left > 0;) {
      signal?.throwIfAborted();
      const page = await this.#look(({ all }) => pageOf(all, { ...range, after: at, upTo }, left));
      if (page.through === at) return;
      left -= page.events.length;
      at = page.through;
      yield page;
    }
  }

  async *follow(range: FollowRange): AsyncGenerator<EventPage, void, undefined> {
    let { after = 0 } = range;
    while (!range.signal.aborted && this.#connection.open) {
      // The wait starts in the same turn as the look, so that no commit can fall in between.
      const { all } = this.#index();
      if (all.length <= after) {
        await this.#connection.changed(range.signal);
        continue;
      }
      const page = pageOf(all, { ...range, after, upTo: all.length }, Infinity);
      after = page.through;
      yield page;
    }
  }

  async find(id: string): Promise<StoredEvent | undefined> {
    const found = await this.#look(({ ids }) => ids.get(id));
    return found === undefined ? undefined : storedEvent(found);
  }

  async version(stream: string): Promise<number> {
    checkStream(stream);
    return this.#look(({ streams }) => streams.get(stream)?.length ?? 0);
  }

  async head(): Promise<number> {
    return this.#look(({ all }) => all.length);
  }

  async streams(
    options: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly string[]> {
    const { prefix = '', after, limit = Infinity } = options;
    const names = await this.#look(({ streams }) => [...streams.keys()]);
    return names
      .filter((name) => name.startsWith(prefix))
      .toSorted(compareBytes)
      .filter((name) => after === undefined || compareBytes(name, after) > 0)
      .slice(0, limit);
  }

  #texts(appends: readonly StreamAppend[]): AppendTexts {
    return appendTexts(appends, () => this.#random.id());
  }

  /** Checks all of it before it writes any of it, so that a transaction can go on after a conflict. */
  #place(tx: MemoryTransaction, { appends }: AppendTexts): readonly Placed[] {
    const { name } = this.#connection;
    const index = this.#index();
    const pending = this.#pending.get(tx) ?? [];
    this.#pending.set(tx, pending);
    const ids = new Map([...index.ids, ...pending.map((event) => [event.id, event] as const)]);
    if (isRepeated(name, appends, ids)) return appends.map((append) => repeated(append, ids));
    const heads = appends.map(({ stream }) => headOf(index, pending, stream));
    for (const [at, append] of appends.entries()) {
      const version = heads[at]?.version ?? 0;
      if (!isAsExpected(append.expected, version)) throw streamConflict(name, append, version);
    }
    return appends.map(({ stream, events }, at): Placed => {
      const before = heads[at]?.version ?? 0;
      const atMs = Math.max(this.#clock.nowMs(), heads[at]?.atMs ?? 0);
      for (const [ordinal, event] of events.entries()) {
        const position = index.all.length + pending.length + 1;
        const stored = { ...event, stream, version: before + ordinal + 1, position, atMs };
        tx.insert(EVENTS_TABLE, eventRow(stored));
        pending.push(stored);
      }
      return {
        stream,
        firstVersion: before + 1,
        version: before + events.length,
        ids: events.map(({ id }) => id),
        repeated: false,
      };
    });
  }

  #index(): EventIndex {
    const { source } = this.#connection.state;
    const index = indexes.get(source) ?? new EventIndex(source);
    indexes.set(source, index);
    return index.refresh();
  }

  #look<Result>(action: (index: EventIndex) => Result): Promise<Result> {
    const unit = { port: 'source', operation: 'events', size: 0 } as const;
    return this.#connection.unit(unit, () => action(this.#index()));
  }
}

/** What an append that was done before had done. */
function repeated({ stream, events }: AppendText, stored: ReadonlyMap<string, StoredText>): Placed {
  const ids = events.map(({ id }) => id);
  const { version: firstVersion } = must(stored.get(ids[0] ?? ''), 'the event');
  const version = firstVersion + ids.length - 1;
  return { stream, firstVersion, version, ids, repeated: true };
}

function headOf(
  { streams }: EventIndex,
  pending: readonly StoredText[],
  stream: string,
): StoredText | undefined {
  return pending.findLast((event) => event.stream === stream) ?? streams.get(stream)?.at(-1);
}

function pageOf(
  all: readonly StoredText[],
  {
    after,
    upTo,
    types,
    tags,
  }: Pick<AllRange, 'types' | 'tags'> & { readonly after: number; readonly upTo: number },
  limit: number,
): EventPage {
  const events: StoredEvent[] = [];
  const end = Math.min(upTo, after + PAGE_EVENTS, all.length);
  for (let at = after; at < end; at += 1) {
    const event = all[at];
    if (event === undefined) break;
    if (types !== undefined && !types.includes(event.type)) continue;
    if (tags !== undefined && !event.tags.some((tag) => tags.includes(tag))) continue;
    events.push(storedEvent(event));
    if (events.length === limit) return { events, through: event.position };
  }
  return { events, through: Math.max(after, end) };
}

function compareBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
