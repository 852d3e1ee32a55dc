import { isDeepStrictEqual } from 'node:util';
import { decodeRow, decodeValue, encodeValue } from '../core/codec.ts';
import { TallyError, unreachable } from '../core/errors.ts';
import { checkNumber, checkOptions, fieldPath } from '../core/options.ts';
import type { Row } from '../core/row.ts';
import type { ExpectedVersion, NewEvent, StoredEvent, StreamAppend } from './events.ts';

/** The most that one event holds: what is larger belongs into an object store, and its address into the event. */
export const EVENT_BYTES_MAX: number = 16 * 1024 * 1024;
/** The longest name of a stream: it stands in an index, beside every event. */
const STREAM_CHARACTERS_MAX = 500;
/** The longest id, type, tag, correlation or causation. */
const EVENT_NAME_CHARACTERS_MAX = 200;
/** Versions of the shape of an event's data. */
const SCHEMA_VERSION_MAX = 1_000_000;
/** Tags of one event. */
const EVENT_TAGS_MAX = 32;
/** Events of one append: it is one transaction, and is held in memory as a whole. */
const APPEND_EVENTS_MAX = 10_000;
/** Bytes of one append, for the same reason. */
const APPEND_BYTES_MAX = 64 * 1024 * 1024;
/** Streams of one append: each may take a lock in the store. */
const APPEND_STREAMS_MAX = 1_000;

/** An event as it is stored: `data` and `metadata` as canonical text. */
export interface EventText {
  readonly id: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly data: string;
  readonly metadata: string;
  readonly correlationId: string | null;
  readonly causationId: string | null;
  readonly tags: readonly string[];
}

/** An event as it is stored, at its place. */
export interface StoredText extends EventText {
  readonly stream: string;
  readonly version: number;
  readonly position: number;
  readonly atMs: number;
}

/** A checked append, ready to be stored. */
export interface AppendText {
  readonly stream: string;
  readonly expected: ExpectedVersion;
  readonly events: readonly EventText[];
}

/** Checked appends that happen together. */
export interface AppendTexts {
  readonly appends: readonly AppendText[];
  /** The ids that the application gave; those alone can have been there before. */
  readonly givenIds: readonly string[];
  readonly bytes: number;
}

const eventOptions: readonly string[] = [
  'id',
  'type',
  'schemaVersion',
  'data',
  'metadata',
  'correlationId',
  'causationId',
  'tags',
];

/**
 * Checks appends and makes text of their events. Throws INPUT_INVALID, VALUE_UNSUPPORTED, ROW_TOO_LARGE, with the path
 * of the field.
 */
export function appendTexts(appends: readonly StreamAppend[], newId: () => string): AppendTexts {
  const givenIds: string[] = [];
  const streams = new Set<string>();
  let bytes = 0;
  let count = 0;
  if (!Array.isArray(appends) || appends.length === 0)
    throw invalid('append', 'names no stream', 'give at least one stream with its events');
  if (appends.length > APPEND_STREAMS_MAX)
    throw invalid(
      'append',
      `names ${appends.length} streams`,
      `append to at most ${APPEND_STREAMS_MAX} at a time`,
    );
  const texts = appends.map(({ stream, events, expected = 'any' }: StreamAppend): AppendText => {
    checkStream(stream);
    if (streams.has(stream))
      throw invalid(`append to ${stream}`, 'is named twice', 'put its events into one list');
    streams.add(stream);
    checkExpected(expected, stream);
    if (!Array.isArray(events) || events.length === 0)
      throw invalid(`append to ${stream}`, 'has no events', 'give at least one');
    count += events.length;
    if (count > APPEND_EVENTS_MAX)
      throw invalid(
        `append to ${stream}`,
        `has ${count} events`,
        `append at most ${APPEND_EVENTS_MAX} at a time`,
      );
    const encoded = events.map((event: NewEvent, index) => {
      const text = eventText(event, fieldPath(`append to ${stream}, events`, index), newId);
      if (event.id !== undefined) givenIds.push(event.id);
      bytes += eventBytes(text);
      return text;
    });
    return { stream, expected, events: encoded };
  });
  if (bytes > APPEND_BYTES_MAX)
    throw tooLarge('append', bytes, APPEND_BYTES_MAX, 'split what need not happen together');
  if (new Set(givenIds).size !== givenIds.length)
    throw invalid('append', 'holds an id twice', 'give each event an id of its own');
  return { appends: texts, givenIds, bytes };
}

