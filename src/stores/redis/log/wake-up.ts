import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import { closedStore } from '../errors.ts';
import type { RedisLink } from '../link.ts';

/** One wait at the server; then it is asked again, which also shows that the connection is alive. */
const BLOCK_MS = 2_000;
/** A server that has not answered by then is not reached by this connection any more. */
const ANSWER_MAX_MS = 6_000;

/** Between two looks for what another who waits has seen. */
const SOON_MS = 10;

export interface WakeUpOptions {
  readonly connect: () => Promise<RedisLink>;
  readonly stream: string;
  readonly clock: Clock;
  readonly where: string;
}

interface Waiting {
  readonly wake: () => void;
  readonly fail: (error: unknown) => void;
}

/**
 * Tells all who wait for entries of one stream that there are more, by one blocking command on a connection of its
 * own, which is made when somebody first waits.
 */
export class WakeUp {
  readonly #options: WakeUpOptions;
  readonly #waiting: Set<Waiting> = new Set();
  /** The entry that the present wait at the server is after. */
  #after: string | undefined;
  #link: RedisLink | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: WakeUpOptions) {
    this.#options = options;
  }

  /**
   * Resolves once there may be an entry after the id `after`, or the signal has aborted. Throws STORE_UNREACHABLE,
   * STORE_CLOSED.
   */
  async wait(after: string, signal: AbortSignal): Promise<void> {
    if (this.#closed) throw closedStore(this.#options.where);
    if (signal.aborted) return;
    // The server is asked about later entries only: those in between were there, or were lost since.
    if (this.#after !== undefined && compareIds(after, this.#after) < 0)
      return await this.#options.clock.sleep(SOON_MS, signal).catch(() => undefined);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { wake: resolve, fail: reject };
    const end = (): void => resolve();
    signal.addEventListener('abort', end, { once: true });
    this.#waiting.add(waiting);
    this.#after ??= after;
    this.#running ??= this.#run();
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', end);
      this.#waiting.delete(waiting);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#settle(({ fail }) => fail(closedStore(this.#options.where)));
    await this.#link?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0 && !this.#closed) {
      try {
        if (await this.#ask(this.#after ?? '$')) this.#settle(({ wake }) => wake());
      } catch (error) {
        this.#settle(({ fail }) => fail(error));
      }
    }
    this.#after = undefined;
    this.#running = undefined;
  }

  /** Whether an entry came, within one wait at the server. */
  async #ask(after: string): Promise<boolean> {
    const { connect, stream, clock, where } = this.#options;
    this.#link ??= await connect();
    const link = this.#link;
    if (this.#closed) {
      await link.close();
      return false;
    }
    const silent = Promise.withResolvers<never>();
    const cancel = clock.after(ANSWER_MAX_MS, () =>
      silent.reject(new TallyError('STORE_UNREACHABLE', { what: 'Redis does not answer', where })),
    );
    const command = ['XREAD', 'COUNT', '1', 'BLOCK', String(BLOCK_MS), 'STREAMS', stream];
    try {
      return (
        (await Promise.race([link.send(stream, [...command, after]), silent.promise])) !== null
      );
    } catch (error) {
      this.#link = undefined;
      await link.close();
      throw error;
    } finally {
      cancel();
    }
  }

  /** Whoever is not served waits again, after what it has found. */
  #settle(tell: (waiting: Waiting) => void): void {
    const all = [...this.#waiting];
    this.#waiting.clear();
    this.#after = undefined;
    for (const waiting of all) tell(waiting);
  }
}

/** The order of ids, which are two numbers of 64 bits. */
function compareIds(left: string, right: string): number {
  const [one, other] = [left.split('-').map(BigInt), right.split('-').map(BigInt)];
  return signOf(one[0], other[0]) || signOf(one[1], other[1]);
}

function signOf(left = 0n, right = 0n): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
