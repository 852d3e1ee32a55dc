import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkObject, checkOptions, checkString } from '../../core/options.ts';
import type { Row } from '../../core/row.ts';
import type { Scan } from '../../ports/scan.ts';
import { codecOf, type ColumnCodec } from './columns.ts';
import { loadDriver, type DuckdbConnection, type DuckdbDriver } from './driver.ts';
import { duckdbError } from './errors.ts';
import { MEMORY_LIMIT, THREADS } from './store.ts';
import { quote } from './targets.ts';

/** What of a store goes into an analysis. */
export interface Extract {
  /** The `scan` port of a store, with the target that is read; or rows, a list at a time. */
  readonly from:
    | { readonly scan: Scan; readonly target: string }
    | AsyncIterable<readonly Row[]>
    | Iterable<readonly Row[]>;
  /** DuckDB's type of each column that is taken: `{ id: 'BIGINT', placed: 'TIMESTAMP', lines: 'JSON' }`. */
  readonly columns: Readonly<Record<string, string>>;
  /** Beyond it the analysis is refused. Default 1 000 000. */
  readonly rowsMax?: number;
}

export interface AnalyseOptions {
  /** By the name that the statement calls them by. */
  readonly extracts: Readonly<Record<string, Extract>>;
  /** One statement that reads. */
  readonly sql: string;
  /** Rows of the answer. Default 10 000. */
  readonly resultMax?: number;
  readonly memoryLimit?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

export interface Analysis {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  /** Rows that were read of each store. */
  readonly extracted: Readonly<Record<string, number>>;
}

/** Of a hundred bytes each this is a tenth of a gigabyte, and a few seconds. */
const EXTRACT_ROWS_MAX = 1_000_000;
const RESULT_ROWS_MAX = 10_000;
/** However large the bounds are set. */
const ROWS_LIMIT = 100_000_000;
/** Rows that DuckDB takes at once. */
const CHUNK_ROWS = 2_048;
/** Rows of one page of a scan. */
const SCAN_ROWS = 2_000;

/**
 * Takes bounded extracts of several stores into a DuckDB in memory, one after another, and runs one statement over them. For
 * questions that nobody foresaw; what is asked again is a projection into a columnar store. The extracts are not of one
 * moment. Throws DRIVER_MISSING, JOIN_TOO_LARGE for an extract or an answer over its bound, ABORTED, VALUE_UNSUPPORTED for
 * what a column's type cannot hold, and what DuckDB says of the statement.
 */
export async function analyse(options: AnalyseOptions): Promise<Analysis> {
  const known = ['extracts', 'sql', 'resultMax', 'memoryLimit', 'threads', 'signal'];
  checkOptions(options, known, 'analyse');
  const { signal, memoryLimit = MEMORY_LIMIT, threads = THREADS } = options;
  const sql = checkString(options.sql, 'analyse.sql');
  const whole = { min: 1, max: ROWS_LIMIT, integer: true } as const;
  const resultMax = checkNumber(options.resultMax ?? RESULT_ROWS_MAX, 'analyse.resultMax', whole);
  const extracts = Object.entries(checkObject(options.extracts, 'analyse.extracts'));
  const driver = await loadDriver();
  const settings = { memory_limit: memoryLimit, threads: String(threads) };
  const instance = await driver.DuckDBInstance.fromCache(':memory:', settings);
  try {
    const connection = await instance.connect();
    const interrupt = (): void => connection.interrupt();
    signal?.addEventListener('abort', interrupt);
    try {
      // It may have been aborted while the driver was loaded, when there was nothing to interrupt.
      if (signal?.aborted === true) throw aborted(signal);
      const extracted: Record<string, number> = {};
      for (const [name, extract] of extracts) {
        const load = new ExtractLoad(driver, connection, name, extract as Extract);
        extracted[name] = await load.run(signal);
      }
      return { ...(await answerOf(connection, sql, resultMax)), extracted };
    } catch (error) {
      if (signal?.aborted !== true) throw duckdbError(error, 'analyse');
      throw aborted(signal);
    } finally {
      signal?.removeEventListener('abort', interrupt);
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}

/** One store's rows on their way into a table of their name. */
class ExtractLoad {
  readonly #driver: DuckdbDriver;
  readonly #connection: DuckdbConnection;
  readonly #name: string;
  readonly #from: Extract['from'];
  readonly #rowsMax: number;
  readonly #columns: readonly (readonly [name: string, type: string, codec: ColumnCodec])[];

  constructor(driver: DuckdbDriver, connection: DuckdbConnection, name: string, extract: Extract) {
    const path = `analyse.extracts.${name}`;
    checkOptions(extract, ['from', 'columns', 'rowsMax'], path);
    this.#driver = driver;
    this.#connection = connection;
    this.#name = checkString(name, path, { charactersMax: 100 });
    this.#from = extract.from;
    this.#rowsMax = checkNumber(extract.rowsMax ?? EXTRACT_ROWS_MAX, `${path}.rowsMax`, {
      min: 1,
      max: ROWS_LIMIT,
      integer: true,
    });
    const columns = Object.entries(checkObject(extract.columns, `${path}.columns`));
    this.#columns = columns.map(([column, given]) => {
      const type = checkString(given, `${path}.columns.${column}`).toUpperCase();
      const codec = codecOf(type, (bytes) => new driver.DuckDBBlobValue(bytes));
      if (codec !== undefined) return [column, type, codec];
      throw new TallyError('CONFIG_INVALID', {
        what: `columns of type ${type} cannot be loaded`,
        where: `${path}.columns.${column}`,
        mend: 'give a scalar type, or JSON',
      });
    });
    if (columns.length === 0)
      throw new TallyError('CONFIG_INVALID', {
        what: 'no column is taken',
        where: `${path}.columns`,
        mend: "name them with their types: { id: 'BIGINT' }",
      });
  }

  /** Returns how many rows there were. */
  async run(signal: AbortSignal | undefined): Promise<number> {
    const stage = quote(`${this.#name} as loaded`);
    const loaded = this.#columns.map(([name, , codec]) => `${quote(name)} ${codec.loadedAs}`);
    await this.#connection.run(`CREATE TEMP TABLE ${stage} (${loaded.join(', ')})`);
    const rows = await this.#load(`${this.#name} as loaded`, signal);
    const cast = this.#columns.map(
      ([name, type]) => `CAST(${quote(name)} AS ${type}) AS ${quote(name)}`,
    );
    await this.#connection.run(
      `CREATE TEMP TABLE ${quote(this.#name)} AS SELECT ${cast.join(', ')} FROM ${stage}`,
    );
    await this.#connection.run(`DROP TABLE ${stage}`);
    return rows;
  }

  async #load(stage: string, signal: AbortSignal | undefined): Promise<number> {
    const appender = await this.#connection.createAppender(stage);
    try {
      const types = this.#columns.map((_, index) => appender.columnType(index)) as never[];
      let count = 0;
      for await (const page of this.#pages(signal)) {
        if (signal?.aborted === true) throw aborted(signal);
        count += page.length;
        if (count > this.#rowsMax) throw this.#tooLarge();
        for (let from = 0; from < page.length; from += CHUNK_ROWS) {
          const chunk = this.#driver.DuckDBDataChunk.create(types, CHUNK_ROWS);
          const part = page.slice(from, from + CHUNK_ROWS);
          chunk.setColumns(
            this.#columns.map(([name, , codec]) => part.map((row) => encoded(row, name, codec))),
          );
          appender.appendDataChunk(chunk);
        }
        appender.flushSync();
      }
      return count;
    } finally {
      appender.closeSync();
    }
  }

  async *#pages(signal: AbortSignal | undefined): AsyncIterable<readonly Row[]> {
    const from = this.#from;
    if (!('scan' in from)) {
      yield* from;
      return;
    }
    const options = { rowsMax: SCAN_ROWS, ...(signal === undefined ? {} : { signal }) };
    for await (const page of from.scan.scan(from.target, options)) yield page.map(({ row }) => row);
  }

  #tooLarge(): TallyError {
    return new TallyError('JOIN_TOO_LARGE', {
      what: `the extract has more than ${this.#rowsMax} rows`,
      where: `analyse.extracts.${this.#name}`,
      mend: 'take fewer rows, or build a projection: a flow into a columnar store, which is asked instead',
      details: { extract: this.#name, rowsMax: this.#rowsMax },
    });
  }
}

function encoded(row: Row, column: string, codec: ColumnCodec): unknown {
  const value = row[column];
  return value === undefined || value === null ? null : codec.encode(value, column);
}

async function answerOf(
  connection: DuckdbConnection,
  sql: string,
  resultMax: number,
): Promise<Omit<Analysis, 'extracted'>> {
  const result = await connection.stream(sql);
  const rows: (readonly unknown[])[] = [];
  for (;;) {
    const chunk = await result.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) return { columns: result.columnNames(), rows };
    if (rows.length + chunk.rowCount > resultMax)
      throw new TallyError('JOIN_TOO_LARGE', {
        what: `the answer has more than ${resultMax} rows`,
        where: 'analyse.sql',
        mend: 'aggregate or limit it, or raise resultMax',
        details: { resultMax },
      });
    rows.push(...chunk.getRows());
  }
}

function aborted(signal: AbortSignal): TallyError {
  return new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}
