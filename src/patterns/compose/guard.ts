import { TallyError } from '../../core/errors.ts';
import { checkDuration, checkOneOf, checkOptions, checkString } from '../../core/options.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Store } from '../../ports/store.ts';
import {
  currentBudget,
  deadlineOn,
  priorities,
  type Budget,
  type Priority,
} from '../../runtime/budget.ts';
import type { BreakerState } from './breaker.ts';
import type { Read } from './call.ts';
import type { Core, GuardCounts } from './core.ts';
import { coreOf, type Duration, type GuardOptions } from './guard-options.ts';
import { Run, type RunPlan } from './run.ts';

/** What one call may say for itself; what it does not say is the guard's. */
export interface CallOptions {
  /** How long it may take. Never longer than the guard's own, nor than what the caller has left. */
  readonly within?: Duration;
  readonly priority?: Priority;
  /** Whether it may be made twice. */
  readonly idempotent?: boolean;
  /** What it is called in the log of queries. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

/** How a guard stands. */
export interface GuardStats extends Readonly<GuardCounts> {
  readonly name: string;
  readonly breaker: BreakerState | 'off';
  readonly limit: number;
  /** Calls whose work has not ended, whether somebody waits for them or not. */
  readonly underWay: number;
  /** Those of them for which nobody waits any more. */
  readonly overdue: number;
  readonly waiting: number;
  /** The running percentile after which it hedges, in milliseconds; null while too little is known. */
  readonly usualMs: number | null;
}

/**
 * What stands between an application and one store: a limit on what is under way, a breaker, a deadline,
 * retries and hedges, each with a budget. One for each store and process: what it learns is learned from
 * all calls, and protects all of them.
 */
export interface Guard {
  readonly name: string;
  /**
   * Calls the store. Rejects with DEADLINE_EXCEEDED, CIRCUIT_OPEN, OVERLOADED or ABORTED, and otherwise with
   * what the last attempt threw. It stops waiting in time even if the work does not heed its signal; the
   * work then keeps its place until it ends.
   */
  run<Value>(read: Read<Value>, options?: CallOptions): Promise<Value>;
  stats(): GuardStats;
}

const callOptionNames = ['within', 'priority', 'idempotent', 'name', 'signal'] as const;
const nothing: CallOptions = {};

/**
 * A guard for calls to one store, or to anything else that can be slow or dead. Make it once, beside the
 * store. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function guard(name: string, options: GuardOptions = {}): Guard {
  checkString(name, 'guard.name', { charactersMax: 200 });
  return new StoreGuard(name, options);
}

export class StoreGuard implements Guard {
  readonly name: string;
  readonly #core: Core;
  readonly #withinMs: number;
  readonly #idempotent: boolean;

  constructor(name: string, options: GuardOptions) {
    const { core, withinMs } = coreOf(name, options);
    this.name = name;
    this.#core = core;
    this.#withinMs = withinMs;
    this.#idempotent = options.idempotent ?? false;
  }

  get clock(): Clock {
    return this.#core.clock;
  }

  run<Value>(read: Read<Value>, options: CallOptions = nothing): Promise<Value> {
    return new Promise((resolve, reject) => {
      this.start(read, options, {
        done: resolve,
        gone: ({ error }) => reject(error),
      });
    });
  }

  /** The same with callbacks; the answer comes before or after it returns. Throws CONFIG_INVALID. */
  start<Value>(
    read: Read<Value>,
    options: CallOptions,
    answer: Pick<RunPlan<Value>, 'done' | 'gone'>,
    budget: Budget | undefined = currentBudget(),
  ): Run<Value> {
    const { clock } = this.#core;
    if (options !== nothing) checkCallOptions(options, this.name);
    const { within, priority, idempotent, name, signal } = options;
    const ownMs =
      within === undefined
        ? this.#withinMs
        : Math.min(this.#withinMs, checkDuration(within, `guard.${this.name}.within`));
    const run = new Run(this.#core, {
      read,
      ownMs,
      deadlineMs: Math.min(clock.monotonicMs() + ownMs, deadlineOn(clock, budget)),
      priority: priority ?? budget?.priority ?? 'normal',
      idempotent: idempotent ?? this.#idempotent,
      name,
      signal,
      done: answer.done,
      gone: answer.gone,
    });
    run.start();
    return run;
  }

  stats(): GuardStats {
    const { breaker, clock, limiter, latency, overdue, stats } = this.#core;
    return {
      ...stats,
      name: this.name,
      breaker: breaker?.state(clock.monotonicMs()) ?? 'off',
      limit: limiter.limit,
      underWay: limiter.inUse,
      overdue,
      waiting: limiter.waiting,
      usualMs: latency.get() ?? null,
    };
  }
}

function checkCallOptions(options: CallOptions, name: string): void {
  checkOptions(options, callOptionNames, `guard.${name}.run`);
  const { priority } = options;
  if (priority !== undefined) checkOneOf(priority, `guard.${name}.run.priority`, priorities);
}

const ofStores = new WeakMap<object, StoreGuard>();

/** The guard that was meant: itself, or the default one of a store, the same for each call. */
export function guardOf(from: Guard | Store): StoreGuard {
  if (from instanceof StoreGuard) return from;
  if (!isStore(from))
    throw new TallyError('CONFIG_INVALID', {
      what: 'what is read from is neither a guard nor a store',
      mend: "give guard('orders', { … }), or a store of an open application",
    });
  let made = ofStores.get(from);
  if (made === undefined) {
    made = new StoreGuard(from.name, {});
    ofStores.set(from, made);
  }
  return made;
}

/**
 * Gives a store a guard of its own, which from then on is used wherever the store is named; the same one is
 * returned. Throws CONFIG_INVALID if it has one already: what that learned would be lost.
 */
export function guardStore(store: Store, options: GuardOptions): Guard {
  if (ofStores.has(store))
    throw new TallyError('CONFIG_INVALID', {
      what: 'the store has a guard already',
      where: `store ${store.name}`,
      mend: 'call guardStore once, before the store is first read through one',
    });
  const made = new StoreGuard(store.name, options);
  ofStores.set(store, made);
  return made;
}

function isStore(value: unknown): value is Store {
  return typeof value === 'object' && value !== null && 'vitals' in value && 'system' in value;
}
