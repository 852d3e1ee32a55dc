import { errorText, isTallyError, TallyError } from '../../core/errors.ts';
import { noEvidence } from '../../core/evidence.ts';
import type { Clock } from '../../ports/clock.ts';
import { alarmsOf, type Alarm } from '../../runtime/alarms.ts';
import type { Budget } from '../../runtime/budget.ts';
import { currentEvidence } from '../../runtime/context.ts';
import type { Attempt } from './call.ts';
import type { Recalled } from './fallback.ts';
import type { PartResult } from './gather.ts';
import { StoreGuard, type CallOptions } from './guard.ts';
import { LIMIT_MAX } from './guard-options.ts';
import { knownBy, unknown, type Known } from './known.ts';
import { planOfPart, type PartPlan } from './part.ts';
import { abortedReason, type Reason } from './reason.ts';
import type { Run } from './run.ts';

/** What a fallback that has to be fetched is left with: this share of the page's time… */
const RESERVE_SHARE = 0.1;
/** …and no more than this. */
const RESERVE_MAX_MS = 20;
/** A part without a store has no time of its own: that of the page. */
const NO_STORE_WITHIN = '365d';

interface GatheringOptions {
  readonly budget: Budget;
  readonly startedMs: number;
  readonly signal: AbortSignal | undefined;
}

/** One part while it is read, shared by all that need it. */
interface Cell {
  readonly name: string;
  readonly plan: PartPlan;
  readonly done: Promise<PartResult>;
}

type Answer =
  | { readonly kind: 'value'; readonly value: unknown; readonly known: Known }
  | { readonly kind: 'gone'; readonly reason: Reason };

/** One page while it is gathered. */
export class Gathering {
  readonly #page: readonly (readonly [string, unknown])[];
  readonly #budget: Budget;
  readonly #startedMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #cells = new Map<PartPlan, Cell>();
  readonly #running = new Set<Run<unknown>>();
  readonly #failed = Promise.withResolvers<never>();
  #over = false;

  constructor(page: readonly (readonly [string, unknown])[], options: GatheringOptions) {
    this.#page = page;
    this.#budget = options.budget;
    this.#startedMs = options.startedMs;
    this.#signal = options.signal;
  }

