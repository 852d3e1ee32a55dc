import { TallyError, isTallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import {
  BUSY_TIMEOUT_MS,
  openConnection,
  type Connection,
  type Synchronous,
} from '../connection.ts';

/** How long the keeper waits between two tries for the write lock. */
const RETRY_MS = 5;

/**
 * Capture's own writes: marks, acknowledgements, triggers. They have a connection of their own that
 * never blocks on the write lock: the lock may be held by a `write()` of this very process whose
 * work is awaiting something, and a thread that blocks would keep it from ever ending.
 */
export class Keeper {
  readonly connection: Connection;
  readonly #clock: Clock;

  constructor(file: string, synchronous: Synchronous, clock: Clock) {
    this.connection = openConnection({ file, synchronous, busyTimeoutMs: 0 });
    this.#clock = clock;
  }

  /**
   * Runs `work` as soon as the write lock is free. Throws STORE_BUSY if it is not within the limit,
   * ABORTED if `signal` aborts first.
   */
  async run<Result>(
    work: (connection: Connection) => Result,
    signal?: AbortSignal,
  ): Promise<Result> {
    const deadlineMs = this.#clock.monotonicMs() + BUSY_TIMEOUT_MS;
    for (;;) {
      try {
        return work(this.connection);
      } catch (error) {
        if (!isTallyError(error, 'STORE_BUSY')) throw error;
        // A stream that is waiting has nothing better to do than to go on waiting.
        if (signal === undefined && this.#clock.monotonicMs() >= deadlineMs) throw error;
      }
      await this.#clock.sleep(RETRY_MS, signal);
    }
  }

  close(): void {
    this.connection.close();
  }
}

/** The error for a worker whose lease has gone to a newer one. */
export function fencedOut(given: number, holder: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `worker epoch ${given} has been superseded by ${holder}`,
    mend: 'stop this worker; the newer one has taken over',
    details: { given, holder },
  });
}
