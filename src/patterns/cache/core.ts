import type { Evidence } from '../../core/evidence.ts';
import type { CacheEntry, CacheEvent, CacheTier } from '../../ports/cache.ts';
import { readNote } from './envelope.ts';
import type { CacheHappening } from './events.ts';
import { Flights } from './flights.ts';
import { Guard } from './guard.ts';
import { Loads } from './loads.ts';
import { CacheMeter } from './meter.ts';
import { Near } from './near.ts';
import type { Settings } from './options.ts';

/** An entry of the tier, read. */
export interface ReadEntry<Value> {
  readonly entry: CacheEntry;
  readonly value: Value | undefined;
  readonly asOf: Evidence;
}

/** What the parts of one open cache share. */
export class Core<Key, Value> {
  readonly settings: Settings<Key, Value>;
  readonly tier: CacheTier;
  readonly hasShared: boolean;
  readonly guard: Guard;
  readonly near: Near<Value> | undefined;
  readonly flights: Flights<Key, Value>;
  readonly loads: Loads;
  readonly meter: CacheMeter = new CacheMeter();
  isWatching = false;
  /** Grows with every change that is told. */
  changes = 0;
  /** Whether a flow has told all that this evidence contains; undefined where none does. */
  hasTold: ((after: Evidence) => Promise<boolean>) | undefined;

  constructor(settings: Settings<Key, Value>, tier: CacheTier) {
    const { name, clock, shared, loads, near } = settings;
    this.settings = settings;
    this.tier = tier;
    this.hasShared = settings.caches !== undefined;
    this.guard = new Guard({
      name,
      clock,
      ...shared,
      onDown: (error) => this.emit({ kind: 'shared-down', error }),
      onUp: () => this.emit({ kind: 'shared-up' }),
    });
    this.loads = new Loads({ name, clock, ...loads });
    this.near =
      near === undefined
        ? undefined
        : new Near({
            ...near,
            early: settings.early,
            ahead: settings.ahead,
            // Where the store tells of changes, nothing is kept before it does.
            isTrusted: !this.hasShared || !tier.supports.watches,
          });
    this.flights = new Flights({ joinsAsking: this.near !== undefined });
  }

  /** Begins to hear of changes, where the store tells of them and there are copies to be told of. */
  async watch(): Promise<void> {
    if (this.near === undefined || !this.hasShared || !this.tier.supports.watches) return;
    await this.tier.watch((event) => this.#told(event));
  }

  emit(event: CacheHappening): void {
    this.settings.onEvent?.(event);
  }

  nowMs(): number {
    return this.settings.clock.monotonicMs();
  }

  /** Undefined: it is not there, or not to be read. */
  read(name: string, entry: CacheEntry | undefined): ReadEntry<Value> | undefined {
    if (entry === undefined) return undefined;
    try {
      const { isAbsent, asOf } = readNote(entry);
      const value = isAbsent ? undefined : this.settings.serialise.decode(entry.payload);
      return { entry, value, asOf };
    } catch (error) {
      this.emit({ kind: 'unreadable', key: name, error });
      return undefined;
    }
  }

  /** Keeps a copy of what the tier answered to a question that was asked at `askedAtMs`. */
  keep(name: string, { entry, value, asOf }: ReadEntry<Value>, askedAtMs: number): void {
    if (this.near === undefined || entry.freshForMs <= 0) return;
    this.near.keep(name, {
      value,
      // Its time is counted from before the tier looked: a copy never outlives the entry.
      nowMs: askedAtMs,
      freshForMs: entry.freshForMs,
      keptForMs: entry.freshForMs + this.settings.graceMs,
      ageMs: entry.ageMs,
      loadMs: entry.loadMs,
      tags: entry.tags,
      asOf,
    });
  }

  /** The keys were changed, here or elsewhere: nothing from before is answered to who asks from now on. */
  changed(names: readonly string[], as: 'delete' | 'expire' = 'delete'): void {
    this.changes += 1;
    for (const name of names) {
      if (as === 'delete') this.near?.delete(name);
      else this.near?.expire(name, this.nowMs());
      this.flights.changed(name);
    }
  }

  tagsChanged(tags: readonly string[]): void {
    this.changes += 1;
    for (const tag of tags) this.near?.deleteTagged(tag);
    this.flights.allChanged();
  }

  allChanged(): void {
    this.changes += 1;
    this.near?.clear();
    this.flights.allChanged();
  }

  #told(event: CacheEvent): void {
    switch (event.kind) {
      case 'watching':
        this.isWatching = true;
        this.near?.trust(true);
        return;
      case 'key':
        this.changed([event.key]);
        return;
      case 'tag':
        this.tagsChanged([event.tag]);
        return;
      case 'all':
        this.allChanged();
        return;
      case 'gap':
        this.isWatching = false;
        this.changes += 1;
        this.near?.trust(false);
        this.flights.allChanged();
        this.emit({ kind: 'watch-gap' });
        return;
    }
  }
}
