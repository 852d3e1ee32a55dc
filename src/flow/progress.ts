import type { Evidence } from '../core/evidence.ts';
import { comparePositions, type Position } from '../core/position.ts';

/** What one flow has applied in full, as others may see it. */
export interface FlowProgress {
  readonly lane: string;
  readonly through: Position | undefined;
  /** When that transaction was committed, by the source's clock; undefined if it is not known. */
  readonly throughAtMs: number | undefined;
  /** Names of the units that are parked. */
  readonly parkedUnits: readonly string[];
}

interface Waiter {
  readonly need: Position;
  readonly wake: () => void;
}

/** More waiters than this are refused: each is a request that hangs on a target that lags. */
const WAITERS_MAX = 100_000;

/**
 * Where flows publish how far they are and barriers wait for it: no polling in-process. Waiters of a
 * flow stand in the order of what they need, so a publication touches only those that it wakes.
 */
export class ProgressBoard {
  readonly #progress = new Map<string, FlowProgress>();
  readonly #waiters = new Map<string, Waiter[]>();

  get(flow: string): FlowProgress | undefined {
    return this.#progress.get(flow);
  }

  publish(flow: string, progress: FlowProgress): void {
    const before = this.#progress.get(flow);
    this.#progress.set(flow, progress);
    const waiters = this.#waiters.get(flow);
    if (waiters === undefined) return;
    // Parked work and a new epoch change the answer of everyone who waits; a position only of those it reaches.
    const everyone =
      !sameUnits(progress.parkedUnits, before?.parkedUnits ?? []) ||
      before?.through?.epoch !== progress.through?.epoch;
    const woken = waiters.splice(
      0,
      everyone ? waiters.length : reachedCount(waiters, progress.through),
    );
    for (const waiter of woken) waiter.wake();
  }

  /** Resolves at the next publication that may satisfy `need`. The caller looks again and decides. */
  changed(
    flow: string,
    need: Position,
  ): { readonly woken: Promise<void>; readonly cancel: () => void } | undefined {
    const waiters = this.#waiters.get(flow) ?? [];
    this.#waiters.set(flow, waiters);
    if (waiters.length >= WAITERS_MAX) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { need, wake: resolve };
    waiters.splice(insertionIndex(waiters, need), 0, waiter);
    return {
      woken: promise,
      cancel: () => {
        const index = waiters.indexOf(waiter);
        if (index !== -1) waiters.splice(index, 1);
      },
    };
  }
}

function sameUnits(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((unit, index) => unit === right[index]);
}

/** How many of the waiters, from the first, need no more than `through`. */
function reachedCount(waiters: readonly Waiter[], through: Position | undefined): number {
  return through === undefined ? 0 : insertionIndex(waiters, through);
}

function insertionIndex(waiters: readonly Waiter[], need: Position): number {
  let low = 0;
  let high = waiters.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comparePositions((waiters[middle] as Waiter).need, need) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The progress of a flow as evidence. */
export function progressEvidence(progress: FlowProgress): Evidence {
  return progress.through === undefined
    ? new Map()
    : new Map([[progress.lane, [progress.through]]]);
}
