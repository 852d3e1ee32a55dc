import { must } from '../../../core/errors.ts';
import type { AppendTexts } from '../../../ports/append.ts';
import type { Appended } from '../../../ports/events.ts';
import type { Database } from '../database.ts';
import { placeWaiting } from './place.ts';
import { eventsOfIds } from './rows.ts';
import { appendWithin } from './within.ts';

/** Connections of the pool that may wait for streams of open transactions: the application needs the others. */
const AT_ONCE_MAX = 3;
/** How long one of them waits for such a stream. */
const STREAM_WAIT = '10s';

/**
 * Appends to streams that an open transaction of the application holds. Each waits in a transaction of its own, so that
 * nobody else has to; those of one stream in the order of their calls.
 */
export class Solo {
  readonly #database: Database;
  readonly #onAppended: () => void;
  readonly #tails = new Map<string, Promise<unknown>>();
  readonly #free: (() => void)[] = [];
  #running = 0;

  constructor(database: Database, onAppended: () => void) {
    this.#database = database;
    this.#onAppended = onAppended;
  }

  /** Whether somebody waits for a stream: whoever comes later has to stand behind. */
  has(stream: string): boolean {
    return this.#tails.has(stream);
  }

  /** Resolves when nobody waits. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.allSettled(this.#tails.values());
  }

  /** `inDoubt`: the append was sent before, and may be there under the ids that were made for it. */
  append(texts: AppendTexts, inDoubt: boolean): Promise<readonly Appended[]> {
    const streams = texts.appends.map(({ stream }) => stream);
    const before = streams.flatMap((stream) => this.#tails.get(stream) ?? []);
    const done = this.#behind(before, texts, inDoubt);
    const tail = done.catch(ignore).finally(() => {
      for (const stream of streams)
        if (this.#tails.get(stream) === tail) this.#tails.delete(stream);
    });
    for (const stream of streams) this.#tails.set(stream, tail);
    return done;
  }

  async #behind(
    before: readonly Promise<unknown>[],
    texts: AppendTexts,
    inDoubt: boolean,
  ): Promise<readonly Appended[]> {
    await Promise.allSettled(before);
    return this.#inTurn(() => this.#append(texts, inDoubt));
  }

  async #append(texts: AppendTexts, inDoubt: boolean): Promise<readonly Appended[]> {
    const { schema, where } = this.#database;
    const ids = texts.appends.flatMap(({ events }) => events.map(({ id }) => id));
    const placed = await this.#database.transaction(async (tx) => {
      await tx.run('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
      await tx.run(`SET LOCAL lock_timeout = '${STREAM_WAIT}'`);
      await tx.run(
        `SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`,
      );
      return appendWithin(tx, { schema, where }, texts, inDoubt ? ids : texts.givenIds);
    });
    await placeWaiting(this.#database, schema);
    this.#onAppended();
    const known = await eventsOfIds(this.#database, schema, ids);
    return placed.map((one) => {
      const { position } = must(known.get(one.ids.at(-1) ?? ''), 'the event');
      return { ...one, repeated: one.repeated && !inDoubt, position, offset: position };
    });
  }

  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running >= AT_ONCE_MAX)
      await new Promise<void>((resolve) => this.#free.push(resolve));
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#free.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}

function ignore(): void {
  // Whoever appended is told by its own promise.
}
