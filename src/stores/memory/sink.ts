import { encodeKey, encodeValue } from '../../core/codec.ts';
import { isTallyError, must, TallyError } from '../../core/errors.ts';
import {
  compareIdentities,
  comparePositions,
  ORDINAL_MAX,
  position,
  type Position,
} from '../../core/position.ts';
import type { Write } from '../../core/write.ts';
import { point } from '../../observe/point.ts';
import type {
  Checkpoint,
  FailedWrite,
  OpenSinkOptions,
  Sink,
  SinkBatch,
  SinkReport,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../ports/sink.ts';
import type { Connection, FlowState, GenerationState, VersionedRow } from './state.ts';

/** Far above what a document should be, and small enough to hold thousands of. */
const ROW_BYTES_MAX = 16 * 2 ** 20;

/** What the memory sink can do when it is not told to do less. */
export const memorySinkSupports: SinkSupports = {
  effect: 'transactional',
  ordinalFence: true,
  foldState: true,
  switchOver: true,
  rowBytesMax: ROW_BYTES_MAX,
};

/** A write that passed its checks, ready to go in. */
interface Staged {
  readonly rows: Map<string, VersionedRow>;
  readonly key: string;
  readonly row: VersionedRow;
}

/** The sink of a memory store. With `effect: 'fenced'` writes go in one by one, the checkpoint last. */
export class MemorySink implements Sink {
  readonly supports: SinkSupports;
  readonly #connection: Connection;

  constructor(connection: Connection, supports: SinkSupports) {
    this.#connection = connection;
    this.supports = supports;
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    return this.#connection.unit({ port: 'sink', operation: 'open', size: 1 }, () => {
      const { flow, generation, workerEpoch } = options;
      const { flows } = this.#connection.state;
      const held = flows.get(flow);
      if (held !== undefined) fence(flow, held, workerEpoch);
      if (held !== undefined && held.visible !== generation && !this.supports.switchOver)
        throw missing('switchOver', `generation ${generation} of flow ${flow}`);
      if (held !== undefined && generation < held.visible) throw dropped(flow, generation);
      const state = held ?? { visible: generation, workerEpoch, generations: new Map() };
      flows.set(flow, state);
      state.workerEpoch = workerEpoch;
      const targets =
        state.generations.get(generation)?.targets ?? new Map<string, Map<string, VersionedRow>>();
      for (const { target } of options.targets)
        if (!targets.has(target)) targets.set(target, new Map());
      if (!state.generations.has(generation))
        state.generations.set(generation, { checkpoint: undefined, fold: new Map(), targets });
      return new MemorySinkSession(this.#connection, this.supports, options);
    });
  }

  async generation(flow: string): Promise<number | undefined> {
    return this.#connection.unit(
      { port: 'sink', operation: 'generation', size: 0 },
      () => this.#flow(flow)?.visible,
    );
  }

  async switchTo(
    flow: string,
    to: number,
    _targets: readonly TargetShape[],
    workerEpoch: number,
  ): Promise<void> {
    if (!this.supports.switchOver) throw missing('switchOver', `generation ${to} of flow ${flow}`);
    await this.#connection.unit({ port: 'sink', operation: 'switch', size: 1 }, () => {
      const state = this.#flow(flow);
      if (state !== undefined) fence(flow, state, workerEpoch);
      if (state === undefined || !state.generations.has(to)) throw dropped(flow, to);
      state.visible = to;
      for (const generation of state.generations.keys())
        if (generation < to) state.generations.delete(generation);
    });
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    return this.#connection.unit({ port: 'sink', operation: 'peek', size: 0 }, () => {
      const state = this.#flow(flow);
      return state?.generations.get(state.visible)?.checkpoint;
    });
  }

  #flow(flow: string): FlowState | undefined {
    return this.#connection.state.flows.get(flow);
  }
}

class MemorySinkSession implements SinkSession {
  readonly #connection: Connection;
  readonly #supports: SinkSupports;
  readonly #options: OpenSinkOptions;
  #open = true;

  constructor(connection: Connection, supports: SinkSupports, options: OpenSinkOptions) {
    this.#connection = connection;
    this.#supports = supports;
    this.#options = options;
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    return this.#unit('checkpoint', 0, (held) => held.checkpoint);
  }

