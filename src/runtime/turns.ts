import { TallyError } from '../core/errors.ts';

/** Callers that wait for their turn, all names together. Behind ten thousand, nobody is served in time. */
const TURNS_WAITING_MAX = 10_000;

/**
 * One at a time for each name, in the order of asking. Within a process it spares work on one record the conflicts that it
 * would have with itself; between processes it promises nothing, and a condition of the store decides, as ever.
 */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();
  #waiting = 0;

  /** Runs `work` once those before it are done. Throws STORE_BUSY past {@link TURNS_WAITING_MAX}. */
  async take<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    if (this.#waiting >= TURNS_WAITING_MAX) throw tooMany();
    const before = this.#last.get(name);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#last.set(name, done);
    this.#waiting += 1;
    try {
      await before;
    } finally {
      this.#waiting -= 1;
    }
    try {
      return await work();
    } finally {
      resolve();
      if (this.#last.get(name) === done) this.#last.delete(name);
    }
  }
}

function tooMany(): TallyError {
  return new TallyError('STORE_BUSY', {
    what: `${TURNS_WAITING_MAX} callers wait for their turn in this process`,
    mend: 'send fewer at a time, or spread them over more records',
    details: { waitingMax: TURNS_WAITING_MAX },
  });
}
