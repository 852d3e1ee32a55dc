import { TallyError } from '../../core/errors.ts';
import { type Evidence, noEvidence } from '../../core/evidence.ts';
import { checkDuration, checkOptions } from '../../core/options.ts';
import type { Position } from '../../core/position.ts';
import { checkCacheKeys, checkCacheTags } from '../../ports/cache-checks.ts';
import type {
  Cache,
  CacheInspection,
  CacheReadOptions,
  CacheWritten,
  WriteOptions,
} from './cache.ts';
import type { Changer, Invalidation } from './changer.ts';
import type { Core } from './core.ts';
import type { CacheStats } from './events.ts';
import type { CacheFeed } from './feed.ts';
import type { CacheRead } from './flights.ts';
import { innerNamespace, namespaceTag, nameOf } from './names.ts';
import type { LoadedOptions } from './options.ts';
import type { Pending } from './pending.ts';
import type { Reader } from './reader.ts';
import { warmKeys, type WarmOptions, type Warmed, type WarmProgress } from './warm.ts';

export interface ViewParts<Key, Value> {
  readonly core: Core<Key, Value>;
  readonly reader: Reader<Key, Value>;
  readonly changer: Changer<Key, Value>;
  readonly pending: Pending;
  readonly feed: CacheFeed;
}

/** A cache as its users see it: the whole, or the keys of one namespace. */
export class View<Key, Value> implements Cache<Key, Value> {
  readonly #parts: ViewParts<Key, Value>;
  readonly #namespace: string;

  constructor(parts: ViewParts<Key, Value>, namespace: string) {
    this.#parts = parts;
    this.#namespace = namespace;
  }

  get name(): string {
    return this.#parts.core.settings.name;
  }

  get feed(): CacheFeed {
    return this.#parts.feed;
  }

  get(key: Key, options?: CacheReadOptions): Promise<Value | undefined> {
    if (options !== undefined) return this.read(key, options).then(({ value }) => value);
    let name: string;
    try {
      name = this.#nameOf(key);
    } catch (error) {
      // No async function, since a copy has a promise of its own.
      return Promise.reject(error);
    }
    return this.#parts.reader.get(name, key);
  }

  async read(key: Key, options: CacheReadOptions = {}): Promise<CacheRead<Value>> {
    checkOptions(options, ['after'], 'read');
    const { after = noEvidence } = options;
    const name = this.#nameOf(key);
    const { reader } = this.#parts;
    return after.size === 0 ? reader.read(name, key) : reader.readAfter(name, key, after);
  }

  async getMany(keys: readonly Key[]): Promise<readonly (Value | undefined)[]> {
    return this.#parts.reader.getMany(keys.map((key) => ({ name: this.#nameOf(key), key })));
  }

  async set(
    key: Key,
    value: Value | undefined,
    options: LoadedOptions = {},
  ): Promise<Invalidation | { readonly kind: 'older' }> {
    checkOptions(options, ['ttl', 'tags', 'fence', 'keep'], 'set');
    return this.#parts.changer.set(this.#nameOf(key), key, value, options);
  }

  async delete(key: Key | readonly Key[]): Promise<Invalidation> {
    return this.#parts.changer.invalidate(this.#namesOf(key), {});
  }

  async expire(key: Key | readonly Key[]): Promise<Invalidation> {
    return this.#parts.changer.invalidate(this.#namesOf(key), { as: 'expire' });
  }

  async write<Result>(
    key: Key | readonly Key[],
    work: () => Result | Promise<Result>,
    options: WriteOptions<Result, Value> = {},
  ): Promise<CacheWritten<Result>> {
    checkOptions(options, ['afterwards', 'guard', 'tags'], 'write');
    const { afterwards = 'invalidate', guard, tags = [] } = options;
    const { core, changer, reader } = this.#parts;
    if (typeof afterwards === 'function' && core.settings.lane === undefined)
      throw unfenced(this.name);
    const names = this.#namesOf(key);
    // Before it is written: what cannot be invalidated afterwards would be committed all the same.
    checkCacheKeys('key', names, core.tier.supports.keyBytesMax);
    checkCacheTags(tags, core.tier.supports);
    if (guard !== undefined)
      await changer.bar(names, checkDuration(guard, 'write.guard', { min: 1 }));
    let value: Result;
    try {
      value = await work();
    } catch (error) {
      // It may have committed all the same: a connection that was lost during COMMIT.
      await this.#invalidate(names, tags, undefined);
      throw error;
    }
    const evidence = evidenceOf(value);
    const { lane } = core.settings;
    const fence = lane === undefined ? undefined : evidence.get(lane)?.at(-1);
    const invalidation = await this.#invalidate(names, tags, fence);
    if (afterwards !== 'invalidate')
      for (const [index, one] of listOf(key).entries()) {
        const name = names[index] ?? '';
        if (afterwards === 'load') await reader.read(name, one).catch(() => undefined);
        else if (fence !== undefined)
          await changer.set(name, one, afterwards(value), { fence }, evidence);
      }
    return { value, invalidation };
  }

