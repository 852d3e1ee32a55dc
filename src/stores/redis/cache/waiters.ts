import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';

/** How often, while anybody waits, it is asked which leases are over: whose holder died, or whose message was lost. */
const LOOK_EVERY_MS = 20;

interface Waiting {
  readonly key: string;
  readonly lease: string;
  readonly wake: () => void;
}

/** Who waits for leases of others in this process: woken by messages, and by one look for all of them every 20 ms. */
export class Waiters {
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #clock: Clock;
  /** Which of these are over, as their places. */
  readonly #look: (pairs: readonly Waiting[]) => Promise<readonly number[]>;
  #cancel: (() => void) | undefined;
  #isClosed = false;

  constructor(clock: Clock, look: (pairs: readonly Waiting[]) => Promise<readonly number[]>) {
    this.#clock = clock;
    this.#look = look;
  }

  /** Resolves when the lease is over, or may be. Throws ABORTED, STORE_CLOSED by way of `wakeAll`. */
  async wait(key: string, lease: string, signal: AbortSignal | undefined): Promise<void> {
    refuseAborted(signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = { key, lease, wake: resolve };
    const others = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, others.add(waiting));
    const stop = (): void => resolve();
    signal?.addEventListener('abort', stop, { once: true });
    this.#schedule();
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', stop);
      others.delete(waiting);
      if (others.size === 0) this.#waiting.delete(key);
    }
    refuseAborted(signal);
  }

  wake(key: string): void {
    for (const { wake } of this.#waiting.get(key) ?? []) wake();
  }

  wakeAll(): void {
    for (const key of this.#waiting.keys()) this.wake(key);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.wakeAll();
  }

  #schedule(): void {
    if (this.#cancel !== undefined || this.#isClosed) return;
    this.#cancel = this.#clock.after(LOOK_EVERY_MS, () => void this.#lookOnce());
  }

  async #lookOnce(): Promise<void> {
    const waiting = [...this.#waiting.values()].flatMap((each) => [...each]);
    // One question for each lease, however many wait for it.
    const leases = new Map(waiting.map((each) => [`${each.lease} ${each.key}`, each]));
    const asked = [...leases.values()];
    try {
      const over = asked.length === 0 ? [] : await this.#look(asked);
      for (const place of over) this.wake(asked[place]?.key ?? '');
    } catch {
      // Nobody can say: those who wait ask for themselves, and find out.
      this.wakeAll();
    }
    this.#cancel = undefined;
    if (this.#waiting.size > 0) this.#schedule();
  }
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}
