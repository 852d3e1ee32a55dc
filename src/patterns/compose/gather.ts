import { TallyError } from '../../core/errors.ts';
import { checkDuration, checkObject, checkOneOf, checkOptions } from '../../core/options.ts';
import type { Clock } from '../../ports/clock.ts';
import {
  currentBudget,
  deadlineOn,
  priorities,
  type Budget,
  type Priority,
} from '../../runtime/budget.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Duration } from './guard-options.ts';
import { Gathering } from './gathering.ts';
import type { Known } from './known.ts';
import type { Part, Parts, ValuesOf } from './part.ts';
import type { Reason } from './reason.ts';

/** What one part came to. `tookMs` counts from the start of the page. */
export type PartResult<Value = unknown> =
  | {
      readonly kind: 'value';
      readonly value: Value;
      /** By evidence, as far as the part's reads said: see `take`. */
      readonly freshness: Known;
      readonly tookMs: number;
    }
  | {
      readonly kind: 'fallback';
      readonly value: Value;
      readonly reason: Reason;
      readonly freshness: Known;
      /** How old the fallback is, where that is known. */
      readonly ageMs: number | undefined;
      readonly tookMs: number;
    }
  | { readonly kind: 'missing'; readonly reason: Reason; readonly tookMs: number };

/** A page: every part with what it came to. */
export interface Gathered<Page extends Parts> {
  /** The values alone, fallbacks included. */
  readonly values: ValuesOf<Page>;
  readonly parts: {
    readonly [Name in keyof Page]: Page[Name] extends Part<infer Value, undefined>
      ? PartResult<Value>
      : never;
  };
  /** `whole`: every part is a value of its own store. */
  readonly kind: 'whole' | 'partial';
  readonly tookMs: number;
}

export interface GatherOptions {
  /** How long all of it may take. Less if the caller has less left. */
  readonly within: Duration;
  readonly priority?: Priority;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

/** A page of more parts than this is made by a program, which wants a loader. */
const PARTS_MAX = 200;

/**
 * Reads the parts of a page side by side, each as soon as what it needs is there, and answers when the last
 * is: after `within` at the latest. A required part that is not to be had rejects at once with PART_MISSING,
 * and the others are given up; an optional one never does. What was given up is aborted.
 *
 * Rejects with ABORTED if `signal` aborts. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 *
 * ```ts
 * const user = required(({ signal }) => findUser(id, signal), { from: users });
 * const page = await gather({
 *   user,
 *   history: optional(({ needs }) => historyOf(needs.user), [], { from: orders, needs: { user } }),
 * }, { within: '150ms' });
 * ```
 */
export async function gather<Page extends Parts>(
  page: Page,
  options: GatherOptions,
): Promise<Gathered<Page>> {
  checkOptions(options, ['within', 'priority', 'signal', 'clock'], 'gather');
  const parts = Object.entries(checkObject(page, 'gather'));
  if (parts.length > PARTS_MAX)
    throw new TallyError('CONFIG_INVALID', {
      what: `a page of ${parts.length} parts is over the limit of ${PARTS_MAX}`,
      where: 'gather',
      mend: 'load what is many with a loader, in one part',
    });
  const clock = options.clock ?? systemClock;
  const startedMs = clock.monotonicMs();
  const withinMs = checkDuration(options.within, 'gather.within', { min: 1 });
  const outer = currentBudget();
  const { priority = outer?.priority ?? 'normal', signal } = options;
  const budget: Budget = {
    clock,
    deadlineMs: Math.min(startedMs + withinMs, deadlineOn(clock, outer)),
    priority: checkOneOf(priority, 'gather.priority', priorities),
  };
  const gathering = new Gathering(parts, { budget, startedMs, signal });
  const results = await gathering.run();
  const entries = parts.map(([name]) => [name, results.get(name)] as const);
  return {
    values: Object.fromEntries(
      entries.map(([name, result]) => [
        name,
        result === undefined || result.kind === 'missing' ? undefined : result.value,
      ]),
    ),
    parts: Object.fromEntries(entries),
    kind: entries.every(([, result]) => result?.kind === 'value') ? 'whole' : 'partial',
    tookMs: clock.monotonicMs() - startedMs,
  } as Gathered<Page>;
}