  warm(keys: Iterable<Key> | AsyncIterable<Key>, options: WarmOptions = {}): Promise<WarmProgress> {
    return warmKeys(keys, options, (group) => this.#warm(group));
  }

  namespace(name: string): Cache<Key, Value> {
    return new View(this.#parts, innerNamespace(this.#namespace, name));
  }

  stats(): CacheStats {
    const { core, pending } = this.#parts;
    return {
      name: this.name,
      ...core.meter.counts(),
      pending: pending.size,
      sharedState: !core.hasShared ? 'none' : core.guard.isDown ? 'down' : 'up',
      watching: core.isWatching,
      nearEntries: core.near?.size ?? 0,
      loading: core.loads.running,
      queued: core.loads.queued,
    };
  }

  async inspect(key: string): Promise<CacheInspection> {
    const { core } = this.#parts;
    const name = nameOf(this.#namespace, key);
    const [answer] = await core.guard.run(() =>
      core.tier.getMany([name], { lease: 'none', early: 0 }),
    );
    const isNear = core.near?.get(name) !== undefined;
    return { key, entry: answer?.entry, isNear };
  }

  async invalidateKeys(keys: readonly string[]): Promise<Invalidation> {
    return this.#parts.changer.invalidate(
      keys.map((key) => nameOf(this.#namespace, key)),
      {},
    );
  }

  invalidateTags(tags: readonly string[]): Promise<Invalidation> {
    return this.#parts.changer.invalidateTags(tags);
  }

  invalidateAll(): Promise<Invalidation> {
    const { changer } = this.#parts;
    return this.#namespace === ''
      ? changer.invalidateAll()
      : changer.invalidateTags([namespaceTag(this.#namespace)]);
  }

  async close(): Promise<void> {
    this.#parts.pending.close();
    await this.#parts.core.tier.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #nameOf(key: Key): string {
    return nameOf(this.#namespace, this.#parts.core.settings.key(key));
  }

  #namesOf(key: Key | readonly Key[]): readonly string[] {
    return [...new Set(listOf(key).map((one) => this.#nameOf(one)))];
  }

  async #invalidate(
    names: readonly string[],
    tags: readonly string[],
    fence: Position | undefined,
  ): Promise<Invalidation> {
    const { changer } = this.#parts;
    const ofKeys = await changer.invalidate(names, fence === undefined ? {} : { fence });
    if (tags.length === 0) return ofKeys;
    const ofTags = await changer.invalidateTags(tags);
    return ofKeys.kind === 'pending' ? ofKeys : ofTags;
  }

  async #warm(keys: readonly Key[]): Promise<readonly Warmed[]> {
    const { core, reader } = this.#parts;
    const names = new Map(keys.map((key) => [this.#nameOf(key), key]));
    const answers = await core.guard.run(() =>
      core.tier.getMany([...names.keys()], { lease: 'due', early: 0 }),
    );
    const warmed = [...names].map(async ([name, key], index): Promise<Warmed> => {
      const lease = answers[index]?.lease;
      if (lease?.kind !== 'granted') return lease?.kind === 'failed' ? 'failed' : 'skipped';
      try {
        await reader.fill(name, key, lease.lease);
        return 'loaded';
      } catch {
        return 'failed';
      }
    });
    return Promise.all(warmed);
  }
}

function listOf<Key>(key: Key | readonly Key[]): readonly Key[] {
  return Array.isArray(key) ? (key as readonly Key[]) : [key as Key];
}

/** What `app.write` answers has the evidence of the write; whatever else a write answers has none. */
function evidenceOf(result: unknown): Evidence {
  if (typeof result !== 'object' || result === null || !('evidence' in result)) return noEvidence;
  return result.evidence instanceof Map ? (result.evidence as Evidence) : noEvidence;
}

function unfenced(name: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: 'a value is to be written through without a fence: two writers could overtake each other',
    where: `cache ${name}: write.afterwards`,
    mend: "use afterwards: 'load', or give the cache a lane",
  });
}
