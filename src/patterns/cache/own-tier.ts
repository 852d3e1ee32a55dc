import type {
  CacheAnswer,
  CacheAsk,
  CacheFill,
  CacheSupports,
  CacheTier,
  CacheValue,
  LeaseAnswer,
  StoreOutcome,
} from '../../ports/cache.ts';

/** No store has to take it; but as many keys as there are entries stay in memory. */
const KEY_BYTES_MAX: number = 64 * 1024;

const supports: CacheSupports = {
  ttlResolutionMs: 1,
  keyBytesMax: KEY_BYTES_MAX,
  payloadBytesMax: Infinity,
  wakes: 'told',
  deathNoticedMs: 0,
  keepsBlockedHolder: true,
  watches: true,
  fences: true,
  tags: true,
};

/**
 * What stands for the shared tier where there is none: it grants leases and voids them, and keeps no value. The copies in
 * front of it are the cache.
 */
export class OwnTier implements CacheTier {
  readonly supports: CacheSupports = supports;
  /** By key; the sequence of invalidations when it was granted. */
  readonly #leases = new Map<string, { readonly lease: string; readonly born: number }>();
  readonly #failures = new Map<string, { readonly reason: string; readonly untilMs: number }>();
  readonly #waiting = new Map<string, (() => void)[]>();
  readonly #nowMs: () => number;
  /** The last invalidation of any tag, or of everything: a lease from before it is void. */
  #invalidated = 0;
  #sequence = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  async getMany(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    return keys.map((key) => ({
      entry: undefined,
      lease: ask.lease === 'none' ? { kind: 'none' } : this.#lease(key),
    }));
  }

  async fillMany(fills: readonly CacheFill[]): Promise<readonly StoreOutcome[]> {
    return fills.map(({ key, lease }) => {
      const held = this.#leases.get(key);
      if (held?.lease !== lease) return 'voided';
      this.#end(key);
      return held.born < this.#invalidated ? 'voided' : 'stored';
    });
  }

  async putMany(values: readonly CacheValue[]): Promise<readonly StoreOutcome[]> {
    for (const { key } of values) this.#end(key);
    return values.map(() => 'stored');
  }

  async release(
    key: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void> {
    if (this.#leases.get(key)?.lease !== lease) return;
    this.#end(key);
    if (failure === undefined) return;
    for (const [other, { untilMs }] of this.#failures) {
      if (untilMs > this.#nowMs()) break;
      this.#failures.delete(other);
    }
    this.#failures.set(key, { reason: failure.reason, untilMs: this.#nowMs() + failure.forMs });
  }

  async settled(key: string, lease: string): Promise<void> {
    if (this.#leases.get(key)?.lease !== lease) return;
    await new Promise<void>((resolve) => {
      this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), resolve]);
    });
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#end(key);
  }

  async invalidateTags(): Promise<void> {
    // Which of the loads under way will carry the tag is not known: none of them is kept.
    this.#invalidated = this.#sequence += 1;
  }

  async invalidateAll(): Promise<void> {
    this.#invalidated = this.#sequence += 1;
  }

  async watch(): Promise<() => Promise<void>> {
    return async () => undefined;
  }

  async sweep(): Promise<number> {
    return 0;
  }

  async close(): Promise<void> {
    for (const key of this.#leases.keys()) this.#end(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #lease(key: string): LeaseAnswer {
    const held = this.#leases.get(key);
    if (held !== undefined) return { kind: 'held', lease: held.lease };
    const failure = this.#failures.get(key);
    const forMs = failure === undefined ? 0 : failure.untilMs - this.#nowMs();
    if (failure !== undefined && forMs > 0)
      return { kind: 'failed', reason: failure.reason, forMs };
    const lease = String((this.#sequence += 1));
    this.#leases.set(key, { lease, born: this.#sequence });
    return { kind: 'granted', lease };
  }

  #end(key: string): void {
    this.#leases.delete(key);
    this.#failures.delete(key);
    for (const resolve of this.#waiting.get(key) ?? []) resolve();
    this.#waiting.delete(key);
  }
}
