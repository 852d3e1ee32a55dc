import { TallyError } from '../../core/errors.ts';

// The part of @duckdb/node-api that is called here, described so that no published type mentions it.
// driver.test.ts asserts that the real driver fits.

/** What a statement leaves behind. */
export interface DuckdbResult {
  readonly rowsChanged: number;
}

/** Rows of a statement, all of them read. */
export interface DuckdbReader extends DuckdbResult {
  getRows(): readonly (readonly unknown[])[];
}

/** Up to 2 048 rows, column by column. */
export interface DuckdbChunk {
  readonly rowCount: number;
  getRows(): readonly (readonly unknown[])[];
  setColumns(columns: readonly (readonly unknown[])[]): void;
}

/** Rows of a statement, read chunk by chunk. */
export interface DuckdbStream {
  columnNames(): readonly string[];
  fetchChunk(): Promise<DuckdbChunk | null>;
}

/** The bulk loader of one table. */
export interface DuckdbAppender {
  readonly columnCount: number;
  columnType(columnIndex: number): unknown;
  appendDataChunk(chunk: DuckdbChunk): void;
  flushSync(): void;
  closeSync(): void;
}

/** What may be bound to a statement here. */
export type DuckdbParameter = string | number | bigint | boolean | null;

/** The part of a connection of the official driver that is called here; the object itself is whole. */
export interface DuckdbConnection {
  run(sql: string, values?: DuckdbParameter[]): Promise<DuckdbResult>;
  runAndReadAll(sql: string, values?: DuckdbParameter[]): Promise<DuckdbReader>;
  stream(sql: string, values?: DuckdbParameter[]): Promise<DuckdbStream>;
  createAppender(
    table: string,
    schema?: string | null,
    catalog?: string | null,
  ): Promise<DuckdbAppender>;
  interrupt(): void;
  closeSync(): void;
}

/** An open database file. */
export interface DuckdbInstance {
  connect(): Promise<DuckdbConnection>;
  closeSync(): void;
}

/** The module itself. */
export interface DuckdbDriver {
  readonly DuckDBInstance: {
    fromCache(file: string, options?: Record<string, string>): Promise<DuckdbInstance>;
  };
  readonly DuckDBDataChunk: { create(types: readonly never[], rowCount?: number): DuckdbChunk };
  readonly DuckDBBlobValue: new (bytes: Uint8Array) => { readonly bytes: Uint8Array };
}

/** Loads the driver, which is an optional peer dependency. Throws DRIVER_MISSING. */
export async function loadDriver(
  load: () => Promise<unknown> = () => import('@duckdb/node-api'),
): Promise<DuckdbDriver> {
  try {
    return (await load()) as DuckdbDriver;
  } catch (cause) {
    throw new TallyError('DRIVER_MISSING', {
      what: 'the driver of DuckDB cannot be loaded',
      where: '@duckdb/node-api',
      mend: 'run `npm install @duckdb/node-api`',
      details: { package: '@duckdb/node-api' },
      cause,
    });
  }
}
