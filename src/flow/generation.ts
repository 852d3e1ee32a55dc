import { isTallyError } from '../core/errors.ts';
import type { Identity, Position } from '../core/position.ts';
import type { Write } from '../core/write.ts';
import { point } from '../observe/point.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log, LogBatch, LogRecord } from '../ports/log.ts';
import type {
  BackfillProgress,
  Checkpoint,
  Sink,
  SinkReport,
  SinkSession,
  StateWrite,
  TargetShape,
} from '../ports/sink.ts';
import type { Source } from '../ports/source.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { HeldLease } from '../runtime/lease.ts';
import { prepareBatch, type Prepared } from './batch.ts';
import type { FlowDefinition } from './definition.ts';
import { descends, type Epoch } from './epochs.ts';
import { BatchState } from './fold-state.ts';
import { ParkedWork, parkedChange, targetUnit } from './parked.ts';
import { TombstoneHorizon } from './tombstone-horizon.ts';

/** Records in one batch, unless the flow or its sink knows better. */
const BATCH_ROWS_DEFAULT = 1_000;
/**
 * Bytes of payload in one batch: with the rows, the bound of a flow's memory. A batch is held about ten
 * times (text and values, this one and the next); one that was asked to have many rows may have more bytes.
 */
const BATCH_BYTES_DEFAULT = 1024 * 1024;
const BATCH_BYTES_PER_ROW = 512;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 2_000;

/** What a flow needs to run; the same for its running generation and one that is built beside it. */
export interface FlowParts {
  readonly name: string;
  readonly definition: FlowDefinition;
  /** The lane, which is the name of the source's store. */
  readonly lane: string;
  readonly source: Source<unknown>;
  readonly sink: Sink;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: FlowObserver;
}

/** What a flow tells the screens and the barriers. */
export interface FlowObserver {
  state(state: FlowState): void;
  applied(report: {
    readonly applied: number;
    readonly older: number;
    readonly changes: number;
    readonly committedAtMs: readonly number[];
  }): void;
  progress(
    checkpoint: Checkpoint,
    parkedUnits: readonly string[],
    throughAtMs: number | undefined,
  ): void;
  parked(size: number): void;
}

export type FlowState = 'starting' | 'backfilling' | 'streaming' | 'rebuilding';

/** Why a stream of batches came to its end. */
export type StreamEnd = 'aborted' | 'new-epoch' | 'reread' | 'asked';

/** The targets of a flow, as its sink wants to know them. */
export function targetShapes(definition: FlowDefinition): readonly TargetShape[] {
  return definition.into.map((target) => ({ target }));
}

/** The bounds of one batch for a flow's target, whether it comes from the log or from a snapshot. */
export function batchBounds({ definition, sink }: Pick<FlowParts, 'definition' | 'sink'>): {
  readonly rowsMax: number;
  readonly bytesMax: number;
} {
  const rowsMax = definition.batchRows ?? sink.supports.batchRowsPreferred ?? BATCH_ROWS_DEFAULT;
  const bytesMax = Math.max(BATCH_BYTES_DEFAULT, rowsMax * BATCH_BYTES_PER_ROW);
  return { rowsMax, bytesMax: Math.min(bytesMax, BATCH_BYTES_MAX) };
}

/** One generation of a flow: a session on its target, its checkpoint and its parked work. */
export class Generation implements AsyncDisposable {
  readonly number: number;
  readonly parts: FlowParts;
  readonly session: SinkSession;
  readonly parked: ParkedWork;
  /** How the epochs of the lane follow one another, as the ledger said when the flow last looked. */
  forks: Epoch['forks'] = [];
  readonly #horizon = new TombstoneHorizon();
  #checkpoint: Checkpoint | undefined;

  private constructor(
    parts: FlowParts,
    number: number,
    session: SinkSession,
    parked: ParkedWork,
    checkpoint: Checkpoint | undefined,
  ) {
    this.parts = parts;
    this.number = number;
    this.session = session;
    this.parked = parked;
    this.#checkpoint = checkpoint;
  }

