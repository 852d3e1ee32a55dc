import type { Database } from '../database.ts';

/** Rows that one call deletes: a short transaction, and more than come in the seconds between two calls. */
const PRUNE_ROWS = 10_000;

/**
 * Deletes messages that were captured and are old enough, from the oldest on, so that what is kept has no gaps.
 * `before` is the first number of the last captured transaction: that one stays, because it proves the history.
 */
export async function pruneAcknowledged(
  database: Database,
  table: string,
  before: number,
  keepMs: number,
): Promise<number> {
  const { count } = await database.run(
    `DELETE FROM ${table} WHERE seq IN (
       SELECT seq FROM (
         SELECT seq, bool_and(seq < $1 AND created_at < now() - $2 * interval '1 millisecond') OVER (ORDER BY seq) AS old
         FROM (SELECT seq, created_at FROM ${table} WHERE seq IS NOT NULL ORDER BY seq LIMIT ${PRUNE_ROWS}) AS oldest
       ) AS marked WHERE old)`,
    [before, keepMs],
  );
  return count;
}
