import type pg from 'pg';
import { TallyError } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import { point } from '../../../observe/point.ts';
import { eventColumns, eventRow, EVENTS_TABLE } from '../../../ports/append.ts';
import { EventEntries } from '../../../ports/event-entries.ts';
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
} from '../../../ports/source.ts';
import type { Database } from '../database.ts';
import { placeAfterCommit } from '../outbox/evidence.ts';
import { readIdentity } from '../source/history.ts';
import { writeMeasured } from '../source/write.ts';
import type { EventsPulse } from './pulse.ts';
import { orderedEvents } from './reader.ts';
import { noteWorker, readEventStore } from './state.ts';

/** What an event store can do as a source. */
const eventSourceSupports: SourceSupports = {
  // There are only events, which are appended once: nothing has an image before.
  beforeImages: true,
  // Those of other processes; other tables are not looked at.
  foreignWrites: true,
  transactionBoundaries: 'marked',
  exactSnapshot: true,
};

/**
 * The order of all events as a lane: its offsets are their positions. Events are never removed, so that it can be read
 * from anywhere at any time, and a snapshot needs no transaction.
 */
export interface EventsSource extends Source<pg.PoolClient> {
  /** See {@link Source.continues}: a promoted standby or a restored dump, as far as it has the events. */
  continues(before: string, cursor: SourceCursor): Promise<number | undefined>;
}

/** The source side of an event store. */
export function openEventsSource(database: Database, pulse: EventsPulse): EventsSource {
  return new OpenEventsSource(database, pulse);
}

class OpenEventsSource implements EventsSource {
  readonly supports: SourceSupports = eventSourceSupports;
  readonly #database: Database;
  readonly #pulse: EventsPulse;
  #workerEpoch = 0;
  /** What a run of the server says that its history is. */
  #seen: { readonly run: string; readonly history: string } | undefined;

  constructor(database: Database, pulse: EventsPulse) {
    this.#database = database;
    this.#pulse = pulse;
  }

  async prepare(tables: readonly string[]): Promise<readonly TableShape[]> {
    const other = tables.find((name) => name !== EVENTS_TABLE);
    if (other !== undefined)
      throw new TallyError('TABLE_UNSUPPORTED', {
        what: `table '${other}' cannot be captured: this store reads its events only, as '${EVENTS_TABLE}'`,
        where: this.#database.where,
        mend: `declare a second store with the same URL for its tables, without capture: 'events'`,
        details: { table: other },
      });
    await this.#pulse.ready();
    return tables.map((name) => ({ name, key: ['position'], columns: eventColumns }));
  }

