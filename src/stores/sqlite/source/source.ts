import type { DatabaseSync } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import type {
  Committed,
  SnapshotChunk,
  SnapshotOptions,
  Source,
  SourceCursor,
  SourceEntry,
  StreamOptions,
  TableShape,
} from '../../../ports/source.ts';
import { openConnection, type Connection, type Synchronous } from '../connection.ts';
import { sourceSupports } from '../supports.ts';
import { pruneChanges, recordAcknowledged } from './acknowledge.ts';
import { fencedOut, Keeper } from './keeper.ts';
import { readAtMark } from './marks.ts';
import { capturedTables, prepareTables, reinstall, uninstall } from './prepare.ts';
import {
  ensureSchema,
  hasCapture,
  newestSeq,
  readNumber,
  readText,
  writeSetting,
} from './schema.ts';
import { lookUp, readSnapshot } from './snapshot.ts';
import { streamChanges } from './stream.ts';
import { Waker } from './waker.ts';
import { writeMarked } from './write.ts';

/**
 * How often a waiting stream looks for writes of other programs: one PRAGMA data_version, some
 * microseconds, 20 times a second. Writes through the same store object are noticed at once.
 */
export const POLL_MS = 50;

/** An SQLite file as the owner of facts. */
export interface SqliteSource extends Source<DatabaseSync> {
  /**
   * Changes the definition of captured tables, in one transaction: takes their triggers off, runs `work`,
   * puts the triggers back for the new shape. For what SQLite refuses while a trigger names a column
   * (DROP COLUMN) and for migrations that copy a table and rename the copy. Rows that `work` itself
   * changes are **not** captured: change rows in `write()`, and rebuild flows that need the new columns.
   * Throws TABLE_UNSUPPORTED, and changes nothing, if a table could not be captured afterwards.
   */
  alter(tables: readonly string[], work: (database: DatabaseSync) => void): Promise<void>;
  /** Ends waiting streams and closes the connections of capture. Idempotent. */
  close(): void;
}

/** What a source is made of. `connection` is shared with the application and the other ports. */
export interface SourceParts {
  readonly connection: Connection;
  readonly synchronous: Synchronous;
  readonly clock: Clock;
  readonly random: Random;
  readonly pollMs: number;
}

/** The source side of an SQLite file. Opens its own connections at first use. */
export function openSource(parts: SourceParts): SqliteSource {
  return new OpenSource(parts);
}

class OpenSource implements SqliteSource {
  readonly supports: typeof sourceSupports = sourceSupports;
  readonly #parts: SourceParts;
  readonly #waker: Waker;
  readonly #closed = new AbortController();
  #hasSchema = false;
  /** The offset of the last write() of this object; other writers may have gone further. */
  #lastMark = 0;
  #keeper: Keeper | undefined;
  #reader: Connection | undefined;

  constructor(parts: SourceParts) {
    this.#parts = parts;
    this.#waker = new Waker(parts.clock);
  }

  async prepare(tables: readonly string[]): Promise<readonly TableShape[]> {
    return this.#keep((connection) => prepareTables(connection, tables, this.#parts.random));
  }

