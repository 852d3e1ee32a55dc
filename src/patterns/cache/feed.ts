import { isTallyError } from '../../core/errors.ts';
import type { Evidence } from '../../core/evidence.ts';
import { comparePositions, type Position } from '../../core/position.ts';
import type { Changer, Invalidation } from './changer.ts';
import type { Core } from './core.ts';
import { nameOf } from './names.ts';
import type { Reader } from './reader.ts';

/** A key that was changed at a place in a source's history. */
export interface ToldKey {
  readonly namespace: string;
  readonly key: unknown;
  readonly lane: string | undefined;
  readonly at: Position;
  /** Whether it is loaded at once if it was there. */
  readonly load: boolean;
}

/** What a flow has to tell a cache. */
export interface Told {
  readonly keys: readonly ToldKey[];
  readonly tags: readonly string[];
  /** Given if it cannot be told what was changed. */
  readonly unclear: string | undefined;
}

/** The side of a cache that hears of changes at the source, by whomever they were made. */
export interface CacheFeed {
  /** Whether all processes share a tier: only then does telling one of them tell all. */
  readonly isShared: boolean;
  /** Resolves once no reader of any process is given what was there before. Throws STORE_UNREACHABLE: tell it again. */
  tell(told: Told): Promise<void>;
  /** Drops everything. Throws STORE_UNREACHABLE. */
  forget(): Promise<void>;
  /**
   * How the cache asks whether all that this evidence contains has been told. It is asked by reads with `after` that find
   * a value without evidence of its own.
   */
  follow(hasTold: (after: Evidence) => Promise<boolean>): void;
}

/** Calls to the shared tier at the same time: more would only wait in its connection, and run out of time there. */
const CALLS_MAX = 32;

interface Named {
  readonly name: string;
  readonly told: ToldKey;
}

/** Hears of changes from a flow. */
export class Feed<Key, Value> implements CacheFeed {
  readonly #core: Core<Key, Value>;
  readonly #changer: Changer<Key, Value>;
  readonly #reader: Reader<Key, Value>;

  constructor(core: Core<Key, Value>, changer: Changer<Key, Value>, reader: Reader<Key, Value>) {
    this.#core = core;
    this.#changer = changer;
    this.#reader = reader;
  }

  get isShared(): boolean {
    return this.#core.hasShared;
  }

  follow(hasTold: (after: Evidence) => Promise<boolean>): void {
    this.#core.hasTold = hasTold;
  }

  async forget(): Promise<void> {
    check(await this.#changer.invalidateAll());
  }

  async tell({ keys, tags, unclear }: Told): Promise<void> {
    let reason = unclear;
    const named: Named[] = [];
    for (const told of keys)
      try {
        named.push({
          name: nameOf(told.namespace, this.#core.settings.key(told.key as Key)),
          told,
        });
      } catch (error) {
        // What reading refuses as a key holds no value. A key function that fails may have been able to before.
        if (!isTallyError(error)) reason ??= `the key function threw: ${String(error)}`;
      }
    this.#core.meter.told += keys.length + tags.length;
    if (reason !== undefined) {
      this.#core.emit({ kind: 'told-unclear', reason });
      return this.forget();
    }
    const present = await this.#present(named.filter(({ told }) => told.load));
    for (const calls of chunks(this.#calls(named), CALLS_MAX))
      for (const done of await Promise.all(calls.map((call) => call()))) check(done);
    if (tags.length > 0) check(await this.#changer.invalidateTags(tags));
    // Nobody waits for these: a flow that did would tell of the next change a load later.
    for (const { name, told } of present)
      void this.#reader.read(name, told.key as Key).catch(() => undefined);
  }

  /** One call for each place in the history, where this cache has fences of that lane; else one for all. */
  #calls(named: readonly Named[]): readonly (() => Promise<Invalidation>)[] {
    const { lane } = this.#core.settings;
    const plain = new Set<string>();
    const fenced = new Map<string, { readonly fence: Position; readonly names: Set<string> }>();
    for (const { name, told } of named) {
      if (lane === undefined || told.lane !== lane) {
        plain.add(name);
        continue;
      }
      const fence = { epoch: told.at.epoch, offset: told.at.offset };
      const place = `${fence.epoch}.${fence.offset}`;
      const group = fenced.get(place) ?? { fence, names: new Set() };
      fenced.set(place, group);
      group.names.add(name);
    }
    const groups = [...fenced.values()].toSorted((one, other) =>
      comparePositions(one.fence, other.fence),
    );
    const calls = groups.map(
      ({ fence, names }) =>
        () =>
          this.#invalidate([...names], fence),
    );
    return plain.size === 0 ? calls : [() => this.#invalidate([...plain], undefined), ...calls];
  }

  async #invalidate(names: readonly string[], fence: Position | undefined): Promise<Invalidation> {
    const options = fence === undefined ? {} : { fence };
    try {
      return await this.#changer.invalidate(names, options);
    } catch (error) {
      if (!isTallyError(error, 'VALUE_UNSUPPORTED', 'ROW_TOO_LARGE')) throw error;
    }
    // One of them cannot be a key of this tier, so that it holds nothing: the others are told all the same.
    if (names.length === 1) return { kind: 'done' };
    for (const name of names) {
      const done = await this.#invalidate([name], fence);
      if (done.kind === 'pending') return done;
    }
    return { kind: 'done' };
  }

  /** Those that the shared tier has a value of. It is only asked what to load anew: a failure loads nothing. */
  async #present(wanted: readonly Named[]): Promise<readonly Named[]> {
    if (wanted.length === 0) return [];
    const { guard, tier } = this.#core;
    const byName = new Map(wanted.map((one) => [one.name, one]));
    const named = [...byName.values()];
    try {
      const answers = await guard.run(() =>
        tier.getMany([...byName.keys()], { lease: 'none', early: 0 }),
      );
      return named.filter((_, index) => answers[index]?.entry !== undefined);
    } catch {
      return [];
    }
  }
}

function check(invalidation: Invalidation): void {
  if (invalidation.kind === 'pending') throw invalidation.error;
}

function chunks<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
