import { suggest } from '../../core/options.ts';
import { packFence } from '../../core/fence.ts';
import { ORDINAL_MAX, type Position } from '../../core/position.ts';
import type { Write } from '../../core/write.ts';
import { point } from '../../observe/point.ts';
import type {
  Checkpoint,
  FailedWrite,
  OpenSinkOptions,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../ports/sink.ts';
import {
  closedError,
  fencedOut,
  goneGeneration,
  isOfWrite,
  refused,
  writeFailure,
} from './errors.ts';
import type { Link, Tx } from './link.ts';
import { TOMBSTONE } from './names.ts';
import { advance, forgetProgress, readFlow, readState, type FlowRecord } from './records.ts';
import { forget, statementsOf, type Strictness } from './statements.ts';
import type { Place } from './targets.ts';
import { endKey, keyProperty, propertiesOf, rowText } from './values.ts';

export interface SessionParts {
  readonly link: Link;
  /** What the ids of the coordinator's own nodes begin with. */
  readonly prefix: string;
  readonly rowBytesMax: number;
  readonly options: OpenSinkOptions;
  readonly places: ReadonlyMap<string, Place>;
}

/** Rows of one statement: enough that its plan costs nothing, few enough that they fit into a message of the protocol. */
const STATEMENT_ROWS = 500;
/** Rows that are taken away in one transaction, which is in the memory of the server. */
const FORGET_ROWS = 5_000;
/** Writes that are found to be refused in one batch, before the rest is left for the next try. */
const REFUSED_MAX = 20;

/** Writes of one place that one statement takes. */
interface Group {
  readonly place: Place;
  readonly statements: readonly string[];
  readonly rows: Readonly<Record<string, unknown>>[];
}

/**
 * One flow's hold on its targets. Every step is one transaction that first locks the flow's record: a worker that was
 * replaced ends there. Otherwise: 1. worker A stalls before its batch 2. worker B takes over and passes the same changes
 * 3. A wakes up and moves the checkpoint back.
 */
export class NeoSinkSession implements SinkSession {
  readonly #parts: SessionParts;
  #open = true;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    this.#assertOpen();
    return this.#parts.link.read(async (tx) => (await this.#hold(tx, 'no-lock')).checkpoint);
  }

  async apply(batch: SinkBatch): Promise<SinkReport> {
    this.#assertOpen();
    point('sink.before-apply');
    const { writes } = batch;
    const failed = this.#unfit(writes);
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    const middle = writes.length >> 1;
    const halves = [writes.slice(0, middle), writes.slice(middle)];
    try {
      const applied = await this.#parts.link.write(async (tx) => {
        const { checkpoint } = await this.#hold(tx, 'lock');
        let count = await this.#write(tx, halves[0] ?? []);
        if (middle > 0) point('sink.mid-apply');
        count += await this.#write(tx, halves[1] ?? []);
        point('sink.after-apply-before-checkpoint');
        await advance(tx, this.#id, checkpoint, batch);
        point('sink.after-checkpoint-before-commit');
        return count;
      });
      point('sink.after-commit');
      return { applied, older: writes.length - applied, failed: [] };
    } catch (error) {
      if (!isOfWrite(error)) throw error;
      const refusedOnes = await this.#refused(writes);
      if (refusedOnes.length === 0) throw writeFailure(error, this.#parts.options.flow);
      return { applied: 0, older: 0, failed: refusedOnes };
    }
  }

  async readState(names: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    return this.#parts.link.read(async (tx) => {
      await this.#hold(tx, 'no-lock');
      return names.length === 0 ? [] : readState(tx, this.#id, names);
    });
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    let count = 0;
    for (const target of targets)
      count += await this.#forgetAll(forget(this.#place(target), 'n._fence < $fence', true), {
        place: this.#idOf(target),
        fence: packFence(before),
        ordinal: BigInt(ORDINAL_MAX),
      });
    return count;
  }

  async prune(before: Position): Promise<number> {
    let count = 0;
    for (const target of this.#parts.places.keys())
      count += await this.#forgetAll(
        `MATCH (t:${TOMBSTONE}) WHERE t.place = $place AND t._fence < $fence
WITH t LIMIT $limit DELETE t RETURN count(*) AS removed`,
        { place: this.#idOf(target), fence: packFence(before) },
      );
    return count;
  }

  async reset(): Promise<void> {
    this.#assertOpen();
    // The checkpoint goes first: without it whoever comes next fills everything anew, wherever this ends.
    await this.#parts.link.write(async (tx) => {
      await this.#hold(tx, 'lock');
      await forgetProgress(tx, this.#id);
    });
    for (const [target, place] of this.#parts.places) {
      await this.#forgetAll(forget(place, 'true', false), {});
      await this.#forgetAll(
        `MATCH (t:${TOMBSTONE}) WHERE t.place = $place WITH t LIMIT $limit DELETE t RETURN count(*) AS removed`,
        { place: this.#idOf(target) },
      );
      point('sink.mid-reset');
    }
  }

  async close(): Promise<void> {
    this.#open = false;
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #id(): string {
    return `${this.#parts.prefix}${this.#parts.options.flow}`;
  }

  /** What the ids of a target's tombstones begin with; no name of a target holds the separator. */
  #idOf(target: string): string {
    return `${this.#parts.prefix}${target}\n`;
  }

  /** Checks that this worker may still write. */
  async #hold(tx: Tx, lock: 'lock' | 'no-lock'): Promise<FlowRecord> {
    const { flow, generation, workerEpoch } = this.#parts.options;
    const record = await readFlow(tx, this.#id, lock);
    if (record === undefined || record.generation !== generation)
      throw goneGeneration(flow, generation);
    if (record.workerEpoch !== workerEpoch) throw fencedOut(flow, workerEpoch, record.workerEpoch);
    return record;
  }

  /** Writes that no database needs to be asked about. */
  #unfit(writes: readonly Write[]): readonly FailedWrite[] {
    const failed: FailedWrite[] = [];
    for (const [index, write] of writes.entries()) {
      try {
        this.#row(write, this.#place(write.target));
      } catch (error) {
        failed.push({ index, error: writeFailure(error, write.target) });
      }
    }
    return failed;
  }

  /** Applies writes in the caller's transaction; how many were newer than what was there. */
  async #write(tx: Tx, writes: readonly Write[]): Promise<number> {
    let applied = 0;
    for (const { place, statements, rows } of this.#groups(writes)) {
      for (let from = 0; from < rows.length; from += STATEMENT_ROWS) {
        const parameters = {
          rows: rows.slice(from, from + STATEMENT_ROWS),
          place: this.#idOf(place.target),
        };
        for (const [index, text] of statements.entries()) {
          const [answer] = await tx.run(text, parameters);
          if (index === statements.length - 1) applied += Number(answer?.['applied'] ?? 0);
        }
      }
    }
    return applied;
  }

  #groups(writes: readonly Write[]): Iterable<Group> {
    const groups = new Map<string, Group>();
    for (const write of writes) {
      const strictness: Strictness = write.mode === 'repair' ? 'not-older' : 'newer';
      const kind = write.row === null ? 'remove' : 'put';
      const name = `${strictness} ${kind} ${write.target}`;
      let group = groups.get(name);
      if (group === undefined) {
        const place = this.#place(write.target);
        group = { place, statements: statementsOf(place, strictness)[kind], rows: [] };
        groups.set(name, group);
      }
      group.rows.push(this.#row(write, group.place));
    }
    return groups.values();
  }

  #row(write: Write, place: Place): Readonly<Record<string, unknown>> {
    const { row, target } = write;
    const key = keyProperty(write.key);
    const about = {
      id: `${this.#idOf(target)}${key}`,
      key,
      fence: packFence(write),
      ordinal: BigInt(write.ordinal),
    };
    if (row === null) return about;
    const properties = propertiesOf(row, rowText(row, this.#parts.rowBytesMax));
    if (place.kind === 'node') return { ...about, properties };
    const from = endKey(row, place.from.key, 'from');
    return { ...about, properties, from, to: endKey(row, place.to.key, 'to') };
  }

  /**
   * Finds which writes the database refuses: a statement that fails ends its transaction, so each that is found begins
   * another one without it. All is rolled back.
   */
  async #refused(writes: readonly Write[]): Promise<readonly FailedWrite[]> {
    const failed = new Map<number, FailedWrite>();
    while (failed.size < REFUSED_MAX) {
      const found = await this.#firstRefused(writes, failed);
      if (found === undefined) break;
      failed.set(found.index, found);
    }
    return [...failed.values()].toSorted((one, other) => one.index - other.index);
  }

  async #firstRefused(
    writes: readonly Write[],
    known: ReadonlyMap<number, FailedWrite>,
  ): Promise<FailedWrite | undefined> {
    let at = 0;
    try {
      await this.#parts.link.write(
        async (tx) => {
          await this.#hold(tx, 'lock');
          for (const [index, write] of writes.entries()) {
            at = index;
            if (!known.has(index)) await this.#write(tx, [write]);
          }
        },
        () => false,
      );
      return undefined;
    } catch (error) {
      if (!isOfWrite(error)) throw error;
      return { index: at, error: writeFailure(error, writes[at]?.target ?? '') };
    }
  }

  async #forgetAll(text: string, parameters: Readonly<Record<string, unknown>>): Promise<number> {
    this.#assertOpen();
    let count = 0;
    for (;;) {
      const removed = await this.#parts.link.write(async (tx) => {
        await this.#hold(tx, 'lock');
        const [answer] = await tx.run(text, { ...parameters, limit: BigInt(FORGET_ROWS) });
        return Number(answer?.['removed'] ?? 0);
      });
      count += removed;
      if (removed < FORGET_ROWS) return count;
    }
  }

  #place(target: string): Place {
    const place = this.#parts.places.get(target);
    if (place !== undefined) return place;
    const nearest = suggest(target, [...this.#parts.places.keys()]);
    throw refused(
      `the flow was not opened for a target ${target}`,
      { target, ...(nearest === undefined ? {} : { nearest }) },
      `${nearest === undefined ? '' : `did you mean ${nearest}? `}name the target in the flow`,
    );
  }

  #assertOpen(): void {
    if (!this.#open) throw closedError(`flow ${this.#parts.options.flow}`);
  }
}
