import { must } from '../../../core/errors.ts';
import {
  eventBytes,
  isAsExpected,
  isRepeated,
  streamConflict,
  type AppendText,
  type AppendTexts,
  type StoredText,
} from '../../../ports/append.ts';
import type { Appended } from '../../../ports/events.ts';
import type { Connection } from '../connection.ts';
import { eventOfId } from './rows.ts';
import { newestPosition } from './schema.ts';

interface Head {
  version: number;
  atMs: number;
}

const INSERT = `INSERT INTO _tally_events (position, stream, version, ends, bytes, id, type, schema_version, at_ms,
  correlation_id, causation_id, tags, data, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/**
 * Appends inside one transaction, which its owner begins and ends. It decides about an append before it writes any of
 * it: what is refused leaves nothing, and disturbs no other.
 */
export class EventWriter {
  readonly #connection: Connection;
  readonly #nowMs: number;
  readonly #heads = new Map<string, Head>();
  #newest: number | undefined;

  constructor(connection: Connection, nowMs: number) {
    this.#connection = connection;
    this.#nowMs = nowMs;
  }

  /** Throws STREAM_CONFLICT or EVENT_ID_REUSED, and has then written nothing. */
  append({ appends, givenIds }: AppendTexts): readonly Appended[] {
    const { file } = this.#connection;
    const known = this.#known(givenIds);
    if (isRepeated(file, appends, known)) return appends.map((append) => repeated(append, known));
    for (const append of appends) {
      const { version } = this.#head(append.stream);
      if (!isAsExpected(append.expected, version)) throw streamConflict(file, append, version);
    }
    const last = appends.at(-1);
    return appends.map((append) => this.#insert(append, append === last));
  }

  #insert({ stream, events }: AppendText, isLast: boolean): Appended {
    const head = this.#head(stream);
    const firstVersion = head.version + 1;
    const statement = this.#connection.prepare(INSERT);
    head.atMs = Math.max(head.atMs, this.#nowMs);
    for (const [index, event] of events.entries()) {
      head.version += 1;
      statement.run(
        this.#next(),
        stream,
        head.version,
        isLast && index === events.length - 1 ? 1 : 0,
        eventBytes(event),
        event.id,
        event.type,
        event.schemaVersion,
        head.atMs,
        event.correlationId,
        event.causationId,
        event.tags.length === 0 ? null : JSON.stringify(event.tags),
        event.data,
        event.metadata,
      );
    }
    const ids = events.map(({ id }) => id);
    const position = must(this.#newest, 'the newest position');
    const { version } = head;
    return { stream, firstVersion, version, ids, repeated: false, position, offset: position };
  }

  #next(): number {
    this.#newest = (this.#newest ?? newestPosition(this.#connection)) + 1;
    return this.#newest;
  }

  #head(stream: string): Head {
    const seen = this.#heads.get(stream);
    if (seen !== undefined) return seen;
    const row = this.#connection
      .prepareArrays(
        'SELECT version, at_ms FROM _tally_events WHERE stream = ? ORDER BY version DESC LIMIT 1',
      )
      .get(stream) as unknown as readonly [number, number] | undefined;
    const head = { version: row?.[0] ?? 0, atMs: row?.[1] ?? 0 };
    this.#heads.set(stream, head);
    return head;
  }

  #known(ids: readonly string[]): ReadonlyMap<string, StoredText> {
    const known = new Map<string, StoredText>();
    for (const id of ids) {
      const event = eventOfId(this.#connection, id);
      if (event !== undefined) known.set(id, event);
    }
    return known;
  }
}

function repeated(
  { stream, events }: AppendText,
  known: ReadonlyMap<string, StoredText>,
): Appended {
  const ids = events.map(({ id }) => id);
  const first = must(known.get(ids[0] ?? ''), 'the first event');
  const { version, position } = must(known.get(ids.at(-1) ?? ''), 'the last event');
  const place = { version, position, offset: position };
  return { stream, firstVersion: first.version, ...place, ids, repeated: true };
}
