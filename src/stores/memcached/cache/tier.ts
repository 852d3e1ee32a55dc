import { must, TallyError } from '../../../core/errors.ts';
import { checkOptions } from '../../../core/options.ts';
import type {
  CacheAnswer,
  CacheAsk,
  CacheFill,
  CacheSupports,
  CacheTier,
  CacheValue,
  InvalidateOptions,
  OpenCacheOptions,
  StoreOutcome,
} from '../../../ports/cache.ts';
import {
  checkCacheKeys,
  checkCacheTags,
  checkCacheValue,
  checkFences,
} from '../../../ports/cache-checks.ts';
import type { Random } from '../../../ports/clock.ts';
import { closedError } from '../errors.ts';
import type { MemcachedParts } from '../parts.ts';
import { ttlSeconds } from '../time-to-live.ts';
import { numberFlag, type MetaReply } from '../wire/reply.ts';
import type { MetaRequest } from '../wire/request.ts';
import { entryOfValue, portEntry, wishOf, withLease } from './decide.ts';
import { Holder } from './holder.ts';
import { Lookout, type SeenLease } from './lookout.ts';
import { cacheNames, type CacheNames } from './names.ts';
import { encodeRecord, type KeyRecord, type Stamp } from './record.ts';
import { leaseAnswer, seenIn, seenOf, unnamedLease, type Seen } from './seen.ts';
import { Sequence } from './sequence.ts';

/** A lease without its holder's name stands for so long: from the miss until the name is written, which is at once. */
const UNNAMED_LEASE_S = 2;
/** Rounds of a race that somebody wins each time. */
const ROUNDS_MAX = 1_000;

/** A lease of ours. */
interface Grant {
  readonly key: string;
  /** The version of the item while the lease stands; undefined if it was void before it was written. */
  readonly version: Promise<number | undefined>;
  readonly born: Stamp;
  /** By our clock. */
  readonly untilMs: number;
  /** The life of the server that granted it: in another one the same version means nothing. */
  readonly startedAtS: number;
}

/**
 * One cache in Memcached. All that is known of a key is one item, and each change of it a compare-and-set; a miss makes the
 * item, and with it the lease, in the same command (`mg … N`). A fill names the version of its lease: whatever changed the
 * item since, refuses it.
 */
export class MemcachedCacheTier implements CacheTier {
  readonly supports: CacheSupports;
  readonly #parts: MemcachedParts;
  readonly #options: OpenCacheOptions;
  readonly #names: CacheNames;
  readonly #sequence: Sequence;
  readonly #holder: Holder;
  readonly #lookout: Lookout;
  readonly #grants = new Map<string, Grant>();
  #isOpen = true;

  constructor(
    parts: MemcachedParts,
    options: OpenCacheOptions,
    { supports, random }: { readonly supports: CacheSupports; readonly random: Random },
  ) {
    const { link, clock, prefix } = parts;
    this.#parts = parts;
    this.#options = options;
    this.supports = supports;
    this.#names = cacheNames(prefix, options.name);
    this.#sequence = new Sequence(link, this.#names, random);
    const id = random.id();
    this.#holder = new Holder({ id, link, name: this.#names.holder(id), clock });
    this.#lookout = new Lookout(link, this.#names, { clock, random });
  }

  async getMany(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    this.#check();
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    const answers = new Map<string, CacheAnswer>();
    let left = keys;
    for (let round = 0; left.length > 0; round += 1) {
      if (round === ROUNDS_MAX) throw contended();
      const { stamp, seen } = await this.#look(left, ask.lease === 'none' ? 'look' : 'lease');
      left = await this.#answer(seen, stamp, ask, answers);
    }
    return keys.map((key) => must(answers.get(key), 'the answer'));
  }

