import type { TallyError } from '../core/errors.ts';
import type { Identity, Position } from '../core/position.ts';
import type { Key } from '../core/row.ts';
import type { Write } from '../core/write.ts';

/** A kind of value that not every store keeps as it is; null, text and finite numbers every store does. */
export type ValueKind =
  'big' | 'bytes' | 'boolean' | 'negativeZero' | 'infinity' | 'nan' | 'list' | 'object';

export interface SinkSupports {
  /**
   * Kinds of value that readers of the target see altered (a boolean as 0 or 1), or that it refuses
   * with VALUE_UNSUPPORTED. Not given: none.
   */
  readonly alteredKinds?: readonly ValueKind[];
  /** False: the key 1 and the key '1' are one row. Not given: keys of different types never meet. */
  readonly typedKeys?: boolean;
  /**
   * `transactional`: the batch and the checkpoint commit together. `fenced`: each write is
   * refused by version, and the checkpoint is stored after the data.
   */
  readonly effect: 'transactional' | 'fenced';
  /** Compares (fence, ordinal); if false, a transaction must be collapsed per key before applying. */
  readonly ordinalFence: boolean;
  /** Keeps fold state in the same atomic unit as the batch. */
  readonly foldState: boolean;
  /** Can build a generation beside the running one and switch to it. */
  readonly switchOver: boolean;
  /** The largest row, as bytes of its canonical text. */
  readonly rowBytesMax: number;
  /** Writes in one batch that suit the store best, where that is not the engine's default. */
  readonly batchRowsPreferred?: number;
}

/** How far a flow has got in its target. Kept in the target, with the data or after it. */
export interface Checkpoint {
  /** The next log offset to read. */
  readonly log: number;
  /** The last record applied; what is at or below it is dropped. Undefined before the first one. */
  readonly last: Identity | undefined;
  /** The last transaction applied in full: what a barrier may believe. */
  readonly through: Position | undefined;
  /** A backfill that is under way or done. */
  readonly backfill: BackfillProgress | undefined;
}

export interface BackfillProgress {
  /**
   * `unswept`: every row has been read, in several sessions; what none of them saw is swept once the stream has
   * passed `atMax`.
   */
  readonly state: 'running' | 'unswept' | 'done';
  /** Per table, the last key applied, or 'done'. */
  readonly tables: Readonly<Record<string, Key | 'done'>>;
  /** The epoch of the stamps. */
  readonly epoch: number;
  /** The oldest and newest position that a session of this backfill was stamped with. */
  readonly atMin: number;
  readonly atMax: number;
  /** What the flow was declared to bring at the time: lane, tables and targets, as the engine's own text. */
  readonly plan?: string;
}

/** What a flow asks a target to hold. */
export interface TargetShape {
  readonly target: string;
  /** What the key is made of, for stores that name columns; undefined lets the store decide. */
  readonly key?: readonly string[];
}

export interface OpenSinkOptions {
  readonly flow: string;
  /** 1 for the first; a rebuild builds the next one beside it. */
  readonly generation: number;
  readonly targets: readonly TargetShape[];
  /**
   * The lease epoch of this worker: from now on the batches of an older one throw FENCED_OUT, with
   * the newer epoch as `details.holder`.
   */
  readonly workerEpoch: number;
}

/** A piece of fold state: canonical text by name, null to forget. */
export interface StateWrite {
  readonly name: string;
  readonly value: string | null;
}

/** Writes with distinct (target, key), and the checkpoint that holds once all of them are in. */
export interface SinkBatch {
  readonly writes: readonly Write[];
  readonly state: readonly StateWrite[];
  readonly checkpoint: Checkpoint;
}

export interface FailedWrite {
  /** The index in `writes`. */
  readonly index: number;
  readonly error: TallyError;
}

/**
 * What became of a batch. If `failed` is not empty the checkpoint has **not** moved: the engine
 * retries or parks those writes (durably), then applies the rest again; `applied` and `older` are
 * then not final and must not be counted.
 */
export interface SinkReport {
  readonly applied: number;
  /** Refused by the target because it already holds the same or a newer version. */
  readonly older: number;
  readonly failed: readonly FailedWrite[];
}

/** One flow's hold on its target. Calls never overlap. */
export interface SinkSession extends AsyncDisposable {
  /**
   * Aborts, with a retryable error, when the target turned out not to hold any more what this session applied: it
   * was restarted without its data, restored, or a replica that lacked the last writes took its place. The engine
   * then believes nothing of it, and opens another session. For stores that can be told so while nothing is applied.
   */
  readonly lost?: AbortSignal;
  /** As the target holds it now. */
  checkpoint(): Promise<Checkpoint | undefined>;
  /** Applies a batch exactly once in effect. Throws (retryable) if the outcome of all is unknown. */
  apply(batch: SinkBatch): Promise<SinkReport>;
  /** Fold state by name, in the order asked; null where there is none. Only with `foldState`. */
  readState(names: readonly string[]): Promise<readonly (string | null)[]>;
  /** Deletes rows of these targets whose fence is older than `before`, leaving tombstones at it; returns how many. */
  sweep(targets: readonly string[], before: Position): Promise<number>;
  /** Forgets tombstones older than `before`: nothing older can arrive any more. Returns how many. */
  prune(before: Position): Promise<number>;
  /** Empties this flow's generation: rows, tombstones, state and checkpoint. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** The side of a store that applies writes exactly once in effect. */
export interface Sink {
  readonly supports: SinkSupports;
  /**
   * Makes those targets that are not there, without taking any flow: where a target can be what another flow
   * captures, it has to be there before anything has been written to it. Throws CONFIG_INVALID.
   */
  prepare?(targets: readonly TargetShape[]): Promise<void>;
  /** Prepares the targets and fences older workers out. */
  open(options: OpenSinkOptions): Promise<SinkSession>;
  /** Which generation readers see; undefined before the first. */
  generation(flow: string): Promise<number | undefined>;
  /** Makes `to` the generation that readers see, atomically, and drops the one before. Idempotent. Only with `switchOver`. */
  switchTo(
    flow: string,
    to: number,
    targets: readonly TargetShape[],
    workerEpoch: number,
  ): Promise<void>;
  /** The checkpoint of a flow without opening it for writing (for barriers and status of another process). */
  peek(flow: string): Promise<Checkpoint | undefined>;
}
