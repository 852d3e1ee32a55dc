import type pg from 'pg';
import { isTallyError, must, TallyError } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import { point } from '../../../observe/point.ts';
import type {
  Committed,
  HeadInHistory,
  Retained,
  SnapshotChunk,
  SnapshotOptions,
  Source,
  SourceCursor,
  SourceEntry,
  StreamOptions,
  TableShape,
} from '../../../ports/source.ts';
import type { Database } from '../database.ts';
import { sourceSupports } from '../supports.ts';
import {
  addCaptured,
  checkClaim,
  claimCapture,
  ensureCapture,
  markProven,
  readCapture,
  readCaptured,
  renameHistory,
} from './capture-state.ts';
import { continuesHistory, readIdentity } from './history.ts';
import { endOffset, parseLsn } from './lsn.ts';
import { ensureIdentity, ensurePublication } from './publication.ts';
import { checkStandings, settleShapes, type Shapes } from './shape.ts';
import { ensureSlot, exclusively, releaseSlot } from './slot.ts';
import { lookUp, readSnapshot } from './snapshot.ts';
import { Streaming } from './streaming.ts';
import { inspectTables, type CapturedTable } from './table.ts';
import { readRetained } from './retained.ts';
import { RUN, Witness } from './witness.ts';
import { resolveTransaction, writeMeasured } from './write.ts';

/** What a source is made of. */
export interface SourceParts {
  readonly database: Database;
  readonly slot: string;
  readonly publication: string;
  /** Connections that read a snapshot side by side. */
  readonly readers: number;
  /** How far the slot may lag behind a busy server before a message of our own lets it move on. */
  readonly heartbeatBytes: number;
}

/** A PostgreSQL database as the owner of facts. `tx` is the driver's own client, within BEGIN and COMMIT. */
export interface PostgresSource extends Source<pg.PoolClient> {
  readonly supports: typeof sourceSupports;
  /** The names of the replication slot and the publication that capture uses. */
  readonly slot: string;
  readonly publication: string;
  /**
   * The evidence offset of a transaction that another client (an ORM) ran and whose id it returned:
   * `SELECT pg_current_xact_id()::text`, within the transaction. Waits until it has ended, at most `withinMs` (5 s).
   * Throws BARRIER_TIMEOUT if it is running still, INPUT_INVALID if it was rolled back or never begun.
   */
  resolve(
    xid: string | number | bigint,
    options?: { readonly withinMs?: number; readonly signal?: AbortSignal },
  ): Promise<number>;
  /** Writes a message of our own into the log, so that the slot of an idle table can move on in a busy server. */
  heartbeat(): Promise<void>;
  /** Ends waiting streams. Idempotent. */
  close(): void;
}

/** How long {@link PostgresSource.resolve} waits if it is not told. */
const RESOLVE_MS = 5_000;

/** The source side of a PostgreSQL database. Nothing is made in it before a table is prepared. */
export function openSource(parts: SourceParts): PostgresSource {
  return new OpenSource(parts);
}

