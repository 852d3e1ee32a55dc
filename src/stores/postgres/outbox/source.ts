import type pg from 'pg';
import { must, TallyError } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import type {
  Committed,
  SnapshotChunk,
  SnapshotOptions,
  Source,
  SourceCursor,
  SourceEntry,
  SourceSupports,
  StreamOptions,
  TableShape,
} from '../../../ports/source.ts';
import type { Database } from '../database.ts';
import { readIdentity } from '../source/history.ts';
import { inspectTable } from '../source/table.ts';
import { writeMeasured } from '../source/write.ts';
import { placeAfterCommit } from './evidence.ts';
import { pruneAcknowledged } from './prune.ts';
import {
  messageColumnNames,
  messageColumns,
  FETCH_ROWS_FIRST,
  MessageEntries,
  messageOf,
  nextFetch,
  rowsMissing,
  type MessageRow,
} from './rows.ts';
import { Sequencer } from './sequencer.ts';
import { snapshotOf } from './snapshot.ts';
import {
  acknowledgeOutbox,
  claimOutbox,
  ensureOutbox,
  readOutbox,
  type OutboxState,
} from './state.ts';
import { outboxName, outboxSql } from './table.ts';

/** How often a waiting stream looks for messages of other processes. Those of this one are noticed at once. */
export const OUTBOX_POLL_MS = 50;
const OUTBOX_KEEP_MS: number = 7 * 24 * 3_600_000;
/** Acknowledgements come many times a second; nothing is lost if old rows stay some seconds longer. */
const PRUNE_EVERY_MS = 10_000;

/** What an outbox that is read by its own sequence can do as a source. */
export const outboxSupports: {
  readonly beforeImages: true;
  readonly foreignWrites: true;
  readonly transactionBoundaries: 'each';
  readonly exactSnapshot: true;
} & SourceSupports = {
  // There are only messages, which are placed once: nothing has an image before.
  beforeImages: true,
  // Those into the outbox; other tables are not looked at.
  foreignWrites: true,
  transactionBoundaries: 'each',
  exactSnapshot: true,
};

/** What the source is made of. */
export interface OutboxSourceParts {
  readonly database: Database;
  /** The outbox, as `outboxSql` takes it. */
  readonly table: string;
  /** How long messages stay in the table after they were captured. Default 7 days. */
  readonly keepMs?: number;
  readonly pollMs?: number;
}

/**
 * An outbox as a source, without logical replication: for servers that do not offer it. Messages get numbers without
 * gaps after their commit (see `sequencer.ts`), and those are their positions. What was deleted before it was
 * numbered was never there; a message that is deleted by somebody else before it was captured is HISTORY_LOST.
 */
export interface OutboxSource extends Source<pg.PoolClient> {
  readonly supports: typeof outboxSupports;
  /** See {@link Source.continues}: a promoted standby, as far as it has the messages. */
  continues(before: string, cursor: SourceCursor): Promise<number | undefined>;
  /** Numbers what was committed until now, for writes that other clients (an ORM) made: their evidence offset. */
  sequence(): Promise<number>;
  /** Ends waiting streams. Idempotent. */
  close(): void;
}

/** The source side of an outbox. Nothing is made before `prepare`. */
export function openOutboxSource(parts: OutboxSourceParts): OutboxSource {
  return new OpenOutboxSource(parts);
}

class OpenOutboxSource implements OutboxSource {
  readonly supports: typeof outboxSupports = outboxSupports;
  readonly #database: Database;
  readonly #table: string;
  readonly #sql: string;
  readonly #keepMs: number;
  readonly #pollMs: number;
  readonly #sequencer: Sequencer;
  readonly #closed = new AbortController();
  readonly #waiting = new Set<AbortController>();
  #workerEpoch = 0;
  #prepared: Promise<void> | undefined;
  /** What a run of the server says that its history is. */
  #seen: { readonly run: string; readonly history: string } | undefined;
  #prunedAtMs = -Infinity;

  constructor({
    database,
    table,
    keepMs = OUTBOX_KEEP_MS,
    pollMs = OUTBOX_POLL_MS,
  }: OutboxSourceParts) {
    this.#database = database;
    this.#table = table;
    this.#sql = outboxName(table).sql;
    this.#keepMs = keepMs;
    this.#pollMs = pollMs;
    this.#sequencer = new Sequencer(database, this.#sql, table);
  }

