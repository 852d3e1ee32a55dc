import type { Alarm } from '../../runtime/alarms.ts';
import type { Priority } from '../../runtime/budget.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { Attempt, type Read } from './call.ts';
import type { Core } from './core.ts';
import type { Known } from './known.ts';
import type { Waiter } from './limiter.ts';
import {
  abortedReason,
  deadlineReason,
  failedReason,
  openReason,
  shedReason,
  type Reason,
} from './reason.ts';

/** What one run goes by; made of the guard's options and the call's. */
export interface RunPlan<Value> {
  readonly read: Read<Value>;
  /** On the monotonic clock. */
  readonly deadlineMs: number;
  /** What the store should need at most: less than that, and a timeout is no failure of the store. */
  readonly ownMs: number;
  readonly priority: Priority;
  /** Whether it may be asked twice. */
  readonly idempotent: boolean;
  /** What it is called in the log of queries. */
  readonly name: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly done: (value: Value, known: Known) => void;
  readonly gone: (reason: Reason) => void;
}

/**
 * One call through a guard, with its attempts: the first, repeated ones after a failure, a hedged one
 * beside a slow one. Its own alarm is the deadline of all of them together.
 */
export class Run<Value> implements Alarm {
  readonly atMs: number;
  place = -1;
  readonly priority: Priority;
  readonly #core: Core;
  readonly #plan: RunPlan<Value>;
  #startedMs = 0;
  #attempts = 0;
  #over = false;
  /** At most two are under way: one, and one beside it. */
  #first: Attempt<Value> | undefined;
  #second: Attempt<Value> | undefined;
  #next: Alarm | undefined;
  #waiter: Waiter | undefined;

  constructor(core: Core, plan: RunPlan<Value>) {
    this.#core = core;
    this.#plan = plan;
    this.atMs = plan.deadlineMs;
    this.priority = plan.priority;
  }

