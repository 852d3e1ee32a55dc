import { AsyncLocalStorage } from 'node:async_hooks';
import { checkDuration } from '../core/options.ts';
import type { Clock } from '../ports/clock.ts';
import { systemClock } from './clock.ts';

/**
 * How much a call matters when not all can be served. `background` goes first, `critical` last; what is
 * not said is `normal`.
 */
export type Priority = 'critical' | 'normal' | 'background';

/** In the order in which they are served. */
export const priorities: readonly Priority[] = ['critical', 'normal', 'background'];

/**
 * What is left for a piece of work: the time, and how much it matters. One budget is passed down: what is
 * called with 150 ms of which 100 are gone has 50, whatever its own limit says.
 */
export interface Budget {
  readonly clock: Clock;
  /** On the monotonic time of that clock; Infinity: no end. */
  readonly deadlineMs: number;
  readonly priority: Priority;
}

const storage = new AsyncLocalStorage<Budget>();

/** The budget of the work that this is part of, if it has one. */
export function currentBudget(): Budget | undefined {
  return storage.getStore();
}

/** Runs `work` with a budget that was made of the present one. */
export function runWithBudget<Result>(budget: Budget, work: () => Result): Result {
  return storage.run(budget, work);
}

/** When the present budget ends, on the monotonic time of `clock`; Infinity if it does not end. */
export function deadlineOn(clock: Clock, budget: Budget | undefined = storage.getStore()): number {
  if (budget === undefined) return Infinity;
  if (budget.clock === clock) return budget.deadlineMs;
  return clock.monotonicMs() + budget.deadlineMs - budget.clock.monotonicMs();
}

/** Milliseconds left for the present work, never below zero; undefined if nobody set a limit. */
export function remainingMs(): number | undefined {
  const budget = storage.getStore();
  if (budget === undefined || budget.deadlineMs === Infinity) return undefined;
  return Math.max(0, budget.deadlineMs - budget.clock.monotonicMs());
}

/**
 * Runs `work` with at most `within` for all that it calls through guards, loaders, joins and `gather`, and
 * never with more than it had already. It stops nothing by itself: what is called looks at the budget. Throws CONFIG_INVALID.
 */
export function withDeadline<Result>(
  within: number | string,
  work: () => Result,
  options: { readonly clock?: Clock } = {},
): Result {
  const clock = options.clock ?? systemClock;
  const ownMs = clock.monotonicMs() + checkDuration(within, 'within');
  const deadlineMs = Math.min(ownMs, deadlineOn(clock));
  return storage.run(
    { clock, deadlineMs, priority: storage.getStore()?.priority ?? 'normal' },
    work,
  );
}

/** Runs `work` so that all it calls through guards counts as this much. */
export function withPriority<Result>(priority: Priority, work: () => Result): Result {
  const outer = storage.getStore();
  return storage.run(
    { clock: outer?.clock ?? systemClock, deadlineMs: outer?.deadlineMs ?? Infinity, priority },
    work,
  );
}
