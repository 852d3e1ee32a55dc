import { checkDuration, checkOptions } from './core/options.ts';
import type { Clock } from './ports/clock.ts';
import { alarmsOf, type Alarm } from './runtime/alarms.ts';
import { currentBudget, deadlineOn, remainingMs, withDeadline } from './runtime/budget.ts';
import { systemClock } from './runtime/clock.ts';
import { TallyError } from './core/errors.ts';
import { textOfHeader, type IncomingHeaders } from './http-headers.ts';

/**
 * What is left of a caller's time, across HTTP: `tally-within: 120`, in whole milliseconds from the moment the request
 * is sent. A duration and not a time of day, since clocks of two machines differ; and a header of its own and not
 * baggage, which services pass on that do not know it, with time in it that has long passed.
 *
 * It can only shorten what a service allows itself: a false one harms the request that carries it.
 */
const HEADER = 'tally-within';

/** Of a longer one nobody would wait for the answer. */
const WITHIN_MAX_MS = 86_400_000;

/** How often a `tally-within` header could not be read since the process started. */
export const deadlineRefusals: { count: number } = { count: 0 };

export interface DeadlineOptions {
  /** What this service allows each request, whatever the caller says; without it only the caller's holds. */
  readonly within?: number | string;
  readonly clock?: Clock;
}

/**
 * The milliseconds that a request's caller gives it; undefined if it says nothing. One that cannot be read counts as
 * nothing and in {@link deadlineRefusals}; it never throws for what a client sent.
 */
export function readDeadline(headers: IncomingHeaders): number | undefined {
  const text = textOfHeader(headers, HEADER).trim();
  if (text === '') return undefined;
  if (/^\d{1,8}$/.test(text) && Number(text) <= WITHIN_MAX_MS) return Number(text);
  deadlineRefusals.count += 1;
  return undefined;
}

/**
 * Runs `work` with what the request's caller has left, and no more than `within`. All that it calls through guards,
 * loaders, joins, `gather` and {@link deadlineFetch} has that time and no longer. Throws CONFIG_INVALID.
 */
export function withRequestDeadline<Result>(
  request: { readonly headers: IncomingHeaders },
  work: () => Result,
  options: DeadlineOptions = {},
): Result {
  const own = options.within === undefined ? undefined : checkDuration(options.within, 'within');
  const given = readDeadline(request.headers);
  if (own === undefined && given === undefined) return work();
  const withinMs = Math.min(own ?? Infinity, given ?? Infinity);
  return withDeadline(withinMs, work, options.clock === undefined ? {} : { clock: options.clock });
}

/** Middleware for Express and Connect, as {@link withRequestDeadline}. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID. */
export function deadlineMiddleware(
  options: DeadlineOptions = {},
): (
  request: { readonly headers: IncomingHeaders },
  response: unknown,
  next: (error?: unknown) => unknown,
) => void {
  checkOptions(options, ['within', 'clock'], 'deadlineMiddleware');
  if (options.within !== undefined) checkDuration(options.within, 'deadlineMiddleware.within');
  return (request, _response, next) => {
    withRequestDeadline(request, () => void next(), options);
  };
}

/** The header that passes on what is left; an empty object if nobody set a limit. */
export function deadlineHeaders(): { readonly 'tally-within'?: string } {
  const leftMs = remainingMs();
  return leftMs === undefined ? {} : { [HEADER]: String(Math.floor(leftMs)) };
}

/**
 * A `fetch` that passes on what is left of the present budget, and is aborted with DEADLINE_EXCEEDED when that is over:
 * before the headers and while the body is read. With no budget it is the `fetch` that it was given. With
 * `evidenceFetch({ fetch: deadlineFetch() })` both travel.
 */
export function deadlineFetch(
  options: { readonly fetch?: typeof globalThis.fetch } = {},
): typeof globalThis.fetch {
  checkOptions(options, ['fetch'], 'deadlineFetch');
  const send = options.fetch ?? globalThis.fetch;
  return async (input, init) => {
    const leftMs = remainingMs();
    const clock = currentBudget()?.clock ?? systemClock;
    if (leftMs === undefined) return await send(input, init);
    if (leftMs <= 0) throw exceeded();
    const given = init?.headers ?? (input instanceof Request ? input.headers : undefined);
    const headers = new Headers(given);
    headers.set(HEADER, String(Math.floor(leftMs)));
    const over = new AbortController();
    const alarm: Alarm = {
      atMs: deadlineOn(clock),
      place: -1,
      ring: () => over.abort(exceeded()),
    };
    alarmsOf(clock).set(alarm);
    const own = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const signal = own === undefined ? over.signal : AbortSignal.any([own, over.signal]);
    try {
      return await send(input, { ...init, headers, signal });
    } catch (error) {
      alarmsOf(clock).cancel(alarm);
      throw error;
    }
  };
}

function exceeded(): TallyError {
  return new TallyError('DEADLINE_EXCEEDED', {
    what: 'the time of this request is over',
    where: 'deadlineFetch',
    mend: 'allow more time, or do with what there is',
  });
}
