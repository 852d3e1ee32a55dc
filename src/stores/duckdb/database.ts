import { TallyError } from '../../core/errors.ts';
import { resolve } from 'node:path';
import {
  loadDriver,
  type DuckdbConnection,
  type DuckdbDriver,
  type DuckdbInstance,
  type DuckdbParameter,
} from './driver.ts';
import { duckdbError } from './errors.ts';

/** How a database file is opened. */
export interface DatabaseOptions {
  readonly file: string;
  readonly memoryLimit: string;
  readonly threads: number;
}

/** Rows as arrays of column values. */
export type Rows = readonly (readonly unknown[])[];

/**
 * One open database file: the application's connection, a connection for the coordinator's writes,
 * which take turns, and one for its short reads.
 */
export class Database {
  readonly file: string;
  readonly driver: DuckdbDriver;
  /** The application's own connection. */
  readonly client: DuckdbConnection;
  readonly #instance: DuckdbInstance;
  readonly #writer: DuckdbConnection;
  readonly #reader: DuckdbConnection;
  readonly #scans = new Set<DuckdbConnection>();
  #tail: Promise<void> = Promise.resolve();
  #open = true;

  constructor(
    file: string,
    driver: DuckdbDriver,
    instance: DuckdbInstance,
    connections: readonly [DuckdbConnection, DuckdbConnection, DuckdbConnection],
  ) {
    this.file = file;
    this.driver = driver;
    this.#instance = instance;
    [this.client, this.#writer, this.#reader] = connections;
  }

  /** Runs a statement of the transaction that is under way (see {@link transaction}). */
  async run(sql: string, values?: DuckdbParameter[]): Promise<number> {
    return (await this.#writer.run(sql, values)).rowsChanged;
  }

  /** Reads within the transaction that is under way. */
  async rows(sql: string, values?: DuckdbParameter[]): Promise<Rows> {
    return (await this.#writer.runAndReadAll(sql, values)).getRows();
  }

  /** Reads what is committed, on a connection of its own. */
  async read(sql: string, values?: DuckdbParameter[]): Promise<Rows> {
    this.assertOpen();
    return this.guard(async () => (await this.#reader.runAndReadAll(sql, values)).getRows());
  }

  /** The writing connection, for appenders; only within a transaction. */
  get writer(): DuckdbConnection {
    return this.#writer;
  }

  /** A connection for one long read; {@link endScan} closes it. */
  async beginScan(): Promise<DuckdbConnection> {
    this.assertOpen();
    const connection = await this.guard(() => this.#instance.connect());
    await connection.run(`SET TimeZone = 'UTC'`);
    this.#scans.add(connection);
    return connection;
  }

  endScan(connection: DuckdbConnection): void {
    if (this.#scans.delete(connection)) connection.closeSync();
  }

  /**
   * Runs `work` in a transaction after all earlier ones have ended. If it throws, everything is
   * rolled back and the error is thrown on. If COMMIT itself fails for another reason than a
   * conflict, whether it holds is unknown until the file is opened again: COMMIT_UNKNOWN. A result
   * that `keep` says no to is returned, and the transaction rolled back.
   */
  async transaction<Result>(
    work: () => Promise<Result>,
    keep: (result: Result) => boolean = () => true,
  ): Promise<Result> {
    return this.#exclusive(async () => {
      this.assertOpen();
      await this.guard(() => this.run('BEGIN TRANSACTION'));
      let result: Result;
      try {
        result = await work();
      } catch (error) {
        await this.#rollBack();
        throw duckdbError(error, this.file);
      }
      if (keep(result)) await this.#commit();
      else await this.#rollBack();
      return result;
    });
  }

  /** Runs `work`, turning failures of the store into TallyErrors. */
  async guard<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw duckdbError(error, this.file);
    }
  }

  assertOpen(): void {
    if (this.#open) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the database was used after it was closed',
      where: this.file,
      mend: 'open the store again, or stop its users before closing it',
    });
  }

  /** Waits for the transaction that is under way, then closes all connections. Idempotent. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#exclusive(async () => {
      for (const scan of this.#scans) scan.closeSync();
      this.#scans.clear();
      this.client.closeSync();
      this.#reader.closeSync();
      this.#writer.closeSync();
      this.#instance.closeSync();
      await Promise.resolve();
    });
  }

  async #commit(): Promise<void> {
    try {
      await this.run('COMMIT');
    } catch (error) {
      await this.#rollBack();
      const known = duckdbError(error, this.file);
      if (known instanceof TallyError && known.code === 'STORE_BUSY') throw known;
      throw new TallyError('COMMIT_UNKNOWN', {
        what: 'DuckDB answered COMMIT with an error',
        where: this.file,
        mend: 'ask for the checkpoint: data and checkpoint commit together',
        cause: known,
      });
    }
  }

  async #rollBack(): Promise<void> {
    // After some failures DuckDB has already ended the transaction; then there is nothing to undo.
    await this.run('ROLLBACK').catch(() => undefined);
  }

  async #exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const before = this.#tail;
    const turn = Promise.withResolvers<void>();
    this.#tail = turn.promise;
    try {
      await before;
      return await work();
    } finally {
      turn.resolve();
    }
  }
}

/** Opens the file, once per process however many stores name it. Throws STORE_BUSY, STORE_UNREACHABLE, STORE_CORRUPT, DRIVER_MISSING. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const driver = await loadDriver();
  const file = resolve(options.file);
  let instance: DuckdbInstance | undefined;
  try {
    // From the driver's cache: opening a file twice in one process past it would damage the file,
    // since the lock of the file system holds only between processes.
    instance = await driver.DuckDBInstance.fromCache(file, {
      memory_limit: options.memoryLimit,
      threads: String(options.threads),
      temp_directory: `${file}.tmp`,
      preserve_insertion_order: 'false',
    });
    const connections = [
      await instance.connect(),
      await instance.connect(),
      await instance.connect(),
    ] as const;
    for (const connection of connections) await connection.run(`SET TimeZone = 'UTC'`);
    return new Database(file, driver, instance, connections);
  } catch (error) {
    instance?.closeSync();
    throw duckdbError(error, file);
  }
}
