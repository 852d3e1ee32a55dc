import type { CacheAnswer } from '../../ports/cache.ts';

interface Asked {
  readonly name: string;
  readonly onSent: () => void;
  readonly resolve: (answer: CacheAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** Keys of one call to the tier: a store serves nobody else while it answers. */
const KEYS_MAX = 1_000;

/** Collects what is asked of the tier in one turn of the event loop: it is one round trip. */
export class Asks {
  readonly #getMany: (names: readonly string[]) => Promise<readonly CacheAnswer[]>;
  #asked: Asked[] = [];

  constructor(getMany: (names: readonly string[]) => Promise<readonly CacheAnswer[]>) {
    this.#getMany = getMany;
  }

  /** `onSent` is called when it is on its way: what is asked after that may be answered otherwise. */
  ask(name: string, onSent: () => void): Promise<CacheAnswer> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ name, onSent, resolve, reject });
      // After the callers that go on in this turn have asked as well.
      if (this.#asked.length === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    const asked = this.#distinct();
    for (let from = 0; from < asked.length; from += KEYS_MAX)
      void this.#send(asked.length <= KEYS_MAX ? asked : asked.slice(from, from + KEYS_MAX));
  }

  /** One of each name: a key may be asked for a second time by who came after it was changed. That one waits a turn. */
  #distinct(): readonly Asked[] {
    const asked = this.#asked;
    this.#asked = [];
    if (asked.length === 1) return asked;
    const names = new Set<string>();
    const again: Asked[] = [];
    const now = asked.filter((one) => {
      if (names.size < names.add(one.name).size) return true;
      again.push(one);
      return false;
    });
    this.#asked = again;
    if (again.length > 0) process.nextTick(() => this.#flush());
    return now;
  }

  async #send(asked: readonly Asked[]): Promise<void> {
    for (const { onSent } of asked) onSent();
    try {
      const answers = await this.#getMany(asked.map(({ name }) => name));
      for (const [index, { resolve, reject }] of asked.entries()) {
        const answer = answers[index];
        if (answer === undefined) reject(new Error('the tier gave too few answers'));
        else resolve(answer);
      }
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }
}
