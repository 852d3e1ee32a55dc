import { isTallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';

/** Lets streams sleep until somebody in this process has written, or a time has passed. */
export class Waker {
  readonly #clock: Clock;
  readonly #asleep = new Set<AbortController>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Wakes everybody who is asleep. */
  wake(): void {
    for (const sleeper of this.#asleep) sleeper.abort();
    this.#asleep.clear();
  }

  /** Resolves on {@link wake}, after `delayMs`, or when `signal` aborts, whichever is first. */
  async sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const sleeper = new AbortController();
    const onAbort = (): void => sleeper.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    this.#asleep.add(sleeper);
    try {
      await this.#clock.sleep(delayMs, sleeper.signal);
    } catch (error) {
      if (!isTallyError(error, 'ABORTED')) throw error;
    } finally {
      this.#asleep.delete(sleeper);
      signal.removeEventListener('abort', onAbort);
    }
  }
}
