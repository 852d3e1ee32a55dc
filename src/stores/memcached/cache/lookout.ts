import { TallyError } from '../../../core/errors.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import type { MemcachedLink } from '../link.ts';
import { numberFlag } from '../wire/reply.ts';
import { holderOf } from './holder.ts';
import type { CacheNames } from './names.ts';
import { LOOK_MS, SILENCE_MS, SILENT_LOOKS } from './supports.ts';

/** Dead holders that are remembered. One that is forgotten is noticed again. */
const DEAD_MAX = 1_000;

/** A lease that somebody else holds, as its item was when it was seen. */
export interface SeenLease {
  /** The item. */
  readonly name: string;
  /** Any change of the item ends the wait: fill, release, invalidation, another lease. */
  readonly version: number;
  /** Empty while its holder is not known yet. */
  readonly id: string;
  /** The seconds that the item has left when the time of the lease is over. */
  readonly mark: number;
}

interface Watched {
  readonly seen: SeenLease;
  readonly wakers: Set<() => void>;
}

/** What was last seen of a holder's sign of life, and since when it is the same. */
interface Sign {
  readonly text: string;
  readonly sinceMs: number;
  readonly looks: number;
}

/**
 * Looks after leases that others hold, for all who wait in this process: one write every ten to twenty milliseconds asks for
 * the versions of their items and for the signs of life of their holders. Values are not fetched.
 */
export class Lookout {
  readonly #link: MemcachedLink;
  readonly #names: CacheNames;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #watched = new Map<string, Watched>();
  readonly #signs = new Map<string, Sign>();
  readonly #dead = new Set<string>();
  #isLooking = false;
  #isOpen = true;

  constructor(
    link: MemcachedLink,
    names: CacheNames,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
  ) {
    this.#link = link;
    this.#names = names;
    this.#clock = clock;
    this.#random = random;
  }

  /** Whether the holder of a lease was seen without a sign of life for too long. */
  isDead(lease: string): boolean {
    return this.#dead.has(holderOf(lease));
  }

  /** Resolves when the lease is over, or may be. Rejects with ABORTED, STORE_CLOSED. */
  async over(seen: SeenLease, signal: AbortSignal | undefined): Promise<void> {
    checkAborted(signal);
    if (seen.id !== '' && this.isDead(seen.id)) return;
    const key = `${seen.version} ${seen.name}`;
    const watched = this.#watched.get(key) ?? { seen, wakers: new Set() };
    this.#watched.set(key, watched);
    const { promise, resolve } = Promise.withResolvers<void>();
    watched.wakers.add(resolve);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    if (!this.#isLooking) void this.#look();
    await promise;
    watched.wakers.delete(resolve);
    if (watched.wakers.size === 0) this.#watched.delete(key);
    checkAborted(signal);
    if (!this.#isOpen)
      throw new TallyError('STORE_CLOSED', {
        what: 'the cache was closed while it was waited for',
      });
  }

  close(): void {
    this.#isOpen = false;
    for (const { wakers } of this.#watched.values()) for (const wake of wakers) wake();
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    while (this.#isOpen && this.#watched.size > 0) {
      await this.#clock.sleep(LOOK_MS * (1 + this.#random.next()));
      const watched = [...this.#watched.values()];
      try {
        for (const { wakers } of await this.#overAmong(watched)) for (const wake of wakers) wake();
      } catch {
        // Without Memcached nobody knows: whoever waited asks again, and is told.
        for (const { wakers } of watched) for (const wake of wakers) wake();
      }
      // Those who were woken go on first.
      await this.#clock.sleep(0);
    }
    this.#isLooking = false;
    this.#signs.clear();
  }

  async #overAmong(watched: readonly Watched[]): Promise<readonly Watched[]> {
    const holders = [...new Set(watched.map(({ seen }) => holderOf(seen.id)))];
    const replies = await this.#link.sendMany([
      ...watched.map(({ seen }) => ({ verb: 'mg', key: seen.name, flags: ['c', 't'] }) as const),
      ...holders.map((id) => ({ verb: 'mg', key: this.#names.holder(id), flags: ['v'] }) as const),
    ]);
    for (const [index, holder] of holders.entries())
      this.#note(holder, replies[watched.length + index]?.value?.toString('latin1') ?? '');
    return watched.filter(({ seen }, index) => {
      const reply = replies[index];
      return (
        reply === undefined ||
        numberFlag(reply, 'c') !== seen.version ||
        (numberFlag(reply, 't') ?? 0) <= seen.mark ||
        (seen.id !== '' && this.isDead(seen.id))
      );
    });
  }

  #note(holder: string, text: string): void {
    if (holder === '') return;
    const nowMs = this.#clock.monotonicMs();
    const sign = this.#signs.get(holder);
    if (sign?.text !== text) {
      this.#signs.set(holder, { text, sinceMs: nowMs, looks: 1 });
      this.#dead.delete(holder);
      return;
    }
    const looks = sign.looks + 1;
    this.#signs.set(holder, { ...sign, looks });
    if (nowMs - sign.sinceMs < SILENCE_MS || looks < SILENT_LOOKS) return;
    this.#dead.add(holder);
    const [oldest] = this.#dead;
    if (this.#dead.size > DEAD_MAX && oldest !== undefined) this.#dead.delete(oldest);
  }
}

function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}