/** Throws INPUT_INVALID unless this can be the name of a stream. */
export function checkStream(stream: unknown): asserts stream is string {
  checkName(stream, 'stream', STREAM_CHARACTERS_MAX);
}

/** Whether a stream of this version is as expected. */
export function isAsExpected(expected: ExpectedVersion, version: number): boolean {
  switch (expected) {
    case 'any':
      return true;
    case 'exists':
      return version > 0;
    case 'none':
      return version === 0;
    default:
      return expected === version;
  }
}

/** The error of a stream that is not as expected. */
export function streamConflict(
  where: string,
  { stream, expected }: Pick<AppendText, 'stream' | 'expected'>,
  actual: number,
): TallyError {
  return new TallyError('STREAM_CONFLICT', {
    what: `stream ${stream} ${actual === 0 ? 'does not exist' : `is at version ${actual}`}, and ${expectation(expected)} was expected`,
    where,
    mend: 'read the stream again and decide anew',
    details: { stream, expected, actual },
  });
}

/**
 * Whether an append was done before: all its events are stored under their ids, as one run in their streams. Throws
 * EVENT_ID_REUSED if an id names another event, or only some of them are there.
 *
 * Metadata, correlation, causation and tags are what is said about an event: a caller that tries again may say it in
 * other words. Type, schema version and data are what the event says.
 */
export function isRepeated(
  where: string,
  appends: readonly Pick<AppendText, 'stream' | 'events'>[],
  stored: ReadonlyMap<string, StoredText>,
): boolean {
  const first = appends
    .flatMap(({ events }) => events.map(({ id }) => stored.get(id)))
    .find((found) => found !== undefined);
  if (first === undefined) return false;
  for (const { stream, events } of appends) {
    const from = stored.get(events[0]?.id ?? '')?.version ?? 0;
    for (const [index, event] of events.entries()) {
      const found = stored.get(event.id);
      if (found === undefined)
        throw reused(where, first, 'without the other events of this append');
      const other = difference(found, event, stream);
      if (other !== undefined) throw reused(where, found, other);
      if (found.version !== from + index)
        throw reused(where, found, `at version ${found.version}, among other events`);
    }
  }
  return true;
}

/** The event of its text. */
export function storedEvent(text: StoredText): StoredEvent {
  const { data, metadata, correlationId, causationId } = text;
  return {
    stream: text.stream,
    version: text.version,
    position: text.position,
    id: text.id,
    type: text.type,
    schemaVersion: text.schemaVersion,
    data: decodeValue(data),
    metadata: metadata === '{}' ? {} : decodeRow(metadata),
    correlationId: correlationId ?? undefined,
    causationId: causationId ?? undefined,
    tags: text.tags,
    atMs: text.atMs,
  };
}

/** The columns that flows get of an event, as the row of the table {@link EVENTS_TABLE}. */
export const eventColumns: readonly string[] = [
  'position',
  'stream',
  'version',
  'id',
  'type',
  'schemaVersion',
  'data',
  'metadata',
  'correlationId',
  'causationId',
  'tags',
  'atMs',
];

/** What flows call the events of a store in `tables`. */
export const EVENTS_TABLE = 'events';

/** The row of an event as canonical text, without decoding what is in it. */
export function eventRowText(text: StoredText): string {
  const { data, metadata, tags } = text;
  return `{"position":${text.position},"stream":${JSON.stringify(text.stream)},"version":${text.version},"id":${JSON.stringify(text.id)},"type":${JSON.stringify(text.type)},"schemaVersion":${text.schemaVersion},"data":${data},"metadata":${metadata},"correlationId":${JSON.stringify(text.correlationId)},"causationId":${JSON.stringify(text.causationId)},"tags":${tags.length === 0 ? '[]' : JSON.stringify(tags)},"atMs":${text.atMs}}`;
}

/** The row of an event, as {@link eventColumns} names what is in it. */
export function eventRow(text: StoredText): Row {
  const { correlationId, causationId, ...event } = storedEvent(text);
  return {
    ...event,
    correlationId: correlationId ?? null,
    causationId: causationId ?? null,
  };
}

/** Bytes of an event, about: what bounds flushes and pages. */
export function eventBytes({ data, metadata }: Pick<EventText, 'data' | 'metadata'>): number {
  return Buffer.byteLength(data) + Buffer.byteLength(metadata);
}

