import { TallyError } from '../../../core/errors.ts';
import type { Key, Row, Scalar } from '../../../core/row.ts';
import type { SnapshotChunk, SnapshotOptions } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { identifier } from './names.ts';
import { inspectTable, type Table } from './table.ts';

/**
 * Reads whole tables as of one exact position: `connection` is in a read transaction from the first page to
 * the last, and `at` is the mark that this very transaction sees as the newest row (marks.ts). Triggers
 * write a change in the transaction of its row, so the rows hold the changes up to that mark and no other.
 *
 * While the session lasts the write-ahead log cannot be reused from its start, and grows by what is
 * written meanwhile: a session belongs to one backfill, not to the life of a process.
 */
export async function* readSnapshot(
  connection: Connection,
  at: number,
  options: SnapshotOptions,
): AsyncGenerator<SnapshotChunk, void, undefined> {
  for (const name of options.tables) {
    const from = options.resume?.[name];
    if (from === 'done') continue;
    const table = inspectTable(connection, name);
    let after: Key | undefined = from;
    for (;;) {
      if (options.signal.aborted) return;
      const { rows, done } = readPage(connection, table, after, options);
      yield { table: name, rows, at, tableDone: done };
      if (done) break;
      after = rows.at(-1)?.key;
    }
  }
}

/** The present rows of some keys, in their order; null where there is none. */
export function lookUp(
  connection: Connection,
  name: string,
  keys: readonly Key[],
): readonly (Row | null)[] {
  const table = inspectTable(connection, name);
  // The key's own collation finds the row; only a row with exactly this key is the one asked for.
  const where = table.key
    .map((column) => `${identifier(column)} = ? AND ${identifier(column)} = ? COLLATE BINARY`)
    .join(' AND ');
  const statement = connection.prepareArrays(
    `SELECT ${columnList(table)} FROM ${identifier(name)} WHERE ${where}`,
  );
  statement.setReadBigInts(true);
  return keys.map((key) => {
    if (key.length !== table.key.length) throw malformed(table, key);
    const found = statement.get(...key.flatMap((value) => [bindable(value), bindable(value)]));
    return found === undefined ? null : rowOf(table, found as unknown as readonly Stored[]).row;
  });
}

type Stored = Exclude<Scalar, boolean>;

interface Page {
  readonly rows: readonly { readonly key: Key; readonly row: Row }[];
  /** Whether the table ends with this page. */
  readonly done: boolean;
}

function readPage(
  connection: Connection,
  table: Table,
  after: Key | undefined,
  bounds: Pick<SnapshotOptions, 'rowsMax' | 'bytesMax'>,
): Page {
  if (after !== undefined && after.length !== table.key.length) throw malformed(table, after);
  const key = table.key.map(identifier);
  const where =
    after === undefined ? '' : ` WHERE (${key.join(',')}) > (${key.map(() => '?').join(',')})`;
  const statement = connection.prepareArrays(
    `SELECT ${columnList(table)} FROM ${identifier(table.name)}${where} ORDER BY ${key.join(',')} LIMIT ?`,
  );
  // Integers come as BigInt, exactly; those that a number holds are turned in rowOf.
  statement.setReadBigInts(true);
  const { rowsMax, bytesMax } = bounds;
  const rows: { readonly key: Key; readonly row: Row }[] = [];
  let bytes = 0;
  // One row more than asked tells whether the table ends here.
  for (const stored of statement.iterate(...(after ?? []).map(bindable), rowsMax + 1)) {
    const read = rowOf(table, stored as unknown as readonly Stored[]);
    if (rows.length === rowsMax || (rows.length > 0 && bytes + read.bytes > bytesMax)) {
      return { rows, done: false };
    }
    bytes += read.bytes;
    rows.push(read);
  }
  return { rows, done: true };
}

function rowOf(
  table: Table,
  stored: readonly Stored[],
): { readonly key: Key; readonly row: Row; readonly bytes: number } {
  const row: Record<string, Scalar> = {};
  let bytes = 0;
  for (const [index, { name }] of table.columns.entries()) {
    const value = scalar(stored[index] ?? null);
    bytes += typeof value === 'string' || value instanceof Uint8Array ? value.length : 8;
    if (name === '__proto__') Object.defineProperty(row, name, { value, enumerable: true });
    else row[name] = value;
  }
  return { key: table.key.map((name) => row[name] ?? null), row, bytes };
}

/** As the images of changes have it: numbers while they are exact; -0, which SQLite keeps as 0, as 0. */
function scalar(value: Stored): Scalar {
  if (typeof value === 'number') return value === 0 ? 0 : value;
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** The driver binds numbers as reals; a whole one is meant as an integer. */
function bindable(value: Scalar): Stored {
  if (typeof value === 'boolean') return value ? 1n : 0n;
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
}

function columnList(table: Table): string {
  return table.columns.map((column) => identifier(column.name)).join(',');
}

function malformed(table: Table, key: Key): TallyError {
  return new TallyError('INPUT_INVALID', {
    what: `a key of ${key.length} values does not fit table '${table.name}'`,
    mend: `give a value for each of: ${table.key.join(', ')}`,
  });
}
