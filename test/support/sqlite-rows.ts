import { DatabaseSync, type SQLInputValue } from 'node:sqlite';

/** Runs statements in a file with a driver of its own: neither capture nor sinks are asked. */
export function sql(file: string, text: string): void {
  using db = new DatabaseSync(file);
  db.exec('PRAGMA busy_timeout = 5000');
  db.exec(text);
}

/** Rows of a file, read with a driver of its own. */
export function rowsOf(
  file: string,
  text: string,
  ...values: readonly SQLInputValue[]
): readonly unknown[] {
  using db = new DatabaseSync(file, { readOnly: true });
  return db
    .prepare(text)
    .all(...values)
    .map((row) => ({ ...row }));
}
