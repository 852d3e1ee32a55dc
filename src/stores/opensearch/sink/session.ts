import { isTallyError, TallyError } from '../../../core/errors.ts';
import { fenceText } from '../../../core/fence.ts';
import { comparePositions, type Position } from '../../../core/position.ts';
import type { Write } from '../../../core/write.ts';
import { point } from '../../../observe/point.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../ports/checkpoint.ts';
import type {
  Checkpoint,
  FailedWrite,
  OpenSinkOptions,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../../ports/sink.ts';
import { closedError } from '../errors.ts';
import type { OpenSearchParts } from '../parts.ts';
import { Bulk, type Operation, type Outcome } from './bulk.ts';
import { checkEpoch, type FlowRecord, type FlowState, type HeldGeneration } from './flow-record.ts';
import type { Indices, IndexOf } from './indices.ts';
import { burial, encodeWrite, encodeWrites, removal } from './operations.ts';
import { newerOfSameVersion } from './same-version.ts';
import { olderThan, refresh, search } from './search.ts';
import { OWN_FIELD } from './targets.ts';

/** Documents that one round of a sweep or prune looks at. */
const ROUND_DOCUMENTS = 1_000;
/** How often a session looks whether its indices are still there. */
const WATCH_EVERY_MS = 2_000;
/**
 * The server remembers the version of a deleted document until its clock, which it looks at every 200 ms, has gone on. A
 * prune waits for that: what it has forgotten is forgotten once it answers.
 */
const FORGET_MS = 450;

export interface SessionOptions {
  readonly parts: OpenSearchParts;
  readonly record: FlowRecord;
  readonly indices: Indices;
  readonly open: OpenSinkOptions;
  /** By target, which index it was when it was taken. */
  readonly held: Readonly<Record<string, string>>;
}

/** One flow's hold on its indices. */
export class OpenSearchSinkSession implements SinkSession {
  readonly #options: SessionOptions;
  readonly #bulk: Bulk;
  readonly #writers: ReadonlyMap<string, string>;
  readonly #lost = new AbortController();
  #held: Readonly<Record<string, string>>;
  /** Targets with writes that a search may not find yet; at first all: another session may have left some. */
  readonly #unseen: Set<string>;
  #shown: Position | undefined;
  #open = true;
  #stopWatching: () => void = () => undefined;

  constructor(options: SessionOptions) {
    const { parts, open } = options;
    this.#options = options;
    this.#held = options.held;
    this.#writers = new Map(
      open.targets.map(({ target }) => [
        target,
        parts.names.writers(target, open.generation, open.workerEpoch),
      ]),
    );
    this.#unseen = new Set(this.#writers.keys());
    this.#bulk = new Bulk(parts, () => this.#gone());
    this.#watch();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    this.#check();
    const { record, open, parts } = this.#options;
    const state = await record.read();
    const text = state?.generations[open.generation]?.checkpoint;
    return text === undefined ? undefined : decodeCheckpoint(text, parts.where);
  }

  /**
   * Documents first, each under its version; then, once all are answered (and so synced to disk), what a barrier may believe
   * is made visible to searches; then the checkpoint. A crash in between costs only that the batch comes again, and is refused
   * as older.
   */
  async apply(batch: SinkBatch): Promise<SinkReport> {
    this.#check();
    if (batch.state.length > 0) throw noFoldState(this.#options.parts.where);
    const { parts } = this.#options;
    const { operations, failed } = encodeWrites(
      batch.writes,
      (target) => this.#writersOf(target),
      parts.rowBytesMax,
    );
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    point('sink.before-apply');
    for (const { target } of batch.writes) this.#unseen.add(target);
    const outcomes = await this.#bulk.run(operations);
    const report = reportOf(await this.#settled(batch.writes, outcomes));
    point('sink.after-apply-before-checkpoint');
    if (report.failed.length > 0) return report;
    await this.#show(batch.checkpoint.through);
    point('sink.after-checkpoint-before-commit');
    const checkpoint = encodeCheckpoint(batch.checkpoint);
    await this.#keep(({ targets }) => ({ targets, checkpoint }));
    point('sink.after-commit');
    return report;
  }

  async readState(): Promise<readonly (string | null)[]> {
    this.#check();
    throw noFoldState(this.#options.parts.where);
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    const limit = fenceText(before);
    return this.#rounds(targets, olderThan(limit, 'rows'), (alias, id) =>
      burial(alias, id, before),
    );
  }

  async prune(before: Position): Promise<number> {
    const limit = fenceText(before);
    const targets = [...this.#writers.keys()];
    // Whoever opened a target wrote its fence: it is ours, and has the digits of one.
    const pruned = await this.#rounds(targets, olderThan(limit, 'tombstones'), (alias, id, fence) =>
      removal(alias, id, BigInt(fence)),
    );
    if (pruned > 0) await this.#options.parts.clock.sleep(FORGET_MS);
    return pruned;
  }

  /** The checkpoint goes first: left behind without its rows it would skip them for ever. */
  async reset(): Promise<void> {
    this.#check();
    const { record, indices, open } = this.#options;
    const { generation } = open;
    record.forget();
    const { current, generations } = await this.#keep(({ targets }) => ({ targets }));
    point('sink.mid-reset');
    const filled = new Set([
      ...this.#writers.keys(),
      ...Object.keys(generations[generation]?.targets ?? {}),
    ]);
    for (const target of filled) await indices.remove(target, generation);
    const targets: Record<string, string> = {};
    for (const of of this.#indicesOf(current === generation))
      targets[of.target] = await indices.take(of);
    this.#held = targets;
    await this.#keep(() => ({ targets }));
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#stopWatching();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Writes again what was refused only because its version has no room for the ordinal. */
  async #settled(
    writes: readonly Write[],
    outcomes: readonly Outcome[],
  ): Promise<readonly Outcome[]> {
    const { parts } = this.#options;
    const settled = [...outcomes];
    for (const [target, alias] of this.#writers) {
      const refused = writes
        .map((write, index) => ({ index, write }))
        .filter(({ index, write }) => outcomes[index] === 'older' && write.target === target);
      const newer = await newerOfSameVersion(parts, alias, refused);
      if (newer === undefined) throw await this.#gone();
      const operations = newer.map((index) =>
        encodeWrite(writes[index] as Write, alias, parts.rowBytesMax, 'external_gte'),
      );
      for (const [at, outcome] of (await this.#bulk.run(operations)).entries())
        settled[newer[at] as number] = outcome;
    }
    return settled;
  }

  #indicesOf(isCurrent: boolean): readonly IndexOf[] {
    const { flow, generation, workerEpoch } = this.#options.open;
    return [...this.#writers.keys()].map((target) => ({
      flow,
      target,
      generation,
      workerEpoch,
      isCurrent,
    }));
  }

  /** Refreshes what was written, if a barrier may believe more than before: nobody waits for the rest. */
  async #show(through: Position | undefined): Promise<void> {
    const { visible } = this.#options.parts;
    if (visible === 'get' || through === undefined) return;
    if (this.#shown !== undefined && comparePositions(through, this.#shown) === 0) return;
    await this.#refresh([...this.#unseen]);
    this.#unseen.clear();
    this.#shown = through;
  }

  async #refresh(targets: readonly string[]): Promise<void> {
    const aliases = targets.map((target) => this.#writersOf(target));
    if (!(await refresh(this.#options.parts, aliases))) throw await this.#gone();
  }

  /** Changes what the record says of this generation. Throws FENCED_OUT, CONDITION_FAILED. */
  async #keep(change: (held: HeldGeneration) => HeldGeneration): Promise<FlowState> {
    const { record, open } = this.#options;
    try {
      return await record.update((state) => {
        const { generations, ...held } = this.#claimed(state);
        const generation = change(generations[open.generation] ?? { targets: {} });
        return { ...held, generations: { ...generations, [open.generation]: generation } };
      });
    } catch (error) {
      if (isTallyError(error, 'CONDITION_FAILED')) this.#lost.abort(error);
      throw error;
    }
  }

  /**
   * Finds documents and changes each under its version, until there are none. What was changed meanwhile is newer, is
   * refused, and is not found again.
   */
  async #rounds(
    targets: readonly string[],
    query: object,
    change: (alias: string, id: string, fence: string) => Operation,
  ): Promise<number> {
    await this.#look();
    let changed = 0;
    for (const target of targets) {
      const alias = this.#writersOf(target);
      for (;;) {
        await this.#refresh([target]);
        const hits = await search(this.#options.parts, alias, {
          size: ROUND_DOCUMENTS,
          sort: ['_doc'],
          _source: [OWN_FIELD],
          track_total_hits: false,
          query,
        });
        if (hits === undefined) throw await this.#gone();
        if (hits.length === 0) break;
        const operations = hits.map(({ _id: id, _source: source }) => {
          const own = source[OWN_FIELD] as unknown as { readonly fence: string };
          return change(alias, id, own.fence);
        });
        const { applied, failed } = reportOf(await this.#bulk.run(operations));
        const [failure] = failed;
        if (failure !== undefined) throw failure.error;
        changed += applied;
      }
    }
    return changed;
  }

  /** Reads the claim anew: FENCED_OUT if a newer worker has it. */
  async #look(): Promise<void> {
    this.#check();
    const state = await this.#options.record.read();
    this.#claimed(state);
  }

  /** The record of the flow, if it is still this worker's. */
  #claimed(state: FlowState | undefined): FlowState {
    const { record, open, parts } = this.#options;
    checkEpoch(state, { flow: open.flow, workerEpoch: open.workerEpoch, where: parts.where });
    if (state === undefined) throw record.gone('the record of the flow was deleted');
    if (state.generations[open.generation] === undefined)
      throw record.gone(`generation ${open.generation} was replaced by ${state.current}`);
    if (state.workerEpoch < open.workerEpoch)
      throw record.gone('an older state of the index of flows was restored');
    return state;
  }

  /** The alias of this worker is not there: another worker has come, or the index was deleted. */
  async #gone(): Promise<TallyError> {
    const { record, open } = this.#options;
    this.#claimed(await record.read());
    const error = record.gone(`an index of generation ${open.generation} was deleted`);
    this.#lost.abort(error);
    return error;
  }

  #writersOf(target: string): string {
    const alias = this.#writers.get(target);
    if (alias !== undefined) return alias;
    throw new TallyError('INTERNAL', { what: `the session has not opened the target ${target}` });
  }

  /**
   * Looks from time to time: a flow to which nothing comes applies nothing, and would leave a target that was deleted as it
   * is until the next change.
   */
  #watch(): void {
    const { clock } = this.#options.parts;
    this.#stopWatching = clock.after(WATCH_EVERY_MS, () => void this.#lookAgain());
  }

  /** Never rejects: whoever cannot be reached may come back as it was. */
  async #lookAgain(): Promise<void> {
    try {
      const uuids = await this.#options.indices.uuidsOf([...this.#writers.values()]);
      const held = Object.values(this.#held).map((identity) => identity.split(' ')[0]);
      if (this.#open && held.some((uuid) => uuids.every((found) => found !== uuid)))
        await this.#gone();
    } catch {
      // A worker that was replaced learns that from its lease.
    }
    if (this.#open && !this.#lost.signal.aborted) this.#watch();
  }

  #check(): void {
    if (!this.#open) throw closedError(`sink of flow ${this.#options.open.flow}`);
  }
}

function reportOf(outcomes: readonly ('applied' | 'older' | TallyError)[]): SinkReport {
  let applied = 0;
  let older = 0;
  const failed: FailedWrite[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome === 'applied') applied += 1;
    else if (outcome === 'older') older += 1;
    else failed.push({ index, error: outcome });
  }
  return { applied, older, failed };
}

function noFoldState(where: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: 'the server keeps no fold state: nothing changes together with a document but that document',
    where,
    mend: 'keep the folded projection in a transactional store, such as postgres',
    details: { capability: 'foldState' },
  });
}
