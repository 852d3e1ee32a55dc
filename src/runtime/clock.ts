import { TallyError } from '../core/errors.ts';
import type { Clock } from '../ports/clock.ts';

/** Node fires a timer with a longer delay at once; longer waits are made of several timers. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * The machine's own time. A delay below zero counts as zero (a deadline that has passed); a delay
 * that is not a number is refused with INTERNAL; Infinity waits for the signal alone. To sleep for
 * nothing is to let everybody else have one turn, not the millisecond that the shortest timer takes.
 */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep,
  after: (delayMs, callback) => startTimer(delayMs, callback, (timer) => timer.unref()),
};

function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(aborted(signal));
      return;
    }
    const onAbort = (): void => {
      cancel();
      if (signal !== undefined) reject(aborted(signal));
    };
    const cancel = startTimer(delayMs, () => {
      // A signal may live as long as the process: a listener left on it per sleep is a leak.
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function startTimer(
  delayMs: number,
  callback: () => void,
  prepare?: (timer: NodeJS.Timeout) => void,
): () => void {
  if (Number.isNaN(delayMs)) throw new TallyError('INTERNAL', { what: 'a delay is not a number' });
  let leftMs = Math.max(0, delayMs);
  if (leftMs === 0 && prepare === undefined) {
    const turn = setImmediate(callback);
    return () => clearImmediate(turn);
  }
  let timer: NodeJS.Timeout;
  const start = (): void => {
    const stepMs = Math.min(leftMs, TIMER_MS_MAX);
    leftMs -= stepMs;
    timer = setTimeout(() => (leftMs > 0 ? start() : callback()), stepMs);
    prepare?.(timer);
  };
  start();
  return () => clearTimeout(timer);
}

/** The ABORTED error for a signal that has aborted; its reason is the cause. */
function aborted(signal: AbortSignal): TallyError {
  return new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}
