import type { Row, Value } from '../core/row.ts';

/** An event as the application hands it over. */
export interface NewEvent {
  /**
   * Names the event for good, within the whole store: at most 200 characters. An append that is done again with the
   * ids of the first time answers what that one did. Not given: the store makes a new one.
   */
  readonly id?: string;
  /** What happened, in the past tense: `OrderPlaced`. At most 200 characters. */
  readonly type: string;
  /** The version of the shape of `data`, for upcasting. Default 1. */
  readonly schemaVersion?: number;
  /** What the event says. Any value that has a canonical text (core/codec.ts). */
  readonly data: Value;
  /** What is said about it: who, from where. Default: an empty object. */
  readonly metadata?: Row;
  /** The conversation that it belongs to. */
  readonly correlationId?: string;
  /** The command or event that it follows from. */
  readonly causationId?: string;
  /** Words to find it by across streams. At most 32, of at most 200 characters each. */
  readonly tags?: readonly string[];
}

/** An event as the store keeps it, for ever as it was written. */
export interface StoredEvent {
  readonly stream: string;
  /** Its place in the stream: 1, 2, 3, … without gaps. */
  readonly version: number;
  /**
   * Its place among all events of the store: dense, and in the order in which readers get to see them. An event that
   * is at or below {@link EventStore.head} is there for good; nothing ever appears below it later.
   */
  readonly position: number;
  readonly id: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly data: Value;
  readonly metadata: Row;
  readonly correlationId: string | undefined;
  readonly causationId: string | undefined;
  readonly tags: readonly string[];
  /**
   * When the store took it, in milliseconds since 1970 by the store's own clock. For people, and never an input to
   * order; but within a stream it does not go back, whatever the clock does.
   */
  readonly atMs: number;
}

/**
 * What a stream must be like for an append to happen: its version (0: there is none), no stream (`none`), a stream
 * (`exists`), whatever it is (`any`).
 */
export type ExpectedVersion = number | 'none' | 'exists' | 'any';

/** Events for one stream. */
export interface StreamAppend {
  /** 1 to 500 characters, such as `order-1042`. */
  readonly stream: string;
  /** In their order; at least one. */
  readonly events: readonly NewEvent[];
  /** Default `any`. */
  readonly expected?: ExpectedVersion;
}

/** What became of the events of one stream within a transaction of the caller: they have no position before it commits. */
export interface Placed {
  readonly stream: string;
  /** The version of the first and of the last event of this append. */
  readonly firstVersion: number;
  readonly version: number;
  /** The ids, in the order of the events. */
  readonly ids: readonly string[];
  /** Whether these very events were there already: nothing was written. */
  readonly repeated: boolean;
}

/** What an append left behind. */
export interface Appended extends Placed {
  /** The position of its last event. */
  readonly position: number;
  /** Its place in the store's lane, for `app.evidenceAt(store, offset)`; where events are the whole lane, the position. */
  readonly offset: number;
}

/** A part of a stream. */
export interface StreamRange {
  /** The first version wanted, at the lower end whatever the direction. Default 1. */
  readonly from?: number;
  /** The last version wanted, inclusive. Default: the newest. */
  readonly to?: number;
  /** Default `forward`: from the lower end up. */
  readonly direction?: 'forward' | 'backward';
  /** Events at most. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

/** A part of the order of all events. */
export interface AllRange {
  /** The position after which to begin. Default 0: from the first event. */
  readonly after?: number;
  /** The last position wanted, inclusive. Default: what {@link EventStore.head} says when reading begins. */
  readonly upTo?: number;
  /** Only events of one of these types. */
  readonly types?: readonly string[];
  /** Only events that have one of these tags. */
  readonly tags?: readonly string[];
  /** Events at most. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

/** Which events to be told of, from where, for ever. */
export interface FollowRange {
  /** The position after which to begin. Default 0: everything, and then what comes. */
  readonly after?: number;
  readonly types?: readonly string[];
  readonly tags?: readonly string[];
  /** Ends the iteration. */
  readonly signal: AbortSignal;
}

/** Events in order, and up to where this is everything that was asked for. */
export interface EventPage {
  readonly events: readonly StoredEvent[];
  /** Everything that was asked for, at or before this position, has been handed out: where to go on after. */
  readonly through: number;
}

/** What an event store can and cannot do, as data. */
export interface EventStoreSupports {
  /** An append that was answered survives the loss of power, not only of the process. */
  readonly durable: boolean;
  /** Processes on several machines can append and read. */
  readonly shared: boolean;
  /**
   * How far `appendIn` is offered, by which events commit with rows of the application or not at all. `exclusive`:
   * while such a transaction is open every other append waits for it; `concurrent`: those to its streams alone.
   */
  readonly transactions: 'none' | 'exclusive' | 'concurrent';
  /** The store itself refuses UPDATE, DELETE and TRUNCATE of events, whoever tries it. */
  readonly refusesChange: boolean;
  /** The most that `data` and `metadata` of one event may have as text, together. */
  readonly eventBytesMax: number;
}

/**
 * The append-only truth: events in streams, each with a version in its stream and a position among all. Nothing that
 * was appended is ever changed or removed.
 *
 * `Tx` is what the application's own transaction is: what `source.write` of the same store hands out.
 */
export interface EventStore<Tx = unknown> {
  readonly supports: EventStoreSupports;
  /**
   * Appends events to a stream, all or none of them; resolves when they are durable. Appends of many callers share
   * commits. Throws STREAM_CONFLICT (with `details.actual`, the version of the stream), EVENT_ID_REUSED,
   * ROW_TOO_LARGE, VALUE_UNSUPPORTED, INPUT_INVALID, and what the store throws when it is away. After COMMIT_UNKNOWN
   * the same call with the same ids finds out.
   */
  append(
    stream: string,
    events: readonly NewEvent[],
    options?: { readonly expected?: ExpectedVersion },
  ): Promise<Appended>;
  /**
   * Appends to several streams, each named once, all or nothing, at neighbouring positions in the order given. Throws
   * as {@link EventStore.append}; the first stream that is not as expected is named in the error.
   */
  appendMany(appends: readonly StreamAppend[]): Promise<readonly Appended[]>;
  /**
   * Appends within the application's own transaction: events and rows commit together. Versions are certain at once,
   * positions may be allotted after the commit. Who waits meanwhile, `supports.transactions` says. Throws as
   * {@link EventStore.append}, and CAPABILITY_MISSING where it is `none`. After STREAM_CONFLICT the transaction can go
   * on, without these events.
   */
  appendIn(tx: Tx, appends: readonly StreamAppend[]): Promise<readonly Placed[]>;
  /** The events of a stream in pages bounded in rows and bytes; none if there is no such stream. */
  readStream(stream: string, range?: StreamRange): AsyncIterable<readonly StoredEvent[]>;
  /** Events of all streams in the order of their positions, in pages; ends at `upTo`. */
  readAll(range?: AllRange): AsyncIterable<EventPage>;
  /** {@link EventStore.readAll} that does not end: waits for what comes. An empty page says that a filter has passed on. */
  follow(range: FollowRange): AsyncIterable<EventPage>;
  /** The event of this id, if there is one. */
  find(id: string): Promise<StoredEvent | undefined>;
  /** The version of a stream: how many events it has. 0: there is none. */
  version(stream: string): Promise<number>;
  /** The position of the newest event. What was committed before the call is at or below it. */
  head(): Promise<number>;
  /** Names of streams with a prefix, in byte order, after a name if one is given. */
  streams(options?: {
    readonly prefix?: string;
    readonly after?: string;
    readonly limit?: number;
  }): Promise<readonly string[]>;
}
