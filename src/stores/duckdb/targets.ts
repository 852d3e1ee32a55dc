import { TallyError } from '../../core/errors.ts';
import { checkObject, checkOptions, checkString, fieldPath } from '../../core/options.ts';

/** What {@link columnar} is told. */
export interface ColumnarOptions {
  /** The columns that the key of a write is made of, in its order: integers, VARCHAR or BOOLEAN. */
  readonly key: readonly string[];
  /**
   * DuckDB types by column name; the key's columns are among them. A type only: constraints and
   * defaults are refused, since deletes leave a row of nulls behind.
   */
  readonly columns: Readonly<Record<string, string>>;
  /**
   * The promise that a key is written once by the stream and never changed: facts, such as order
   * lines. Streamed writes newer than all the target holds are then appended without looking for
   * their key.
   */
  readonly appendOnly?: true;
  /** Sorts each appended batch by these columns, so that queries by them skip what they need not read. Only with `appendOnly`. */
  readonly orderBy?: readonly string[];
}

/** A target with declared columns. */
export interface ColumnarTarget extends ColumnarOptions {
  readonly kind: 'columnar';
}

// DuckDB folds the case of names, so these are compared in lower case.
const RESERVED_COLUMNS: readonly string[] = ['_fence', '_ordinal', '_deleted', '_repair', '_index'];
const NAME_CHARACTERS_MAX = 200;
const COLUMNS_MAX = 1_000;

/**
 * Declares a target as a columnar table. What a row may hold, by the type of the column:
 *
 * - integers: whole numbers and BigInt within the type's range; read back as a number up to 2^53;
 * - `FLOAT`, `DOUBLE`: numbers, NaN and infinities among them (`FLOAT` keeps 24 bits of them);
 * - `BOOLEAN`: booleans, 0 and 1; read back as booleans;
 * - `VARCHAR`: well-formed text; `BLOB`: bytes; `JSON`: any value, as its canonical text;
 * - `DATE`, `TIME`, `TIMESTAMP`, `UUID`, `INTERVAL`, `ENUM`, `DECIMAL`: text that DuckDB can cast;
 *   for timestamps also milliseconds since 1970, for decimals also numbers, rounded to the scale.
 *   Read back as DuckDB's own text (UTC).
 *
 * A column that a row does not name is NULL; a name that is no column is a failed write
 * (WRITE_REFUSED), and so is text that cannot be cast; a value of another type is VALUE_UNSUPPORTED.
 *
 * With `appendOnly` deletes, snapshot rows and writes not newer than all the target holds still find
 * their row by key, at the price of reading the key columns. What it does not do: notice a second
 * stream write of one key, which then stands there twice. Declare targets of rows that change
 * without it.
 *
 * Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION; types are checked when the sink is opened.
 *
 * @example
 * columnar({ key: ['order_id', 'line'], columns: { order_id: 'BIGINT', line: 'INTEGER', sku: 'VARCHAR' } })
 */
export function columnar(options: ColumnarOptions): ColumnarTarget {
  checkOptions(options, ['key', 'columns', 'appendOnly', 'orderBy'], 'columnar');
  const columns = Object.keys(checkObject(options.columns, 'columnar.columns'));
  for (const name of columns) checkColumn(name, options.columns[name]);
  const folded = columns.map((name) => name.toLowerCase());
  const twin = columns.find((_, index) => folded.indexOf(folded[index] ?? '') !== index);
  if (twin !== undefined) throw invalid('columnar.columns', `${twin} is there twice`);
  if (columns.length > COLUMNS_MAX)
    throw invalid('columnar.columns', `${columns.length} columns are more than ${COLUMNS_MAX}`);
  checkNames(options.key, columns, 'columnar.key');
  if (options.orderBy !== undefined) {
    checkNames(options.orderBy, columns, 'columnar.orderBy');
    if (options.appendOnly !== true)
      throw invalid('columnar.orderBy', 'rows that are updated cannot be kept in order');
  }
  return { kind: 'columnar', ...options };
}

/** An identifier, quoted for SQL. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text literal, where nothing can be bound. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Refuses target names that would collide with the coordinator's own. Throws CONFIG_INVALID. */
export function checkTargetName(name: string, where: string): void {
  const good = name !== '' && name.length <= NAME_CHARACTERS_MAX && !name.includes('\0');
  if (good && !/^_tally|__g\d+$/i.test(name)) return;
  throw invalid(where, `${JSON.stringify(name.slice(0, 40))} cannot name a target`);
}

function checkColumn(name: string, type: unknown): void {
  const path = fieldPath('columnar.columns', name);
  checkString(type, path);
  const good = name !== '' && name.length <= NAME_CHARACTERS_MAX && !name.includes('\0');
  if (!good || RESERVED_COLUMNS.includes(name.toLowerCase()))
    throw invalid(path, `${JSON.stringify(name.slice(0, 40))} cannot name a column`);
}

function checkNames(names: unknown, columns: readonly string[], path: string): void {
  if (!Array.isArray(names) || names.length === 0)
    throw invalid(path, 'it is not a list of column names');
  for (const name of names as readonly unknown[])
    if (typeof name !== 'string' || !columns.includes(name))
      throw invalid(path, `${JSON.stringify(name)} is not among the columns`);
  if (new Set(names).size !== names.length) throw invalid(path, 'a column is there twice');
}

function invalid(path: string, what: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what,
    where: path,
    mend: 'look at the example in the documentation of columnar()',
    details: { path },
  });
}
