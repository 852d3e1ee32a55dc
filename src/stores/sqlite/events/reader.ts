import { storedEvent } from '../../../ports/append.ts';
import type { OrderedEvent } from '../../../ports/event-entries.ts';
import type { AllRange, EventPage, StoredEvent, StreamRange } from '../../../ports/events.ts';
import type { Connection } from '../connection.ts';
import { afterPrefix } from '../ledger/prefix.ts';
import { eventColumnsSql, textOf, type EventCells } from './rows.ts';

/** Events of one read, which is synchronous work of some milliseconds. */
const PAGE_ROWS = 1_000;
/** Bytes of one read; one event may have more. */
const PAGE_BYTES_MAX: number = 8 * 1024 * 1024;

/** A part of a stream that remains to be read. */
export interface StreamPart extends Pick<StreamRange, 'direction'> {
  readonly stream: string;
  readonly from: number;
  readonly to: number;
  readonly limit: number;
}

/** The next events of a stream, as many as one page holds. */
export function streamPage(
  connection: Connection,
  { stream, from, to, limit, direction = 'forward' }: StreamPart,
): readonly StoredEvent[] {
  const order = direction === 'forward' ? 'ASC' : 'DESC';
  const rows = take(
    connection,
    `SELECT ${eventColumnsSql} FROM _tally_events
     WHERE stream = ? AND version >= ? AND version <= ? ORDER BY version ${order} LIMIT ?`,
    [stream, from, Math.min(to, Number.MAX_SAFE_INTEGER), Math.min(limit, PAGE_ROWS)],
    PAGE_BYTES_MAX,
  );
  return rows.map((cells) => storedEvent(textOf(cells)));
}

/** The next events in the order of all, and how far they are everything that was asked for. */
export function allPage(
  connection: Connection,
  { after = 0, upTo, limit = Infinity, types, tags }: AllRange & { readonly upTo: number },
): EventPage {
  const values: (string | number)[] = [after, upTo];
  const conditions: string[] = [];
  if (types !== undefined) {
    conditions.push('AND type IN (SELECT value FROM json_each(?))');
    values.push(JSON.stringify(types));
  }
  if (tags !== undefined) {
    conditions.push(
      'AND tags IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(tags) t JOIN json_each(?) w ON t.value = w.value)',
    );
    values.push(JSON.stringify(tags));
  }
  const rowsMax = Math.min(limit, PAGE_ROWS);
  let ended = true;
  const rows = take(
    connection,
    `SELECT ${eventColumnsSql} FROM _tally_events
     WHERE position > ? AND position <= ? ${conditions.join(' ')} ORDER BY position LIMIT ?`,
    [...values, rowsMax],
    PAGE_BYTES_MAX,
    () => (ended = false),
  );
  const last = rows.at(-1)?.[0];
  const through = last === undefined || (ended && rows.length < rowsMax) ? upTo : last;
  return { events: rows.map((cells) => storedEvent(textOf(cells))), through };
}

/** The next events in the order of all, as a lane has them. */
export function orderedPage(
  connection: Connection,
  after: number,
  upTo: number,
  { rowsMax, bytesMax }: { readonly rowsMax: number; readonly bytesMax: number },
): readonly OrderedEvent[] {
  const rows = take(
    connection,
    `SELECT ${eventColumnsSql} FROM _tally_events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?`,
    [after, upTo, rowsMax],
    bytesMax,
  );
  return rows.map((cells) => ({ text: textOf(cells), ends: cells[3] === 1 }));
}

/** Names of streams; each is looked for behind the one before it, so that long streams cost nothing. */
export function streamNames(
  connection: Connection,
  {
    prefix = '',
    after,
    limit = Infinity,
  }: { readonly prefix?: string; readonly after?: string; readonly limit?: number },
): readonly string[] {
  const names: string[] = [];
  const end = afterPrefix(prefix);
  const bound = end === undefined ? '' : 'AND stream < ?';
  const next = (operator: '>' | '>=', name: string): string | undefined => {
    const row = connection
      .prepareArrays(
        `SELECT stream FROM _tally_events WHERE stream ${operator} ? ${bound} ORDER BY stream LIMIT 1`,
      )
      .get(name, ...(end === undefined ? [] : [end])) as unknown as readonly [string] | undefined;
    return row?.[0];
  };
  let name =
    after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0
      ? next('>', after)
      : next('>=', prefix);
  while (name !== undefined && names.length < limit) {
    names.push(name);
    name = next('>', name);
  }
  return names;
}

/** Rows up to a bound in bytes; at least one, if there is one. `onCut` is called if more would have come. */
function take(
  connection: Connection,
  sql: string,
  values: readonly (string | number)[],
  bytesMax: number,
  onCut?: () => void,
): readonly EventCells[] {
  return connection.guard(() => {
    const rows: EventCells[] = [];
    let bytes = 0;
    for (const row of connection.prepareArrays(sql).iterate(...values)) {
      const cells = row as unknown as EventCells;
      bytes += cells[4];
      if (rows.length > 0 && bytes > bytesMax) {
        onCut?.();
        break;
      }
      rows.push(cells);
    }
    return rows;
  });
}
