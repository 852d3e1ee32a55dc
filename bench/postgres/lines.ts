import type { Client } from 'pg';
import { query } from '../../servers/postgres.ts';

/** Rows of about 200 bytes as text, in transactions of ten: what captures are compared by elsewhere, too. */
export const ROWS_PER_TRANSACTION = 10;

const CREATE = `
CREATE TABLE lines (id bigint PRIMARY KEY, order_id bigint, sku text, description text, quantity int,
  price numeric(10, 2), country text, note text);
ALTER TABLE lines REPLICA IDENTITY FULL;
CREATE FUNCTION line_of(id bigint) RETURNS lines LANGUAGE sql IMMUTABLE AS $$
  SELECT id, id / 10, 'SKU-' || (id * 7919) % 4000, 'white hanging heart holder, pattern ' || id % 977,
    (id % 12 + 1)::int, (id % 2000 + 0.85)::numeric(10, 2), 'United Kingdom',
    'line ' || id || ' of the order, as the customer wrote it at the till, number ' || (id * 31) % 99991 ||
      ' of those that came in before the shop was closed'
$$;
CREATE PROCEDURE write_lines(first bigint, rows bigint, each bigint) LANGUAGE plpgsql AS $$
DECLARE at bigint := first;
BEGIN
  WHILE at < first + rows LOOP
    INSERT INTO lines SELECT (line_of(id)).* FROM generate_series(at, least(at + each, first + rows) - 1) AS id;
    COMMIT;
    at := at + each;
  END LOOP;
END $$`;

/** Makes a database with an empty table of order lines; its URL. */
export async function linesDatabase(serverUrl: string, name: string): Promise<string> {
  await query(serverUrl, `CREATE DATABASE ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  await query(url.href, CREATE);
  return url.href;
}

/** Writes rows in transactions of their own, without a wait for the disk at each; the end of the log then, `X/Y`. */
export async function writeLines(
  url: string,
  first: number,
  rows: number,
  each: number = ROWS_PER_TRANSACTION,
): Promise<string> {
  await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET synchronous_commit = off`);
  await query(url, `CALL write_lines(${first}, ${rows}, ${each})`);
  await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} RESET synchronous_commit`);
  // With a checkpoint the server writes what it still holds, before the clock starts and not while it runs.
  await query(url, 'CHECKPOINT');
  return await walEnd(url);
}

/** The end of the log that is on the disk, after a message that moves it past what was written so far. */
export async function walEnd(url: string): Promise<string> {
  await query(url, `SELECT pg_logical_emit_message(true, 'bench', '')`);
  const [row] = await query(url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
  return String(row?.['lsn']);
}

/** `X/Y` as the offset of an END position. */
export function offsetOf(lsn: string): number {
  const [high = '0', low = '0'] = lsn.split('/');
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16) - 1;
}

/** What a row and a transaction are, in bytes: as text, and in the write-ahead log. */
export async function sizes(url: string): Promise<Record<string, number>> {
  const [row] = await query(
    url,
    `SELECT avg(length(id::text) + length(order_id::text) + length(sku) + length(description) + length(quantity::text)
       + length(price::text) + length(country) + length(note))::float8 AS text FROM lines TABLESAMPLE SYSTEM (10)`,
  );
  return {
    rowTextBytes: Math.round(Number(row?.['text'] ?? 0)),
    rowsPerTransaction: ROWS_PER_TRANSACTION,
  };
}

/** Inserts one line as a transaction of its own. */
export async function insertLine(client: Pick<Client, 'query'>, id: number): Promise<void> {
  await client.query({ name: 'line', text: INSERT_LINE, values: [id] });
}

export const INSERT_LINE = 'INSERT INTO lines SELECT (line_of($1::bigint)).*';