  start(): void {
    const { clock, stats } = this.#core;
    stats.calls += 1;
    const nowMs = clock.monotonicMs();
    this.#startedMs = nowMs;
    const { signal } = this.#plan;
    if (signal?.aborted === true) return this.cancel(signal.reason);
    if (this.atMs <= nowMs) return this.#end(deadlineReason(this.#core.name, 0));
    signal?.addEventListener('abort', this.#onAbort);
    if (this.atMs !== Infinity) this.#core.alarms.set(this);
    this.#core.hedges?.earn();
    this.#core.retries?.earn();
    this.#enter();
  }

  /** The deadline. */
  ring(): void {
    if (this.#over) return;
    this.#core.stats.timedOut += 1;
    if (this.#waiter !== undefined) {
      this.#core.limiter.leave(this.#waiter);
      this.#waiter = undefined;
      return this.#shed();
    }
    this.#end(deadlineReason(this.#core.name, this.atMs - this.#startedMs));
  }

  /** The caller gives up. */
  cancel(cause?: unknown): void {
    if (!this.#over) this.#end(abortedReason(cause));
  }

  succeeded(attempt: Attempt<Value>, value: Value): void {
    if (attempt === this.#second) this.#core.stats.hedgesWon += 1;
    this.#forget(attempt);
    this.#close();
    this.#core.stats.succeeded += 1;
    this.#plan.done(value, attempt.known);
  }

  failed(attempt: Attempt<Value>, error: unknown): void {
    this.#forget(attempt);
    // The other one may still make it.
    if (this.#first !== undefined || this.#second !== undefined) return;
    if (this.#retryLater(error)) return;
    this.#end(failedReason(error));
  }

  readonly #onAbort = (): void => this.cancel(this.#plan.signal?.reason);

  /** Takes a place and begins; waits for one if there is none. */
  #enter(): void {
    const { breaker, limiter, clock } = this.#core;
    const nowMs = clock.monotonicMs();
    const opensInMs = breaker?.opensInMs(nowMs) ?? 0;
    // Before it is asked for a place: behind an open breaker the places may be held by what hangs.
    if (opensInMs > 0) return this.#refused(opensInMs);
    if (limiter.tryEnter(this.priority)) return this.#entered(nowMs);
    // Work that nobody waits for holds every place: to wait behind it would cost each caller its whole time.
    if (this.#core.overdue >= limiter.limit) return this.#shed();
    const entered = inThisContext(() => {
      // Its caller may have left between being let in and coming in.
      if (this.#over) limiter.free();
      else this.#entered(clock.monotonicMs());
    });
    const waiter: Waiter = {
      priority: this.priority,
      enter: () => {
        this.#waiter = undefined;
        entered();
      },
      shed: () => {
        this.#waiter = undefined;
        this.#shed();
      },
    };
    if (limiter.wait(waiter) === 'full') return this.#shed();
    this.#waiter = waiter;
  }

  #entered(nowMs: number): void {
    const { breaker, limiter } = this.#core;
    const era = breaker === undefined ? 0 : breaker.enter(nowMs);
    if (era === undefined) {
      limiter.free();
      return this.#refused(breaker?.opensInMs(nowMs) ?? 0);
    }
    this.#cancelNext();
    const attempt = this.#attempt(era, nowMs);
    this.#first = attempt;
    if (this.#plan.idempotent) this.#hedgeLater(nowMs);
    attempt.begin(this.#plan.read, this.#plan.name);
  }

  #attempt(era: number, nowMs: number): Attempt<Value> {
    this.#attempts += 1;
    return new Attempt(this.#core, this, this.#attempts, era, nowMs);
  }

  #hedgeLater(nowMs: number): void {
    const { hedges, alarms, hedgeMinMs, latency } = this.#core;
    if (hedges === undefined) return;
    const usualMs = latency.get();
    if (usualMs === undefined) return;
    const atMs = nowMs + Math.max(hedgeMinMs, usualMs);
    if (atMs >= this.atMs) return;
    this.#next = new Later(atMs, () => this.#hedge());
    alarms.set(this.#next);
  }

  /**
   * Asks a second time beside the first. Only while the store is well and has places to spare: what is slow
   * for everybody is not helped by twice the calls.
   */
  #hedge(): void {
    const { breaker, limiter, clock, hedges, stats } = this.#core;
    this.#next = undefined;
    if (this.#over) return;
    const nowMs = clock.monotonicMs();
    if (breaker !== undefined && breaker.state(nowMs) !== 'closed') return;
    if (limiter.waiting > 0 || !limiter.tryEnter(this.priority)) return;
    const era = hedges?.spend() === true ? (breaker?.enter(nowMs) ?? 0) : undefined;
    if (era === undefined) return limiter.free();
    stats.hedges += 1;
    const attempt = this.#attempt(era, nowMs);
    this.#second = attempt;
    attempt.begin(this.#plan.read, this.#plan.name);
  }

  #retryLater(error: unknown): boolean {
    const { retries, retryMax, retryIf, backoff, random, clock, alarms } = this.#core;
    if (!this.#plan.idempotent || retries === undefined || this.#attempts >= retryMax) return false;
    if (!retryIf(error)) return false;
    const atMs = clock.monotonicMs() + backoffMs(this.#attempts, backoff, random);
    if (atMs >= this.atMs || !retries.spend()) return false;
    this.#cancelNext();
    this.#next = new Later(atMs, () => {
      this.#next = undefined;
      if (this.#over) return;
      this.#core.stats.retries += 1;
      this.#enter();
    });
    alarms.set(this.#next);
    return true;
  }

  #refused(opensInMs: number): void {
    this.#core.stats.refused += 1;
    this.#end(openReason(this.#core.name, opensInMs));
  }

  #shed(): void {
    this.#core.stats.shed += 1;
    this.#end(shedReason(this.#core.name, this.#core.fullness()));
  }

  #end(reason: Reason): void {
    this.#close(reason);
    if (reason.kind === 'failed') this.#core.stats.failed += 1;
    this.#plan.gone(reason);
  }

  /** Without a reason: there is an answer, and what is still under way was slower. */
  #close(reason?: Reason): void {
    this.#over = true;
    this.#core.alarms.cancel(this);
    this.#cancelNext();
    this.#plan.signal?.removeEventListener('abort', this.#onAbort);
    if (this.#waiter !== undefined) this.#core.limiter.leave(this.#waiter);
    this.#waiter = undefined;
    const [first, second] = [this.#first, this.#second];
    this.#first = undefined;
    this.#second = undefined;
    if (first === undefined && second === undefined) return;
    const { error, kind } = reason ?? abortedReason('another attempt was faster');
    const why = reason === undefined ? 'lost' : kind === 'deadline' ? 'late' : 'left';
    first?.giveUp(why, error, this.#plan.ownMs);
    second?.giveUp(why, error, this.#plan.ownMs);
  }

  #forget(attempt: Attempt<Value>): void {
    if (attempt === this.#first) this.#first = undefined;
    if (attempt === this.#second) this.#second = undefined;
  }

  #cancelNext(): void {
    if (this.#next !== undefined) this.#core.alarms.cancel(this.#next);
    this.#next = undefined;
  }
}

/**
 * Calls back in the context in which it was made: what runs later belongs to the request that asked, not to
 * whichever armed the timer or freed the place.
 */
function inThisContext(callback: () => void): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  const wait = async (): Promise<void> => {
    await promise;
    callback();
  };
  void wait();
  return resolve;
}

/** An alarm that rings in the context in which it was set. */
class Later implements Alarm {
  readonly atMs: number;
  readonly ring: () => void;
  place = -1;

  constructor(atMs: number, callback: () => void) {
    this.atMs = atMs;
    this.ring = inThisContext(callback);
  }
}