  async history(): Promise<string> {
    await this.#ensure();
    return readText(this.#read(), 'history');
  }

  async head(): Promise<number> {
    await this.#ensure();
    return newestSeq(this.#read());
  }

  async claim(workerEpoch: number): Promise<void> {
    await this.#ensure();
    await this.#keep((connection) =>
      connection.transaction(() => {
        const holder = readNumber(connection, 'worker_epoch');
        if (workerEpoch < holder) throw fencedOut(workerEpoch, holder);
        writeSetting(connection, 'worker_epoch', workerEpoch);
      }),
    );
  }

  async *stream(options: StreamOptions): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    await this.#ensure();
    const reader = openConnection({ file: this.#parts.connection.file, readOnly: true });
    try {
      const signal = AbortSignal.any([options.signal, this.#closed.signal]);
      const { clock, random, pollMs } = this.#parts;
      const parts = { reader, keeper: this.#keeping(), waker: this.#waker, clock, random, pollMs };
      yield* streamChanges(parts, { ...options, signal });
    } finally {
      reader.close();
    }
  }

  async acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void> {
    await this.#ensure();
    const moved = await this.#keep((connection) =>
      recordAcknowledged(connection, cursor, workerEpoch),
    );
    if (!moved) return;
    while (await this.#keep((connection) => pruneChanges(connection, cursor.offset))) {
      // Other work gets its turn between two chunks.
      await this.#parts.clock.sleep(0);
    }
  }

  async *snapshot(options: SnapshotOptions): AsyncGenerator<SnapshotChunk, void, undefined> {
    await this.#ensure();
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    const { connection, clock } = this.#parts;
    const { reader, at } = await readAtMark(connection.file, this.#keeping(), clock);
    try {
      yield* readSnapshot(reader, at, { ...options, signal });
    } finally {
      reader.close();
    }
  }

  async lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }> {
    await this.#ensure();
    const { connection, clock } = this.#parts;
    const { reader, at } = await readAtMark(connection.file, this.#keeping(), clock);
    try {
      return { at, rows: reader.guard(() => lookUp(reader, table, keys)) };
    } finally {
      reader.close();
    }
  }

  async write<Result>(
    work: (tx: DatabaseSync) => Result | Promise<Result>,
  ): Promise<Committed<Result>> {
    const { connection, clock, random } = this.#parts;
    const committed = await connection.exclusive(() => {
      if (!this.#hasSchema) ensureSchema(connection, random);
      this.#hasSchema = true;
      return writeMarked(connection, clock, work, this.#lastMark);
    });
    this.#lastMark = committed.offset;
    this.#waker.wake();
    return committed;
  }

  async alter(tables: readonly string[], work: (database: DatabaseSync) => void): Promise<void> {
    await this.#ensure();
    await this.#keep((connection) =>
      connection.transaction(() => {
        const known = capturedTables(connection).map((captured) => captured.table.name);
        const unknown = tables.find((table) => !known.includes(table));
        if (unknown !== undefined) {
          throw new TallyError('TABLE_UNKNOWN', {
            what: `table '${unknown}' is not captured`,
            mend: `alter it as it is, or name one of: ${known.join(', ')}`,
          });
        }
        uninstall(connection, tables);
        work(connection.database);
        reinstall(connection, tables);
      }),
    );
  }

  async retained(): Promise<{ rows: number; bytes: number }> {
    await this.#ensure();
    const reader = this.#read();
    return reader.read(() => retainedRows(reader));
  }

  close(): void {
    this.#closed.abort();
    this.#waker.wake();
    this.#keeper?.close();
    this.#reader?.close();
  }

  async #ensure(): Promise<void> {
    this.#assertOpen();
    if (this.#hasSchema) return;
    if (!hasCapture(this.#parts.connection)) {
      await this.#keep((keeper) => ensureSchema(keeper, this.#parts.random));
    }
    this.#hasSchema = true;
  }

  #assertOpen(): void {
    if (!this.#closed.signal.aborted) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the source was used after its store was closed',
      where: this.#parts.connection.file,
      mend: 'open the store again, or stop its users before closing it',
    });
  }

  #keep<Result>(work: (connection: Connection) => Result): Promise<Result> {
    return this.#keeping().run(work);
  }

  #keeping(): Keeper {
    this.#assertOpen();
    const { connection, synchronous, clock } = this.#parts;
    this.#keeper ??= new Keeper(connection.file, synchronous, clock);
    return this.#keeper;
  }

  #read(): Connection {
    this.#reader ??= openConnection({ file: this.#parts.connection.file, readOnly: true });
    return this.#reader;
  }
}

/** Rows whose size is looked at for the estimate of bytes. */
const SAMPLE_ROWS = 1_000;

/** Exact in rows; the bytes are those of a sample of the oldest rows, scaled. */
function retainedRows(connection: Connection): { rows: number; bytes: number } {
  const acknowledged = readNumber(connection, 'acknowledged');
  const rows = Math.max(0, newestSeq(connection) - acknowledged);
  if (rows === 0) return { rows, bytes: 0 };
  const sample = connection
    .prepare(
      `SELECT count(*) AS n, total(octet_length(key) + coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0)) AS bytes
       FROM (SELECT key, before, after FROM _tally_changes WHERE seq > ? ORDER BY seq LIMIT ?)`,
    )
    .get(acknowledged, SAMPLE_ROWS);
  const perRow = Number(sample?.['bytes'] ?? 0) / Math.max(1, Number(sample?.['n'] ?? 0));
  return { rows, bytes: Math.round(perRow * rows) };
}
