import { must } from '../../../core/errors.ts';
import { suggest } from '../../../core/options.ts';
import type { Write } from '../../../core/write.ts';
import { point } from '../../../observe/point.ts';
import type { FailedWrite } from '../../../ports/sink.ts';
import type { Tx } from './connection.ts';
import { isRowError, refused, writeFailure } from './refusal.ts';
import { variantOf, variants, type TargetWriter, type Variant } from './writer.ts';

/** What one statement sends at most: a batch of large rows is sent in several. */
const STATEMENT_BYTES_MAX = 32 * 1024 * 1024;
/** Refused rows that are looked for in one batch; the engine's next call finds the rest. */
const CULPRITS_MAX = 32;

/** What application of writes came to; with a failed one among them, the transaction is not to be kept. */
export interface Outcome {
  readonly applied: number;
  readonly failed: readonly FailedWrite[];
}

/** The writes of a batch, within a transaction that holds the flow. */
export class BatchWriter {
  readonly #tx: Tx;
  readonly #writers: ReadonlyMap<string, TargetWriter>;
  readonly #writes: readonly Write[];
  readonly #nowMs: number;
  readonly #failed = new Map<number, FailedWrite>();
  #applied = 0;
  #passedMiddle = false;

  constructor(
    tx: Tx,
    writers: ReadonlyMap<string, TargetWriter>,
    writes: readonly Write[],
    nowMs: number,
  ) {
    this.#tx = tx;
    this.#writers = writers;
    this.#writes = writes;
    this.#nowMs = nowMs;
  }

  /**
   * All writes, one statement per target and kind of write. Throws at the first one that PostgreSQL refuses, for
   * then the transaction is over; writes that cannot even be sent are reported, and the rest is tried.
   */
  async all(): Promise<Outcome> {
    this.#applied += await this.#run(this.#writes.map((_, index) => index));
    return this.#outcome();
  }

  /**
   * All writes again, of which one is known to be refused: in halves, and halves of halves, in their order, each
   * under a savepoint. What is left of it is either the rows that are refused by themselves, or nothing: rows may
   * refuse one another only while they are in one statement, and then the batch goes in like this.
   */
  async carefully(): Promise<Outcome> {
    const indexes = this.#writes.map((_, index) => index);
    const middle = indexes.length >> 1;
    for (const half of [indexes.slice(0, middle), indexes.slice(middle)])
      if (half.length > 0) await this.#attempt(half);
    return this.#outcome();
  }

  async #attempt(indexes: readonly number[]): Promise<void> {
    if (this.#failed.size >= CULPRITS_MAX) return;
    await this.#tx.script('SAVEPOINT tally_part');
    try {
      const applied = await this.#run(indexes);
      await this.#tx.script('RELEASE SAVEPOINT tally_part');
      this.#applied += applied;
    } catch (error) {
      if (!isRowError(error)) throw error;
      await this.#tx.script('ROLLBACK TO SAVEPOINT tally_part; RELEASE SAVEPOINT tally_part');
      const [index] = indexes;
      if (indexes.length === 1 && index !== undefined) {
        this.#fail(index, error);
        return;
      }
      const middle = indexes.length >> 1;
      await this.#attempt(indexes.slice(0, middle));
      await this.#attempt(indexes.slice(middle));
    }
  }

  async #run(indexes: readonly number[]): Promise<number> {
    let applied = 0;
    for (const [target, ofTarget] of this.#grouped(indexes)) {
      const writer = this.#writers.get(target);
      for (const variant of variants) {
        const chosen = ofTarget.get(variant);
        if (chosen === undefined) continue;
        if (writer === undefined)
          for (const index of chosen) this.#fail(index, this.#strange(target));
        else applied += await this.#runOne(writer, variant, chosen);
      }
    }
    return applied;
  }

  async #runOne(
    writer: TargetWriter,
    variant: Variant,
    indexes: readonly number[],
  ): Promise<number> {
    let applied = 0;
    let count = 0;
    const flush = async (): Promise<void> => {
      if (count === 0) return;
      applied += await this.#tx.execute(writer.bound(variant));
      writer.clear();
      count = 0;
      if (!this.#passedMiddle) point('sink.mid-apply');
      this.#passedMiddle = true;
    };
    writer.clear();
    for (const index of indexes) {
      try {
        writer.add(must(this.#writes[index], 'a write of the batch'), this.#nowMs);
        count += 1;
      } catch (error) {
        this.#fail(index, error);
      }
      if (writer.bytes > STATEMENT_BYTES_MAX) await flush();
    }
    await flush();
    return applied;
  }

  #grouped(
    indexes: readonly number[],
  ): ReadonlyMap<string, ReadonlyMap<Variant, readonly number[]>> {
    const groups = new Map<string, Map<Variant, number[]>>();
    for (const index of indexes) {
      const write = must(this.#writes[index], 'a write of the batch');
      let ofTarget = groups.get(write.target);
      if (ofTarget === undefined) groups.set(write.target, (ofTarget = new Map()));
      const variant = variantOf(write);
      const group = ofTarget.get(variant);
      if (group === undefined) ofTarget.set(variant, [index]);
      else group.push(index);
    }
    return groups;
  }

  #fail(index: number, error: unknown): void {
    const target = this.#writes[index]?.target ?? '';
    this.#failed.set(index, { index, error: writeFailure(error, target) });
  }

  #outcome(): Outcome {
    const failed = [...this.#failed.values()].toSorted((one, other) => one.index - other.index);
    return { applied: this.#applied, failed };
  }

  #strange(target: string): Error {
    const nearest = suggest(target, [...this.#writers.keys()]);
    return refused(
      `the flow was not opened for a target ${target}`,
      { target, ...(nearest === undefined ? {} : { nearest }) },
      `${nearest === undefined ? '' : `did you mean ${nearest}? `}name the target in the flow`,
    );
  }
}