/** Checks what surrounds the data of an event. */
function checkAround(event: NewEvent, path: string): void {
  if (typeof event !== 'object' || event === null)
    throw invalid(path, 'is no event', 'give an object with type and data');
  checkOptions(event, eventOptions, path);
  const { id, type, schemaVersion, correlationId, causationId, tags = [] } = event;
  if (id !== undefined) checkName(id, fieldPath(path, 'id'), EVENT_NAME_CHARACTERS_MAX);
  checkName(type, fieldPath(path, 'type'), EVENT_NAME_CHARACTERS_MAX);
  if (schemaVersion !== undefined)
    checkNumber(schemaVersion, fieldPath(path, 'schemaVersion'), {
      min: 1,
      max: SCHEMA_VERSION_MAX,
      integer: true,
    });
  for (const [name, value] of Object.entries({ correlationId, causationId }))
    if (value !== undefined) checkName(value, fieldPath(path, name), EVENT_NAME_CHARACTERS_MAX);
  if (!Array.isArray(tags) || tags.length > EVENT_TAGS_MAX)
    throw invalid(
      fieldPath(path, 'tags'),
      'cannot be used',
      `give at most ${EVENT_TAGS_MAX} texts`,
    );
  for (const [index, tag] of tags.entries())
    checkName(tag, fieldPath(fieldPath(path, 'tags'), index), EVENT_NAME_CHARACTERS_MAX);
}

function eventText(event: NewEvent, path: string, newId: () => string): EventText {
  checkAround(event, path);
  const {
    id,
    type,
    schemaVersion = 1,
    metadata = {},
    correlationId,
    causationId,
    tags = [],
  } = event;
  const text: EventText = {
    id: id ?? newId(),
    type,
    schemaVersion,
    data: encodeValue(event.data),
    metadata: encodeValue(metadata),
    correlationId: correlationId ?? null,
    causationId: causationId ?? null,
    tags,
  };
  if (!text.metadata.startsWith('{'))
    throw invalid(fieldPath(path, 'metadata'), 'is no object', 'give an object of named values');
  const bytes = eventBytes(text);
  if (bytes > EVENT_BYTES_MAX)
    throw tooLarge(
      path,
      bytes,
      EVENT_BYTES_MAX,
      'keep large content in an object store and its address in the event',
    );
  return text;
}

/** Texts that every store can hold, compare and index: well-formed, without U+0000. */
function checkName(value: unknown, path: string, charactersMax: number): void {
  if (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= charactersMax &&
    value.isWellFormed() &&
    !value.includes('\u0000')
  )
    return;
  throw invalid(
    path,
    'cannot be used',
    `give a well-formed text of 1 to ${charactersMax} characters, without U+0000`,
  );
}

function checkExpected(expected: ExpectedVersion, stream: string): void {
  if (expected === 'any' || expected === 'none' || expected === 'exists') return;
  if (Number.isSafeInteger(expected) && expected >= 0) return;
  throw invalid(
    `append to ${stream}, expected`,
    'cannot be used',
    "give a version (0: there is no stream), 'none', 'exists' or 'any'",
  );
}

function expectation(expected: ExpectedVersion): string {
  switch (expected) {
    case 'any':
      return 'anything';
    case 'none':
      return 'no stream';
    case 'exists':
      return 'a stream';
    default:
      return typeof expected === 'number' ? `version ${expected}` : unreachable(expected);
  }
}

/** How a stored event is another one than was appended under its id; undefined if it is the same. */
function difference(found: StoredText, event: EventText, stream: string): string | undefined {
  if (found.stream !== stream) return `in stream ${found.stream}`;
  if (found.type !== event.type || found.schemaVersion !== event.schemaVersion)
    return `as ${found.type} of schema version ${found.schemaVersion}`;
  return found.data === event.data || isSameValue(found.data, event.data)
    ? undefined
    : 'with other data';
}

function isSameValue(left: string, right: string): boolean {
  return isDeepStrictEqual(decodeValue(left), decodeValue(right));
}

function reused(where: string, { id, stream, version }: StoredText, how: string): TallyError {
  return new TallyError('EVENT_ID_REUSED', {
    what: `an event with the id ${id} is there already, ${how}`,
    where,
    mend: 'give every event an id of its own, and the same one only when the same append is tried again',
    details: { id, stream, version },
  });
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('INPUT_INVALID', { what: `${where} ${what}`, mend });
}

function tooLarge(where: string, bytes: number, bytesMax: number, mend: string): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what: `${bytes} bytes are over the limit of ${bytesMax}`,
    where,
    mend,
    details: { bytes, bytesMax },
  });
}