  async fillMany(fills: readonly CacheFill[]): Promise<readonly StoreOutcome[]> {
    this.#check();
    for (const fill of fills) checkCacheValue(fill, this.supports, this.#options.payload);
    const granted = await Promise.all(
      fills.map(async (fill) => {
        const grant = this.#grants.get(fill.lease);
        if (grant === undefined || grant.key !== fill.key) return undefined;
        this.#forget(fill.lease);
        const version = await grant.version;
        const isOver = this.#parts.clock.monotonicMs() >= grant.untilMs;
        return version === undefined || isOver ? undefined : { ...grant, version };
      }),
    );
    const tags = [...new Set(fills.flatMap((fill) => fill.tags))];
    // Of another life of the server: its versions begin again, and one may come back.
    const isSameLife = (startedAtS: number): boolean =>
      startedAtS === this.#parts.link.life.startedAtS;
    const writes = fills.flatMap((fill, place) => {
      const grant = granted[place];
      if (grant === undefined || !isSameLife(grant.startedAtS)) return [];
      const entry = entryOfValue(fill, grant.born);
      return [
        { place, born: grant.born, request: this.#write(fill.key, { entry }, grant.version) },
      ];
    });
    const replies = await this.#parts.link.sendMany([
      this.#sequence.ask,
      ...tags.map((tag) => this.#sequence.askTag(tag)),
      ...writes.map(({ request }) => request),
    ]);
    const now = await this.#sequence.stamp(replies[0]);
    const tagReplies = await this.#tagReplies(tags, replies.slice(1, tags.length + 1), now);
    const outcomes: StoreOutcome[] = fills.map(() => 'voided');
    for (const [index, { place, born }] of writes.entries()) {
      const own = (fills[place]?.tags ?? []).map((tag) => tagReplies.get(tag));
      const isStored = replies[1 + tags.length + index]?.status === 'HD';
      // What was stored all the same is invalid by what it was born at: no reader is given it.
      if (isStored && this.#sequence.isValid(born, now, own)) outcomes[place] = 'stored';
    }
    return outcomes;
  }

  async putMany(values: readonly CacheValue[]): Promise<readonly StoreOutcome[]> {
    this.#check();
    for (const value of values) checkCacheValue(value, this.supports, this.#options.payload);
    const tags = [...new Set(values.flatMap((value) => value.tags))];
    if (tags.length > 0) {
      const reply = await this.#parts.link.send(this.#sequence.ask);
      await this.#sequence.remember(tags, await this.#sequence.stamp(reply));
    }
    const byKey = new Map(values.map((value) => [value.key, value]));
    await this.#change([...byKey.keys()], ({ key, record }, born) => {
      const { barredForS } = record;
      const entry = entryOfValue(must(byKey.get(key), 'the value'), born);
      return { entry, ...(barredForS === undefined ? {} : { barredForS }) };
    });
    return values.map(() => 'stored');
  }

  async release(
    key: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void> {
    this.#check();
    await this.#release(key, lease, failure);
  }

  async settled(key: string, lease: string, signal?: AbortSignal): Promise<void> {
    this.#check();
    const seen = seenIn(lease) ?? (await this.#ownLease(key, lease));
    if (seen !== undefined) return this.#lookout.over(seen, signal);
  }

  async invalidate(keys: readonly string[], options: InvalidateOptions = {}): Promise<void> {
    this.#check();
    checkOptions(options, ['fence', 'as', 'barMs'], 'invalidate');
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    if (options.fence !== undefined) checkFences(this.supports);
    const { as = 'delete', barMs } = options;
    const barredForS = barMs === undefined ? undefined : Math.ceil(barMs / 1_000) + 1;
    if (barredForS !== undefined && as === 'expire') {
      await this.#change(keys, ({ record }) => {
        const { entry } = record;
        return {
          ...(entry === undefined ? {} : { entry: { ...entry, freshForS: 0 } }),
          barredForS,
        };
      });
      return;
    }
    await this.#parts.link.sendMany(
      keys.map((key): MetaRequest => {
        if (barredForS !== undefined) return this.#write(key, { barredForS }, undefined);
        // `I` marks it stale and gives it another version; what is not there is none of our business.
        return { verb: 'md', key: this.#names.key(key), flags: as === 'expire' ? ['I'] : [] };
      }),
    );
  }

  async invalidateTags(tags: readonly string[]): Promise<void> {
    this.#check();
    checkCacheTags(tags, this.supports);
    await this.#sequence.invalidateTags(tags);
  }

  async invalidateAll(): Promise<void> {
    this.#check();
    await this.#sequence.invalidateAll();
  }

  async watch(): Promise<() => Promise<void>> {
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'Memcached tells nobody what others change',
      where: this.#parts.where,
      mend: 'keep near copies for a bounded time, or use a store that tells, such as Redis',
    });
  }

  async sweep(): Promise<number> {
    this.#check();
    return 0;
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const leases = [...this.#grants];
    // One that cannot be given back ends with its holder's sign of life.
    await Promise.allSettled(leases.map(([lease, { key }]) => this.#release(key, lease)));
    this.#holder.close();
    this.#lookout.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What there is of the keys; with `lease`, what is missing is made, with the lease on it. */
  async #look(
    keys: readonly string[],
    how: 'look' | 'lease',
  ): Promise<{ readonly stamp: Stamp; readonly seen: readonly Seen[] }> {
    const names = keys.map((key) => this.#names.key(key));
    const flags = ['v', 'c', 't', ...(how === 'lease' ? [`N${UNNAMED_LEASE_S}`] : [])];
    const replies = await this.#parts.link.sendMany([
      // Before the leases: what is born too early is invalid too soon, and never too late.
      this.#sequence.ask,
      ...names.map((name) => ({ verb: 'mg' as const, key: name, flags })),
    ]);
    const stamp = await this.#sequence.stamp(replies[0]);
    const seen = keys.map((key, place) =>
      seenOf(key, String(names[place]), must(replies[place + 1], 'the answer'), this.#options),
    );
    return { stamp, seen: await this.#onlyValid(seen, stamp) };
  }

  /** Takes the entries out that were invalidated with a tag, or with everything. */
  async #onlyValid(seen: readonly Seen[], stamp: Stamp): Promise<readonly Seen[]> {
    const ofNow = seen.flatMap(({ record: { entry } }) =>
      entry?.born.generation === stamp.generation ? entry.tags : [],
    );
    const tags = [...new Set(ofNow)];
    const replies = await this.#parts.link.sendMany(tags.map((tag) => this.#sequence.askTag(tag)));
    const byTag = new Map(tags.map((tag, index) => [tag, replies[index]]));
    return seen.map((one) => {
      const { entry, ...rest } = one.record;
      if (entry === undefined) return one;
      const own = entry.tags.map((tag) => byTag.get(tag));
      return this.#sequence.isValid(entry.born, stamp, own) ? one : { ...one, record: rest };
    });
  }

  /** Answers for what was seen; returns the keys where somebody was faster. */
  async #answer(
    seen: readonly Seen[],
    stamp: Stamp,
    ask: CacheAsk,
    answers: Map<string, CacheAnswer>,
  ): Promise<readonly string[]> {
    const takes: Seen[] = [];
    for (const one of seen) {
      const { key, record, version } = one;
      const entry = record.entry === undefined ? undefined : portEntry(record.entry);
      if (one.state === 'new') {
        const lease = this.#grant(key, stamp, (id) => this.#nameLease(one, id, stamp));
        answers.set(key, { entry, lease: { kind: 'granted', lease } });
      } else if (one.state === 'unnamed') {
        answers.set(key, { entry, lease: unnamedLease(one, ask) });
      } else {
        const wish = wishOf(record, ask, stamp.generation, (id) => this.#lookout.isDead(id));
        if (wish.kind === 'take' && version !== undefined) takes.push(one);
        else answers.set(key, { entry, lease: leaseAnswer(one, wish) });
      }
    }
    return takes.length === 0 ? [] : this.#take(takes, stamp, answers);
  }

  /** Takes the leases on what is there, each by a compare-and-set; returns the keys where somebody was faster. */
  async #take(
    takes: readonly Seen[],
    stamp: Stamp,
    answers: Map<string, CacheAnswer>,
  ): Promise<readonly string[]> {
    const outcomes = await Promise.all(
      takes.map(async (one) => {
        const lease = this.#grant(one.key, stamp, (id) => this.#nameLease(one, id, stamp));
        const isTaken = (await this.#grants.get(lease)?.version) !== undefined;
        if (!isTaken) this.#forget(lease);
        return { ...one, lease, isTaken };
      }),
    );
    for (const { key, record, lease, isTaken } of outcomes) {
      const entry = record.entry === undefined ? undefined : portEntry(record.entry);
      if (isTaken) answers.set(key, { entry, lease: { kind: 'granted', lease } });
    }
    return outcomes.filter(({ isTaken }) => !isTaken).map(({ key }) => key);
  }

  #grant(key: string, born: Stamp, write: (lease: string) => Promise<number | undefined>): string {
    const lease = this.#holder.begin();
    const version = write(lease);
    // Whoever fills is told; until then nobody has to know.
    version.catch(() => undefined);
    const untilMs = this.#parts.clock.monotonicMs() + this.#options.leaseMs;
    const { startedAtS } = this.#parts.link.life;
    this.#grants.set(lease, { key, version, born, untilMs, startedAtS });
    return lease;
  }

  /** Writes whose lease it is, over the version that was seen. */
  async #nameLease(seen: Seen, id: string, stamp: Stamp): Promise<number | undefined> {
    const forS = Math.ceil(this.#options.leaseMs / 1_000) + 1;
    const record = withLease(seen.record, { id, forS, generation: stamp.generation });
    const reply = await this.#parts.link.send(this.#write(seen.key, record, seen.version));
    return reply.status === 'HD' ? numberFlag(reply, 'c') : undefined;
  }

  async #release(
    key: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void> {
    const grant = this.#grants.get(lease);
    if (grant?.key !== key) return;
    this.#forget(lease);
    if ((await grant.version) === undefined) return;
    await this.#change([key], ({ record }) => {
      if (record.lease?.id !== lease) return 'leave';
      const { entry } = record;
      return {
        ...(entry === undefined ? {} : { entry }),
        ...(failure === undefined
          ? {}
          : { failure: { reason: failure.reason, forS: Math.ceil(failure.forMs / 1_000) } }),
      };
    });
  }

  /** Changes what is known of keys, each in one step, until nobody else is faster. */
  async #change(
    keys: readonly string[],
    decide: (seen: Seen, stamp: Stamp) => KeyRecord | 'leave',
  ): Promise<void> {
    let left = keys;
    for (let round = 0; left.length > 0; round += 1) {
      if (round === ROUNDS_MAX) throw contended();
      const { stamp, seen } = await this.#look(left, 'look');
      const changes = seen.flatMap((one) => {
        const record = decide(one, stamp);
        if (record === 'leave') return [];
        return [{ key: one.key, request: this.#replace(one, record) }];
      });
      const replies = await this.#parts.link.sendMany(changes.map(({ request }) => request));
      left = changes.flatMap(({ key }, index) => (replies[index]?.status === 'HD' ? [] : [key]));
    }
  }

  /** Writes a record over what was seen, or removes it if nothing is left. */
  #replace({ key, name, version }: Seen, record: KeyRecord): MetaRequest {
    if (Object.keys(record).length === 0 && version !== undefined)
      return { verb: 'md', key: name, flags: [`C${version}`] };
    const request = this.#write(key, record, version);
    return version === undefined
      ? { ...request, flags: [...(request.flags ?? []), 'ME'] }
      : request;
  }

  /** Writes a record, over this version if one is given. */
  #write(key: string, record: KeyRecord, version: number | undefined): MetaRequest {
    const { value, ttlS } = encodeRecord(record);
    const { clock, link } = this.#parts;
    const flags = ['c', `T${ttlSeconds(ttlS * 1_000, link.life, clock)}`];
    if (version !== undefined) flags.push(`C${version}`);
    return { verb: 'ms', key: this.#names.key(key), flags, value };
  }

  /** Answers about tags by tag; those that Memcached does not know are remembered first. */
  async #tagReplies(
    tags: readonly string[],
    replies: readonly MetaReply[],
    now: Stamp,
  ): Promise<ReadonlyMap<string, MetaReply>> {
    const byTag = new Map(tags.map((tag, index) => [tag, must(replies[index], 'the answer')]));
    const missing = tags.filter((tag) => byTag.get(tag)?.value === undefined);
    if (missing.length === 0) return byTag;
    await this.#sequence.remember(missing, now);
    const again = await this.#parts.link.sendMany(missing.map((tag) => this.#sequence.askTag(tag)));
    for (const [index, tag] of missing.entries()) byTag.set(tag, must(again[index], 'the answer'));
    return byTag;
  }

  async #ownLease(key: string, lease: string): Promise<SeenLease | undefined> {
    const grant = this.#grants.get(lease);
    const version = grant?.key === key ? await grant.version : undefined;
    if (version === undefined) return undefined;
    return { name: this.#names.key(key), version, id: lease, mark: 0 };
  }

  #forget(lease: string): void {
    this.#grants.delete(lease);
    this.#holder.end(lease);
  }

  #check(): void {
    if (!this.#isOpen) throw closedError(this.#parts.where);
  }
}

function contended(): TallyError {
  return new TallyError('STORE_BUSY', {
    what: 'somebody else was always faster',
    mend: 'look for what changes one key thousands of times a second',
  });
}
