import { TallyError } from '../../core/errors.ts';
import { checkDuration, checkOneOf, checkOptions } from '../../core/options.ts';
import type { Store } from '../../ports/store.ts';
import { priorities, type Priority } from '../../runtime/budget.ts';
import type { Call } from './call.ts';
import { isFallback, type Fallback } from './fallback.ts';
import { guardOf, type Guard, type StoreGuard } from './guard.ts';
import type { Duration } from './guard-options.ts';
import type { Reason } from './reason.ts';

/** The parts of a page, by name. */
export type Parts = { readonly [name: string]: Part<unknown, undefined> };

/** What parts come to; `undefined` for one that is missing, where that can be. */
export type ValuesOf<Page extends Parts> = {
  readonly [Name in keyof Page]: Page[Name] extends Part<infer Value, infer Missing>
    ? Value | Missing
    : never;
};

/** What a part is handed of those that it needs: without one of them it is not read at all. */
export type NeedsOf<Needed extends Parts> = {
  readonly [Name in keyof Needed]: Needed[Name] extends Part<infer Value, undefined>
    ? Value
    : never;
};

/** What the read of a part is handed. */
export interface PartCall<Needed extends Parts> extends Call {
  /** The values of the parts that it needs. */
  readonly needs: NeedsOf<Needed>;
}

/** Reads one part. */
export type PartRead<Value, Needed extends Parts> = (
  call: PartCall<Needed>,
) => Value | Promise<Value>;

export interface PartOptions<Needed extends Parts = Parts> {
  /** The store that it asks, or a guard; without one only the deadline holds. */
  readonly from?: Guard | Store;
  /** How long it may take. Default: the guard's, and never longer than the page. */
  readonly within?: Duration;
  /** Whether it may be asked twice: then it is repeated and hedged as the guard says. Default: the guard's. */
  readonly idempotent?: boolean;
  readonly priority?: Priority;
  /** Parts whose values it needs. It starts as soon as the last of them is there. */
  readonly needs?: Needed;
}

/** One part of a page, declared and not started. Of the same part one page has one read, whoever needs it. */
export interface Part<Value = unknown, Missing extends undefined = never> {
  readonly kind: 'required' | 'optional';
  /** The type of what it comes to, and whether it may be missing; never there at run time. */
  readonly comesTo?: { readonly value: Value; readonly missing: Missing };
}

/** A part as `gather` works with it. */
export interface PartPlan extends Part<unknown, undefined> {
  readonly read: PartRead<unknown, Parts>;
  readonly fallback: Fallback<unknown> | undefined;
  readonly from: StoreGuard | undefined;
  readonly withinMs: number | undefined;
  readonly idempotent: boolean | undefined;
  readonly priority: Priority | undefined;
  readonly needs: Parts;
}

const optionNames = ['from', 'within', 'idempotent', 'priority', 'needs'] as const;
const plans = new WeakSet<object>();

/**
 * A part that the page cannot do without: if it is not to be had, `gather` rejects at once. Throws
 * CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function required<Value, Needed extends Parts = Parts>(
  read: PartRead<Value, Needed>,
  options: PartOptions<Needed> = {},
): Part<Value> {
  return planOf('required', read as PartRead<unknown, Parts>, undefined, options);
}

/** A function that answers instead. */
export type Instead<Value> = (reason: Reason) => Value | Promise<Value>;

/**
 * A part that the page can do without. If it is not to be had there is the fallback: a value; a function of
 * the reason; what was there last ({@link lastGood}), in memory or in a store ({@link lastGoodIn}). With a
 * plain value the part always has one; with the others it may be missing. Throws CONFIG_UNKNOWN_OPTION and
 * CONFIG_INVALID.
 */
export function optional<Value, Needed extends Parts = Parts>(
  read: PartRead<Value, Needed>,
  fallback: Fallback<NoInfer<Value>> | Instead<NoInfer<Value>> | undefined,
  options?: PartOptions<Needed>,
): Part<Value, undefined>;
export function optional<Value, Needed extends Parts = Parts>(
  read: PartRead<Value, Needed>,
  fallback: NoInfer<Value>,
  options?: PartOptions<Needed>,
): Part<Value>;
export function optional<Value>(read: PartRead<Value, Parts>): Part<Value, undefined>;
export function optional(
  read: PartRead<unknown, Parts>,
  fallback?: unknown,
  options: PartOptions = {},
): Part<unknown, undefined> {
  return planOf('optional', read, fallbackOf(fallback), options);
}

/** A part as it was made here. Throws CONFIG_INVALID for anything else. */
export function planOfPart(part: unknown, path: string): PartPlan {
  if (typeof part === 'object' && part !== null && plans.has(part)) return part as PartPlan;
  throw new TallyError('CONFIG_INVALID', {
    what: 'it is not a part',
    where: path,
    mend: 'make it with required(…) or optional(…)',
    details: { path },
  });
}

function fallbackOf(given: unknown): Fallback<unknown> | undefined {
  if (given === undefined) return undefined;
  if (isFallback(given)) return given;
  if (typeof given === 'function') {
    const instead = given as Instead<unknown>;
    return {
      takesTime: true,
      recall: (reason) => {
        const value = instead(reason);
        return value instanceof Promise ? value.then((held) => ({ value: held })) : { value };
      },
    };
  }
  const held = { value: given };
  return { recall: () => held };
}

function planOf(
  kind: 'required' | 'optional',
  read: PartRead<unknown, Parts>,
  fallback: Fallback<unknown> | undefined,
  options: PartOptions<never> | PartOptions,
): Part<never> {
  checkOptions(options, optionNames, kind);
  if (typeof read !== 'function')
    throw new TallyError('CONFIG_INVALID', {
      what: 'the read of a part is not a function',
      where: kind,
      mend: `write ${kind}(({ signal }) => …)`,
    });
  const { from, within, idempotent, priority } = options;
  // A copy: a part that is made later cannot be put in, so that there are no circles.
  const needs: Parts = { ...options.needs };
  for (const [name, part] of Object.entries(needs)) planOfPart(part, `${kind}.needs.${name}`);
  const plan: PartPlan = {
    kind,
    read,
    fallback,
    from: from === undefined ? undefined : guardOf(from),
    withinMs:
      within === undefined ? undefined : checkDuration(within, `${kind}.within`, { min: 1 }),
    idempotent,
    priority:
      priority === undefined ? undefined : checkOneOf(priority, `${kind}.priority`, priorities),
    needs,
  };
  plans.add(plan);
  return plan as Part<unknown, undefined> as Part<never>;
}
