import type pg from 'pg';
import { must } from '../../../core/errors.ts';
import { appendTexts, checkStream, EVENT_BYTES_MAX, storedEvent } from '../../../ports/append.ts';
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
import { queryable, type Database } from '../database.ts';
import { Appender } from './appender.ts';
import { placeWaiting } from './place.ts';
import type { EventsPulse } from './pulse.ts';
import { readAll, readStream, streamNames } from './reader.ts';
import { eventsOfIds } from './rows.ts';
import { appendWithin } from './within.ts';

/** What an event store in PostgreSQL can do. */
export const eventSupports: EventStoreSupports = {
  durable: true,
  shared: true,
  transactions: 'concurrent',
  refusesChange: true,
  eventBytesMax: EVENT_BYTES_MAX,
};

/** An event store in PostgreSQL; see `schema.ts` for what it keeps, and `appender.ts` for how commits are shared. */
export class PostgresEvents implements EventStore<pg.ClientBase> {
  readonly supports: EventStoreSupports = eventSupports;
  readonly #database: Database;
  readonly #pulse: EventsPulse;
  readonly #appender: Appender;

  constructor(database: Database, pulse: EventsPulse) {
    this.#database = database;
    this.#pulse = pulse;
    this.#appender = new Appender(database, () => pulse.beat());
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
    const texts = appendTexts(appends, () => this.#database.random.id());
    await this.#pulse.ready();
    return this.#appender.append(texts);
  }

  async appendIn(tx: pg.ClientBase, appends: readonly StreamAppend[]): Promise<readonly Placed[]> {
    const texts = appendTexts(appends, () => this.#database.random.id());
    await this.#pulse.ready();
    return appendWithin(queryable(tx, this.#database.where), this.#database, texts);
  }

  async *readStream(
    stream: string,
    range: StreamRange = {},
  ): AsyncGenerator<readonly StoredEvent[], void, undefined> {
    checkStream(stream);
    await this.#pulse.ready();
    yield* readStream(this.#database, stream, range);
  }

  async *readAll(range: AllRange = {}): AsyncGenerator<EventPage, void, undefined> {
    const head = await this.head();
    yield* readAll(this.#database, { ...range, upTo: Math.min(range.upTo ?? head, head) });
  }

  async *follow(range: FollowRange): AsyncGenerator<EventPage, void, undefined> {
    const { types, tags } = range;
    const signal = AbortSignal.any([range.signal, this.#pulse.closed]);
    let { after = 0 } = range;
    for await (const upTo of this.#pulse.heads(after, signal)) {
      const filter = {
        ...(types === undefined ? {} : { types }),
        ...(tags === undefined ? {} : { tags }),
      };
      for await (const page of readAll(this.#database, { after, upTo, ...filter })) {
        if (signal.aborted) return;
        yield page;
      }
      after = upTo;
    }
  }

  async find(id: string): Promise<StoredEvent | undefined> {
    await this.#pulse.ready();
    const { schema } = this.#database;
    let found = (await eventsOfIds(this.#database, schema, [id])).get(id);
    if (found?.position === 0) {
      await placeWaiting(this.#database, schema);
      found = (await eventsOfIds(this.#database, schema, [id])).get(id);
    }
    return found === undefined ? undefined : storedEvent(found);
  }

  async version(stream: string): Promise<number> {
    checkStream(stream);
    await this.#pulse.ready();
    const [row] = await this.#database.query<{ version: number }>(
      `SELECT version FROM ${this.#database.schema}.events WHERE stream = $1 ORDER BY version DESC LIMIT 1`,
      [stream],
    );
    return row?.version ?? 0;
  }

  head(): Promise<number> {
    return this.#pulse.head();
  }

  async streams(
    options: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly string[]> {
    await this.#pulse.ready();
    return streamNames(this.#database, options);
  }

  /** Lets what waits come to its end. Idempotent. */
  async close(): Promise<void> {
    await this.#appender.close();
  }
}
