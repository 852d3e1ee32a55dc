import { checkDuration, checkNumber, checkOptions } from '../../core/options.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import { alarmsOf } from '../../runtime/alarms.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { AdaptiveLimit } from './adaptive-limit.ts';
import { Allowance } from './allowance.ts';
import { Breaker } from './breaker.ts';
import { Core } from './core.ts';
import { Latency } from './latency.ts';
import { Limiter } from './limiter.ts';
import { countsAgainstStore, mayBeRetried } from './reason.ts';

/** A duration: milliseconds, or text such as `'200ms'`, `'5s'`. */
export type Duration = number | string;

/** How one store is protected, and its callers from it. Everything has a default. */
export interface GuardOptions {
  /** How long one call may take, retries and hedges included. Default `'1s'`. The caller's own budget may be less. */
  readonly within?: Duration;
  /**
   * Calls under way at once: a number, or bounds between which the limit finds itself from latency. Default:
   * from 4 to 256, beginning at 32.
   */
  readonly limit?:
    number | { readonly min?: number; readonly max?: number; readonly initial?: number };
  /** Callers that may wait for a place; those who matter least are sent away first. Default 64. */
  readonly waitingMax?: number;
  /** Whether calls may be made twice: then failed ones are repeated and slow ones hedged. Default false. */
  readonly idempotent?: boolean;
  /** `'off'`: never refuse. Otherwise when it opens, and for how long. */
  readonly breaker?: BreakerSettings | 'off';
  /** `'off'`: never ask twice at once. For idempotent calls only. */
  readonly hedge?: HedgeSettings | 'off';
  /** `'off'`: never repeat. For idempotent calls only. */
  readonly retry?: RetrySettings | 'off';
  /** Whether an error counts against the store. Default: all but mistakes of the caller. */
  readonly countsAgainst?: (error: unknown) => boolean;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface BreakerSettings {
  /** Opens at this share of failures. Default 0.5. */
  readonly failureRate?: number;
  /** Of at least so many calls. Default 20. */
  readonly callsMin?: number;
  /** Made within this time. Default `'10s'`. */
  readonly window?: Duration;
  /** For this long, doubled with each failed probe. Default `'1s'`. */
  readonly open?: Duration;
  /** At most. Default `'30s'`. */
  readonly openMax?: Duration;
  /** Probes that have to succeed before it closes. Default 3. */
  readonly probes?: number;
}

export interface HedgeSettings {
  /** Asks again once a call is slower than this share of them. Default 0.95. */
  readonly percentile?: number;
  /** Extra calls, as a share of the calls. Default 0.05. */
  readonly share?: number;
  /** Never sooner than this. Default `'1ms'`: below, timers are too coarse. */
  readonly after?: Duration;
}

export interface RetrySettings {
  /** Attempts in all. Default 2. */
  readonly attemptsMax?: number;
  /** Repeated calls, as a share of the calls: an outage is not made worse by everybody's retries. Default 0.2. */
  readonly share?: number;
  /** The first wait, doubled with each, of which a random part is waited. Default `'10ms'`. */
  readonly backoff?: Duration;
  /** Whether to repeat after this error. Default: all but a `TallyError` that is not retryable. */
  readonly retryIf?: (error: unknown) => boolean;
}

const known = [
  'within',
  'limit',
  'waitingMax',
  'idempotent',
  'breaker',
  'hedge',
  'retry',
  'countsAgainst',
  'clock',
  'random',
] as const;

/** Longer than a request lives. */
const WITHIN_DEFAULT_MS = 1_000;
const LIMIT_MIN_DEFAULT = 4;
const LIMIT_INITIAL_DEFAULT = 32;
/** More calls at once to one store than any driver has connections for. */
export const LIMIT_MAX: number = 100_000;
const LIMIT_MAX_DEFAULT = 256;
/** Callers that wait hold memory and their clients' time. */
const WAITING_MAX_DEFAULT = 64;
const WAITING_LIMIT = 100_000;
/** Extra calls are not saved up for longer than this many: a burst of hedges is load as well. */
const HEDGE_BURST = 10;
const RETRY_BURST = 10;
/** With fewer calls a 95th percentile is a guess. */
const HEDGE_CALLS_MIN = 20;
const BACKOFF_MAX_MS = 10_000;

/** The parts of a guard from its options. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID. */
export function coreOf(name: string, options: GuardOptions): { core: Core; withinMs: number } {
  const path = `guard.${name}`;
  checkOptions(options, known, path);
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const withinMs = checkDuration(options.within ?? WITHIN_DEFAULT_MS, `${path}.within`, { min: 1 });
  const waitingMax = checkNumber(options.waitingMax ?? WAITING_MAX_DEFAULT, `${path}.waitingMax`, {
    min: 0,
    max: WAITING_LIMIT,
    integer: true,
  });
  const core = new Core({
    name,
    clock,
    random,
    alarms: alarmsOf(clock),
    limiter: new Limiter(limitOf(options.limit ?? {}, `${path}.limit`), waitingMax),
    breaker: breakerOf(options.breaker ?? {}, `${path}.breaker`, random),
    ...hedgesOf(options.hedge ?? {}, `${path}.hedge`),
    ...retriesOf(options.retry ?? {}, `${path}.retry`),
    countsAgainst: options.countsAgainst ?? countsAgainstStore,
  });
  return { core, withinMs };
}

function limitOf(given: NonNullable<GuardOptions['limit']>, path: string): number | AdaptiveLimit {
  const whole = { min: 1, max: LIMIT_MAX, integer: true } as const;
  if (typeof given === 'number') return checkNumber(given, path, whole);
  checkOptions(given, ['min', 'max', 'initial'], path);
  const max = checkNumber(given.max ?? LIMIT_MAX_DEFAULT, `${path}.max`, whole);
  const min = checkNumber(given.min ?? Math.min(LIMIT_MIN_DEFAULT, max), `${path}.min`, {
    ...whole,
    max,
  });
  const initial = given.initial ?? Math.min(max, Math.max(min, LIMIT_INITIAL_DEFAULT));
  checkNumber(initial, `${path}.initial`, { min, max, integer: true });
  return new AdaptiveLimit({ min, max, initial });
}

function breakerOf(
  given: BreakerSettings | 'off',
  path: string,
  random: Random,
): Breaker | undefined {
  if (given === 'off') return undefined;
  checkOptions(given, ['failureRate', 'callsMin', 'window', 'open', 'openMax', 'probes'], path);
  const openMs = checkDuration(given.open ?? 1_000, `${path}.open`, { min: 1 });
  return new Breaker(
    {
      failureRate: checkNumber(given.failureRate ?? 0.5, `${path}.failureRate`, {
        min: 0.01,
        max: 1,
      }),
      callsMin: checkNumber(given.callsMin ?? 20, `${path}.callsMin`, { min: 1, integer: true }),
      windowMs: checkDuration(given.window ?? 10_000, `${path}.window`, { min: 10 }),
      openMs,
      openMaxMs: checkDuration(given.openMax ?? Math.max(30_000, openMs), `${path}.openMax`, {
        min: openMs,
      }),
      probes: checkNumber(given.probes ?? 3, `${path}.probes`, {
        min: 1,
        max: 1_000,
        integer: true,
      }),
    },
    random,
  );
}

function hedgesOf(
  given: HedgeSettings | 'off',
  path: string,
): Pick<Core, 'hedges' | 'hedgeMinMs' | 'latency'> {
  if (given === 'off')
    return { hedges: undefined, hedgeMinMs: 0, latency: new Latency(0.95, HEDGE_CALLS_MIN) };
  checkOptions(given, ['percentile', 'share', 'after'], path);
  const percentile = checkNumber(given.percentile ?? 0.95, `${path}.percentile`, {
    min: 0.5,
    max: 0.999,
  });
  const share = checkNumber(given.share ?? 0.05, `${path}.share`, { min: 0.001, max: 1 });
  return {
    // Nothing is given in advance: of the first hundred calls, too, no more than the share are extra.
    hedges: new Allowance(share, HEDGE_BURST, 0),
    hedgeMinMs: checkDuration(given.after ?? 1, `${path}.after`),
    latency: new Latency(percentile, HEDGE_CALLS_MIN),
  };
}

function retriesOf(
  given: RetrySettings | 'off',
  path: string,
): Pick<Core, 'retries' | 'retryMax' | 'backoff' | 'retryIf'> {
  const settings = given === 'off' ? {} : given;
  checkOptions(settings, ['attemptsMax', 'share', 'backoff', 'retryIf'], path);
  const share = checkNumber(settings.share ?? 0.2, `${path}.share`, { min: 0.001, max: 1 });
  const firstMs = checkDuration(settings.backoff ?? 10, `${path}.backoff`, { max: BACKOFF_MAX_MS });
  return {
    retries: given === 'off' ? undefined : new Allowance(share, RETRY_BURST, RETRY_BURST),
    retryMax: checkNumber(settings.attemptsMax ?? 2, `${path}.attemptsMax`, {
      min: 1,
      max: 10,
      integer: true,
    }),
    backoff: { firstMs, maxMs: BACKOFF_MAX_MS, factor: 2 },
    retryIf: settings.retryIf ?? mayBeRetried,
  };
}
