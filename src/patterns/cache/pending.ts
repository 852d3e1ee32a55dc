import type { InvalidateOptions } from '../../ports/cache.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import { backoffMs, type Backoff } from '../../runtime/backoff.ts';

/** Keys whose invalidation waits for the tier; past it, everything is invalidated when it is back. */
const PENDING_MAX = 10_000;
/** The tier is tried soon, and then four times a second: until it has taken them, others read what they should not. */
const BACKOFF: Backoff = { firstMs: 50, maxMs: 250, factor: 2 };

/** What has to reach the tier. */
export interface PendingWork {
  readonly keys: ReadonlyMap<string, InvalidateOptions>;
  readonly tags: readonly string[];
  readonly isAll: boolean;
}

/** Invalidations that the tier has not taken yet. They are tried until it has, for as long as the process lives. */
export class Pending {
  #keys = new Map<string, InvalidateOptions>();
  /** Tags, and everything, by when they were added: what is added while the tier is told stays. */
  #tags = new Map<string, number>();
  #all: number | undefined;
  #sequence = 0;
  #attempt = 0;
  #cancel: (() => void) | undefined;
  #isClosed = false;
  readonly #options: {
    readonly clock: Clock;
    readonly random: Random;
    readonly deliver: (work: PendingWork) => Promise<void>;
    readonly onDone: (keys: number) => void;
  };

  constructor(options: {
    readonly clock: Clock;
    readonly random: Random;
    readonly deliver: (work: PendingWork) => Promise<void>;
    readonly onDone: (keys: number) => void;
  }) {
    this.#options = options;
  }

  get size(): number {
    return this.#keys.size + this.#tags.size + (this.#all === undefined ? 0 : 1);
  }

  /** Whether what the tier says of a key is not to be believed here. */
  has(name: string): boolean {
    return this.#all !== undefined || this.#tags.size > 0 || this.#keys.has(name);
  }

  addKeys(names: readonly string[], options: InvalidateOptions): void {
    for (const name of names) this.#keys.set(name, withoutBar(options));
    this.#bound();
    this.#schedule();
  }

  addTags(tags: readonly string[]): void {
    for (const tag of tags) this.#tags.set(tag, (this.#sequence += 1));
    this.#bound();
    this.#schedule();
  }

  addAll(): void {
    this.#all = this.#sequence += 1;
    this.#bound();
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #bound(): void {
    const isMany = this.#keys.size + this.#tags.size > PENDING_MAX;
    if (isMany) this.#all = this.#sequence += 1;
    if (this.#all === undefined) return;
    this.#keys = new Map();
    this.#tags = new Map();
  }

  #schedule(): void {
    if (this.#cancel !== undefined || this.#isClosed) return;
    const { clock, random } = this.#options;
    this.#attempt += 1;
    this.#cancel = clock.after(
      BACKOFF.firstMs / 2 + backoffMs(this.#attempt, BACKOFF, random),
      () => {
        void this.#try();
      },
    );
  }

  async #try(): Promise<void> {
    const keys = new Map(this.#keys);
    const tags = new Map(this.#tags);
    const all = this.#all;
    try {
      await this.#options.deliver({ keys, tags: [...tags.keys()], isAll: all !== undefined });
    } catch {
      this.#cancel = undefined;
      this.#schedule();
      return;
    }
    for (const [name, options] of keys)
      if (this.#keys.get(name) === options) this.#keys.delete(name);
    for (const [tag, added] of tags) if (this.#tags.get(tag) === added) this.#tags.delete(tag);
    if (this.#all === all) this.#all = undefined;
    this.#options.onDone(keys.size + tags.size + (all === undefined ? 0 : 1));
    this.#cancel = undefined;
    this.#attempt = 0;
    if (this.size > 0) this.#schedule();
  }
}

/** A write that was under way when this was decided is over when it is delivered. */
function withoutBar({ fence, as }: InvalidateOptions): InvalidateOptions {
  return { ...(fence === undefined ? {} : { fence }), ...(as === undefined ? {} : { as }) };
}