  async history(): Promise<string> {
    await this.#pulse.ready();
    const { system, timeline } = await readIdentity(this.#database);
    const history = `events/${system}/${timeline}/${(await readEventStore(this.#database)).history}`;
    if (this.#seen?.history !== history) this.#seen = undefined;
    return history;
  }

  /** Positions are given out in one order: a server that has the event of the cursor has all before it. */
  async continues(before: string, cursor: SourceCursor): Promise<number | undefined> {
    const [kind, system, timeline, id] = before.split('/');
    const [, systemNow, timelineNow, idNow] = (await this.history()).split('/');
    if (kind !== 'events' || id !== idNow) return undefined;
    // The same server on an older timeline went back; another server has the tables by a dump or a subscription.
    if (system === systemNow && !(Number(timelineNow) > Number(timeline))) return undefined;
    return (await this.#idAt(cursor.offset)) === cursor.token ? cursor.offset : undefined;
  }

  head(): Promise<number> {
    return this.#pulse.head();
  }

  async claim(workerEpoch: number): Promise<void> {
    await this.#pulse.ready();
    await noteWorker(this.#database, workerEpoch);
    this.#workerEpoch = workerEpoch;
  }

  async *stream(options: StreamOptions): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { after, rowsMax, bytesMax } = options;
    const signal = AbortSignal.any([options.signal, this.#pulse.closed]);
    if (signal.aborted) return;
    await this.#pulse.ready();
    await noteWorker(this.#database, this.#workerEpoch);
    if (after !== undefined) await this.#prove(after);
    const entries = new EventEntries();
    let position = after?.offset ?? 0;
    for await (const upTo of this.#pulse.heads(position, signal)) {
      for await (const events of orderedEvents(this.#database, position, upTo, {
        rowsMax,
        bytesMax,
      })) {
        if (signal.aborted) return;
        yield entries.take(events);
      }
      position = upTo;
    }
  }

  async acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void> {
    await this.#pulse.ready();
    await noteWorker(this.#database, workerEpoch, cursor.offset);
  }

  async *snapshot(options: SnapshotOptions): AsyncGenerator<SnapshotChunk, void, undefined> {
    await this.prepare(options.tables);
    const { resume, rowsMax, bytesMax } = options;
    const signal = AbortSignal.any([options.signal, this.#pulse.closed]);
    const from = resume?.[EVENTS_TABLE];
    if (signal.aborted || from === 'done' || options.tables.length === 0) return;
    const at = await this.head();
    const after = from === undefined ? 0 : Number(from[0]);
    const chunk = { table: EVENTS_TABLE, at, inOrder: true as const };
    let read = after;
    for await (const events of orderedEvents(this.#database, after, at, { rowsMax, bytesMax })) {
      if (signal.aborted) return;
      read = events.at(-1)?.text.position ?? read;
      const rows = events.map(({ text }) => ({ key: [text.position], row: eventRow(text) }));
      yield { ...chunk, rows, tableDone: read === at };
    }
    if (read !== at || at === after) yield { ...chunk, rows: [], tableDone: true };
  }

  async lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }> {
    await this.prepare([table]);
    const at = await this.head();
    const rows: (Row | null)[] = [];
    for (const [key] of keys) {
      const position = Number(key);
      let row: Row | null = null;
      const bounds = { rowsMax: 1, bytesMax: 1 };
      for await (const [event] of orderedEvents(this.#database, position - 1, position, bounds))
        if (event !== undefined) row = eventRow(event.text);
      rows.push(row);
    }
    return { at, rows };
  }

  async write<Result>(
    work: (tx: pg.PoolClient) => Result | Promise<Result>,
  ): Promise<Committed<Result>> {
    await this.#pulse.ready();
    const { value, run } = await writeMeasured(this.#database, work);
    point('events.after-transaction-before-place');
    const offset = await placeAfterCommit(this.#database, () => this.#pulse.head());
    this.#pulse.beat();
    return { value, offset, history: await this.#historyOf(run) };
  }

  async retained(): Promise<{ rows: number; bytes: number }> {
    const { acknowledged } = await readEventStore(this.#database);
    // Events are kept for their own sake: a capture that is away makes nothing grow.
    return { rows: Math.max(0, (await this.head()) - acknowledged), bytes: 0 };
  }

  async #idAt(position: number): Promise<string | undefined> {
    const bounds = { rowsMax: 1, bytesMax: 1 };
    for await (const [event] of orderedEvents(this.#database, position - 1, position, bounds))
      return event?.text.id;
    return undefined;
  }

  /** Throws HISTORY_LOST if what follows the cursor cannot be what followed it when it was captured. */
  async #prove({ offset, token }: SourceCursor): Promise<void> {
    const id = await this.#idAt(offset);
    if (id === token) return;
    throw new TallyError('HISTORY_LOST', {
      what: `event ${offset} is ${id === undefined ? 'not there any more' : 'another one than was captured'}: the database went back`,
      where: this.#database.where,
      mend: 'after a restore take a new snapshot: tally resnapshot',
      details: { offset },
    });
  }

  /**
   * The history of what was committed in a run of the server: one that has failed over or was replaced since gives
   * out positions anew. A history that cannot be told is none, and compares with nothing.
   */
  async #historyOf(run: string | undefined): Promise<string> {
    if (run !== undefined && this.#seen?.run === run) return this.#seen.history;
    try {
      const history = await this.history();
      if (run !== undefined) this.#seen = { run, history };
      return history;
    } catch {
      return 'unknown';
    }
  }
}
