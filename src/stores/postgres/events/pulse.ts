import type { Database } from '../database.ts';
import { placeWaiting } from './place.ts';
import { ensureEvents } from './schema.ts';

/** How often, at least, whoever waits looks for events of other processes. Those of this one are noticed at once. */
export const EVENTS_POLL_MS = 50;

/**
 * While events of other processes come, they are looked for this often: one question of a few microseconds, where a
 * notification would be a connection more for each process and a lock more for each commit.
 */
const BUSY_POLL_MS = 5;
/** The longer nothing comes, the longer the wait, up to `pollMs`: a tenth of how long it has been quiet. */
const QUIET_PART = 10;

/** Tells how far the order of events goes, and wakes whoever waits for more of it. */
export class EventsPulse {
  readonly #database: Database;
  readonly #pollMs: number;
  readonly #closing = new AbortController();
  readonly #waiting = new Set<AbortController>();
  #ready: Promise<void> | undefined;

  constructor(database: Database, pollMs: number) {
    this.#database = database;
    this.#pollMs = pollMs;
  }

  /** Aborts when the store closes. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** Resolves when the tables are there. */
  ready(): Promise<void> {
    this.#ready ??= ensureEvents(this.#database).catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  /** The newest position; what was committed before the call has one at or below it. */
  async head(): Promise<number> {
    await this.ready();
    return placeWaiting(this.#database, this.#database.schema);
  }

  /** Somebody in this process has appended. */
  beat(): void {
    for (const waiting of this.#waiting) waiting.abort();
  }

  /** The newest position, each time that it is beyond the last one, until the signal aborts. */
  async *heads(after: number, signal: AbortSignal): AsyncGenerator<number, void, undefined> {
    let last = after;
    let newMs = -Infinity;
    while (!signal.aborted) {
      const wake = new AbortController();
      // Before the look: what is appended while it runs is looked for again.
      this.#waiting.add(wake);
      try {
        const head = await this.head();
        if (head > last) {
          last = head;
          newMs = this.#database.clock.monotonicMs();
          yield head;
        } else await this.#pause(newMs, AbortSignal.any([signal, wake.signal]));
      } finally {
        this.#waiting.delete(wake);
      }
    }
  }

  close(): void {
    this.#closing.abort();
  }

  async #pause(newMs: number, wake: AbortSignal): Promise<void> {
    const { clock } = this.#database;
    const quietMs = (clock.monotonicMs() - newMs) / QUIET_PART;
    try {
      await clock.sleep(Math.min(this.#pollMs, Math.max(BUSY_POLL_MS, quietMs)), wake);
    } catch (error) {
      if (!wake.aborted) throw error;
    }
  }
}
