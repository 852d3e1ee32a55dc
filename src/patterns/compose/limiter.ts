import type { Priority } from '../../runtime/budget.ts';
import type { AdaptiveLimit } from './adaptive-limit.ts';

/** Background work leaves this share of the limit to the rest, so that it never makes a page wait. */
const BACKGROUND_SHARE = 0.8;

/** Somebody who waits for a place. */
export interface Waiter {
  readonly priority: Priority;
  /** It has a place now, and has to give it back. */
  readonly enter: () => void;
  /** Its turn will not come: somebody who matters more needed the room to wait. */
  readonly shed: () => void;
}

/**
 * The places of one store: how many calls may be under way at once. A place is given back when the work
 * behind it has ended, not when its caller stopped waiting. Otherwise "at most two" becomes as many as fit
 * into the timeout: the callers leave, the work goes on, and others come in beside it.
 */
export class Limiter {
  readonly #limit: number | AdaptiveLimit;
  readonly #waitingMax: number;
  readonly #waiting: Record<Priority, Waiter[]> = { critical: [], normal: [], background: [] };
  #waitingCount = 0;
  #inUse = 0;

  constructor(limit: number | AdaptiveLimit, waitingMax: number) {
    this.#limit = limit;
    this.#waitingMax = waitingMax;
  }

  get limit(): number {
    return typeof this.#limit === 'number' ? this.#limit : this.#limit.limit;
  }

  /** Places that are taken. May be over an adaptive limit that has just sunk. */
  get inUse(): number {
    return this.#inUse;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  /** Takes a place if there is one for this priority. Never ahead of somebody who waits for it and matters as much. */
  tryEnter(priority: Priority): boolean {
    if (this.#waitingCount > 0 && this.#hasWaitingAtLeast(priority)) return false;
    if (this.#inUse >= this.#placesFor(priority)) return false;
    this.#inUse += 1;
    return true;
  }

  /**
   * Lets somebody wait. `full`: there is no room, nor anybody who matters less. A waiter is told once:
   * `enter` or `shed`, unless it was taken out by {@link leave} before.
   */
  wait(waiter: Waiter): 'waits' | 'full' {
    if (this.#waitingCount >= this.#waitingMax && !this.#shedBelow(waiter.priority)) return 'full';
    this.#waiting[waiter.priority].push(waiter);
    this.#waitingCount += 1;
    return 'waits';
  }

  /** Somebody no longer waits. Does nothing if it does not. */
  leave(waiter: Waiter): void {
    const queue = this.#waiting[waiter.priority];
    const at = queue.indexOf(waiter);
    if (at === -1) return;
    queue.splice(at, 1);
    this.#waitingCount -= 1;
  }

  /** What a call took; for a limit that finds itself. `dropped`: it ran out of time. */
  record(durationMs: number, outcome: 'done' | 'dropped'): void {
    if (typeof this.#limit !== 'number') this.#limit.record(durationMs, outcome, this.#inUse);
  }

  /** The work behind a place has ended. */
  free(): void {
    this.#inUse -= 1;
    while (this.#waitingCount > 0 && this.#admitNext());
  }

  #admitNext(): boolean {
    for (const priority of ['critical', 'normal', 'background'] as const) {
      const queue = this.#waiting[priority];
      if (queue.length === 0) continue;
      if (this.#inUse >= this.#placesFor(priority)) return false;
      const next = queue.shift();
      if (next === undefined) continue;
      this.#waitingCount -= 1;
      this.#inUse += 1;
      next.enter();
      return true;
    }
    return false;
  }

  #placesFor(priority: Priority): number {
    const { limit } = this;
    return priority === 'background' ? Math.max(1, Math.floor(limit * BACKGROUND_SHARE)) : limit;
  }

  #hasWaitingAtLeast(priority: Priority): boolean {
    const { critical, normal, background } = this.#waiting;
    if (critical.length > 0) return true;
    if (priority === 'critical') return false;
    return normal.length > 0 || (priority === 'background' && background.length > 0);
  }

  /** Sends away the one that came last of those who matter least, if less than `priority`. */
  #shedBelow(priority: Priority): boolean {
    if (priority === 'background') return false;
    const { background, normal } = this.#waiting;
    const queue = background.length > 0 || priority === 'normal' ? background : normal;
    const last = queue.pop();
    if (last === undefined) return false;
    this.#waitingCount -= 1;
    last.shed();
    return true;
  }
}
