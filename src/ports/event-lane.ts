import { TallyError } from '../core/errors.ts';
import type { Key, Row } from '../core/row.ts';
import { eventColumns, eventRow, EVENTS_TABLE } from './append.ts';
import { EventEntries, type OrderedEvent } from './event-entries.ts';
import type {
  Committed,
  SnapshotChunk,
  SnapshotOptions,
  Source,
  SourceCursor,
  SourceEntry,
  SourceSupports,
  StreamOptions,
  TableShape,
} from './source.ts';

const supports: SourceSupports = {
  // There are only events, which are appended once: nothing has an image before.
  beforeImages: true,
  // Those of other processes; other tables are not looked at.
  foreignWrites: true,
  transactionBoundaries: 'marked',
  exactSnapshot: true,
};

/** What the lane of an event store is made of. */
export interface EventLaneParts<Tx> {
  /** The store, for messages. */
  readonly where: string;
  /** Aborts when the store closes. */
  readonly closed: AbortSignal;
  /** Resolves when what the store keeps is there. */
  ready(): Promise<void>;
  history(): Promise<string>;
  /** Whether the present history may be one that goes on from another, if it has the event of the cursor. */
  mayContinue(before: string, now: string): boolean;
  head(): Promise<number>;
  /** The newest position, each time that it is beyond `after` and the last one, until the signal aborts. */
  heads(after: number, signal: AbortSignal): AsyncIterable<number>;
  /** Events after a position, up to another, in batches within bounds. */
  ordered(
    after: number,
    upTo: number,
    bounds: { readonly rowsMax: number; readonly bytesMax: number },
  ): AsyncIterable<readonly OrderedEvent[]>;
  /** Registers a worker, and notes how far the log holds everything; never back. Throws FENCED_OUT. */
  note(workerEpoch: number, acknowledged?: number): Promise<void>;
  /** How far the log holds everything. */
  acknowledged(): Promise<number>;
  write<Result>(work: (tx: Tx) => Result | Promise<Result>): Promise<Committed<Result>>;
}

/**
 * The order of all events as a lane: its offsets are their positions. Events are never removed, so that it can be read
 * from anywhere at any time, and a snapshot needs no transaction.
 */
export function openEventLane<Tx>(parts: EventLaneParts<Tx>): Source<Tx> {
  return new EventLane(parts);
}

class EventLane<Tx> implements Source<Tx> {
  readonly supports: SourceSupports = supports;
  readonly #parts: EventLaneParts<Tx>;
  #workerEpoch = 0;

  constructor(parts: EventLaneParts<Tx>) {
    this.#parts = parts;
  }

  async prepare(tables: readonly string[]): Promise<readonly TableShape[]> {
    const other = tables.find((name) => name !== EVENTS_TABLE);
    if (other !== undefined)
      throw new TallyError('TABLE_UNSUPPORTED', {
        what: `table '${other}' cannot be captured: this store reads its events only, as '${EVENTS_TABLE}'`,
        where: this.#parts.where,
        mend: "declare a second store on the same database for its tables, without capture: 'events'",
        details: { table: other },
      });
    await this.#parts.ready();
    return tables.map((name) => ({ name, key: ['position'], columns: eventColumns }));
  }

  async history(): Promise<string> {
    await this.#parts.ready();
    return this.#parts.history();
  }

  /** Positions are given out in one order: a store that has the event of the cursor has all before it. */
  async continues(before: string, cursor: SourceCursor): Promise<number | undefined> {
    if (!this.#parts.mayContinue(before, await this.history())) return undefined;
    return (await this.#idAt(cursor.offset)) === cursor.token ? cursor.offset : undefined;
  }

  head(): Promise<number> {
    return this.#parts.head();
  }

  async claim(workerEpoch: number): Promise<void> {
    await this.#parts.ready();
    await this.#parts.note(workerEpoch);
    this.#workerEpoch = workerEpoch;
  }

  async *stream(options: StreamOptions): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { after, rowsMax, bytesMax } = options;
    const { closed } = this.#parts;
    const signal = AbortSignal.any([options.signal, closed]);
    if (signal.aborted) return;
    await this.#parts.ready();
    await this.#parts.note(this.#workerEpoch);
    if (after !== undefined) await this.#prove(after);
    const entries = new EventEntries();
    let position = after?.offset ?? 0;
    for await (const upTo of this.#parts.heads(position, signal)) {
      for await (const events of this.#parts.ordered(position, upTo, { rowsMax, bytesMax })) {
        if (signal.aborted) return;
        yield entries.take(events);
      }
      position = upTo;
    }
  }

  async acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void> {
    await this.#parts.ready();
    await this.#parts.note(workerEpoch, cursor.offset);
  }

  async *snapshot(options: SnapshotOptions): AsyncGenerator<SnapshotChunk, void, undefined> {
    await this.prepare(options.tables);
    const { resume, rowsMax, bytesMax } = options;
    const signal = AbortSignal.any([options.signal, this.#parts.closed]);
    const from = resume?.[EVENTS_TABLE];
    if (signal.aborted || from === 'done' || options.tables.length === 0) return;
    const at = await this.head();
    const after = from === undefined ? 0 : Number(from[0]);
    const chunk = { table: EVENTS_TABLE, at, inOrder: true as const };
    let read = after;
    for await (const events of this.#parts.ordered(after, at, { rowsMax, bytesMax })) {
      if (signal.aborted) return;
      read = events.at(-1)?.text.position ?? read;
      const rows = events.map(({ text }) => ({ key: [text.position], row: eventRow(text) }));
      yield { ...chunk, rows, tableDone: read === at };
    }
    if (at <= after) yield { ...chunk, rows: [], tableDone: true };
  }

  async lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }> {
    await this.prepare([table]);
    const at = await this.head();
    const rows: (Row | null)[] = [];
    for (const [key] of keys) {
      const event = await this.#eventAt(Number(key));
      rows.push(event === undefined ? null : eventRow(event.text));
    }
    return { at, rows };
  }

  async write<Result>(work: (tx: Tx) => Result | Promise<Result>): Promise<Committed<Result>> {
    await this.#parts.ready();
    return this.#parts.write(work);
  }

  async retained(): Promise<{ rows: number; bytes: number }> {
    const acknowledged = await this.#parts.acknowledged();
    // Events are kept for their own sake: a capture that is away makes nothing grow.
    return { rows: Math.max(0, (await this.head()) - acknowledged), bytes: 0 };
  }

  async #eventAt(position: number): Promise<OrderedEvent | undefined> {
    if (!Number.isSafeInteger(position) || position < 1) return undefined;
    const bounds = { rowsMax: 1, bytesMax: 1 };
    for await (const [event] of this.#parts.ordered(position - 1, position, bounds)) return event;
    return undefined;
  }

  async #idAt(position: number): Promise<string | undefined> {
    return (await this.#eventAt(position))?.text.id;
  }

  /** Throws HISTORY_LOST if what follows the cursor cannot be what followed it when it was captured. */
  async #prove({ offset, token }: SourceCursor): Promise<void> {
    const id = await this.#idAt(offset);
    if (id === token) return;
    throw new TallyError('HISTORY_LOST', {
      what: `event ${offset} is ${id === undefined ? 'not there any more' : 'another one than was captured'}: the database went back`,
      where: this.#parts.where,
      mend: 'after a restore take a new snapshot: tally resnapshot',
      details: { offset },
    });
  }
}
