import { must } from '../../../core/errors.ts';
import type { AppendTexts, StoredText } from '../../../ports/append.ts';
import type { Appended } from '../../../ports/events.ts';
import type { Queryable } from '../database.ts';

/** Content over this does not come with its row: pages have many rows, and are held in memory. */
const INLINE_BYTES_MAX = 8 * 1024;

/** A row as {@link eventColumnsSql} selects it, as a list: the cheapest to read many of. */
export type EventCells = readonly [
  stream: string,
  version: number,
  /** Null: committed, and not placed yet. */
  position: number | null,
  ends: boolean | null,
  bytes: number,
  id: string,
  type: string,
  schemaVersion: number,
  /** Null: too large to come with the row. */
  data: string | null,
  metadata: string | null,
  correlationId: string | null,
  causationId: string | null,
  tags: string | null,
  atMs: number,
];

/** A row with its content. */
export type InlineCells = EventCells & { readonly 8: string; readonly 9: string };

/** The columns of an event `e`; `position` and `ends` are its place. */
export function eventColumnsSql(position: string, ends: string): string {
  return `e.stream, e.version, ${position}, ${ends}, e.bytes, e.id, e.type, e.schema_version,
    CASE WHEN e.bytes <= ${INLINE_BYTES_MAX} THEN e.data END, CASE WHEN e.bytes <= ${INLINE_BYTES_MAX} THEN e.metadata END,
    e.correlation_id, e.causation_id, CASE WHEN e.tags <> '{}' THEN to_json(e.tags)::text END,
    floor(extract(epoch FROM e.at) * 1000)::int8`;
}

/** The event of a row, asking for its content if that is large. */
export async function textOf(
  cells: EventCells,
  over: Queryable,
  schema: string,
): Promise<StoredText> {
  if (isInline(cells)) return inlineText(cells);
  const [stream, version] = cells;
  const [content] = await over.query<{ data: string; metadata: string }>(
    `SELECT data, metadata FROM ${schema}.events WHERE stream = $1 AND version = $2`,
    [stream, version],
  );
  const { data, metadata } = must(content, `event ${version} of ${stream}`);
  return inlineText(cells.with(8, data).with(9, metadata) as unknown as InlineCells);
}

/** Whether the content of an event came with its row. */
export function isInline(cells: EventCells): cells is InlineCells {
  return cells[8] !== null && cells[9] !== null;
}

/** The event of a row that has its content. */
export function inlineText(cells: InlineCells): StoredText {
  const tags = cells[12];
  return {
    stream: cells[0],
    version: cells[1],
    position: cells[2] ?? 0,
    id: cells[5],
    type: cells[6],
    schemaVersion: cells[7],
    data: cells[8],
    metadata: cells[9],
    correlationId: cells[10],
    causationId: cells[11],
    tags: tags === null ? [] : (JSON.parse(tags) as string[]),
    atMs: cells[13],
  };
}

/**
 * The events of some ids. One that was committed and has no position yet has 0: a caller that tells one outside gives
 * it its place first.
 */
export async function eventsOfIds(
  over: Queryable,
  schema: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, StoredText>> {
  if (ids.length === 0) return new Map();
  const { rows } = await over.run(
    `SELECT ${eventColumnsSql(ownPlace(schema), 'e.ends')} FROM ${schema}.events e WHERE e.id = ANY ($1::text[])`,
    [ids],
  );
  const found = new Map<string, StoredText>();
  for (const cells of rows as unknown as readonly EventCells[])
    found.set(cells[5], await textOf(cells, over, schema));
  return found;
}

/** The position of an event, wherever it is kept; nothing is asked where it is in the row. */
export function ownPlace(schema: string): string {
  return `coalesce(e.position, (SELECT p.position FROM ${schema}.event_places p
    WHERE p.stream = e.stream AND p.version = e.version))`;
}

/** What an append that is there already had done. */
export function repeatedOf(
  { appends }: Pick<AppendTexts, 'appends'>,
  known: ReadonlyMap<string, StoredText>,
  repeated: boolean,
): readonly Appended[] {
  return appends.map(({ stream, events }) => {
    const ids = events.map(({ id }) => id);
    const first = must(known.get(ids[0] ?? ''), 'the first event');
    const { version, position } = must(known.get(ids.at(-1) ?? ''), 'the last event');
    return {
      stream,
      firstVersion: first.version,
      version,
      ids,
      repeated,
      position,
      offset: position,
    };
  });
}