  async apply(batch: SinkBatch): Promise<SinkReport> {
    if (batch.state.length > 0 && !this.#supports.foldState)
      throw missing('foldState', this.#options.flow);
    point('sink.before-apply');
    if (this.#supports.effect === 'fenced') return this.#applyFenced(batch);
    const report = await this.#unit('apply', batch.writes.length, (held) =>
      this.#applyWhole(held, batch),
    );
    point('sink.after-commit');
    return report;
  }

  async readState(names: readonly string[]): Promise<readonly (string | null)[]> {
    if (!this.#supports.foldState) throw missing('foldState', this.#options.flow);
    return this.#unit('readState', 0, ({ fold }) => names.map((name) => fold.get(name) ?? null));
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    return this.#unit('sweep', targets.length, (held) => {
      let count = 0;
      for (const rows of targets.map(
        (target) => held.targets.get(target) ?? new Map<string, VersionedRow>(),
      ))
        for (const [key, row] of rows)
          if (row.row !== null && comparePositions(row, before) < 0) {
            // The snapshot saw all of its own position, so the tombstone stands after all of it.
            rows.set(key, {
              row: null,
              epoch: before.epoch,
              offset: before.offset,
              ordinal: ORDINAL_MAX,
            });
            count += 1;
          }
      return count;
    });
  }

  async prune(before: Position): Promise<number> {
    return this.#unit('prune', 1, (held) => {
      let count = 0;
      for (const rows of held.targets.values())
        for (const [key, row] of rows)
          if (row.row === null && comparePositions(row, before) < 0) {
            rows.delete(key);
            count += 1;
          }
      return count;
    });
  }

  async reset(): Promise<void> {
    await this.#unit('reset', 1, (held) => {
      held.checkpoint = undefined;
      held.fold.clear();
      for (const rows of held.targets.values()) rows.clear();
    });
  }

  async close(): Promise<void> {
    this.#open = false;
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs one atomic step, which sees the generation only if this worker is still the newest. */
  async #unit<Result>(
    operation: string,
    size: number,
    action: (held: GenerationState) => Result,
  ): Promise<Result> {
    const { flow, generation, workerEpoch } = this.#options;
    return this.#connection.unit({ port: 'sink', operation, size }, () => {
      if (!this.#open)
        throw new TallyError('STORE_CLOSED', {
          what: 'the session was used after it was closed',
          where: flow,
        });
      const state = must(this.#connection.state.flows.get(flow), `the state of flow ${flow}`);
      fence(flow, state, workerEpoch);
      const held = state.generations.get(generation);
      if (held === undefined) throw dropped(flow, generation);
      return action(held);
    });
  }

  /** All writes, the state and the checkpoint, or nothing: staged first, put in without a step between. */
  #applyWhole(held: GenerationState, batch: SinkBatch): SinkReport {
    const staged: Staged[] = [];
    const failed: FailedWrite[] = [];
    for (const [index, write] of batch.writes.entries()) {
      if (index === batch.writes.length >> 1) point('sink.mid-apply');
      const outcome = this.#stage(held, write, index);
      if (outcome === undefined) continue;
      if ('error' in outcome) failed.push(outcome);
      else staged.push(outcome);
    }
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    point('sink.after-apply-before-checkpoint');
    point('sink.after-checkpoint-before-commit');
    for (const { rows, key, row } of staged) rows.set(key, row);
    finish(held, batch);
    return { applied: staged.length, older: batch.writes.length - staged.length, failed };
  }

  /** Write by write, each refused by its version; the checkpoint only after all of them. */
  async #applyFenced(batch: SinkBatch): Promise<SinkReport> {
    const failed: FailedWrite[] = [];
    let applied = 0;
    for (const [index, write] of batch.writes.entries()) {
      if (index === batch.writes.length >> 1) point('sink.mid-apply');
      await this.#unit('write', 1, (held) => {
        const outcome = this.#stage(held, write, index);
        if (outcome === undefined) return;
        if ('error' in outcome) failed.push(outcome);
        else {
          outcome.rows.set(outcome.key, outcome.row);
          applied += 1;
        }
      });
    }
    point('sink.after-apply-before-checkpoint');
    if (failed.length === 0) await this.#unit('checkpoint', 1, (held) => finish(held, batch));
    point('sink.after-commit');
    return { applied, older: batch.writes.length - applied - failed.length, failed };
  }

  /** The write as it would go in, its failure, or undefined: the target already holds this or newer. */
  #stage(held: GenerationState, write: Write, index: number): Staged | FailedWrite | undefined {
    try {
      position(write.epoch, write.offset);
      const key = encodeKey(write.key);
      const rows = held.targets.get(write.target);
      if (rows === undefined)
        throw new TallyError('WRITE_REFUSED', {
          what: `flow ${this.#options.flow} was not opened for target ${write.target}`,
          mend: 'name the target when the sink is opened',
        });
      const row = write.row === null ? null : encodeValue(write.row);
      const bytes = row === null ? 0 : Buffer.byteLength(row);
      if (bytes > this.#supports.rowBytesMax)
        throw new TallyError('ROW_TOO_LARGE', {
          what: `a row of ${bytes} bytes is over the limit of ${this.#supports.rowBytesMax}`,
          where: write.target,
          mend: 'project less into it, or keep large parts as objects',
          details: { bytes },
        });
      const present = rows.get(key);
      if (present !== undefined && !this.#overwrites(write, present)) return undefined;
      return {
        rows,
        key,
        row: { row, epoch: write.epoch, offset: write.offset, ordinal: write.ordinal },
      };
    } catch (error) {
      if (isTallyError(error)) return { index, error };
      throw error;
    }
  }

  #overwrites(write: Write, present: VersionedRow): boolean {
    const order = this.#supports.ordinalFence
      ? compareIdentities(write, present)
      : comparePositions(write, present);
    return order > 0 || (order === 0 && write.mode === 'repair');
  }
}

function finish(held: GenerationState, batch: SinkBatch): void {
  for (const { name, value } of batch.state) {
    if (value === null) held.fold.delete(name);
    else held.fold.set(name, value);
  }
  held.checkpoint = structuredClone(batch.checkpoint);
}

function fence(flow: string, state: FlowState, workerEpoch: number): void {
  if (workerEpoch >= state.workerEpoch) return;
  throw new TallyError('FENCED_OUT', {
    what: `a worker of epoch ${workerEpoch} was replaced by one of epoch ${state.workerEpoch}`,
    where: `flow ${flow}`,
    mend: 'nothing; the newer worker goes on',
    details: { workerEpoch, holder: state.workerEpoch },
  });
}

function dropped(flow: string, generation: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `generation ${generation} is not there: it was switched away from, or never opened`,
    where: `flow ${flow}`,
    mend: 'open the generation that the sink names as current',
  });
}

function missing(capability: string, what: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `the sink does not offer ${capability}, which ${what} needs`,
    mend: 'choose a target that offers it',
    details: { capability },
  });
}