  async prepare(tables: readonly string[]): Promise<readonly TableShape[]> {
    const other = tables.find((name) => name !== this.#table);
    if (other !== undefined)
      throw new TallyError('TABLE_UNSUPPORTED', {
        what: `table '${other}' cannot be captured: this store reads its outbox '${this.#table}' only`,
        where: this.#database.where,
        mend: `place what the flow needs as messages into ${this.#table}, or leave out capture: 'outbox', which needs logical replication`,
        details: { table: other },
      });
    await this.#ready();
    return tables.map((name) => ({ name, key: ['id'], columns: messageColumnNames }));
  }

  async history(): Promise<string> {
    await this.#ready();
    const { system, timeline } = await readIdentity(this.#database);
    const history = `outbox/${system}/${timeline}/${(await this.#state()).history}`;
    if (this.#seen?.history !== history) this.#seen = undefined;
    return history;
  }

  /** Numbers are allotted in one order: a server that has the message of the cursor has all before it. */
  async continues(before: string, cursor: SourceCursor): Promise<number | undefined> {
    const [kind, system, timeline, id] = before.split('/');
    const now = (await this.history()).split('/');
    if (kind !== 'outbox' || system !== now[1] || id !== now[3]) return undefined;
    if (!(Number(now[2]) > Number(timeline))) return undefined;
    return (await this.#proof(cursor)) === 'same' ? cursor.offset : undefined;
  }

  async head(): Promise<number> {
    return this.sequence();
  }

  async sequence(): Promise<number> {
    await this.#ready();
    const newest = await this.#sequencer.sequence();
    for (const waiting of this.#waiting) waiting.abort();
    return newest;
  }

  async claim(workerEpoch: number): Promise<void> {
    await this.#ready();
    await claimOutbox(this.#database, this.#table, workerEpoch);
    this.#workerEpoch = workerEpoch;
  }

  async *stream(options: StreamOptions): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { after, rowsMax, bytesMax } = options;
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    if (signal.aborted) return;
    await claimOutbox(this.#database, this.#table, this.#workerEpoch);
    if (after !== undefined) await this.#prove(after);
    const entries = new MessageEntries(this.#table, this.#database.where, after?.offset);
    let fetch = Math.min(rowsMax, FETCH_ROWS_FIRST);
    // Whether everything committed has been numbered since rows were last found.
    let sequenced = false;
    while (!signal.aborted) {
      const wake = new AbortController();
      // Before the look: what is numbered while it runs is looked for again.
      this.#waiting.add(wake);
      try {
        const rows = await this.#read(entries.position ?? 0, fetch);
        const batch = rows.flatMap((row) => entries.take(row));
        if (rows.length < fetch) batch.push(...entries.end());
        if (signal.aborted) return;
        if (batch.length > 0) yield batch;
        fetch = nextFetch(rows, fetch, { rowsMax, bytesMax });
        if (rows.length > 0) sequenced = false;
        else if (sequenced) {
          await this.#pause(AbortSignal.any([signal, wake.signal]));
          // Who woke us has just numbered.
          sequenced = wake.signal.aborted;
        } else {
          await this.#sequencer.sequence();
          sequenced = true;
        }
      } finally {
        this.#waiting.delete(wake);
      }
    }
  }

  async acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void> {
    await acknowledgeOutbox(this.#database, this.#table, cursor.offset, workerEpoch);
    const nowMs = this.#database.clock.monotonicMs();
    if (nowMs - this.#prunedAtMs < PRUNE_EVERY_MS) return;
    this.#prunedAtMs = nowMs;
    const [first = '0'] = cursor.token.split('/');
    await pruneAcknowledged(this.#database, this.#sql, Number(first), this.#keepMs);
  }

  async *snapshot(options: SnapshotOptions): AsyncGenerator<SnapshotChunk, void, undefined> {
    await this.prepare(options.tables);
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    yield* snapshotOf(
      this.#database,
      { name: this.#table, sql: this.#sql },
      { ...options, signal },
    );
  }

  async lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }> {
    await this.prepare([table]);
    const ids = keys.map(([id]) => String(id));
    const at = await this.sequence();
    const rows = await this.#database.query<MessageRow>(
      `SELECT ${messageColumns} FROM ${this.#sql} WHERE id = ANY($1::text[]::uuid[]) AND seq <= $2`,
      [ids, at],
    );
    const found = new Map(rows.map((row) => [row.id, messageOf(row)]));
    return { at, rows: ids.map((id) => found.get(id) ?? null) };
  }

  async write<Result>(
    work: (tx: pg.PoolClient) => Result | Promise<Result>,
  ): Promise<Committed<Result>> {
    await this.#ready();
    const { value, run } = await writeMeasured(this.#database, work);
    return {
      value,
      offset: await placeAfterCommit(this.#database, () => this.sequence()),
      history: await this.#historyOf(run),
    };
  }

  async retained(): Promise<{ rows: number; bytes: number }> {
    const [row] = await this.#database.query<{ rows: number; bytes: number }>(
      `SELECT count(*) AS rows, coalesce(sum(pg_column_size(o.payload) + pg_column_size(o.headers)), 0)::int8 AS bytes
       FROM ${this.#sql} o WHERE o.seq IS NULL
         OR o.seq > (SELECT acknowledged FROM ${this.#database.schema}.outboxes WHERE name = $1)`,
      [this.#table],
    );
    return row ?? { rows: 0, bytes: 0 };
  }

  close(): void {
    this.#closed.abort();
  }

  #ready(): Promise<void> {
    this.#prepared ??= this.#make().catch((error: unknown) => {
      this.#prepared = undefined;
      throw error;
    });
    return this.#prepared;
  }

  async #make(): Promise<void> {
    const { columns } = await inspectTable(this.#database, this.#table);
    const names = new Set(columns.map(({ name }) => name));
    const missing = [...messageColumnNames, 'xact', 'seq'].filter((name) => !names.has(name));
    if (missing.length > 0)
      throw new TallyError('TABLE_UNSUPPORTED', {
        what: `the outbox '${this.#table}' lacks ${missing.join(', ')}`,
        where: this.#database.where,
        mend: `run, as the owner of the table: ${outboxSql({ table: this.#table, capture: 'outbox' })}`,
        details: { table: this.#table, missing },
      });
    await ensureOutbox(this.#database, this.#table);
  }

  async #state(): Promise<OutboxState> {
    return must(
      await readOutbox(this.#database, this.#table),
      `the record of the outbox ${this.#table}`,
    );
  }

  #read(after: number, limit: number): Promise<readonly MessageRow[]> {
    return this.#database.query<MessageRow>(
      `SELECT ${messageColumns} FROM ${this.#sql} WHERE seq > $1 ORDER BY seq LIMIT $2`,
      [after, limit],
    );
  }

  /** Whether the message at a cursor is the one that it was. */
  async #proof(cursor: SourceCursor): Promise<'same' | 'other' | 'absent'> {
    const [row] = await this.#database.query<{ xact: string }>(
      `SELECT xact::text AS xact FROM ${this.#sql} WHERE seq = $1`,
      [cursor.offset],
    );
    if (row === undefined) return 'absent';
    return cursor.token.endsWith(`/${row.xact}`) ? 'same' : 'other';
  }

  /** Throws HISTORY_LOST if what follows the cursor cannot be what followed it when it was captured. */
  async #prove(cursor: SourceCursor): Promise<void> {
    const { newest } = await this.#state();
    const proof = await this.#proof(cursor);
    if (newest >= cursor.offset && proof === 'same') return;
    if (newest >= cursor.offset && proof === 'absent')
      throw rowsMissing(this.#table, this.#database.where, cursor.offset, cursor.offset);
    throw new TallyError('HISTORY_LOST', {
      what: `message ${cursor.offset} of ${this.#table} is ${newest < cursor.offset ? 'not there any more' : 'another one than was captured'}: the database went back`,
      where: this.#database.where,
      mend: 'after a restore take a new snapshot: tally resnapshot',
      details: { offset: cursor.offset, newest },
    });
  }

  async #pause(wake: AbortSignal): Promise<void> {
    try {
      await this.#database.clock.sleep(this.#pollMs, wake);
    } catch (error) {
      if (!wake.aborted) throw error;
    }
  }

  /**
   * The history of what was committed in a run of the server: one that has failed over or was replaced since
   * numbers its messages anew. A history that cannot be told is none, and compares with nothing.
   */
  async #historyOf(run: string | undefined): Promise<string> {
    if (run !== undefined && this.#seen?.run === run) return this.#seen.history;
    try {
      const history = await this.history();
      if (run !== undefined) this.#seen = { run, history };
      return history;
    } catch {
      return 'unknown';
    }
  }
}
