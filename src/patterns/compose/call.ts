import type { Clock } from '../../ports/clock.ts';
import { currentBudget, runWithBudget, type Budget, type Priority } from '../../runtime/budget.ts';
import type { Freshness } from '../../flow/barrier.ts';
import type { Core } from './core.ts';
import { unknown, worse, type Known } from './known.ts';
import { currentQueryLog, type LogEntry } from './query-log.ts';
import type { Run } from './run.ts';

/** What a read is handed: the time it has, and how it learns that nobody waits any more. */
export interface Call {
  /**
   * Aborts when the answer is no longer wanted: the time is over, another attempt was faster, the caller
   * gave up. Made when it is first asked for, since most drivers do not take one.
   */
  readonly signal: AbortSignal;
  /** 1 for the first; repeated and hedged ones count on. */
  readonly attempt: number;
  /** Milliseconds that are left. */
  readonly remainingMs: number;
  /** The value of what `app.read` answered; how fresh it is goes into the result. */
  readonly take: <Value>(read: { readonly value: Value; readonly freshness: Freshness }) => Value;
}

/** Asks a store. */
export type Read<Value> = (call: Call) => Value | Promise<Value>;

/** A timer may be a little early: what had this share of its time has had it. */
const FAIR_SHARE = 0.99;

/** One attempt: it holds a place in the store until its work has really ended. */
export class Attempt<Value> implements Call, Budget {
  readonly clock: Clock;
  readonly deadlineMs: number;
  readonly priority: Priority;
  readonly attempt: number;
  /** What a part of a page is handed with it. */
  needs: unknown = undefined;
  readonly #core: Core;
  readonly #run: Run<Value>;
  readonly #era: number;
  readonly #startedMs: number;
  #controller: AbortController | undefined;
  #givenUp: Error | undefined;
  #known: Known | undefined;
  #logged: LogEntry | undefined;

  constructor(core: Core, run: Run<Value>, attempt: number, era: number, nowMs: number) {
    this.#core = core;
    this.#run = run;
    this.#era = era;
    this.#startedMs = nowMs;
    this.clock = core.clock;
    this.deadlineMs = run.atMs;
    this.priority = run.priority;
    this.attempt = attempt;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#givenUp !== undefined) this.#controller.abort(this.#givenUp);
    return this.#controller.signal;
  }

  get remainingMs(): number {
    return Math.max(0, this.deadlineMs - this.clock.monotonicMs());
  }

  // A field, not a method: reads take it out of the call with its other members.
  readonly take = <Taken>(read: {
    readonly value: Taken;
    readonly freshness: Freshness;
  }): Taken => {
    this.note(read.freshness);
    return read.value;
  };

  /** How fresh something is that this attempt's answer is made of. */
  note(known: Known): void {
    this.#known = worse(this.#known, known);
  }

  get known(): Known {
    return this.#known ?? unknown;
  }

  /** A query of a watched client is seen within: it stands for this attempt in the log. */
  coverInLog(): void {
    if (this.#logged !== undefined) this.#logged.covered = true;
  }

  begin(read: Read<Value>, name: string | undefined): void {
    this.#logged = currentQueryLog()?.begin(this.#core.name, name ?? 'a call', 'call');
    let result: Value | Promise<Value>;
    try {
      result = runWithBudget(this, () => read(this));
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (isThenable(result))
      result.then(
        (value) => this.#succeeded(value),
        (error: unknown) => this.#failed(error),
      );
    else this.#succeeded(result);
  }

  /**
   * Nobody waits any more. The place stays taken until the work ends. `late`: its time is over; `lost`:
   * another attempt was faster; `left`: the caller went, which says nothing about the store. Nor does a
   * caller who came with the last millisecond of its own budget: otherwise one slow page would open the
   * breakers of all that it asks at its end. So `late` counts from `ownMs` on, or twice what is usual.
   */
  giveUp(why: 'late' | 'lost' | 'left', error: Error, ownMs: number): void {
    const core = this.#core;
    const nowMs = this.clock.monotonicMs();
    const durationMs = nowMs - this.#startedMs;
    const usualMs = core.latency.get() ?? Infinity;
    const slow = why === 'late' && durationMs >= Math.min(ownMs, 2 * usualMs) * FAIR_SHARE;
    this.#givenUp = error;
    core.overdue += 1;
    core.breaker?.record(this.#era, slow ? 'failed' : 'unknown', nowMs);
    if (slow || why === 'lost') core.recordLatency(durationMs, nowMs);
    if (slow) core.limiter.record(durationMs, 'dropped');
    this.#controller?.abort(error);
  }

  #succeeded(value: Value): void {
    if (this.#ended() === undefined) return;
    this.#run.succeeded(this, value);
  }

  #failed(error: unknown): void {
    const ended = this.#ended(error);
    if (ended !== undefined) this.#run.failed(this, error);
  }

  /** The work is over. Undefined if nobody waits for it. */
  #ended(error?: unknown): true | undefined {
    const core = this.#core;
    this.#logged?.end();
    if (this.#givenUp !== undefined) {
      core.overdue -= 1;
      core.limiter.free();
      return undefined;
    }
    const nowMs = this.clock.monotonicMs();
    const durationMs = nowMs - this.#startedMs;
    const against = error !== undefined && core.countsAgainst(error);
    // What fails fast must not make the store look fast: neither the percentile nor the limit learns from it.
    if (!against) core.recordLatency(durationMs, nowMs);
    if (!against) core.limiter.record(durationMs, 'done');
    core.breaker?.record(this.#era, against ? 'failed' : 'succeeded', nowMs);
    core.limiter.free();
    return true;
  }
}

/** The attempt that this runs within, if it is its budget that holds. */
export function currentAttempt(): Attempt<unknown> | undefined {
  const budget = currentBudget();
  return budget instanceof Attempt ? budget : undefined;
}

function isThenable<Value>(result: Value | Promise<Value>): result is Promise<Value> {
  return typeof (result as { readonly then?: unknown } | null | undefined)?.then === 'function';
}
