import { isTallyError } from '../../core/errors.ts';
import type { Evidence } from '../../core/evidence.ts';
import { noEvidence } from '../../core/evidence.ts';
import type { InvalidateOptions } from '../../ports/cache.ts';
import { checkCacheKeys } from '../../ports/cache-checks.ts';
import type { Core } from './core.ts';
import type { Filler } from './filler.ts';
import { Flight } from './flights.ts';
import { Loaded, type LoadedOptions } from './options.ts';
import type { Pending, PendingWork } from './pending.ts';

/** What became of an invalidation. */
export type Invalidation =
  /** No reader of any process finds what was there before; copies in others within the time of a notification. */
  | { readonly kind: 'done' }
  /**
   * The shared tier cannot be reached. This process reads past it, and tells it as soon as it can; until then other
   * processes may still find the old value, at most until its time is over.
   */
  | { readonly kind: 'pending'; readonly error: unknown };

const DONE: Invalidation = { kind: 'done' };

/** Sets and invalidates: in this process at once, in the shared tier before it is answered, or as soon as that can be reached. */
export class Changer<Key, Value> {
  readonly #core: Core<Key, Value>;
  readonly #filler: Filler<Key, Value>;
  readonly #pending: Pending;

  constructor(core: Core<Key, Value>, filler: Filler<Key, Value>, pending: Pending) {
    this.#core = core;
    this.#filler = filler;
    this.#pending = pending;
  }

  /** Throws VALUE_UNSUPPORTED, ROW_TOO_LARGE for what cannot be kept, or is no key. */
  async set(
    name: string,
    key: Key,
    value: Value | undefined,
    options: LoadedOptions,
    asOf: Evidence = noEvidence,
  ): Promise<Invalidation | { readonly kind: 'older' }> {
    const { guard, tier, near, flights } = this.#core;
    checkCacheKeys('key', [name], tier.supports.keyBytesMax);
    const loaded = new Loaded(value, options);
    const stored = this.#filler.valueOf(name, key, loaded, { asOf, loadMs: 0 });
    if (stored === undefined) return this.invalidate([name], {});
    this.#core.changed([name]);
    const flight = new Flight<Key, Value>(name, key);
    return flights.behind(flight, async () => {
      const nowMs = this.#core.nowMs();
      try {
        const [outcome] = await guard.run(() => tier.putMany([stored]));
        const isClean = !flight.isDirty;
        this.#core.changed([name]);
        if (outcome === 'older') return { kind: 'older' };
        if (isClean)
          near?.keep(name, {
            value,
            nowMs,
            freshForMs: stored.freshMs,
            keptForMs: stored.keepMs,
            ageMs: 0,
            loadMs: 0,
            tags: stored.tags,
            asOf,
          });
        return DONE;
      } catch (error) {
        return this.#undelivered(error, 1, () => this.#pending.addKeys([name], {}));
      }
    });
  }

  /** Throws VALUE_UNSUPPORTED, ROW_TOO_LARGE for what is no key: here too, since it may have to wait for the tier. */
  async invalidate(names: readonly string[], options: InvalidateOptions): Promise<Invalidation> {
    checkCacheKeys('key', names, this.#core.tier.supports.keyBytesMax);
    return this.#change(
      names.length,
      () => this.#core.changed(names, options.as),
      () => this.#core.tier.invalidate(names, options),
      () => this.#pending.addKeys(names, options),
    );
  }

  invalidateTags(tags: readonly string[]): Promise<Invalidation> {
    return this.#change(
      tags.length,
      () => this.#core.tagsChanged(tags),
      () => this.#core.tier.invalidateTags(tags),
      () => this.#pending.addTags(tags),
    );
  }

  invalidateAll(): Promise<Invalidation> {
    return this.#change(
      1,
      () => this.#core.allChanged(),
      () => this.#core.tier.invalidateAll(),
      () => this.#pending.addAll(),
    );
  }

  /** Keeps everybody from loading a key that is about to be written. Throws STORE_UNREACHABLE: then nothing is held. */
  async bar(names: readonly string[], barMs: number): Promise<void> {
    this.#core.changed(names);
    await this.#core.guard.run(() => this.#core.tier.invalidate(names, { barMs }));
    this.#core.changed(names);
  }

  /** Delivers what the tier has not taken yet. Throws STORE_UNREACHABLE. */
  async deliver({ keys, tags, isAll }: PendingWork): Promise<void> {
    const { guard, tier } = this.#core;
    await guard.run(async () => {
      if (isAll) await tier.invalidateAll();
      if (tags.length > 0) await tier.invalidateTags(tags);
      const plain = [...keys].flatMap(([name, options]) =>
        Object.keys(options).length === 0 ? [name] : [],
      );
      if (plain.length > 0) await tier.invalidate(plain);
      for (const [name, options] of keys)
        if (Object.keys(options).length > 0) await tier.invalidate([name], options);
    });
    if (isAll) this.#core.allChanged();
    else if (tags.length > 0) this.#core.tagsChanged(tags);
    this.#core.changed([...keys.keys()]);
  }

  async #change(
    count: number,
    here: () => void,
    there: () => Promise<void>,
    later: () => void,
  ): Promise<Invalidation> {
    this.#core.meter.invalidations += count;
    here();
    try {
      await this.#core.guard.run(there);
      return DONE;
    } catch (error) {
      return this.#undelivered(error, count, later);
    } finally {
      // A reader that asked in between may have kept what the tier still had.
      here();
    }
  }

  /** Whether it was done is not known: it is done again, which harms nothing. */
  #undelivered(error: unknown, keys: number, later: () => void): Invalidation {
    if (!isTallyError(error) || !error.retryable) throw error;
    later();
    this.#core.emit({ kind: 'invalidation-pending', keys, error });
    return { kind: 'pending', error };
  }
}
