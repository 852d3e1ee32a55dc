import { encodeKey, encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import type { Row } from '../../../core/row.ts';
import type { SourceEntry } from '../../../ports/source.ts';
import { parseJson } from '../source/json.ts';

/** A row of the outbox as {@link messageColumns} selects it. */
export interface MessageRow {
  readonly seq: number;
  readonly xact: string;
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly payload: string;
  readonly headers: string;
  readonly created: string;
  readonly ord: number;
  readonly createdMs: number;
}

/** The same text from stream, snapshot and lookup, whatever the settings of the session. */
export const messageColumns = `seq, xact::text AS xact, id::text AS id, topic, key, payload::text AS payload,
  headers::text AS headers, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' AS created, ord,
  floor(extract(epoch FROM created_at) * 1000)::int8 AS "createdMs"`;

/** What changes and snapshots carry of it. */
export const messageColumnNames: readonly string[] = [
  'id',
  'topic',
  'key',
  'payload',
  'headers',
  'created_at',
  'ord',
];

/** The row as the application placed it. */
export function messageOf({ id, topic, key, payload, headers, created, ord }: MessageRow): Row {
  return {
    id,
    topic,
    key,
    payload: parseJson(payload),
    headers: parseJson(headers),
    created_at: created,
    ord,
  };
}

const FETCH_ROWS_MIN = 16;
/** Rows of the first read. Their sizes say how many the next one may be. */
export const FETCH_ROWS_FIRST = 512;

/** How many rows to read next, so that a batch stays within its bounds, about. */
export function nextFetch(
  rows: readonly MessageRow[],
  fetch: number,
  { rowsMax, bytesMax }: { readonly rowsMax: number; readonly bytesMax: number },
): number {
  const bytes = rows.reduce(
    (sum, { payload, headers }) => sum + payload.length + headers.length,
    0,
  );
  if (bytes > bytesMax) return Math.min(rowsMax, Math.max(FETCH_ROWS_MIN, Math.floor(fetch / 4)));
  return bytes < bytesMax / 4 ? Math.min(rowsMax, fetch * 2) : fetch;
}

interface Transaction {
  readonly first: number;
  readonly xact: string;
  count: number;
  createdMs: number;
}

/**
 * Numbered rows, in order, as changes and commits. A transaction has numbers without others between them: its changes
 * stand at the first, its commit at the last. Not more than its beginning may be known yet.
 */
export class MessageEntries {
  readonly #table: string;
  readonly #where: string;
  /** The number that comes next; undefined before the first row of a stream from the oldest one that is kept. */
  #expected: number | undefined;
  #open: Transaction | undefined;

  constructor(table: string, where: string, after: number | undefined) {
    this.#table = table;
    this.#where = where;
    this.#expected = after === undefined ? undefined : after + 1;
  }

  /** The number after which to read on; undefined before the first row. */
  get position(): number | undefined {
    return this.#expected === undefined ? undefined : this.#expected - 1;
  }

  /** The entries of a row, and before them the commit of the transaction that ended with the row before. */
  take(row: MessageRow): readonly SourceEntry[] {
    const { seq, xact } = row;
    if (this.#expected !== undefined && seq !== this.#expected)
      throw rowsMissing(this.#table, this.#where, this.#expected, seq - 1);
    this.#expected = seq + 1;
    const ended = this.#open?.xact === xact ? [] : this.end();
    this.#open ??= { first: seq, xact, count: 0, createdMs: 0 };
    const open = this.#open;
    open.createdMs = Math.max(open.createdMs, row.createdMs);
    const message = messageOf(row);
    return [
      ...ended,
      {
        kind: 'change',
        offset: open.first,
        ordinal: open.count++,
        table: this.#table,
        operation: 'create',
        key: encodeKey([row.id]),
        before: null,
        after: encodeValue(message),
      },
    ];
  }

  /** There is no further row now: the transaction is whole, because it was numbered as a whole. */
  end(): readonly SourceEntry[] {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return [];
    return [
      {
        kind: 'commit',
        offset: open.first + open.count - 1,
        changes: open.count,
        // When it began: a lag that is shown a little too long deceives nobody.
        committedAtMs: open.createdMs,
        token: `${open.first}/${open.xact}`,
      },
    ];
  }
}

/** Numbers have no gaps: a missing one is a message that was deleted before it was captured. */
export function rowsMissing(table: string, where: string, from: number, to: number): TallyError {
  return new TallyError('HISTORY_LOST', {
    what: `the messages ${from} to ${to} of ${table} are gone, and were not captured`,
    where,
    mend: 'leave deleting to the store (option keep), and take a new snapshot: tally resnapshot',
    details: { table, from, to },
  });
}
