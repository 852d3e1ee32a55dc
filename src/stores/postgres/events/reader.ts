import { storedEvent } from '../../../ports/append.ts';
import type { AllRange, EventPage, StoredEvent, StreamRange } from '../../../ports/events.ts';
import type { OrderedEvent } from '../../../ports/event-entries.ts';
import type { Database, Queryable } from '../database.ts';
import { afterPrefix } from '../ledger/plain-text.ts';
import { placeWaiting } from './place.ts';
import {
  eventColumnsSql,
  inlineText,
  isInline,
  ownPlace,
  textOf,
  type EventCells,
} from './rows.ts';

/** Rows of the first read: most streams have fewer events. */
const FETCH_ROWS_FIRST = 1_024;
/** Rows of every later one. */
const FETCH_ROWS = 5_000;
/** Bytes of the events of one page that is handed out; one event may have more. */
const PAGE_BYTES_MAX: number = 16 * 1024 * 1024;
const VERSION_MAX = Number.MAX_SAFE_INTEGER;

/** The events of a stream in pages. */
export async function* readStream(
  database: Database,
  stream: string,
  range: StreamRange,
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  const { direction = 'forward', limit = Infinity, signal } = range;
  let { from = 1, to = VERSION_MAX } = range;
  const order = direction === 'forward' ? 'ASC' : 'DESC';
  const statement = `SELECT ${eventColumnsSql(ownPlace(database.schema), 'e.ends')} FROM ${database.schema}.events e
    WHERE e.stream = $1 AND e.version >= $2 AND e.version <= $3 ORDER BY e.version ${order} LIMIT $4`;
  let left = limit;
  for (let fetch = FETCH_ROWS_FIRST; left > 0; fetch = FETCH_ROWS) {
    signal?.throwIfAborted();
    const wanted = Math.min(fetch, left);
    const values = [stream, from, to, wanted];
    let rows = await cellsOf(database, statement, values);
    if (rows.some((cells) => cells[2] === null)) {
      await placeWaiting(database, database.schema);
      rows = await cellsOf(database, statement, values);
    }
    yield* pagesOf(database, rows);
    left -= rows.length;
    const last = rows.at(-1);
    if (last === undefined || rows.length < wanted) return;
    if (direction === 'forward') from = last[1] + 1;
    else to = last[1] - 1;
  }
}

/** A part of the order of all events, by filters or not, in pages that say how far they looked. */
export async function* readAll(
  database: Database,
  range: AllRange & { readonly upTo: number },
): AsyncGenerator<EventPage, void, undefined> {
  const { upTo, limit = Infinity, signal } = range;
  let { after = 0 } = range;
  const isFiltered = range.types !== undefined || range.tags !== undefined;
  let left = limit;
  const isNothing = after >= upTo || left <= 0;
  let reading =
    isFiltered || isNothing
      ? undefined
      : orderedRows(database, after, upTo, Math.min(FETCH_ROWS, left));
  while (after < upTo && left > 0) {
    signal?.throwIfAborted();
    const found = await (reading ??
      filteredRows(database, { ...range, after }, Math.min(FETCH_ROWS, left)));
    left -= found.rows.length;
    // The next rows are read while these are looked at.
    reading =
      isFiltered || found.through >= upTo || left <= 0
        ? undefined
        : orderedRows(database, found.through, upTo, Math.min(FETCH_ROWS, left));
    reading?.catch(() => undefined);
    yield* eventPages(database, found);
    after = found.through;
  }
}

/** The events of rows as pages; the last one says how far was looked. */
async function* eventPages(
  database: Database,
  found: Found,
): AsyncGenerator<EventPage, void, undefined> {
  let left = found.rows.length;
  if (left === 0) yield { events: [], through: found.through };
  for await (const events of pagesOf(database, found.rows)) {
    left -= events.length;
    const through = left === 0 ? found.through : (events.at(-1)?.position ?? found.through);
    yield { events, through };
  }
}

/** Rows in order, and up to where they are everything that was asked for. */
interface Found {
  readonly rows: readonly EventCells[];
  readonly through: number;
}

/**
 * Events after a position, up to another. Positions have no gaps: a missing one is among those that were given after
 * the commit, and only then these are asked for.
 */
async function orderedRows(
  database: Database,
  after: number,
  upTo: number,
  limit: number,
): Promise<Found> {
  const { schema } = database;
  const own = await cellsOf(
    database,
    `SELECT ${eventColumnsSql('e.position', 'e.ends')} FROM ${schema}.events e
     WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3`,
    [after, upTo, limit],
  );
  const end = own.length < limit ? upTo : (own.at(-1)?.[2] ?? upTo);
  if (own.length === end - after) return { rows: own, through: end };
  const placed = await cellsOf(
    database,
    `SELECT ${eventColumnsSql('p.position', 'p.ends')}
     FROM (SELECT * FROM ${schema}.event_places WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) p
     JOIN ${schema}.events e USING (stream, version) ORDER BY p.position`,
    [after, end, limit],
  );
  const through = placed.length < limit ? end : (placed.at(-1)?.[2] ?? end);
  const rows = [...own, ...placed]
    .filter((cells) => (cells[2] ?? 0) <= through)
    .toSorted((left, right) => (left[2] ?? 0) - (right[2] ?? 0));
  return { rows, through };
}

