import type { Identity } from '../core/position.ts';

/**
 * One record of the log. `payload` is text: for a change, the JSON of {@link ChangePayload}; for a
 * commit, that of {@link CommitPayload}. A commit's ordinal is the number of changes before it.
 */
export interface LogRecord extends Identity {
  readonly kind: 'change' | 'commit';
  readonly payload: string;
}

/** Records in order; record `i` has the log offset `first + i`. */
export interface LogBatch {
  readonly first: number;
  /** The log offset after the last record. */
  readonly next: number;
  readonly records: readonly LogRecord[];
}

/** What the log ends with: the base of idempotent appending. */
export interface LogTail {
  /** The log offset that the next record gets. */
  readonly next: number;
  /** The identity of the last record; undefined if the log never held one. */
  readonly last: Identity | undefined;
  /** The last commit record, with its payload; undefined if the log never held one. */
  readonly commit: LogRecord | undefined;
}

export interface ReadOptions {
  /** The first log offset wanted. Throws LOG_TRUNCATED if retention has passed it. */
  readonly from: number;
  readonly recordsMax: number;
  readonly bytesMax: number;
  /** Aborting ends a wait for records that are not there yet: the answer is then an empty batch. */
  readonly signal: AbortSignal;
}

export interface LogSupports {
  /** An appended record survives the loss of power, not only of the process. */
  readonly durable: boolean;
}

/** Opens for appending under a lease epoch. Whoever had an older epoch can no longer be read from. */
export interface LogAppender extends AsyncDisposable {
  readonly tail: LogTail;
  /**
   * Appends in order; resolves when durable. Concurrent calls share one flush, in call order.
   * Throws LOG_FULL at the byte bound (nothing of the call is kept), STORE_FULL when the disk is,
   * FENCED_OUT when a newer appender was opened.
   */
  append(records: readonly LogRecord[]): Promise<{ readonly next: number }>;
  close(): Promise<void>;
}

/** The one ordered, durable journal of one source's changes. */
export interface Log extends AsyncDisposable {
  readonly supports: LogSupports;
  /** Throws FENCED_OUT, with the greater epoch as `details.holder`, if an appender was opened under one. */
  openAppender(workerEpoch: number): Promise<LogAppender>;
  /**
   * Waits for at least one record at `from`, then returns up to the bounds. A log that may have lost its last
   * records goes on at a higher offset: `first` of the batch is then beyond `from`, and nothing was in between.
   */
  read(options: ReadOptions): Promise<LogBatch>;
  /** The oldest log offset kept, the next one to be written, and the bytes in between. */
  extent(): Promise<{ readonly first: number; readonly next: number; readonly bytes: number }>;
  /** Lets go of records before `offset`, in whole segments; keeps the last commit for `tail`. */
  release(before: number): Promise<void>;
  close(): Promise<void>;
}

/** The JSON of a change record's payload; row images are nested canonical texts, unescaped. */
export interface ChangePayload {
  /** table */
  readonly t: string;
  /** operation: create, update, delete; or that the whole table has to be read again */
  readonly o: 'c' | 'u' | 'd' | 'x';
  /** key */
  readonly k: unknown;
  /** before, after */
  readonly b: unknown;
  readonly a: unknown;
}

/** The JSON of a commit record's payload. */
export interface CommitPayload {
  /** number of changes */
  readonly n: number;
  /** committed at, milliseconds since 1970 by the source's clock */
  readonly at: number;
  /** the source's token of this place */
  readonly tok: string;
}
