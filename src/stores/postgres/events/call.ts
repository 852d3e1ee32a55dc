import { must } from '../../../core/errors.ts';
import { eventBytes, type EventText } from '../../../ports/append.ts';
import type { ExpectedVersion } from '../../../ports/events.ts';
import { int2Array, int4Array, int8Array, textArray } from '../ledger/arrays.ts';
import type { Flush } from './plan.ts';

/** What the functions `events_append_1` and `events_append_in_1` answer. */
export interface CallRow {
  /**
   * `busy`: streams of open transactions; `known`: one of the ids is there; `refused`: a stream is not as expected;
   * `collided`: somebody else's row was in the way. Only `done` wrote anything.
   */
  readonly outcome: 'done' | 'busy' | 'known' | 'refused' | 'collided';
  /** The newest position before it. */
  readonly newest: number | null;
  /** Of each stream before it, as the text of an array. */
  readonly versions: string | null;
  readonly busy: string | null;
}

const PARAMETERS = 18;

/** The statement that calls a function of the event store. */
export function callStatement(
  schema: string,
  name: 'events_append_1' | 'events_append_in_1',
): string {
  const parameters = Array.from({ length: PARAMETERS }, (_, index) => `$${index + 1}`).join(', ');
  return `SELECT outcome, newest, versions::text AS versions, busy::text AS busy FROM ${schema}.${name}(${parameters})`;
}

/** A flush as the parameters of the call. */
export function callValues({ streams, checks, places, ids, requests }: Flush): Buffer[] {
  const columns = new Columns();
  const last = new Set(requests.map(({ texts }) => texts.appends.at(-1)));
  for (const { append, stream, rel } of places) {
    const { events } = append;
    for (const [index, event] of events.entries())
      columns.add(event, {
        stream: append.stream,
        of: stream,
        rel: rel + index + 1,
        ends: last.has(append) && index === events.length - 1,
      });
  }
  return [
    textArray(streams),
    int4Array(checks.map(({ stream }) => stream)),
    int4Array(checks.map(({ rel }) => rel)),
    int8Array(checks.map(({ expected }) => expectedNumber(expected))),
    textArray(ids),
    ...columns.values(),
  ];
}

/** The numbers in the text of an array of the server. */
export function numbersOf(text: string | null): readonly number[] {
  const inner = must(text, 'an array').slice(1, -1);
  return inner === '' ? [] : inner.split(',').map(Number);
}

class Columns {
  readonly #stream: string[] = [];
  readonly #of: number[] = [];
  readonly #rel: number[] = [];
  readonly #ends: number[] = [];
  readonly #bytes: number[] = [];
  readonly #schemaVersion: number[] = [];
  readonly #id: string[] = [];
  readonly #type: string[] = [];
  readonly #correlationId: (string | null)[] = [];
  readonly #causationId: (string | null)[] = [];
  readonly #tags: string[] = [];
  readonly #data: string[] = [];
  readonly #metadata: string[] = [];

  add(
    event: EventText,
    place: {
      readonly stream: string;
      readonly of: number;
      readonly rel: number;
      readonly ends: boolean;
    },
  ): void {
    this.#stream.push(place.stream);
    this.#of.push(place.of);
    this.#rel.push(place.rel);
    this.#ends.push(place.ends ? 1 : 0);
    this.#bytes.push(eventBytes(event));
    this.#schemaVersion.push(event.schemaVersion);
    this.#id.push(event.id);
    this.#type.push(event.type);
    this.#correlationId.push(event.correlationId);
    this.#causationId.push(event.causationId);
    this.#tags.push(arrayText(event.tags));
    this.#data.push(event.data);
    this.#metadata.push(event.metadata);
  }

  values(): Buffer[] {
    return [
      textArray(this.#stream),
      int4Array(this.#of),
      int4Array(this.#rel),
      int2Array(this.#ends),
      int4Array(this.#bytes),
      int4Array(this.#schemaVersion),
      textArray(this.#id),
      textArray(this.#type),
      textArray(this.#correlationId),
      textArray(this.#causationId),
      textArray(this.#tags),
      textArray(this.#data),
      textArray(this.#metadata),
    ];
  }
}

function expectedNumber(expected: ExpectedVersion): number {
  switch (expected) {
    case 'none':
      return 0;
    case 'exists':
      return -2;
    case 'any':
      // Such an append is not checked.
      return -1;
    default:
      return expected;
  }
}

/** A list of texts as the server writes it. */
function arrayText(items: readonly string[]): string {
  if (items.length === 0) return '{}';
  return `{${items.map((item) => `"${item.replaceAll(/["\\]/g, String.raw`\$&`)}"`).join(',')}}`;
}
