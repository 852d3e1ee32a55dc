import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { TallyError } from '../../core/errors.ts';
import { sqliteError } from './errors.ts';

/** `FULL` survives the loss of power; `NORMAL` survives the loss of the process only. */
export type Synchronous = 'FULL' | 'NORMAL';

/** How long a statement waits for another writer before it throws STORE_BUSY. */
export const BUSY_TIMEOUT_MS = 5_000;

export interface ConnectionOptions {
  readonly file: string;
  /** Only reads; the file must exist. */
  readonly readOnly?: boolean;
  /** Default `FULL`. */
  readonly synchronous?: Synchronous;
  /** Default {@link BUSY_TIMEOUT_MS}. The wait blocks the thread: SQLite is called in it. */
  readonly busyTimeoutMs?: number;
}

/** One connection to a database file, in WAL mode, with foreign keys on. */
export interface Connection {
  readonly file: string;
  readonly database: DatabaseSync;
  /** A prepared statement, kept for the next call with the same text. */
  prepare(sql: string): StatementSync;
  /** {@link Connection.prepare}, for rows that arrive as arrays of column values. */
  prepareArrays(sql: string): StatementSync;
  exec(sql: string): void;
  /** Runs `work`, turning failures of the store into TallyErrors. */
  guard<Result>(work: () => Result): Result;
  /** Runs synchronous `work` in BEGIN IMMEDIATE … COMMIT; rolls back and rethrows if it throws. */
  transaction<Result>(work: () => Result): Result;
  /** Runs synchronous `work`, whose reads all see the same state of the database. */
  read<Result>(work: () => Result): Result;
  /**
   * Runs `work` when all earlier exclusive work has ended, so that a transaction with awaits in it
   * is never entered by somebody else. Every transaction on a shared connection goes through here.
   * Not re-entrant.
   */
  exclusive<Result>(work: () => Result | Promise<Result>): Promise<Result>;
  /** Idempotent. */
  close(): void;
}

/**
 * Opens a connection. Throws STORE_UNREACHABLE if the file cannot be opened, STORE_CORRUPT if it is
 * not a database, STORE_BUSY if somebody holds it exclusively.
 */
export function openConnection(options: ConnectionOptions): Connection {
  const { file, readOnly = false, synchronous = 'FULL', busyTimeoutMs = BUSY_TIMEOUT_MS } = options;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, {
      readOnly,
      timeout: busyTimeoutMs,
      enableForeignKeyConstraints: true,
    });
    if (!readOnly) database.exec('PRAGMA journal_mode = WAL');
    database.exec(`PRAGMA synchronous = ${synchronous}`);
    // The first read of the file: a file of another kind is found here, not in the middle of work.
    database.prepare('PRAGMA schema_version').get();
    return new OpenConnection(file, database);
  } catch (error) {
    database?.close();
    throw sqliteError(error, file);
  }
}

/** Statements kept prepared per connection; the oldest goes first. */
const STATEMENTS_MAX = 256;

class OpenConnection implements Connection {
  readonly file: string;
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #tail: Promise<void> | undefined;

  constructor(file: string, database: DatabaseSync) {
    this.file = file;
    this.database = database;
  }

  prepare(sql: string): StatementSync {
    return this.#prepared(sql, 'rows');
  }

  prepareArrays(sql: string): StatementSync {
    return this.#prepared(sql, 'arrays');
  }

  exec(sql: string): void {
    this.#assertOpen();
    this.guard(() => this.database.exec(sql));
  }

  guard<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw sqliteError(error, this.file);
    }
  }

  transaction<Result>(work: () => Result): Result {
    this.#assertOpen();
    return this.guard(() => {
      this.prepare('BEGIN IMMEDIATE').run();
      try {
        const result = work();
        this.prepare('COMMIT').run();
        return result;
      } catch (error) {
        // SQLite has already rolled back after some failures (a full disk); then there is nothing to undo.
        if (this.database.isTransaction) this.prepare('ROLLBACK').run();
        throw error;
      }
    });
  }

  read<Result>(work: () => Result): Result {
    this.#assertOpen();
    return this.guard(() => {
      this.prepare('BEGIN').run();
      try {
        return work();
      } finally {
        if (this.database.isTransaction) this.prepare('COMMIT').run();
      }
    });
  }

  async exclusive<Result>(work: () => Result | Promise<Result>): Promise<Result> {
    const before = this.#tail;
    if (before === undefined) {
      const result = work();
      // Nearly all work is synchronous: it is over before anybody else could ask.
      if (!(result instanceof Promise)) return result;
      return this.#holding(() => result);
    }
    return this.#holding(async () => {
      await before;
      return work();
    });
  }

  close(): void {
    if (!this.database.isOpen) return;
    this.#statements.clear();
    this.database.close();
  }

  async #holding<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = Promise.withResolvers<void>();
    this.#tail = turn.promise;
    try {
      return await work();
    } finally {
      if (this.#tail === turn.promise) this.#tail = undefined;
      turn.resolve();
    }
  }

  #prepared(sql: string, shape: 'rows' | 'arrays'): StatementSync {
    const name = shape === 'rows' ? sql : `arrays:${sql}`;
    const known = this.#statements.get(name);
    if (known !== undefined) return known;
    this.#assertOpen();
    const statement = this.guard(() => this.database.prepare(sql));
    if (shape === 'arrays') statement.setReturnArrays(true);
    if (this.#statements.size >= STATEMENTS_MAX) {
      const oldest = this.#statements.keys().next();
      if (oldest.done !== true) this.#statements.delete(oldest.value);
    }
    this.#statements.set(name, statement);
    return statement;
  }

  #assertOpen(): void {
    if (this.database.isOpen) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the database was used after it was closed',
      where: this.file,
      mend: 'open the store again, or stop its users before closing it',
    });
  }
}
