import { isTallyError, TallyError, type ErrorCode } from '../../core/errors.ts';

/**
 * Why there is no answer.
 *
 * - `deadline`: its time ran out.
 * - `open`: the breaker lets nothing through, since the store has been failing.
 * - `shed`: too many calls are under way, and others matter more.
 * - `failed`: the store, or the code that asked it, threw.
 * - `needs`: a part that it needs is missing.
 * - `aborted`: the caller gave up.
 */
export type ReasonKind = 'deadline' | 'open' | 'shed' | 'failed' | 'needs' | 'aborted';

export interface Reason {
  readonly kind: ReasonKind;
  /** What was thrown, or what would be by a call outside of `gather`. */
  readonly error: Error;
}

/** Errors of the caller: they say nothing about the health of a store. */
const OF_THE_CALLER: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ABORTED',
  'BARRIER_BLOCKED',
  'BARRIER_INCOMPARABLE',
  'BARRIER_TIMEOUT',
  'BATCH_INVALID',
  'CAPABILITY_MISSING',
  'CONDITION_FAILED',
  'CONFIG_INVALID',
  'CONFIG_UNKNOWN_OPTION',
  'EVIDENCE_MALFORMED',
  'EVIDENCE_TOO_LARGE',
  'INPUT_INVALID',
  'JOIN_TOO_LARGE',
  'ROW_TOO_LARGE',
  'VALUE_UNSUPPORTED',
]);

/** Whether an error counts against the store. Not: mistakes of the caller, and evidence that has not come yet. */
export function countsAgainstStore(error: unknown): boolean {
  return !isTallyError(error) || !OF_THE_CALLER.has(error.code);
}

/** Whether the same call may be made again: anything but what a {@link TallyError} says will not pass. */
export function mayBeRetried(error: unknown): boolean {
  return isTallyError(error) ? error.retryable : true;
}

export function deadlineReason(guard: string, afterMs: number): Reason {
  return {
    kind: 'deadline',
    error: new TallyError('DEADLINE_EXCEEDED', {
      what: `no answer within ${Math.round(afterMs * 10) / 10} ms`,
      where: guard,
      mend: 'allow more time if the store needs it, or give the part a fallback',
      details: { guard, afterMs },
    }),
  };
}

export function openReason(guard: string, forMs: number): Reason {
  return {
    kind: 'open',
    error: new TallyError('CIRCUIT_OPEN', {
      what: `the store has been failing and is not called for another ${Math.ceil(forMs)} ms`,
      where: guard,
      mend: 'serve without it meanwhile; the stats of the guard show what failed',
      details: { guard, forMs },
    }),
  };
}

/** How full a store was when a call was turned away. */
export interface Fullness {
  readonly limit: number;
  readonly inUse: number;
  readonly waiting: number;
  /** Calls whose callers have left, and whose work has not ended. */
  readonly overdue: number;
}

export function shedReason(guard: string, full: Fullness): Reason {
  const overdue = full.overdue === 0 ? '' : `, ${full.overdue} of them given up but not ended`;
  return {
    kind: 'shed',
    error: new TallyError('OVERLOADED', {
      what: `${full.inUse} calls are under way of ${full.limit} allowed${overdue}, and ${full.waiting} wait`,
      where: guard,
      mend: 'serve without it, or later; a driver that heeds the signal gives its place back sooner',
      details: { guard, ...full },
    }),
  };
}

export function abortedReason(cause: unknown): Reason {
  return {
    kind: 'aborted',
    error: new TallyError('ABORTED', { what: 'the caller gave up', cause }),
  };
}

export function failedReason(thrown: unknown): Reason {
  if (thrown instanceof Error) return { kind: kindOf(thrown), error: thrown };
  return {
    kind: 'failed',
    error: new TallyError('INTERNAL', {
      what: 'something that is no Error was thrown',
      mend: 'throw an Error',
      cause: thrown,
    }),
  };
}

/** What a nested guard threw keeps its kind. */
function kindOf(error: Error): ReasonKind {
  if (!isTallyError(error)) return 'failed';
  if (error.code === 'DEADLINE_EXCEEDED') return 'deadline';
  if (error.code === 'CIRCUIT_OPEN') return 'open';
  return error.code === 'OVERLOADED' ? 'shed' : 'failed';
}
