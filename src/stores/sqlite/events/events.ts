import type { DatabaseSync } from 'node:sqlite';
import { must, TallyError } from '../../../core/errors.ts';
import {
  appendTexts,
  checkStream,
  EVENT_BYTES_MAX,
  storedEvent,
  type AppendTexts,
} from '../../../ports/append.ts';
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
} from '../../../ports/events.ts';
import { Appender } from './appender.ts';
import type { EventsFile } from './file.ts';
import { allPage, streamNames, streamPage } from './reader.ts';
import { eventOfId } from './rows.ts';
import { EventWriter } from './writer.ts';

/** What an event store in SQLite can do. */
export const eventSupports: EventStoreSupports = {
  durable: true,
  // Processes of one machine.
  shared: false,
  transactions: 'exclusive',
  refusesChange: true,
  eventBytesMax: EVENT_BYTES_MAX,
};

/** An event store in an SQLite file; see `schema.ts` for what it keeps, and `appender.ts` for how commits are shared. */
export class SqliteEvents implements EventStore<DatabaseSync> {
  readonly supports: EventStoreSupports;
  readonly #file: EventsFile;
  readonly #appender: Appender;

  constructor(file: EventsFile) {
    this.#file = file;
    const { connection, synchronous, busyTimeoutMs, clock } = file.parts;
    this.supports = { ...eventSupports, durable: synchronous === 'FULL' };
    const setup = { file: connection.file, synchronous, busyTimeoutMs };
    this.#appender = new Appender(setup, clock, () => file.wake());
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
    await this.#file.ready();
    return this.#appender.append(texts);
  }

  async appendIn(tx: DatabaseSync, appends: readonly StreamAppend[]): Promise<readonly Placed[]> {
    const texts = this.#texts(appends);
    const { connection, clock } = this.#file.parts;
    if (tx !== connection.database || !tx.isTransaction)
      throw new TallyError('CONFIG_INVALID', {
        what: 'this is not the transaction of a write() of this store',
        where: connection.file,
        mend: 'append with the tx that source.write of this very store hands out, before it ends',
      });
    const appended = connection.guard(() =>
      new EventWriter(connection, clock.nowMs()).append(texts),
    );
    return appended.map(({ stream, firstVersion, version, ids, repeated }) => ({
      stream,
      firstVersion,
      version,
      ids,
      repeated,
    }));
  }

  async *readStream(
    stream: string,
    range: StreamRange = {},
  ): AsyncGenerator<readonly StoredEvent[], void, undefined> {
    checkStream(stream);
    await this.#file.ready();
    const { direction = 'forward', signal } = range;
    let { from = 1, to = Infinity, limit = Infinity } = range;
    for (let page = 0; limit > 0; page += 1) {
      await this.#turn(page, signal);
      const events = streamPage(this.#file.reader(), { stream, from, to, limit, direction });
      const last = events.at(-1);
      if (last === undefined) return;
      limit -= events.length;
      if (direction === 'forward') from = last.version + 1;
      else to = last.version - 1;
      yield events;
      if (from > to) return;
    }
  }

  async *readAll(range: AllRange = {}): AsyncGenerator<EventPage, void, undefined> {
    const head = await this.head();
    // Who asks again and again for what is not there yet would else let nobody else run, not even its writers.
    if ((range.after ?? 0) >= head) await this.#turn(1, range.signal);
    yield* this.#pages({ ...range, upTo: Math.min(range.upTo ?? head, head) });
  }

  async *follow(range: FollowRange): AsyncGenerator<EventPage, void, undefined> {
    const { types, tags } = range;
    const filter = {
      ...(types === undefined ? {} : { types }),
      ...(tags === undefined ? {} : { tags }),
    };
    const signal = AbortSignal.any([range.signal, this.#file.closed]);
    let { after = 0 } = range;
    for await (const upTo of this.#file.heads(after, signal)) {
      for await (const page of this.#pages({ after, upTo, ...filter })) {
        if (signal.aborted) return;
        yield page;
      }
      after = upTo;
    }
  }

  async find(id: string): Promise<StoredEvent | undefined> {
    await this.#file.ready();
    const found = eventOfId(this.#file.reader(), id);
    return found === undefined ? undefined : storedEvent(found);
  }

  async version(stream: string): Promise<number> {
    checkStream(stream);
    await this.#file.ready();
    const row = this.#file
      .reader()
      .prepare('SELECT max(version) AS version FROM _tally_events WHERE stream = ?')
      .get(stream);
    return Number(row?.['version'] ?? 0);
  }

  head(): Promise<number> {
    return this.#file.head();
  }

  async streams(
    options: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly string[]> {
    await this.#file.ready();
    return streamNames(this.#file.reader(), options);
  }

  /** Lets what waits come to its end. Idempotent. */
  async close(): Promise<void> {
    await this.#appender.close();
  }

  async *#pages(
    range: AllRange & { readonly upTo: number },
  ): AsyncGenerator<EventPage, void, undefined> {
    let { after = 0, limit = Infinity } = range;
    for (let page = 0; after < range.upTo && limit > 0; page += 1) {
      await this.#turn(page, range.signal);
      const found = allPage(this.#file.reader(), { ...range, after, limit });
      limit -= found.events.length;
      after = found.through;
      yield found;
    }
  }

  /** Between two pages everybody else has a turn: reading is synchronous. */
  async #turn(page: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (page > 0) await this.#file.parts.clock.sleep(0, signal);
  }

  #texts(appends: readonly StreamAppend[]): AppendTexts {
    return appendTexts(appends, () => this.#file.parts.random.id());
  }
}
