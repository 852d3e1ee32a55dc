import { isTallyError, TallyError } from '../../core/errors.ts';
import { type Evidence, noEvidence } from '../../core/evidence.ts';
import type { Clock } from '../../ports/clock.ts';
import { currentEvidence, runInContext, withEvidence } from '../../runtime/context.ts';

/**
 * How long a step that was told to stop is waited for. One that heeds its signal ends in time and says how; one that
 * does not is left alone, and what it does from then on is not recorded.
 */
const ABORT_GRACE_MS = 1_000;

/** What became of one attempt. */
export type Attempted =
  | { readonly kind: 'returned'; readonly value: unknown; readonly evidence: Evidence }
  | { readonly kind: 'threw'; readonly error: unknown }
  /** It was told to stop, and did not say in time what it did. */
  | { readonly kind: 'stray'; readonly error: TallyError };

export interface AttemptOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly path: string;
  readonly evidence: Evidence;
  readonly controller: AbortController;
  readonly work: (signal: AbortSignal) => unknown;
}

/** Calls a step once. Never rejects, and never takes longer than the timeout and a second of grace. */
export async function attempt(options: AttemptOptions): Promise<Attempted> {
  const { clock, timeoutMs, path, controller } = options;
  const cancelTimeout = clock.after(timeoutMs, () => controller.abort(timedOut(path, timeoutMs)));
  const { promise: stray, resolve: giveUp } = Promise.withResolvers<Attempted>();
  let cancelGrace = (): void => undefined;
  const onAbort = (): void => {
    cancelGrace = clock.after(ABORT_GRACE_MS, () =>
      giveUp({ kind: 'stray', error: asTallyError(controller.signal.reason) }),
    );
  };
  controller.signal.addEventListener('abort', onAbort, { once: true });
  if (controller.signal.aborted) onAbort();
  try {
    return await Promise.race([call(options), stray]);
  } finally {
    cancelTimeout();
    cancelGrace();
    controller.signal.removeEventListener('abort', onAbort);
  }
}

async function call({ evidence, controller, work }: AttemptOptions): Promise<Attempted> {
  try {
    return await runInContext(noEvidence, () =>
      withEvidence(evidence, async (): Promise<Attempted> => {
        const value = await work(controller.signal);
        return { kind: 'returned', value, evidence: currentEvidence() };
      }),
    );
  } catch (error) {
    // What it says after it was stopped is mostly that it was stopped: why, is the reason.
    const { aborted, reason } = controller.signal;
    const isRefusal = isTallyError(error, 'STEP_REFUSED');
    return { kind: 'threw', error: aborted && !isRefusal ? reason : error };
  }
}

function timedOut(path: string, timeoutMs: number): TallyError {
  return new TallyError('STEP_TIMEOUT', {
    what: `step ${path} took longer than ${timeoutMs} ms`,
    mend: 'nothing if its time was enough; it is tried again, probed or undone. Else raise its timeout',
    details: { path, timeoutMs },
  });
}

function asTallyError(reason: unknown): TallyError {
  if (isTallyError(reason)) return reason;
  return new TallyError('ABORTED', { what: 'the step was told to stop', cause: reason });
}