async function filteredRows(
  database: Database,
  { after = 0, upTo, types, tags }: AllRange & { readonly upTo: number },
  limit: number,
): Promise<Found> {
  const { schema } = database;
  const values: (number | readonly string[])[] = [after, upTo, limit];
  const conditions: string[] = [];
  if (types !== undefined) conditions.push(`AND e.type = ANY ($${values.push(types)}::text[])`);
  if (tags !== undefined)
    conditions.push(`AND e.tags && $${values.push(tags)}::text[] AND e.tags <> '{}'`);
  const where = conditions.join(' ');
  const rows = await cellsOf(
    database,
    `SELECT * FROM (
       (SELECT ${eventColumnsSql('e.position AS place', 'e.ends')} FROM ${schema}.events e
        WHERE e.position > $1 AND e.position <= $2 ${where} ORDER BY e.position LIMIT $3)
       UNION ALL
       (SELECT ${eventColumnsSql('p.position', 'p.ends')} FROM ${schema}.event_places p
        JOIN ${schema}.events e USING (stream, version)
        WHERE p.position > $1 AND p.position <= $2 ${where} ORDER BY p.position LIMIT $3)
     ) AS found ORDER BY place LIMIT $3`,
    values,
  );
  return { rows, through: rows.length < limit ? upTo : (rows.at(-1)?.[2] ?? upTo) };
}

/** Events after a position, up to another, as a lane has them: as text, in batches within bounds. */
export async function* orderedEvents(
  database: Database,
  after: number,
  upTo: number,
  bounds: { readonly rowsMax: number; readonly bytesMax: number },
): AsyncGenerator<readonly OrderedEvent[], void, undefined> {
  for (let at = after; at < upTo;) {
    const { rows, through } = await orderedRows(database, at, upTo, bounds.rowsMax);
    at = through;
    let batch: OrderedEvent[] = [];
    let bytes = 0;
    for (const cells of rows) {
      if (batch.length > 0 && bytes + cells[4] > bounds.bytesMax) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      bytes += cells[4];
      const text = isInline(cells)
        ? inlineText(cells)
        : await textOf(cells, database, database.schema);
      batch.push({ text, ends: cells[3] === true });
    }
    if (batch.length > 0) yield batch;
  }
}

/** Events of rows, with their content, in pages bounded in bytes. */
async function* pagesOf(
  database: Database,
  rows: readonly EventCells[],
): AsyncGenerator<readonly StoredEvent[], void, undefined> {
  let page: StoredEvent[] = [];
  let bytes = 0;
  for (const cells of rows) {
    if (page.length > 0 && bytes + cells[4] > PAGE_BYTES_MAX) {
      yield page;
      page = [];
      bytes = 0;
    }
    bytes += cells[4];
    // Nearly all content comes with its row, and is not waited for.
    const text = isInline(cells)
      ? inlineText(cells)
      : await textOf(cells, database, database.schema);
    page.push(storedEvent(text));
  }
  if (page.length > 0) yield page;
}

/** Names of streams; each is looked for behind the one before it, so that long streams cost nothing. */
export async function streamNames(
  database: Database,
  {
    prefix = '',
    after,
    limit,
  }: { readonly prefix?: string; readonly after?: string; readonly limit?: number },
): Promise<readonly string[]> {
  const values: (string | number | null)[] = [prefix, after ?? null, limit ?? null];
  const end = afterPrefix(prefix);
  const bound = end === undefined ? '' : `AND e.stream < $${values.push(end)}`;
  const next = (condition: string): string =>
    `(SELECT e.stream FROM ${database.schema}.events e WHERE ${condition} ${bound} ORDER BY e.stream LIMIT 1)`;
  const { rows } = await database.run(
    `WITH RECURSIVE names AS (
       SELECT ${next(`e.stream >= $1 AND ($2::text IS NULL OR e.stream > $2::text)`)} AS stream
       UNION ALL
       SELECT ${next('e.stream > names.stream')} FROM names WHERE names.stream IS NOT NULL)
     SELECT stream FROM names WHERE stream IS NOT NULL LIMIT $3`,
    values,
  );
  return rows.map(([name]) => String(name));
}

async function cellsOf(
  over: Queryable,
  statement: string,
  values: readonly (string | number | null | readonly string[])[],
): Promise<readonly EventCells[]> {
  const { rows } = await over.run(statement, values);
  return rows as unknown as readonly EventCells[];
}
