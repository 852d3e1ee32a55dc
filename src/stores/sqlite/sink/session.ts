import { TallyError } from '../../../core/errors.ts';
import { packFence } from '../../../core/fence.ts';
import { suggest } from '../../../core/options.ts';
import type { Position } from '../../../core/position.ts';
import type { Write } from '../../../core/write.ts';
import { point } from '../../../observe/point.ts';
import type {
  Checkpoint,
  FailedWrite,
  OpenSinkOptions,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../../ports/sink.ts';
import type { Catalogue } from './catalogue.ts';
import { isWhole, snapshot, transaction, type Host } from './host.ts';
import { targetNames, type TargetNames } from './names.ts';
import {
  advance,
  forgetGeneration,
  readCheckpoint,
  readFlow,
  readState,
  registerGeneration,
} from './records.ts';
import { refused, writeFailure } from './refusal.ts';
import { emptyTarget } from './schema.ts';
import { TargetWriter } from './writer.ts';

/** What a step finds once it holds the write lock. */
interface Held {
  readonly checkpoint: Checkpoint | null;
  readonly writers: ReadonlyMap<string, TargetWriter>;
}

/**
 * One flow's hold on its targets. Every step is one transaction that first reads the flow's record
 * with its own data: a worker that was replaced, or whose generation was switched away, ends
 * there. Otherwise: 1. worker A stalls before its batch 2. worker B takes over and passes the same
 * changes 3. A wakes up and moves the checkpoint back.
 */
export class SqliteSinkSession implements SinkSession {
  readonly #host: Host;
  readonly #catalogue: Catalogue;
  readonly #options: OpenSinkOptions;
  #writers = new Map<string, TargetWriter>();
  #place: 'seen' | 'building' | undefined;
  #open = true;
  // Neighbouring writes mostly share a position: its fence is packed once.
  #epoch = -1;
  #offset = -1;
  #fence = 0n;

  constructor(host: Host, catalogue: Catalogue, options: OpenSinkOptions) {
    this.#host = host;
    this.#catalogue = catalogue;
    this.#options = options;
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    this.#assertOpen();
    return snapshot(this.#host, () => this.#hold().checkpoint ?? undefined);
  }

  async apply(batch: SinkBatch): Promise<SinkReport> {
    point('sink.before-apply');
    const report = await this.#step(
      (held) => this.#applyAll(held, batch),
      ({ failed }) => failed.length === 0,
    );
    if (report.failed.length === 0) point('sink.after-commit');
    return report;
  }

  async readState(names: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    return snapshot(this.#host, () => {
      this.#hold();
      return readState(this.#host.connection, this.#options, names);
    });
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    const fence = packFence(before);
    return this.#step(({ writers }) =>
      targets.reduce((count, target) => count + this.#writer(writers, target).sweep(fence), 0),
    );
  }

  async prune(before: Position): Promise<number> {
    const fence = packFence(before);
    return this.#step(({ writers }) =>
      [...writers.values()].reduce((count, writer) => count + writer.prune(fence), 0),
    );
  }

  async reset(): Promise<void> {
    const { flow, generation, targets } = this.#options;
    const { connection } = this.#host;
    await this.#step(() => {
      for (const { target } of targets) emptyTarget(connection.database, this.#names(target));
      forgetGeneration(connection, flow, generation);
      registerGeneration(
        connection,
        flow,
        generation,
        targets.map(({ target }) => target),
      );
    });
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#writers.clear();
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #step<Result>(
    work: (held: Held) => Result,
    keep?: (result: Result) => boolean,
  ): Promise<Result> {
    this.#assertOpen();
    return transaction(this.#host, () => work(this.#hold()), keep);
  }

  /** Checks that this worker may still write, and finds its tables under their present names. */
  #hold(): Held {
    this.#assertOpen();
    const { flow, generation, workerEpoch, targets } = this.#options;
    const { connection } = this.#host;
    const record = readFlow(connection, flow);
    const checkpoint = readCheckpoint(connection, flow, generation);
    if (record === undefined || checkpoint === undefined) throw goneGeneration(flow, generation);
    if (record.workerEpoch !== workerEpoch) throw fencedOut(flow, workerEpoch, record.workerEpoch);
    const place = record.generation === generation ? 'seen' : 'building';
    if (this.#place !== place) {
      this.#place = place;
      this.#writers = new Map(
        targets.map((shape) => [
          shape.target,
          new TargetWriter(
            connection.database,
            this.#names(shape.target),
            this.#catalogue.layoutFor(shape),
          ),
        ]),
      );
    }
    return { checkpoint, writers: this.#writers };
  }

  /**
   * All writes, then state and checkpoint. A statement that fails does not end a SQLite transaction,
   * so the rest is tried too and every failing write is reported at once; then all is rolled back.
   */
  #applyAll({ checkpoint, writers }: Held, batch: SinkBatch): SinkReport {
    const { writes } = batch;
    const failed: FailedWrite[] = [];
    const middle = writes.length >> 1;
    const nowMs = this.#host.clock.nowMs();
    let applied = 0;
    for (let index = 0; index < writes.length; index++) {
      if (index === middle && index > 0) point('sink.mid-apply');
      const write = writes[index] as Write;
      try {
        const fence = this.#fenceOf(write);
        if (this.#writer(writers, write.target).apply(write, fence, nowMs)) applied += 1;
      } catch (error) {
        if (isWhole(error)) throw error;
        failed.push({ index, error: writeFailure(error, write.target) });
        // A constraint may be declared ON CONFLICT ROLLBACK: what follows would commit by itself.
        if (!this.#host.connection.database.isTransaction) break;
      }
    }
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    point('sink.after-apply-before-checkpoint');
    advance(this.#host.connection, this.#options, checkpoint, batch);
    point('sink.after-checkpoint-before-commit');
    return { applied, older: writes.length - applied, failed };
  }

  #fenceOf(write: Write): bigint {
    if (write.epoch !== this.#epoch || write.offset !== this.#offset) {
      this.#fence = packFence(write);
      this.#epoch = write.epoch;
      this.#offset = write.offset;
    }
    return this.#fence;
  }

  #writer(writers: ReadonlyMap<string, TargetWriter>, target: string): TargetWriter {
    const writer = writers.get(target);
    if (writer !== undefined) return writer;
    const nearest = suggest(target, [...writers.keys()]);
    throw refused(
      `the flow was not opened for a target ${target}`,
      { target, ...(nearest === undefined ? {} : { nearest }) },
      `${nearest === undefined ? '' : `did you mean ${nearest}? `}name the target in the flow`,
    );
  }

  #names(target: string): TargetNames {
    return targetNames(target, this.#options.generation, this.#place ?? 'building');
  }

  #assertOpen(): void {
    if (this.#open) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the session was used after it was closed',
      where: `flow ${this.#options.flow}`,
    });
  }
}

/** FENCED_OUT: a newer worker has opened the flow. */
export function fencedOut(flow: string, workerEpoch: number, newer: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `a worker of epoch ${workerEpoch} was replaced by one of epoch ${newer}`,
    where: `flow ${flow}`,
    mend: 'nothing; the newer worker goes on',
    details: { flow, workerEpoch, holder: newer },
  });
}

/** FENCED_OUT: a generation that is no longer, or not yet, in the file. */
export function goneGeneration(flow: string, generation: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `generation ${generation} is not there: it was switched away from, or never opened`,
    where: `flow ${flow}`,
    mend: 'open the generation that the sink names as current',
    details: { flow, generation },
  });
}
