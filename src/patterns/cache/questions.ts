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
    const { guard, tier } = this.#core;
    try {
      return (await guard.run(() => tier.getMany([name], { lease, early: 0 })))[0];
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      return undefined;
    }
  }

  /** Looks for the keys, with the leases that are due. */
  getMany(names: readonly string[]): Promise<readonly CacheAnswer[]> {
    const { guard, tier } = this.#core;
    return guard.run(() => tier.getMany(names, { lease: 'due', early: this.early() }));
  }

  /** XFetch's draw: how many load times before the end the next load is due. */
  early(): number {
    const { early, random } = this.#core.settings;
    return early === 0 ? 0 : -early * Math.log(1 - random.next());
  }
}
