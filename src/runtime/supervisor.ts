import { errorText, isTallyError } from '../core/errors.ts';
import type { Clock, Random } from '../ports/clock.ts';
import { BACKOFF_DEFAULT, backoffMs } from './backoff.ts';

/** How a supervised worker stands, beside what it says of itself. */
export type WorkerState =
  | { readonly kind: 'running' }
  /** It failed in a way that may pass; it is started again after `retryInMs`. */
  | {
      readonly kind: 'retrying';
      readonly code: string;
      readonly message: string;
      readonly attempt: number;
      readonly retryInMs: number;
    }
  /** Another process does the work; this one stands by to take over. */
  | { readonly kind: 'standby'; readonly message: string }
  /** It failed in a way that waiting does not mend: a person is needed. */
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
  | { readonly kind: 'stopped' };

/** How often a worker on standby looks whether the lease is free. */
const STANDBY_RETRY_MS = 500;
/** A worker that ran this long has recovered: its next failure counts as the first. */
const HEALTHY_AFTER_MS = 30_000;

export interface SuperviseOptions {
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly onState: (state: WorkerState) => void;
}

/**
 * Runs a worker until the signal aborts, and again after each failure that may pass, with growing, jittered
 * waits. Resolves when it was stopped or has failed for good; never rejects: the state says why.
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { run, clock, random, signal, onState } = options;
  let attempt = 0;
  while (!signal.aborted) {
    const startedAtMs = clock.monotonicMs();
    onState({ kind: 'running' });
    let failure: unknown;
    try {
      await run(signal);
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) break;
    if (clock.monotonicMs() - startedAtMs > HEALTHY_AFTER_MS) attempt = 0;
    attempt += 1;
    const next = after(failure, attempt, random);
    // Standing by is no failure: who takes over and then fails once has failed for the first time.
    if (next.state.kind === 'standby') attempt = 0;
    onState(next.state);
    if (next.waitMs === undefined) return;
    await clock.sleep(next.waitMs, signal).catch(() => undefined);
  }
  onState({ kind: 'stopped' });
}

function after(
  failure: unknown,
  attempt: number,
  random: Random,
): { state: WorkerState; waitMs?: number } {
  const message = errorText(failure);
  if (isTallyError(failure, 'LEASE_HELD', 'FENCED_OUT'))
    return {
      state: { kind: 'standby', message },
      waitMs: STANDBY_RETRY_MS * (0.5 + random.next()),
    };
  if (isTallyError(failure) && !failure.retryable)
    return { state: { kind: 'failed', code: failure.code, message } };
  // What is not ours may be anything a driver throws: it is tried again, visibly, for as long as it takes.
  const waitMs = backoffMs(attempt, BACKOFF_DEFAULT, random);
  const code = isTallyError(failure) ? failure.code : 'INTERNAL';
  return {
    state: { kind: 'retrying', code, message, attempt, retryInMs: Math.round(waitMs) },
    waitMs,
  };
}
