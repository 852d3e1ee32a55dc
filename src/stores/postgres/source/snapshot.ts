import { isTallyError, TallyError } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import type { SnapshotChunk, SnapshotOptions } from '../../../ports/source.ts';
import type { Database } from '../database.ts';
import { isConnectionLost } from '../errors.ts';
import { exportSnapshot } from './exported-snapshot.ts';
import { endOffset } from './lsn.ts';
import { Reader } from './reader.ts';
import { inspectTable, inspectTables, type CapturedTable } from './table.ts';

/** Readers of one session that may be replaced: more losses than this are an outage, which the caller waits out. */
const REPLACED_MAX = 16;

/**
 * Reads whole tables as of one exact place, by several connections that all see the same snapshot.
 *
 * **Every reader is pinned before the connection that exported the snapshot goes**: after that nobody can be pinned
 * any more, except by one that is. So a reader that dies is replaced through another reader, never by a snapshot of
 * its own. Otherwise:
 *   1. a reader's connection breaks  2. its replacement takes a new snapshot  3. the rows it reads are newer than the
 *   place that they are stamped with, and a deletion between the two never reaches the target.
 */
export async function* readSnapshot(
  database: Database,
  readersMax: number,
  options: SnapshotOptions,
): AsyncGenerator<SnapshotChunk, void, undefined> {
  const tables = await inspectTables(database, options.tables);
  const work = tables
    .filter(({ name }) => options.resume?.[name] !== 'done')
    .map((table): Work => ({ table, after: resumeKey(options, table.name) }));
  if (work.length === 0 || options.signal.aborted) return;
  const { signal } = options;
  const session = await SnapshotSession.open(database, readersMax, signal).catch(
    (error: unknown) => {
      if (!isTallyError(error, 'ABORTED')) throw error;
    },
  );
  if (session === undefined) return;
  const close = (): void => void session.close();
  signal.addEventListener('abort', close);
  try {
    yield* session.read(work, options);
  } finally {
    signal.removeEventListener('abort', close);
    await session.close();
  }
}

/** The present rows of some keys, and the exact place that they are of. */
export async function lookUp(
  database: Database,
  name: string,
  keys: readonly Key[],
  signal: AbortSignal,
): Promise<{ at: number; rows: readonly (Row | null)[] }> {
  const table = await inspectTable(database, name);
  const session = await SnapshotSession.open(database, 1, signal);
  try {
    return { at: session.at, rows: await session.find(table, keys) };
  } finally {
    await session.close();
  }
}

/** What is left to read of a table. */
interface Work {
  readonly table: CapturedTable;
  after: Key | undefined;
}

/** What one turn of a reader came to. Never a rejection: nobody may be waiting for it yet. */
interface Turn {
  readonly reader: Reader;
  readonly work: Work;
  readonly page?: Awaited<ReturnType<Reader['page']>>;
  readonly error?: unknown;
}

class SnapshotSession {
  readonly at: number;
  readonly #database: Database;
  readonly #idle: Reader[];
  readonly #turns = new Map<Reader, Promise<Turn>>();
  #replaced = 0;
  #closed = false;

  private constructor(database: Database, at: number, readers: Reader[]) {
    this.#database = database;
    this.at = at;
    this.#idle = readers;
  }

  static async open(
    database: Database,
    readersMax: number,
    signal: AbortSignal,
  ): Promise<SnapshotSession> {
    await using exported = await exportSnapshot(database, signal);
    const opened = await Promise.allSettled(
      Array.from({ length: readersMax }, () => Reader.open(database, exported.snapshotName)),
    );
    const readers = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    // One is enough to read everything; the others make it faster.
    const failed = opened.find((one) => one.status === 'rejected');
    if (readers.length === 0) throw failed?.reason;
    return new SnapshotSession(database, endOffset(exported.consistentLsn), readers);
  }

  async find(table: CapturedTable, keys: readonly Key[]): Promise<readonly (Row | null)[]> {
    const [reader] = this.#idle;
    return reader === undefined || keys.length === 0 ? [] : reader.find(table, keys);
  }

  async *read(
    work: readonly Work[],
    options: SnapshotOptions,
  ): AsyncGenerator<SnapshotChunk, void, undefined> {
    const waiting = [...work];
    for (;;) {
      this.#start(waiting, options);
      if (this.#turns.size === 0) return;
      const turn = await Promise.race(this.#turns.values());
      this.#turns.delete(turn.reader);
      if (options.signal.aborted || this.#closed) return;
      const { reader, page } = turn;
      if (page === undefined) {
        await this.#replace(turn, options);
        waiting.unshift(turn.work);
        continue;
      }
      const { table } = turn.work;
      turn.work.after = page.rows.at(-1)?.key ?? turn.work.after;
      // The next page is read while this one is applied: one page for each reader is what is held in memory.
      if (page.done) this.#idle.push(reader);
      else this.#turns.set(reader, this.#turn(reader, turn.work, options));
      this.#start(waiting, options);
      yield { table: table.name, rows: page.rows, at: this.at, tableDone: page.done };
    }
  }

  /** Ends all connections. Idempotent; what is being read fails. */
  async close(): Promise<void> {
    this.#closed = true;
    const readers = [...this.#idle, ...this.#turns.keys()];
    this.#idle.length = 0;
    await Promise.all(readers.map((reader) => reader.close()));
  }

  #start(waiting: Work[], options: SnapshotOptions): void {
    while (this.#idle.length > 0 && waiting.length > 0) {
      const reader = this.#idle.shift() as Reader;
      const work = waiting.shift() as Work;
      this.#turns.set(reader, this.#beginning(reader, work, options));
    }
  }

  async #beginning(reader: Reader, work: Work, options: SnapshotOptions): Promise<Turn> {
    try {
      await reader.begin(work.table, work.after);
    } catch (error) {
      return { reader, work, error };
    }
    return this.#turn(reader, work, options);
  }

  async #turn(reader: Reader, work: Work, options: SnapshotOptions): Promise<Turn> {
    try {
      return { reader, work, page: await reader.page(options) };
    } catch (error) {
      return { reader, work, error };
    }
  }

  /** Another reader in place of one whose connection broke. Throws what it broke of if there is none to pin it to. */
  async #replace({ reader, error }: Turn, { signal }: SnapshotOptions): Promise<void> {
    await reader.close();
    if (!isConnectionLost(error) || this.#replaced === REPLACED_MAX) throw error;
    this.#replaced += 1;
    for (const other of [...this.#idle, ...this.#turns.keys()]) {
      // What it is reading comes first; its turn stays where it is, to be taken up afterwards.
      await this.#turns.get(other);
      try {
        this.#idle.push(await Reader.open(this.#database, await other.share()));
        return;
      } catch (failure) {
        if (signal.aborted) throw failure;
        // The server has no connection left: those that there are go on.
        if (!isConnectionLost(failure)) return;
      }
    }
    throw new TallyError('STORE_UNREACHABLE', {
      what: 'all connections that saw the snapshot broke',
      where: this.#database.where,
      mend: 'try again: what was not read yet is read in a new snapshot',
      cause: error,
    });
  }
}

function resumeKey(options: SnapshotOptions, table: string): Key | undefined {
  const from = options.resume?.[table];
  return from === 'done' ? undefined : from;
}
