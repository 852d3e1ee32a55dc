import { TallyError } from '../../core/errors.ts';
import type { Clock } from '../../ports/clock.ts';

export interface GuardOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly failures: number;
  readonly pauseMs: number;
  readonly onDown: (error: unknown) => void;
  readonly onUp: () => void;
}

/**
 * Stands between the cache and its shared tier: no call takes longer than the limit, and a tier that failed several times
 * in a row is passed by for a while; then one call tries it, and only if that succeeds everybody does.
 */
export class Guard {
  readonly #options: GuardOptions;
  #failures = 0;
  /** Undefined: it is asked. */
  #downUntilMs: number | undefined;
  #isTrying = false;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  get isDown(): boolean {
    return this.#downUntilMs !== undefined;
  }

  /** Throws STORE_UNREACHABLE at once while the tier is passed by, or after the limit; else what `call` throws. */
  async run<Result>(call: () => Promise<Result>): Promise<Result> {
    const isTrial = this.#admit();
    try {
      const result = await this.#limited(call);
      this.#succeeded();
      return result;
    } catch (error) {
      // What the tier refuses (a value that is too large) is an answer: it is there.
      if (error instanceof TallyError && !error.retryable) this.#succeeded();
      else this.#failed(error);
      throw error;
    } finally {
      if (isTrial) this.#isTrying = false;
    }
  }

  #admit(): boolean {
    if (this.#downUntilMs === undefined) return false;
    if (this.#isTrying || this.#options.clock.monotonicMs() < this.#downUntilMs)
      throw this.#unreachable('the shared tier is passed by after it failed');
    this.#isTrying = true;
    return true;
  }

  async #limited<Result>(call: () => Promise<Result>): Promise<Result> {
    const { clock, timeoutMs } = this.#options;
    const late = Promise.withResolvers<never>();
    let cancel = clock.after(timeoutMs, () => {
      // After a pause of this process its timers come before the answers that arrived meanwhile: those get a turn.
      cancel = clock.after(0, () =>
        late.reject(this.#unreachable(`the shared tier did not answer within ${timeoutMs} ms`)),
      );
    });
    try {
      return await Promise.race([call(), late.promise]);
    } finally {
      cancel();
    }
  }

  #succeeded(): void {
    this.#failures = 0;
    if (this.#downUntilMs === undefined) return;
    this.#downUntilMs = undefined;
    this.#options.onUp();
  }

  #failed(error: unknown): void {
    const { clock, failures, pauseMs, onDown } = this.#options;
    this.#failures += 1;
    if (this.#failures < failures) return;
    const wasDown = this.#downUntilMs !== undefined;
    this.#downUntilMs = clock.monotonicMs() + pauseMs;
    if (!wasDown) onDown(error);
  }

  #unreachable(what: string): TallyError {
    return new TallyError('STORE_UNREACHABLE', { what, where: `cache ${this.#options.name}` });
  }
}
