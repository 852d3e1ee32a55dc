import { TallyError } from '../../core/errors.ts';
import type { LeaseAnswer } from '../../ports/cache.ts';
import type { ReadEntry } from './core.ts';
import type { CacheSource } from './events.ts';
import type { LoadOutcome } from './filler.ts';
import type { Outcome } from './flights.ts';
import type { Copy } from './near.ts';

/** What is answered though it is old. */
export interface StaleValue<Value> {
  readonly value: Value | undefined;
  readonly ageMs: number;
  readonly from: CacheSource;
}

export function staleOf<Value>(copy: Copy<Value>, nowMs: number): StaleValue<Value> {
  return { value: copy.value, ageMs: nowMs - copy.storedAtMs, from: 'near' };
}

export function staleEntry<Value>({ value, entry }: ReadEntry<Value>): StaleValue<Value> {
  return { value, ageMs: entry.ageMs, from: 'shared' };
}

export function loadedNow<Value>({ value, stored }: LoadOutcome<Value>): Outcome<Value> {
  // What was not stored under a lease was not checked against changes. That the tier went away meanwhile is no reason to load
  // again for each who joined.
  const isVoided = stored !== 'stored' && stored !== 'unreachable';
  return { value, from: 'load', ageMs: 0, stale: undefined, isVoided };
}

export function isRefreshing({ kind }: LeaseAnswer): boolean {
  return kind === 'granted' || kind === 'held';
}

export function isUnreachable(error: unknown): boolean {
  return error instanceof TallyError && error.retryable;
}

export function failedLately(
  key: string,
  cache: string,
  { reason, forMs }: Extract<LeaseAnswer, { kind: 'failed' }>,
): TallyError {
  return new TallyError('LOAD_FAILED', {
    what: `a load of this key failed a moment ago: ${reason}`,
    where: `cache ${cache}`,
    mend: 'try again later; loads.retryAfter says how much',
    details: { key, forMs },
  });
}