  async run(): Promise<ReadonlyMap<string, PartResult>> {
    const signal = this.#signal;
    // Looked at before anything starts: a part that is none must not leave others running.
    const plans = this.#page.map(
      ([name, part]) => [name, planOfPart(part, `gather.${name}`)] as const,
    );
    if (signal?.aborted === true) throw abortedReason(signal.reason).error;
    const onAbort = (): void => this.#failed.reject(abortedReason(signal?.reason).error);
    signal?.addEventListener('abort', onAbort);
    try {
      const all = plans.map(
        async ([name, plan]) => [name, await this.#cell(name, plan).done] as const,
      );
      return new Map(await Promise.race([Promise.all(all), this.#failed.promise]));
    } finally {
      this.#over = true;
      signal?.removeEventListener('abort', onAbort);
      for (const run of this.#running) run.cancel(signal?.reason);
    }
  }

  #cell(name: string, plan: PartPlan): Cell {
    const existing = this.#cells.get(plan);
    if (existing !== undefined) return existing;
    const needed = Object.entries(plan.needs).map(
      ([needName, part]) => [needName, this.#cell(needName, planOfPart(part, needName))] as const,
    );
    const cell: Cell = { name, plan, done: this.#read(name, plan, needed) };
    this.#cells.set(plan, cell);
    return cell;
  }

  async #read(
    name: string,
    plan: PartPlan,
    needed: readonly (readonly [string, Cell])[],
  ): Promise<PartResult> {
    const needs: Record<string, unknown> = {};
    let missing: Reason | undefined;
    for (const [needName, cell] of needed) {
      const result = await cell.done;
      if (result.kind === 'missing') missing ??= needsReason(name, needName, result.reason);
      else needs[needName] = result.value;
    }
    const answer: Answer =
      missing === undefined
        ? await this.#ask(name, plan, needs)
        : { kind: 'gone', reason: missing };
    if (answer.kind === 'value') {
      const { value, known } = answer;
      if (plan.fallback?.remember !== undefined) remember(plan, value, known);
      return { kind: 'value', value, freshness: known, tookMs: this.#tookMs() };
    }
    return await this.#without(name, plan, answer.reason);
  }

  /** Through its guard, within the page's budget. */
  #ask(name: string, plan: PartPlan, needs: Readonly<Record<string, unknown>>): Promise<Answer> {
    if (this.#over) return Promise.resolve({ kind: 'gone', reason: abortedReason(undefined) });
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const guard = plan.from ?? unguarded(this.#budget.clock);
    const options: CallOptions = {
      name,
      ...(plan.withinMs === undefined ? {} : { within: plan.withinMs }),
      ...(plan.idempotent === undefined ? {} : { idempotent: plan.idempotent }),
      ...(plan.priority === undefined ? {} : { priority: plan.priority }),
    };
    const run = guard.start<unknown>(
      (call) => {
        const attempt = call as Attempt<unknown>;
        attempt.needs = needs;
        return plan.read(attempt as never);
      },
      options,
      {
        done: (value, known) => resolve({ kind: 'value', value, known }),
        gone: (reason) => resolve({ kind: 'gone', reason }),
      },
      this.#budgetOf(plan),
    );
    this.#running.add(run);
    void promise.then(() => this.#running.delete(run));
    return promise;
  }

  #budgetOf(plan: PartPlan): Budget {
    if (plan.fallback?.takesTime !== true) return this.#budget;
    const { deadlineMs } = this.#budget;
    const reserveMs = Math.min(RESERVE_MAX_MS, (deadlineMs - this.#startedMs) * RESERVE_SHARE);
    return { ...this.#budget, deadlineMs: deadlineMs - reserveMs };
  }

  /** What becomes of a part that has no answer. */
  async #without(name: string, plan: PartPlan, reason: Reason): Promise<PartResult> {
    if (plan.kind === 'required') this.#failed.reject(partMissing(name, reason));
    const recalled = this.#over ? undefined : await this.#recall(plan, reason);
    if (recalled === undefined) return { kind: 'missing', reason, tookMs: this.#tookMs() };
    const { value, ageMs, evidence } = recalled;
    const freshness = evidence === undefined ? unknown : knownBy(evidence, currentEvidence());
    return { kind: 'fallback', value, reason, freshness, ageMs, tookMs: this.#tookMs() };
  }

  /** The fallback, if it is there before the page is over. */
  async #recall(plan: PartPlan, reason: Reason): Promise<Recalled<unknown> | undefined> {
    if (plan.fallback === undefined) return undefined;
    try {
      const recalled = plan.fallback.recall(reason);
      if (!(recalled instanceof Promise)) return recalled;
      return await until(recalled, this.#budget);
    } catch {
      // Of two reasons why there is nothing, the first is the one to tell.
      return undefined;
    }
  }

  #tookMs(): number {
    return this.#budget.clock.monotonicMs() - this.#startedMs;
  }
}

/** What comes of `work` if it comes before the budget ends; what comes later is dropped, errors as well. */
async function until<Value>(work: Promise<Value>, budget: Budget): Promise<Value | undefined> {
  const { clock, deadlineMs } = budget;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const alarm: Alarm = { atMs: deadlineMs, place: -1, ring: () => resolve(undefined) };
  const alarms = alarmsOf(clock);
  if (deadlineMs !== Infinity) alarms.set(alarm);
  try {
    return await Promise.race([work, promise]);
  } finally {
    alarms.cancel(alarm);
  }
}

function remember({ fallback }: PartPlan, value: unknown, known: Known): void {
  const evidence = known.kind === 'fresh' ? currentEvidence() : noEvidence;
  try {
    const kept = fallback?.remember?.(value, evidence);
    if (kept instanceof Promise) kept.catch(() => undefined);
  } catch {
    // That an answer could not be kept is no reason not to give it.
  }
}

const withoutStores = new WeakMap<Clock, StoreGuard>();

/** For parts that name no store: nothing but the page's deadline. */
function unguarded(clock: Clock): StoreGuard {
  let made = withoutStores.get(clock);
  if (made === undefined) {
    const off = 'off' as const;
    const limits = { within: NO_STORE_WITHIN, limit: LIMIT_MAX, breaker: off };
    made = new StoreGuard('no store', { ...limits, hedge: off, retry: off, clock });
    withoutStores.set(clock, made);
  }
  return made;
}

function needsReason(name: string, needed: string, { error }: Reason): Reason {
  return {
    kind: 'needs',
    error: new TallyError('PART_MISSING', {
      what: `${name} needs ${needed}, which is not to be had: ${errorText(error, 300)}`,
      where: `part ${name}`,
      mend: `give ${needed} a fallback if ${name} can do with one`,
      details: { part: name, needs: needed },
      cause: error,
    }),
  };
}

function partMissing(part: string, { kind, error }: Reason): TallyError {
  if (isTallyError(error, 'ABORTED')) return error;
  const retryable = isTallyError(error) ? { retryable: error.retryable } : {};
  return new TallyError('PART_MISSING', {
    what: `${part} is required and not to be had: ${errorText(error, 300)}`,
    where: `part ${part}`,
    mend: 'answer that the page is not available, or give the part a fallback',
    details: { part, reason: kind },
    cause: error,
    ...retryable,
  });
}
