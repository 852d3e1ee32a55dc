import type { Operation } from '../core/change.ts';
import type { Key, Row } from '../core/row.ts';

/** What a source can and cannot do, as data: the planner reads it, the suite tests each answer. */
export interface SourceSupports {
  /** Updates and deletes carry the whole row before. */
  readonly beforeImages: boolean;
  /** Writes made by other programs are captured too. */
  readonly foreignWrites: boolean;
  /** Each transaction has a boundary of its own; if not, neighbouring ones may arrive as one. */
  readonly transactionBoundaries: 'each' | 'marked';
  /** A snapshot's rows and its position are exact: neither more nor less than the changes up to it. */
  readonly exactSnapshot: boolean;
}

/** A table as the source describes it. */
export interface TableShape {
  readonly name: string;
  /** The columns of the primary key, in order. */
  readonly key: readonly string[];
  readonly columns: readonly string[];
}

/**
 * Where capture has got to: the end of the last transaction that is durable in the log, and the
 * source's token for it, by which the source proves that its history is still the same.
 */
export interface SourceCursor {
  readonly offset: number;
  readonly token: string;
}

/**
 * What a source yields, in commit order: the changes of a transaction, then its commit. Row images
 * are canonical text (core/codec.ts), so that they reach the log without being decoded.
 */
export type SourceEntry =
  | {
      readonly kind: 'change';
      /**
       * The place of the transaction's commit: after the commit before it, and not after the offset of its own
       * commit entry, which is where the commit ends. The same for all changes of a transaction.
       */
      readonly offset: number;
      readonly ordinal: number;
      readonly table: string;
      readonly operation: Exclude<Operation, 'read'>;
      readonly key: string;
      readonly before: string | null;
      readonly after: string | null;
    }
  | {
      /**
       * What changed in a table here cannot be told row by row: it was truncated, or the source did not log what
       * a row was before. Flows that read the table take a snapshot from after this place; until then nothing
       * from here on is believed.
       */
      readonly kind: 'reread';
      readonly offset: number;
      readonly ordinal: number;
      readonly table: string;
      /** One clause for people, such as `TRUNCATE`. */
      readonly why: string;
    }
  | {
      /** The end of a transaction, or (with `changes` 0) a position up to which nothing is missing. */
      readonly kind: 'commit';
      readonly offset: number;
      readonly changes: number;
      readonly committedAtMs: number;
      readonly token: string;
    };

export interface StreamOptions {
  /** Start after this place; undefined starts at the oldest change that is still kept. */
  readonly after: SourceCursor | undefined;
  /** Upper bounds of one yielded batch. A transaction may span batches; a batch may hold many. */
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

/** Rows of one table as of one position. */
export interface SnapshotChunk {
  readonly table: string;
  readonly rows: readonly { readonly key: Key; readonly row: Row }[];
  /** The exact position of the snapshot session that read them: the same for all its chunks. */
  readonly at: number;
  /** Whether this was the last chunk of its table. */
  readonly tableDone: boolean;
  /**
   * Given if rows are only ever added to this table, and come in the order in which they were: what a projection puts
   * for a later row takes the place of what it put for an earlier one.
   */
  readonly inOrder?: true;
}

export interface SnapshotOptions {
  readonly tables: readonly string[];
  /** Resume: for each table, the last key read (exclusive), or 'done'. */
  readonly resume?: Readonly<Record<string, Key | 'done'>>;
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

/** What a source keeps for a capture. */
export interface Retained {
  readonly rows: number;
  readonly bytes: number;
  /** One clause, if the source is about to let go of it by itself, or has nothing that would stop it from growing. */
  readonly risk?: string;
}

/** What a transaction handed back, and what it left behind. */
export interface Committed<Result> {
  readonly value: Result;
  /** The offset of the commit, taken by the store itself after it, never by user SQL. */
  readonly offset: number;
  /** The history it was committed in, where the source can tell that as it commits. */
  readonly history?: string;
}

/** The newest commit of a source. */
export interface HeadInHistory {
  readonly offset: number;
  /** As in {@link Committed}. */
  readonly history?: string;
}

/**
 * A store that owns facts. One source is one lane. The engine calls `claim` under the capture's
 * lease, then `stream` from where the log ends; it acknowledges only what the log made durable.
 */
export interface Source<Tx> {
  readonly supports: SourceSupports;
  /**
   * Makes the named tables capturable (triggers, slot, publication) and describes them. Idempotent.
   * Throws TABLE_UNKNOWN (with the nearest name) or TABLE_UNSUPPORTED.
   */
  prepare(tables: readonly string[]): Promise<readonly TableShape[]>;
  /** The identity of the present history; another one after a restore, an upgrade, a re-creation. */
  history(): Promise<string>;
  /**
   * Whether the present history contains everything of the history `before` up to and with `cursor`: a standby
   * that was promoted after it had received that much. Answers the last offset that belongs to both, or undefined
   * if that is not certain. Not given: never.
   */
  continues?(before: string, cursor: SourceCursor): Promise<number | undefined>;
  /** The commit position of the newest transaction. */
  head(): Promise<number>;
  /** The same, with the history that it is of, where the source can tell that. Not given: `head()` is all it knows. */
  headInHistory?(): Promise<HeadInHistory>;
  /**
   * Registers the worker's lease epoch: from now on an acknowledgement of an older one, or its claim, throws
   * FENCED_OUT, with the newer epoch as `details.holder`.
   */
  claim(workerEpoch: number): Promise<void>;
  /**
   * Yields batches as they come, waiting when there is nothing, until the signal aborts (then it
   * returns). Throws HISTORY_LOST if what follows `after` is not there or not the same history.
   */
  stream(options: StreamOptions): AsyncIterable<readonly SourceEntry[]>;
  /** Everything up to `cursor` is durable in the log: the source may let go of it. Never moves back. */
  acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void>;
  /** Reads whole tables at one exact position. The session ends with the iteration. */
  snapshot(options: SnapshotOptions): AsyncIterable<SnapshotChunk>;
  /** The present rows of these keys and an exact position, for repairs; a missing row is null. */
  lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }>;
  /** Runs the application's own transaction and returns its result with the commit position. */
  write<Result>(work: (tx: Tx) => Result | Promise<Result>): Promise<Committed<Result>>;
  /** What it keeps because it was not acknowledged; rows 0 where only bytes can be told. */
  retained(): Promise<Retained>;
}
