import { errorText, isTallyError, TallyError } from '../core/errors.ts';
import { checkNumber } from '../core/options.ts';
import type { Clock, Random } from '../ports/clock.ts';

/** How long to wait between attempts. */
export interface Backoff {
  /** The longest wait after the first attempt, in milliseconds. */
  readonly firstMs: number;
  /** The longest wait after any attempt, in milliseconds. */
  readonly maxMs: number;
  /** By how much the longest wait grows with each attempt; at least 1. */
  readonly factor: number;
}

/** 50 ms doubling to 10 s: a restart of a local store is met soon, a long outage is not hammered. */
export const BACKOFF_DEFAULT: Backoff = { firstMs: 50, maxMs: 10_000, factor: 2 };

/** What {@link retry} goes by. */
export interface RetryOptions {
  /** How often the work is tried in all, the first time included; Infinity until `signal` aborts. */
  readonly attemptsMax: number;
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal?: AbortSignal;
  /** Whether to try again after this error. If not given: TallyErrors that are `retryable`. */
  readonly retryIf?: (error: unknown, attempt: number) => boolean;
}

/**
 * The wait after failed attempt number `attempt` (from 1), in milliseconds: anywhere from 0 to
 * `firstMs × factor^(attempt − 1)`, at most `maxMs`. The full range is drawn from ("full jitter"),
 * so that workers that failed together do not come back together.
 */
export function backoffMs(attempt: number, backoff: Backoff, random: Random): number {
  const { firstMs, maxMs, factor } = backoff;
  // Kept finite, else 0 × Infinity would be a wait of NaN.
  const grown = firstMs * Math.min(factor ** (attempt - 1), Number.MAX_VALUE);
  return random.next() * Math.min(maxMs, grown);
}

/**
 * Runs `work` until it succeeds, an error is not to be retried, or `attemptsMax` is reached; then
 * the last error is thrown as it came. The work may have taken effect before it failed, so it has
 * to be harmless to repeat. Throws ABORTED, with the last error in its details, once `signal`
 * aborts between attempts (an attempt that runs is the work's own to end), and CONFIG_INVALID for
 * limits that make no sense.
 */
export async function retry<Result>(
  work: (attempt: number) => Promise<Result> | Result,
  options: RetryOptions,
): Promise<Result> {
  checkRetry(options);
  const { attemptsMax, backoff, clock, random, signal, retryIf = isRetryable } = options;
  for (let attempt = 1; ; attempt++) {
    if (signal?.aborted === true) throw gaveUp(attempt - 1, signal.reason);
    try {
      return await work(attempt);
    } catch (error) {
      if (attempt >= attemptsMax || !retryIf(error, attempt)) throw error;
      try {
        await clock.sleep(backoffMs(attempt, backoff, random), signal);
      } catch (interruption) {
        if (!isTallyError(interruption, 'ABORTED')) throw interruption;
        throw gaveUp(attempt, interruption.cause, error);
      }
    }
  }
}

function isRetryable(error: unknown): boolean {
  return isTallyError(error) && error.retryable;
}

function checkRetry({ attemptsMax, backoff }: RetryOptions): void {
  if (attemptsMax !== Infinity) checkNumber(attemptsMax, 'attemptsMax', { min: 1, integer: true });
  checkNumber(backoff.firstMs, 'backoff.firstMs', { min: 0 });
  checkNumber(backoff.maxMs, 'backoff.maxMs', { min: 0 });
  checkNumber(backoff.factor, 'backoff.factor', { min: 1 });
}

function gaveUp(attempts: number, reason: unknown, lastError?: unknown): TallyError {
  const last = lastError === undefined ? {} : { lastError: errorText(lastError) };
  return new TallyError('ABORTED', {
    what: `the caller gave up after ${attempts} attempts`,
    details: { attempts, ...last },
    cause: reason,
  });
}
