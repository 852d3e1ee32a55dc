import type { CacheAnswer, CacheAsk } from '../../ports/cache.ts';
import { isUnreachable } from './answers.ts';
import type { Core } from './core.ts';

/** What a cache asks of its shared tier. */
export class Questions<Key, Value> {
  readonly #core: Core<Key, Value>;

  constructor(core: Core<Key, Value>) {
    this.#core = core;
  }

  /** False: it took too long, or the tier cannot be asked. */
  async wait(name: string, lease: string): Promise<boolean> {
    const { tier, settings } = this.#core;
    const controller = new AbortController();
    // As long as a load of its own may take: who waits for another's is never worse off for long.
    const cancel = settings.clock.after(settings.loads.timeoutMs, () => controller.abort());
    try {
      await tier.settled(name, lease, controller.signal);
      return true;
    } catch {
      return false;
    } finally {
      cancel();
    }
  }

  /** The lease on a key, though there is a fresh entry; undefined: somebody else has it. */
  async leaseAnyhow(name: string): Promise<string | undefined> {
    const answer = await this.ask(name, 'always');
    return answer?.lease.kind === 'granted' ? answer.lease.lease : undefined;
  }

  /** Undefined: the tier cannot be asked. */
  async ask(name: string, lease: CacheAsk['lease']): Promise<CacheAnswer | undefined> {
    try {
      return (await this.#look([name], { lease, early: 0 }))[0];
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      return undefined;
    }
  }

  /** Looks for the keys, with the leases that are due. */
  getMany(names: readonly string[]): Promise<readonly CacheAnswer[]> {
    return this.#look(names, { lease: 'due', early: this.early() });
  }

  /**
   * Leases in an answer that comes when nobody waits for it any more are given back. Otherwise: 1. the tier is slow
   * 2. the reader loads without it  3. the tier grants a lease that nobody knows of, and whoever misses the key waits for it.
   */
  async #look(names: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    const { guard, tier } = this.#core;
    let isLate = false;
    try {
      return await guard.run(async () => {
        const answers = await tier.getMany(names, ask);
        if (isLate) await this.#giveBack(names, answers);
        return answers;
      });
    } catch (error) {
      isLate = true;
      throw error;
    }
  }

  async #giveBack(names: readonly string[], answers: readonly CacheAnswer[]): Promise<void> {
    for (const [index, { lease }] of answers.entries()) {
      const name = names[index];
      if (lease.kind !== 'granted' || name === undefined) continue;
      // One that cannot be given back ends with its time.
      await this.#core.tier.release(name, lease.lease).catch(() => undefined);
    }
  }

  /** XFetch's draw: how many load times before the end the next load is due. */
  early(): number {
    const { early, random } = this.#core.settings;
    return early === 0 ? 0 : -early * Math.log(1 - random.next());
  }
}
