import type { StoredText } from '../../../ports/append.ts';
import type { Connection } from '../connection.ts';

/** A row as {@link eventColumnsSql} selects it, as a list: the cheapest to read many of. */
export type EventCells = readonly [
  position: number,
  stream: string,
  version: number,
  ends: number,
  bytes: number,
  id: string,
  type: string,
  schemaVersion: number,
  atMs: number,
  correlationId: string | null,
  causationId: string | null,
  tags: string | null,
  data: string,
  metadata: string,
];

/** All columns of an event. */
export const eventColumnsSql = `position, stream, version, ends, bytes, id, type, schema_version, at_ms, correlation_id,
  causation_id, tags, data, metadata`;

/** The event of a row. */
export function textOf(cells: EventCells): StoredText {
  const tags = cells[11];
  return {
    position: cells[0],
    stream: cells[1],
    version: cells[2],
    id: cells[5],
    type: cells[6],
    schemaVersion: cells[7],
    atMs: cells[8],
    correlationId: cells[9],
    causationId: cells[10],
    tags: tags === null ? [] : (JSON.parse(tags) as string[]),
    data: cells[12],
    metadata: cells[13],
  };
}

/** The event of an id. */
export function eventOfId(connection: Connection, id: string): StoredText | undefined {
  const row = connection
    .prepareArrays(`SELECT ${eventColumnsSql} FROM _tally_events WHERE id = ?`)
    .get(id);
  return row === undefined ? undefined : textOf(row as unknown as EventCells);
}