class OpenSource implements PostgresSource {
  readonly supports: typeof sourceSupports = sourceSupports;
  readonly slot: string;
  readonly publication: string;
  readonly #parts: SourceParts;
  readonly #database: Database;
  readonly #streaming: Streaming;
  readonly #closed = new AbortController();
  readonly #witness: Witness;
  /** The tables of the flows, as they were when they were prepared. */
  #prepared: { readonly tables: readonly CapturedTable[]; readonly shapes: Shapes } = {
    tables: [],
    shapes: new Map(),
  };
  /** The epoch that this process registered last; a stream of an older worker must not start. */
  #workerEpoch: number | undefined;

  constructor(parts: SourceParts) {
    this.#parts = parts;
    this.#database = parts.database;
    this.slot = parts.slot;
    this.publication = parts.publication;
    this.#streaming = new Streaming(parts, () => this.heartbeat());
    this.#witness = new Witness(parts.database, parts.slot);
  }

  async prepare(tables: readonly string[]): Promise<readonly TableShape[]> {
    const database = this.#database;
    const { slot, publication } = this;
    const found = await inspectTables(database, tables);
    await ensureCapture(database);
    await exclusively(database, slot, async (session) => {
      await ensureIdentity(database, found);
      // Before the slot: it reads the publication as of each change, and one that is not there yet ends the stream.
      const captured = await readCaptured(database, slot);
      const published = await ensurePublication(database, publication, found, { slot, captured });
      point('capture.after-publication-before-slot');
      const how = published === 'made' ? 'anew' : 'keep';
      // The first transaction in the log is the first proof of the history: better one of our own at once.
      if (await ensureSlot(database, slot, session, how)) await this.heartbeat();
      point('capture.after-slot-before-tables');
      await addCaptured(database, slot, tables);
      const shapes = await settleShapes({ database, slot, publication }, found);
      // Whoever only opens the source to look prepares nothing.
      if (found.length > 0) this.#prepared = { tables: found, shapes };
    });
    return found.map(({ name, key, columns }) => ({
      name,
      key,
      columns: columns.map((column) => column.name),
    }));
  }

  async history(): Promise<string> {
    await this.#ensurePrepared();
    const { system, timeline } = await readIdentity(this.#database);
    const state = must(await readCapture(this.#database, this.slot), 'the record of the slot');
    const history = `${system}/${timeline}/${state.history}`;
    this.#witness.note(history);
    return history;
  }

  async continues(before: string, cursor: SourceCursor): Promise<number | undefined> {
    return continuesHistory(this.#database, before, await this.history(), cursor);
  }

  async head(): Promise<number> {
    const rows = await this.#database.query<{ lsn: string }>(
      'SELECT pg_current_wal_flush_lsn()::text AS lsn',
    );
    return endOffset(parseLsn(must(rows[0], 'the end of the log').lsn));
  }

  async headInHistory(): Promise<HeadInHistory> {
    const [row] = await this.#database.query<{ lsn: string; run: string }>(
      `SELECT pg_current_wal_flush_lsn()::text AS lsn, ${RUN} AS run`,
    );
    const { lsn, run } = must(row, 'the end of the log');
    const history = await this.#witness.historyOf(run, 'at once');
    return { offset: endOffset(parseLsn(lsn)), ...(history === undefined ? {} : { history }) };
  }

  async claim(workerEpoch: number): Promise<void> {
    await this.#ensurePrepared();
    await claimCapture(this.#database, this.slot, workerEpoch);
    this.#workerEpoch = workerEpoch;
    // Whoever streams now is of an older epoch, or a remnant of this process.
    await releaseSlot(this.#database, this.slot);
  }

  async *stream(options: StreamOptions): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    if (signal.aborted) return;
    // Whoever never claimed the slot only looks, and is ended by the next one who does.
    const workerEpoch = this.#workerEpoch ?? Number.MAX_SAFE_INTEGER;
    const { slot } = this;
    const state = await checkClaim(this.#database, slot, workerEpoch);
    const tables = await this.#captured();
    const onProven = (run: string): Promise<void> =>
      markProven(this.#database, slot, workerEpoch, run);
    try {
      yield* this.#streaming.read({ ...options, signal }, { state, tables, onProven });
    } catch (error) {
      if (isTallyError(error, 'HISTORY_LOST') && error.details['serves'] === 'another history')
        await renameHistory(this.#database, slot, workerEpoch, state).catch(() => undefined);
      throw error;
    }
  }

  async acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void> {
    const state = await checkClaim(this.#database, this.slot, workerEpoch);
    // Before the server may forget anything: what was not published cannot be asked for again.
    await checkStandings(this.#parts, this.#prepared.tables, this.#prepared.shapes);
    await this.#streaming.acknowledge(cursor, state);
  }

  async *snapshot(options: SnapshotOptions): AsyncGenerator<SnapshotChunk, void, undefined> {
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    yield* readSnapshot(this.#database, this.#parts.readers, { ...options, signal });
  }

  lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }> {
    return lookUp(this.#database, table, keys, this.#closed.signal);
  }

  async write<Result>(
    work: (tx: pg.PoolClient) => Result | Promise<Result>,
  ): Promise<Committed<Result>> {
    this.#assertOpen();
    const { value, offset, run } = await writeMeasured(this.#database, work);
    const history = await this.#witness.historyOf(run);
    return history === undefined ? { value, offset } : { value, offset, history };
  }

  retained(): Promise<Retained> {
    return readRetained(this.#database, this.slot);
  }

  resolve(
    xid: string | number | bigint,
    options: { readonly withinMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<number> {
    return resolveTransaction(this.#database, xid, { withinMs: RESOLVE_MS, ...options });
  }

  async heartbeat(): Promise<void> {
    await this.#database.query(`SELECT pg_logical_emit_message(true, 'tally', $1)`, [this.slot]);
  }

  close(): void {
    this.#closed.abort();
  }

  async #ensurePrepared(): Promise<void> {
    if ((await readCapture(this.#database, this.slot)) === undefined) await this.prepare([]);
  }

  /** What was ever prepared and is there still: the stream says of each change what the application calls its table. */
  async #captured(): ReturnType<typeof inspectTables> {
    const names = await readCaptured(this.#database, this.slot);
    const tables = await Promise.all(
      names.map((name) => inspectTables(this.#database, [name]).catch(gone)),
    );
    return tables.flat();
  }

  #assertOpen(): void {
    if (!this.#closed.signal.aborted) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the source was used after its store was closed',
      where: this.#database.where,
      mend: 'open the store again, or stop its users before closing it',
    });
  }
}

/** A table that was dropped, or lost its key, has nothing to say; whoever needs it is told by prepare(). */
function gone(error: unknown): [] {
  if (error instanceof TallyError && ['TABLE_UNKNOWN', 'TABLE_UNSUPPORTED'].includes(error.code))
    return [];
  throw error;
}
