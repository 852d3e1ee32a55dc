import { must } from '../../../core/errors.ts';
import type { Key } from '../../../core/row.ts';
import type { SnapshotChunk, SnapshotOptions } from '../../../ports/source.ts';
import type { Database, Session } from '../database.ts';
import { FETCH_ROWS_FIRST, messageColumns, messageOf, nextFetch, type MessageRow } from './rows.ts';

/** The messages that are kept and have a number, as of one snapshot, and the newest number in it. */
export async function* snapshotOf(
  database: Database,
  outbox: { readonly name: string; readonly sql: string },
  options: SnapshotOptions,
): AsyncGenerator<SnapshotChunk, void, undefined> {
  const { tables, resume, signal } = options;
  if (signal.aborted || tables.length === 0) return;
  await using session = await database.connect();
  await session.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const [state] = await session.query<{ at: number }>(
    `SELECT next - 1 AS at FROM ${database.schema}.outboxes WHERE name = $1`,
    [outbox.name],
  );
  const { at } = must(state, `the record of the outbox ${outbox.name}`);
  const from = resume?.[outbox.name];
  if (from === 'done') return;
  yield* pages(session, outbox, { ...options, at, from });
}

async function* pages(
  session: Session,
  { name, sql }: { readonly name: string; readonly sql: string },
  {
    at,
    from,
    rowsMax,
    bytesMax,
    signal,
  }: SnapshotOptions & {
    readonly at: number;
    readonly from: Key | undefined;
  },
): AsyncGenerator<SnapshotChunk, void, undefined> {
  let last = from === undefined ? null : String(from[0]);
  let fetch = Math.min(rowsMax, FETCH_ROWS_FIRST);
  for (;;) {
    const rows = await session.query<MessageRow>(
      `SELECT ${messageColumns} FROM ${sql} WHERE seq IS NOT NULL AND ($1::text IS NULL OR id > $1::text::uuid)
       ORDER BY id LIMIT $2`,
      [last, fetch],
    );
    if (signal.aborted) return;
    const tableDone = rows.length < fetch;
    yield {
      table: name,
      rows: rows.map((row) => ({ key: [row.id], row: messageOf(row) })),
      at,
      tableDone,
    };
    if (tableDone) return;
    last = rows.at(-1)?.id ?? last;
    fetch = nextFetch(rows, fetch, { rowsMax, bytesMax });
  }
}
