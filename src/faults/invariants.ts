import { compareIdentities } from '../core/position.ts';
import { descends, type Epoch } from '../flow/epochs.ts';
import type { LogRecord } from '../ports/log.ts';
import type { MemoryState } from '../stores/memory/index.ts';
import { expectedRows, Model, targets, touches, type TargetName } from './model.ts';

/** A promise of the coordinator that did not hold. */
export class Violation extends Error {
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`);
    this.name = 'Violation';
    this.invariant = invariant;
  }
}

/** The durable states of a simulated application. */
export interface States {
  readonly orders: MemoryState;
  readonly search: MemoryState;
  readonly views: MemoryState;
  readonly log: MemoryState;
  readonly ledger: MemoryState;
}

/** Which target lives in which store. */
export const storeOf: Readonly<Record<TargetName, 'search' | 'views'>> = {
  documents: 'search',
  tags: 'search',
  totals: 'views',
};

const targetNames = Object.keys(targets) as readonly TargetName[];

interface Parked {
  readonly generation: number;
  readonly unit: {
    readonly by: string;
    readonly table?: string;
    readonly target?: string;
    readonly key: string;
  };
}

/** Watches the durable states of a world, and says at once when a promise does not hold. */
export class Invariants {
  readonly #states: States;
  readonly #model: Model;
  /** The history behind each epoch of the lane. */
  readonly #histories = new Map<number, string>();
  #forks: Epoch['forks'];
  /** Per target row, the newest version that readers could see. */
  readonly #seen = new Map<string, number>();
  readonly #checked = new Map<TargetName, string>();
  #logged = 0;
  #lastRecord: LogRecord | undefined;
  #lastCommit: LogRecord | undefined;
  #changesInTransaction = 0;

  constructor(states: States, model: Model) {
    this.#states = states;
    this.#model = model;
  }

  /** Looks after a step of the ledger. */
  afterLedger(): void {
    const record = this.#states.ledger.ledger.spaces.get('epochs')?.get('orders');
    if (record === undefined) return;
    const { epoch, history, forks } = JSON.parse(record.value) as Epoch;
    this.#histories.set(epoch, history);
    this.#forks = forks;
  }

  /** Looks after an append: what is in the log is in order, whole, and there once. */
  afterLog(): void {
    const { first, records } = this.#states.log.log;
    for (const record of records.slice(Math.max(0, this.#logged - first))) this.#logRecord(record);
    this.#logged = first + records.length;
  }

  /** Looks after an acknowledgement: the source forgets only what is in the log. */
  afterAcknowledge(): void {
    const { acknowledgedTo, history } = this.#states.orders.source;
    const commit = this.#lastCommit;
    const logged =
      commit !== undefined && this.#model.contains(history, this.#histories.get(commit.epoch))
        ? commit.offset
        : 0;
    if (acknowledgedTo > logged && this.#model.numberOf(history, acknowledgedTo) > 0)
      throw new Violation(
        'acknowledged only what the log holds',
        `the source was told it may forget up to ${acknowledgedTo}, the log ends at ${logged}`,
      );
  }

  /** Looks after a step of a sink: no row moved back, and the checkpoint is not ahead of the rows. */
  afterSink(store: 'search' | 'views'): void {
    for (const target of targetNames) {
      if (storeOf[target] !== store) continue;
      const held = this.#visible(target);
      if (held === undefined) continue;
      const { through } = held.checkpoint ?? {};
      const rebuilding = targets[target].folded && through === undefined;
      this.#notBack(target, rebuilding);
      const checkpoint = JSON.stringify([held.number, through]);
      if (through === undefined || this.#checked.get(target) === checkpoint) continue;
      this.#checked.set(target, checkpoint);
      this.covers(target, this.commitOf(through), 'the checkpoint is never ahead of the data', {});
    }
  }

  /** The number of the commit at a position; 0 for one before every commit. */
  commitOf(at: { readonly epoch: number; readonly offset: number }): number {
    const history = this.#histories.get(at.epoch);
    return history === undefined ? 0 : this.#model.numberOf(history, at.offset);
  }

  /** The epoch of the source's present history, if it was accepted. */
  get epoch(): number | undefined {
    const { history } = this.#states.orders.source;
    const epochs = [...this.#histories].filter(([, name]) => name === history);
    return epochs.length === 0 ? undefined : Math.max(...epochs.map(([epoch]) => epoch));
  }

  /** Whether each row of a target is at least as new as after a commit. */
  covers(
    target: TargetName,
    commit: number,
    invariant: string,
    options: { readonly item?: string; readonly parkedToo?: true },
  ): void {
    const held = this.#visible(target);
    const parked = this.#parked(target, held?.number ?? 1);
    if (targets[target].folded && parked.length > 0) return;
    for (const key of this.#model.keys(target)) {
      if (options.item !== undefined && !touches(target, key, 'items', options.item)) continue;
      if (options.parkedToo !== true && isParked(target, key, parked)) continue;
      const text = held?.rows?.get(key)?.row ?? null;
      const found = this.#model.versionOf(target, key, text);
      const wanted = this.#model.versionAt(target, key, commit);
      if (found < wanted)
        throw new Violation(
          invariant,
          `${target} ${key} holds ${text ?? 'nothing'} (version ${found}), but after commit ${commit} it is version ${wanted}`,
        );
    }
  }

  /** What is parked for the generation of a target that readers see. */
  parked(target: TargetName): number {
    return this.#parked(target, this.#visible(target)?.number ?? 1).length;
  }

  /** The position that a target's readers may believe. */
  through(target: TargetName): { readonly epoch: number; readonly offset: number } | undefined {
    return this.#visible(target)?.checkpoint?.through;
  }

  /** Whether all targets hold exactly what follows from the tables. */
  converged(): void {
    const { tables } = this.#states.orders.source;
    const rows = (name: string): ReadonlyMap<string, string> => tables.get(name)?.rows ?? new Map();
    for (const target of targetNames) {
      const expected = expectedRows(target, { items: rows('items'), lines: rows('lines') });
      const held = this.#visible(target)?.rows ?? new Map<string, { row: string | null }>();
      for (const key of new Set([...expected.keys(), ...held.keys()])) {
        const text = held.get(key)?.row ?? null;
        const wanted = expected.get(key) ?? null;
        if (text !== wanted)
          throw new Violation(
            'in the end a target is what its source implies',
            `${target} ${key} holds ${text ?? 'nothing'} where ${wanted ?? 'nothing'} is due`,
          );
      }
    }
  }

  #notBack(target: TargetName, rebuilding: boolean): void {
    const held = this.#visible(target);
    const parked = this.#parked(target, held?.number ?? 1);
    const skipAll = targets[target].folded && (rebuilding || parked.length > 0);
    const keys = new Set([...this.#model.keys(target), ...(held?.rows?.keys() ?? [])]);
    for (const key of keys) {
      const name = `${target} ${key}`;
      // A generation that was built while a row was parked does not have it: what was seen says no more.
      if (skipAll || isParked(target, key, parked)) {
        this.#seen.delete(name);
        continue;
      }
      const text = held?.rows?.get(key)?.row ?? null;
      const before = this.#seen.get(name) ?? -1;
      const found = this.#model.versionFrom(target, key, text, before);
      if (found === undefined && this.#model.versionOf(target, key, text) === -2)
        throw new Violation(
          'a target holds what its source once implied',
          `${name} holds ${text} under ${JSON.stringify(held?.checkpoint)}`,
        );
      if (found === undefined)
        throw new Violation(
          'no row moves back',
          `${name} was at version ${before} and now holds ${text ?? 'nothing'}`,
        );
      this.#seen.set(name, found);
    }
  }

  /** Whether a record is of the same history as one before it, or of one that goes on from it. */
  #goesOn(before: LogRecord | undefined, record: LogRecord): boolean {
    return before !== undefined && descends(this.#forks, record.epoch, before.epoch);
  }

  #visible(target: TargetName) {
    const state = this.#states[storeOf[target]].flows.get(targets[target].flow);
    const held = state?.generations.get(state.visible);
    if (state === undefined || held === undefined) return undefined;
    return { number: state.visible, checkpoint: held.checkpoint, rows: held.targets.get(target) };
  }

  #parked(target: TargetName, generation: number): readonly Parked[] {
    const records = this.#states.ledger.ledger.spaces.get(`parked/${targets[target].flow}`);
    return [...(records?.values() ?? [])]
      .map(({ value }) => JSON.parse(value) as Parked)
      .filter((parked) => parked.generation === generation);
  }

  #logRecord(record: LogRecord): void {
    const last = this.#lastRecord;
    const place = `${record.epoch}.${record.offset}.${record.ordinal}`;
    if (last !== undefined && compareIdentities(record, last) <= 0)
      throw new Violation(
        'the log holds each record once, in order',
        `${place} after ${last.epoch}.${last.offset}.${last.ordinal}`,
      );
    // A transaction that a lost history cut off has no end: the next epoch begins anew.
    if (!this.#goesOn(last, record)) this.#changesInTransaction = 0;
    this.#lastRecord = record;
    if (record.kind === 'change') {
      if (this.#changesInTransaction !== record.ordinal)
        throw new Violation('a transaction is whole in the log', `${place} follows a gap`);
      this.#changesInTransaction += 1;
      return;
    }
    if (this.#changesInTransaction !== record.ordinal)
      throw new Violation(
        'a transaction is whole in the log',
        `${place} ends ${this.#changesInTransaction} changes`,
      );
    const before = this.#lastCommit;
    // An epoch that goes on from the one before begins with a mark at the place where that one ended.
    const isMark = record.ordinal === 0 && record.offset === before?.offset;
    const gap =
      this.#goesOn(before, record) &&
      before !== undefined &&
      before.offset > 0 &&
      record.offset !== before.offset + 1 &&
      !(isMark && before.epoch < record.epoch);
    if (gap) throw new Violation('the log has no gap', `commit ${place} after ${before.offset}`);
    this.#changesInTransaction = 0;
    this.#lastCommit = record;
  }
}

function isParked(target: TargetName, key: string, parked: readonly Parked[]): boolean {
  return parked.some(({ unit }) =>
    unit.by === 'target'
      ? unit.target === target && unit.key === key
      : touches(target, key, unit.table ?? '', unit.key),
  );
}
