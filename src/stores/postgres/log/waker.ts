import { createHash } from 'node:crypto';
import type { Database, Session } from '../database.ts';
import { endSession } from '../ledger/session.ts';

/** How often a reader that waits looks for itself: a message may be lost with the connection that carried it. */
const POLL_MS = 2_000;

/** The name of the channel of a lane; names may be longer than those of channels. */
export function channelOf(schema: string, lane: string): string {
  return `tally_log_${createHash('sha256').update(`${schema}/${lane}`).digest('hex').slice(0, 32)}`;
}

/**
 * Wakes the readers of a log when there is more of it: by its own process's appender at once, by those of other
 * processes through LISTEN, and every two seconds whatever is heard.
 */
export class Waker {
  readonly #database: Database;
  readonly #channel: string;
  readonly #waiting = new Set<() => void>();
  #session: Promise<Session> | undefined;
  #closed = false;
  #told = 0;

  constructor(database: Database, channel: string) {
    this.#database = database;
    this.#channel = channel;
  }

  /**
   * Listens from now on. Answers whether it did before: if not, something may have been said in between, and has to
   * be looked for once more. Throws STORE_UNREACHABLE.
   */
  async listen(): Promise<boolean> {
    if (this.#session !== undefined) {
      await this.#session;
      return true;
    }
    const opening: Promise<Session> = this.#open(() => this.#forget(opening));
    this.#session = opening;
    try {
      await opening;
    } catch (error) {
      this.#forget(opening);
      throw error;
    }
    return false;
  }

  /** How often there was something to tell: to be read before looking, and given to {@link wait} after. */
  get told(): number {
    return this.#told;
  }

  /**
   * Resolves when something was told since or the signal aborts, and with `time to look` when nothing was told for a
   * while.
   */
  wait(told: number, signal: AbortSignal): Promise<'told' | 'time to look'> {
    return new Promise((resolve) => {
      const end = (why: 'told' | 'time to look'): void => {
        this.#waiting.delete(wake);
        cancel();
        signal.removeEventListener('abort', wake);
        resolve(why);
      };
      const wake = (): void => end('told');
      const cancel = this.#database.clock.after(POLL_MS, () => end('time to look'));
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
      if (signal.aborted || this.#closed || told !== this.#told) wake();
    });
  }

  /** Gives up a connection that did not say what it had to: it may be open at this end alone. */
  async renew(): Promise<void> {
    const silent = this.#session;
    if (silent === undefined) return;
    this.#forget(silent);
    await this.#end(silent);
  }

  wakeAll(): void {
    this.#told += 1;
    for (const wake of this.#waiting) wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.wakeAll();
    if (this.#session !== undefined) await this.#end(this.#session);
  }

  async #end(opening: Promise<Session>): Promise<void> {
    const session = await opening.catch(() => undefined);
    if (session !== undefined) await endSession(session, this.#database.clock);
  }

  async #open(onEnd: () => void): Promise<Session> {
    const session = await this.#database.connect();
    try {
      session.client.on('notification', () => this.wakeAll());
      session.client.once('end', onEnd);
      await session.run(`LISTEN ${this.#channel}`);
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  #forget(session: Promise<Session>): void {
    if (this.#session === session) this.#session = undefined;
    this.wakeAll();
  }
}
