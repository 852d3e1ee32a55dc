import { isTallyError, TallyError } from '../../core/errors.ts';
import { packFence } from '../../core/fence.ts';
import type { Write } from '../../core/write.ts';
import type { FailedWrite } from '../../ports/sink.ts';
import type { Database } from './database.ts';
import type { Layout } from './layout.ts';
import { Loader, type LoaderInto } from './loader.ts';
import { appendStage, createStage, highestVersion, mergeStage, uncastable } from './table.ts';

const STAGE = '_tally_stage';

/** What became of the writes of one target. */
export interface TargetOutcome {
  readonly applied: number;
  readonly older: number;
  readonly failed: readonly FailedWrite[];
}

interface Version {
  readonly fence: bigint;
  readonly ordinal: number;
}

/** Writes into one generation of one target, within the transaction of the caller. */
export class TargetWriter {
  readonly layout: Layout;
  readonly table: string;
  readonly #db: Database;
  readonly #rowBytesMax: number;
  /**
   * Append-only targets: at or above the version of every row there. A streamed write above it is new
   * by the promise of the target and is appended unseen: a snapshot or repair that saw its fact would
   * carry a stamp above it. Any other write may be of a fact that is there, and finds its row by
   * key: a replay is at or below the mark, and a snapshot row above it may repeat what was streamed.
   */
  #mark: Version | undefined;
  #pendingMark: Version | undefined;
  #epoch = -1;
  #offset = -1;
  #fence = 0n;

  constructor(db: Database, layout: Layout, table: string, rowBytesMax: number) {
    this.#db = db;
    this.layout = layout;
    this.table = table;
    this.#rowBytesMax = rowBytesMax;
  }

  /** Reads the mark again, after rows changed otherwise than by {@link write}. */
  async refresh(): Promise<void> {
    if (!this.layout.appendOnly) return;
    this.#pendingMark = await highestVersion(this.#db, this.table);
    // No row is above ordinal 0 of epoch 0 in an empty table, and -1 is below everything.
    this.#pendingMark ??= { fence: -1n, ordinal: 0 };
  }

  /** Forgets what a transaction before this one would have moved the mark to. */
  begin(): void {
    this.#pendingMark = undefined;
  }

  /** What was written is there for good: until then a rolled back mark must not count. */
  committed(): void {
    if (this.#pendingMark !== undefined) this.#mark = this.#pendingMark;
    this.#pendingMark = undefined;
  }

  /** Applies the writes at `indexes`. If it reports a failed one, the transaction must be rolled back. */
  async write(writes: readonly Write[], indexes: readonly number[]): Promise<TargetOutcome> {
    if (!this.layout.appendOnly) return this.#merge(writes, indexes);
    const fresh: number[] = [];
    const late: number[] = [];
    for (const index of indexes) (this.#isNew(writes[index]) ? fresh : late).push(index);
    const appended = await this.#append(writes, fresh);
    const merged = await this.#merge(writes, late);
    return {
      applied: appended.applied + merged.applied,
      older: merged.older,
      failed: [...appended.failed, ...merged.failed],
    };
  }

  /** Whether a write is above the mark; moves the mark that holds once this batch is committed. */
  #isNew(write: Write | undefined): boolean {
    if (write === undefined) return false;
    let fence: bigint;
    try {
      fence = this.#fenceOf(write);
    } catch {
      // A position that does not fit is reported when the write is loaded.
      return false;
    }
    const mark = this.#mark ?? { fence: -1n, ordinal: 0 };
    if (!isAbove(fence, write.ordinal, mark)) return false;
    const pending = this.#pendingMark ?? mark;
    if (isAbove(fence, write.ordinal, pending))
      this.#pendingMark = { fence, ordinal: write.ordinal };
    return write.row !== null && write.mode === 'stream';
  }

  async #append(writes: readonly Write[], indexes: readonly number[]): Promise<TargetOutcome> {
    if (indexes.length === 0) return nothing;
    const { layout } = this;
    const direct =
      layout.orderBy.length === 0 &&
      layout.columns.every(({ type, codec }) => codec.loadedAs === type);
    if (direct) {
      const { count, failed } = await this.#load(writes, indexes, 'table');
      return { applied: count, older: 0, failed };
    }
    const { failed } = await this.#load(writes, indexes, 'stage');
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    const applied = await appendStage(this.#db, STAGE, this.table, layout);
    return { applied, older: 0, failed };
  }

  async #merge(writes: readonly Write[], indexes: readonly number[]): Promise<TargetOutcome> {
    if (indexes.length === 0) return nothing;
    const { count, failed } = await this.#load(writes, indexes, 'stage');
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    const applied = await mergeStage(this.#db, STAGE, this.table, this.layout);
    return { applied, older: count - applied, failed };
  }

  async #load(
    writes: readonly Write[],
    indexes: readonly number[],
    into: LoaderInto,
  ): Promise<{ readonly count: number; readonly failed: readonly FailedWrite[] }> {
    if (into === 'stage') await createStage(this.#db, STAGE, this.layout);
    const appender =
      into === 'stage'
        ? await this.#db.writer.createAppender(STAGE, null, 'temp')
        : await this.#db.writer.createAppender(this.table, 'main');
    const failed: FailedWrite[] = [];
    const loader = new Loader(this.#db.driver, appender, this.layout, into, this.#rowBytesMax);
    try {
      for (const index of indexes) {
        const write = writes[index];
        if (write === undefined) continue;
        const failure = this.#loadOne(loader, write, index);
        if (failure !== undefined) failed.push(failure);
      }
    } finally {
      loader.finish();
    }
    if (into === 'stage') failed.push(...(await this.#uncastable()));
    return { count: loader.count, failed };
  }

  #loadOne(loader: Loader, write: Write, index: number): FailedWrite | undefined {
    try {
      return loader.add(write, index, this.#fenceOf(write));
    } catch (error) {
      if (isTallyError(error, 'POSITION_OUT_OF_RANGE')) return { index, error };
      throw error;
    }
  }

  async #uncastable(): Promise<readonly FailedWrite[]> {
    const found = await uncastable(this.#db, STAGE, this.layout);
    return found.map(({ index, column, type }) => ({
      index,
      error: new TallyError('WRITE_REFUSED', {
        what: `a text cannot be cast to ${type}`,
        where: `${this.layout.target}.${column}`,
        mend: 'project a text that DuckDB can cast, or declare the column as VARCHAR',
        details: { column, type },
      }),
    }));
  }

  /** The packed fence; writes of one transaction share it, so the last one is kept. */
  #fenceOf(write: Write): bigint {
    if (write.epoch !== this.#epoch || write.offset !== this.#offset) {
      this.#fence = packFence(write);
      this.#epoch = write.epoch;
      this.#offset = write.offset;
    }
    return this.#fence;
  }
}

const nothing: TargetOutcome = { applied: 0, older: 0, failed: [] };

function isAbove(fence: bigint, ordinal: number, mark: Version): boolean {
  return fence > mark.fence || (fence === mark.fence && ordinal > mark.ordinal);
}