  static async open(parts: FlowParts, number: number, lease: HeldLease): Promise<Generation> {
    const { name, definition, ledger, clock, sink } = parts;
    // Parked work is known before anything is applied: see ParkedWork.
    const parked = await ParkedWork.load({
      ledger,
      clock,
      flow: name,
      generation: number,
      parkedMax: definition.parkedMax,
      guard: lease.guard,
    });
    const session = await sink.open({
      flow: name,
      generation: number,
      targets: targetShapes(definition),
      workerEpoch: lease.epoch,
    });
    try {
      return new Generation(parts, number, session, parked, await session.checkpoint());
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** As the target holds it. */
  get checkpoint(): Checkpoint | undefined {
    return this.#checkpoint;
  }

  /**
   * Applies batches of the log until the signal aborts, a record of a newer epoch comes (the rows before
   * it must be compared with the source first) or one that asks for a table to be read again, `asked` aborts because somebody wants the flow to pause, or
   * `until` answers true after a batch.
   */
  async stream(
    signal: AbortSignal,
    pause: { readonly asked?: AbortSignal; readonly until?: () => boolean },
  ): Promise<StreamEnd> {
    const ending = new AbortController();
    const waiting = AbortSignal.any([
      signal,
      ending.signal,
      ...(pause.asked === undefined ? [] : [pause.asked]),
      ...(this.session.lost === undefined ? [] : [this.session.lost]),
    ]);
    let reading = this.#read(this.#checkpoint?.log ?? 0, waiting);
    try {
      for (;;) {
        const batch = await reading;
        if (signal.aborted) return 'aborted';
        this.#checkHeld();
        // The next batch is read while this one is applied; both are bounded.
        reading = this.#read(batch.next, waiting);
        reading.catch(() => undefined);
        const ends = batch.records.length === 0 ? undefined : await this.#apply(batch, signal);
        if (ends !== undefined) return ends;
        if (pause.asked?.aborted === true || pause.until?.() === true) return 'asked';
      }
    } catch (error) {
      this.#checkHeld();
      throw error;
    } finally {
      ending.abort();
    }
  }

  /** Applies writes under a checkpoint; what the target refuses for good is parked first. */
  async applyWrites(
    batch: {
      readonly writes: readonly Write[];
      readonly origins: readonly LogRecord[];
      readonly state: readonly StateWrite[];
      readonly checkpoint: Checkpoint;
    },
    signal: AbortSignal,
  ): Promise<SinkReport> {
    let { writes, origins } = batch;
    for (let attempt = 1; ; attempt += 1) {
      const report = await this.session.apply({
        writes,
        state: batch.state,
        checkpoint: batch.checkpoint,
      });
      if (report.failed.length === 0) {
        point('flow.after-apply-before-progress');
        this.#checkpoint = batch.checkpoint;
        return report;
      }
      const final = report.failed.filter(
        ({ error }) => !error.retryable || attempt >= this.parts.definition.attemptsMax,
      );
      if (final.length === 0) {
        await this.parts.clock.sleep(
          backoffMs(
            attempt,
            { firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, factor: 2 },
            this.parts.random,
          ),
          signal,
        );
        continue;
      }
      await this.#park(final, writes, origins);
      const failed = new Set(final.map(({ index }) => index));
      origins = origins.filter((_, index) => !failed.has(index));
      writes = writes.filter((_, index) => !failed.has(index));
    }
  }

  /** Stores a checkpoint without writes. */
  async moveCheckpoint(checkpoint: Checkpoint): Promise<void> {
    await this.session.apply({ writes: [], state: [], checkpoint });
    this.#checkpoint = checkpoint;
  }

  /** Deletes what no session of a backfill saw, and no change has touched since. */
  async sweep({ epoch, atMin }: BackfillProgress): Promise<void> {
    const { into, deletes } = this.parts.definition;
    if (deletes === 'carry') await this.session.sweep(into, { epoch, offset: atMin });
  }

  /**
   * Reads on at the end of a log that ends before the checkpoint, and answers whether it did: it was lost, and
   * what comes will be written there. What had been applied is known by its identity: nothing is applied twice.
   */
  rewind(logNext: number): boolean {
    if (this.#checkpoint === undefined || this.#checkpoint.log <= logNext) return false;
    this.#checkpoint = { ...this.#checkpoint, log: logNext };
    return true;
  }

  /** Empties the target and forgets the checkpoint. */
  async reset(): Promise<void> {
    await this.session.reset();
    this.#checkpoint = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }

  /** Throws if the target has lost what was applied; before that, barriers hear that nothing is certain. */
  #checkHeld(): void {
    const { lost } = this.session;
    if (lost?.aborted !== true) return;
    if (this.#checkpoint !== undefined)
      this.parts.observer.progress(
        { ...this.#checkpoint, through: undefined },
        this.parked.units(),
        undefined,
      );
    throw lost.reason as Error;
  }

  #read(from: number, signal: AbortSignal): Promise<LogBatch> {
    const { rowsMax, bytesMax } = batchBounds(this.parts);
    return this.parts.log.read({ from, recordsMax: rowsMax, bytesMax, signal });
  }

  /** Applies one batch, up to the record that ends the stream, if there is one; answers why it does. */
  async #apply(batch: LogBatch, signal: AbortSignal): Promise<Prepared['ends']> {
    const before = this.#checkpoint;
    const prepared = await this.#prepare(batch, before?.last);
    const checkpoint = swept({
      log: batch.first + prepared.taken,
      last: prepared.last,
      through: throughOf(prepared.through, before),
      backfill: before?.backfill,
    });
    await this.parked.park(prepared.parked);
    if (prepared.parked.length > 0) point('flow.after-park-before-apply');
    // The sweep comes after the writes and before the checkpoint that says so. A crash in between costs only that
    // the batch and the sweep come again, which changes nothing: rows in several sessions are never folded.
    const sweeping = before?.backfill?.state === 'unswept' && checkpoint.backfill?.state === 'done';
    const report = await this.applyWrites(
      { ...prepared, checkpoint: sweeping ? before : checkpoint },
      signal,
    );
    if (sweeping) {
      await this.sweep(before.backfill);
      await this.moveCheckpoint(checkpoint);
    }
    const { observer } = this.parts;
    observer.applied({
      applied: report.applied,
      older: report.older,
      changes: prepared.changes,
      committedAtMs: prepared.committedAtMs,
    });
    observer.parked(this.parked.size);
    observer.progress(checkpoint, this.parked.units(), prepared.committedAtMs.at(-1));
    await this.#prune(checkpoint);
    return prepared.ends;
  }

  /** Forgets old tombstones; none while something is parked, since it comes with the fence it had. */
  async #prune({ through }: Checkpoint): Promise<void> {
    if (through === undefined || this.parked.size > 0) return;
    const before = this.#horizon.note(this.parts.clock.monotonicMs(), through);
    if (before !== undefined) await this.session.prune(before);
  }

  async #prepare(batch: LogBatch, after: Identity | undefined): Promise<Prepared> {
    const { definition, lane, clock } = this.parts;
    return prepareBatch(batch.records, {
      definition,
      lane,
      clock,
      after,
      continues: (epoch, from) => descends(this.forks, epoch, from),
      isParked: this.parked.size === 0 ? undefined : (unit) => this.parked.has(unit),
      state: definition.projection.kind === 'fold' ? new BatchState(this.session) : undefined,
    });
  }

  async #park(
    failed: SinkReport['failed'],
    writes: readonly Write[],
    origins: readonly LogRecord[],
  ): Promise<void> {
    const { clock, observer, definition } = this.parts;
    // A row projection is asked again: its row would only be kept twice, and rows may be large.
    const folding = definition.projection.kind === 'fold';
    const changes = failed.flatMap(({ index, error }) => {
      const [write, record] = [writes[index], origins[index]];
      return write === undefined || record === undefined
        ? []
        : [parkedChange(targetUnit(write), record, clock, error, folding ? write : undefined)];
    });
    await this.parked.park(changes);
    point('flow.after-park-before-apply');
    observer.parked(this.parked.size);
  }
}

