import { errorText, TallyError } from '../../core/errors.ts';
import { packFence } from '../../core/fence.ts';
import { ORDINAL_MAX, type Position } from '../../core/position.ts';
import type { Write } from '../../core/write.ts';
import { point } from '../../observe/point.ts';
import type {
  Checkpoint,
  FailedWrite,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../ports/sink.ts';
import {
  clearState,
  loadState,
  readCheckpoint,
  storeCheckpoint,
  storeState,
  takeTurn,
  type Worker,
} from './catalog.ts';
import type { Database } from './database.ts';
import { isDataError } from './errors.ts';
import { quote } from './targets.ts';
import { sweepTable } from './table.ts';
import type { TargetWriter } from './writer.ts';

/** Failing writes that are looked for one by one in a batch; the engine's next call finds the rest. */
const SEARCHED_MAX = 32;

/** What one application of writes came to, before it is known whether it holds. */
interface Outcome {
  readonly applied: number;
  readonly older: number;
  readonly failed: readonly FailedWrite[];
}

/** One flow's hold on its generation. Each step is one transaction that begins with the worker's turn. */
export class DuckdbSinkSession implements SinkSession {
  readonly #db: Database;
  readonly #worker: Worker;
  readonly #targets: ReadonlyMap<string, TargetWriter>;
  #open = true;

  constructor(db: Database, worker: Worker, targets: ReadonlyMap<string, TargetWriter>) {
    this.#db = db;
    this.#worker = worker;
    this.#targets = targets;
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    this.#assertOpen();
    return this.#db.transaction(() => readCheckpoint(this.#db, this.#worker));
  }

  async apply(batch: SinkBatch): Promise<SinkReport> {
    this.#assertOpen();
    point('sink.before-apply');
    try {
      const outcome = await this.#db.transaction(
        () => this.#applyWithin(batch),
        ({ failed }) => failed.length === 0,
      );
      if (outcome.failed.length > 0)
        return {
          applied: 0,
          older: 0,
          failed: outcome.failed.toSorted((left, right) => left.index - right.index),
        };
      for (const writer of this.#targets.values()) writer.committed();
      point('sink.after-commit');
      return outcome;
    } catch (error) {
      if (!isDataError(error)) throw error;
      const failed = await this.#search(batch.writes, error);
      return { applied: 0, older: 0, failed };
    }
  }

  async readState(names: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    return this.#db.transaction(async () => {
      await readCheckpoint(this.#db, this.#worker);
      return loadState(this.#db, this.#worker, names);
    });
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    const fence = packFence(before);
    return this.#step(async () => {
      let count = 0;
      for (const target of targets) {
        const writer = this.#writerOf(target);
        // The snapshot saw all of its own position, so the tombstone stands after all of it.
        count += await sweepTable(this.#db, writer.table, writer.layout, fence, ORDINAL_MAX);
        await writer.refresh();
      }
      return count;
    });
  }

  async prune(before: Position): Promise<number> {
    const fence = packFence(before);
    return this.#step(async () => {
      let count = 0;
      for (const { table } of this.#targets.values())
        count += await this.#db.run(
          `DELETE FROM ${quote(table)} WHERE _deleted AND _fence < ${fence}`,
        );
      return count;
    });
  }

  async reset(): Promise<void> {
    await this.#step(async () => {
      for (const writer of this.#targets.values()) {
        await this.#db.run(`DELETE FROM ${quote(writer.table)}`);
        await writer.refresh();
      }
      await clearState(this.#db, this.#worker);
      await storeCheckpoint(this.#db, this.#worker, undefined);
    });
  }

  async close(): Promise<void> {
    this.#open = false;
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #applyWithin(batch: SinkBatch): Promise<Outcome> {
    await takeTurn(this.#db, this.#worker);
    for (const writer of this.#targets.values()) writer.begin();
    const outcome = await this.#write(batch.writes);
    if (outcome.failed.length > 0) return outcome;
    await storeState(this.#db, this.#worker, batch.state);
    point('sink.after-apply-before-checkpoint');
    await storeCheckpoint(this.#db, this.#worker, batch.checkpoint);
    point('sink.after-checkpoint-before-commit');
    return outcome;
  }

  /** Applies writes target by target; with a failed one among them, the transaction is not to be kept. */
  async #write(writes: readonly Write[]): Promise<Outcome> {
    const failed: FailedWrite[] = [];
    let applied = 0;
    let older = 0;
    for (const [target, indexes] of byTarget(writes)) {
      const writer = this.#targets.get(target);
      if (writer === undefined) {
        failed.push(...indexes.map((index) => ({ index, error: this.#strange(target) })));
        continue;
      }
      const came = await writer.write(writes, indexes);
      failed.push(...came.failed);
      applied += came.applied;
      older += came.older;
      point('sink.mid-apply');
    }
    return { applied, older, failed };
  }

  /**
   * Finds the writes that a constraint refuses: DuckDB names none, and aborts the transaction at the
   * first. The shortest run of writes from the start that fails ends with a failing one; without
   * it, the next is looked for.
   */
  async #search(writes: readonly Write[], first: unknown): Promise<readonly FailedWrite[]> {
    const left = writes.map((_, index) => index);
    const failed: FailedWrite[] = [];
    let error = await this.#rehearse(left, writes);
    // It was not the writes, or it is over: then the failure is not theirs, and must not be swallowed.
    if (error === undefined) throw first;
    while (failed.length < SEARCHED_MAX && error !== undefined) {
      let good = 0;
      let bad = left.length;
      while (bad - good > 1) {
        const middle = (good + bad) >> 1;
        const came = await this.#rehearse(left.slice(0, middle), writes);
        if (came === undefined) good = middle;
        else [bad, error] = [middle, came];
      }
      const [index] = left.splice(good, 1);
      if (index === undefined) break;
      failed.push({ index, error: constraintError(error, writes[index]) });
      error = await this.#rehearse(left, writes);
    }
    return failed.toSorted((one, other) => one.index - other.index);
  }

  /** What a transaction of these writes fails with, or undefined; nothing of it is kept. */
  async #rehearse(indexes: readonly number[], writes: readonly Write[]): Promise<unknown> {
    const chosen = indexes.flatMap((index) => writes[index] ?? []);
    try {
      await this.#db.transaction(
        async () => {
          await takeTurn(this.#db, this.#worker);
          await this.#write(chosen);
        },
        () => false,
      );
      return undefined;
    } catch (error) {
      if (isDataError(error)) return error;
      throw error;
    }
  }

  async #step<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#assertOpen();
    const result = await this.#db.transaction(async () => {
      await takeTurn(this.#db, this.#worker);
      return work();
    });
    for (const writer of this.#targets.values()) writer.committed();
    return result;
  }

  #writerOf(target: string): TargetWriter {
    const writer = this.#targets.get(target);
    if (writer === undefined) throw this.#strange(target);
    return writer;
  }

  #strange(target: string): TallyError {
    return new TallyError('WRITE_REFUSED', {
      what: `flow ${this.#worker.flow} was not opened for target ${target}`,
      where: this.#db.file,
      mend: 'name the target when the sink is opened',
      details: { target },
    });
  }

  #assertOpen(): void {
    this.#db.assertOpen();
    if (this.#open) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the session was used after it was closed',
      where: `flow ${this.#worker.flow}`,
      mend: 'open the sink again',
    });
  }
}

function byTarget(writes: readonly Write[]): ReadonlyMap<string, number[]> {
  const groups = new Map<string, number[]>();
  let last: string | undefined;
  let group: number[] = [];
  for (let index = 0; index < writes.length; index++) {
    const target = writes[index]?.target;
    if (target === undefined) continue;
    if (target !== last) {
      group = groups.get(target) ?? [];
      groups.set(target, group);
      last = target;
    }
    group.push(index);
  }
  return groups;
}

function constraintError(cause: unknown, write: Write | undefined): TallyError {
  return new TallyError('WRITE_REFUSED', {
    what: `DuckDB refuses the row: ${errorText(cause, 300)}`,
    where: write?.target ?? 'a target',
    mend: 'project what the constraint allows, or drop the constraint and let the engine retry',
    cause,
  });
}
