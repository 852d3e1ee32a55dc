import { TallyError } from '../../core/errors.ts';
import type { Clock } from '../../ports/clock.ts';

export interface LoadsOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly queue: number;
}

/**
 * Runs loads: so many at a time, so many waiting, and no more, so that the database behind a cache that is down meets no
 * more than it was agreed. A load that is out of time keeps its place until it has really ended: a timeout is not an end of
 * the work.
 */
export class Loads {
  readonly #options: LoadsOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: LoadsOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#waiting.length;
  }

  /** Throws OVERLOADED, DEADLINE_EXCEEDED, and what `load` throws. The wait for a turn counts to the time of the load. */
  async run<Result>(load: (signal: AbortSignal) => Result | Promise<Result>): Promise<Result> {
    const { clock, timeoutMs } = this.#options;
    const controller = new AbortController();
    const late = Promise.withResolvers<never>();
    late.promise.catch(() => undefined);
    const cancel = clock.after(timeoutMs, () => {
      const error = this.#timeout();
      controller.abort(error);
      late.reject(error);
    });
    try {
      await this.#turnBefore(late.promise);
      return await Promise.race([this.#work(load, controller.signal), late.promise]);
    } finally {
      cancel();
    }
  }

  async #turnBefore(late: Promise<never>): Promise<void> {
    const turn = this.#turn();
    if (turn === undefined) return;
    try {
      await Promise.race([turn, late]);
    } catch (error) {
      // Out of time before its turn came: when it does, it is somebody else's.
      void turn.then(() => this.#ended());
      throw error;
    }
  }

  /** Undefined: at once. */
  #turn(): Promise<void> | undefined {
    const { concurrency, queue, name } = this.#options;
    if (this.#running < concurrency) {
      this.#running += 1;
      return undefined;
    }
    if (this.#waiting.length >= queue)
      throw new TallyError('OVERLOADED', {
        what: `${this.#running} loads are under way and ${this.#waiting.length} wait`,
        where: `cache ${name}`,
        mend: 'try again later; raise loads.concurrency if the database takes more',
      });
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  async #work<Result>(
    load: (signal: AbortSignal) => Result | Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    try {
      return await load(signal);
    } finally {
      this.#ended();
    }
  }

  #ended(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }

  #timeout(): TallyError {
    const { name, timeoutMs } = this.#options;
    return new TallyError('DEADLINE_EXCEEDED', {
      what: `the load took longer than ${timeoutMs} ms`,
      where: `cache ${name}`,
      mend: 'raise loads.timeout, or make the load faster; what it still answers is dropped',
      details: { timeoutMs },
    });
  }
}