/**
 * What a barrier may believe: the last transaction in full, but nothing before the stream has passed the
 * newest snapshot session of the backfill. Otherwise a row read late in the backfill could show a
 * transaction of which another row, read early, is not there yet.
 */
function throughOf(
  through: Position | undefined,
  before: Checkpoint | undefined,
): Position | undefined {
  if (through === undefined) return before?.through;
  const backfill = before?.backfill;
  const passed =
    backfill === undefined || through.epoch > backfill.epoch || through.offset >= backfill.atMax;
  return passed ? through : before?.through;
}

/**
 * The checkpoint of a backfill whose rows are to be swept now, as far as that is due: once barriers may believe
 * the target. Sweeping at the end of several sessions already would show readers a row that goes and comes back:
 * 1. the target holds a row from before the backfill, as of 1  2. a session at 2 dies before that row's range
 * 3. the row changes at 3 and is deleted at 5  4. a session at 7 reads the rest and does not see it  5. it is
 * swept, with a tombstone at 2, the oldest session: a row that was only made after a session had passed its
 * place must not be refused  6. the stream brings the change at 3, which is newer than 2: the row is back until 5.
 */
function swept(checkpoint: Checkpoint): Checkpoint {
  const { through, backfill } = checkpoint;
  if (backfill?.state !== 'unswept' || through === undefined) return checkpoint;
  return { ...checkpoint, backfill: { ...backfill, state: 'done' } };
}

/** Whether an error means that a newer worker has taken over. */
export function isFencedOut(error: unknown): boolean {
  return isTallyError(error, 'FENCED_OUT', 'LEASE_HELD');
}
