import { TallyError } from '../../../core/errors.ts';
import { checkOptions } from '../../../core/options.ts';
import type {
  CacheAnswer,
  CacheAsk,
  CacheEvent,
  CacheFill,
  CacheSupports,
  CacheTier,
  CacheValue,
  InvalidateOptions,
  LeaseAnswer,
  OpenCacheOptions,
  StoreOutcome,
} from '../../../ports/cache.ts';
import { TOMBSTONE_MS } from '../../../ports/cache.ts';
import { checkCacheKeys, checkCacheTags, checkCacheValue } from '../../../ports/cache-checks.ts';
import { closedStore } from '../errors.ts';
import type { RedisArgument } from '../link.ts';
import type { RedisParts } from '../parts.ts';
import type { Script } from '../script.ts';
import { trackInvalidations, type InvalidationEvent } from '../tracking/index.ts';
import { cacheSupports } from './supports.ts';
import { entryHead, escapeTag, fenceText, readEntry, unescapeTag } from './entry.ts';
import { Presence } from './presence.ts';
import * as scripts from './scripts.ts';
import { Waiters } from './waiters.ts';

/** Keys or values of one script: some hundreds of microseconds during which Redis serves nobody else. */
const SCRIPT_KEYS_MAX = 1_000;
/** Bytes of values in one script. */
const SCRIPT_BYTES_MAX: number = 4 * 2 ** 20;

const NO_LEASE: LeaseAnswer = { kind: 'none' };

/** One cache in Redis, and this process as one of those who load into it. */
export class RedisCacheTier implements CacheTier {
  readonly supports: CacheSupports = cacheSupports;
  readonly #parts: RedisParts;
  readonly #options: OpenCacheOptions;
  readonly #root: string;
  readonly #holder: string;
  readonly #waiters: Waiters;
  readonly #stops = new Set<() => Promise<void>>();
  #presence: Presence | undefined;
  #tokens = 0;
  #isOpen = true;

  private constructor(parts: RedisParts, options: OpenCacheOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#root = `${parts.prefix}_cache:${options.name}:`;
    this.#holder = parts.random.id();
    this.#waiters = new Waiters(parts.clock, async (waiting) => {
      const pairs = waiting.flatMap(({ key, lease }) => [key, lease]);
      return (await this.#run(scripts.overLeases, pairs)) as readonly number[];
    });
  }

  static async open(
    parts: RedisParts,
    url: string,
    options: OpenCacheOptions,
  ): Promise<RedisCacheTier> {
    const tier = new RedisCacheTier(parts, options);
    tier.#presence = await Presence.open({
      parts,
      url,
      channel: `${tier.#root}p:${tier.#holder}`,
      claim: async (runId) => void (await tier.#run(scripts.claim, [runId])),
      onMessage: (key) => tier.#waiters.wake(key),
      // What was told meanwhile was told to nobody.
      onLost: () => tier.#waiters.wakeAll(),
    });
    return tier;
  }

  async getMany(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    if (keys.length <= SCRIPT_KEYS_MAX) return keys.length === 0 ? [] : this.#getSome(keys, ask);
    const parts = Array.from({ length: Math.ceil(keys.length / SCRIPT_KEYS_MAX) }, (_, part) =>
      this.#getSome(keys.slice(part * SCRIPT_KEYS_MAX, (part + 1) * SCRIPT_KEYS_MAX), ask),
    );
    return (await Promise.all(parts)).flat();
  }

  async fillMany(fills: readonly CacheFill[]): Promise<readonly StoreOutcome[]> {
    return this.#storeMany(scripts.fillMany, fills, (fill) => [fill.key, fill.lease]);
  }

  async putMany(values: readonly CacheValue[]): Promise<readonly StoreOutcome[]> {
    return this.#storeMany(scripts.putMany, values, (value) => [value.key]);
  }

  async release(
    key: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void> {
    const forMs = failure === undefined ? '' : String(Math.max(1, Math.ceil(failure.forMs)));
    await this.#run(scripts.release, [key, lease, forMs, failure?.reason ?? '']);
  }

  async settled(key: string, lease: string, signal?: AbortSignal): Promise<void> {
    this.#check();
    await this.#waiters.wait(key, lease, signal);
    this.#check();
  }

  async invalidate(keys: readonly string[], options: InvalidateOptions = {}): Promise<void> {
    checkOptions(options, ['fence', 'as', 'barMs'], 'invalidate');
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    const { fence, as = 'delete', barMs } = options;
    const how = [
      fence === undefined ? '' : fenceText(fence),
      as,
      barMs === undefined ? '' : String(Math.max(1, Math.ceil(barMs))),
      String(TOMBSTONE_MS),
    ];
    for (let from = 0; from < keys.length; from += SCRIPT_KEYS_MAX)
      await this.#run(scripts.invalidate, [...how, ...keys.slice(from, from + SCRIPT_KEYS_MAX)]);
  }

  async invalidateTags(tags: readonly string[]): Promise<void> {
    checkCacheTags(tags, this.supports);
    if (tags.length > 0) await this.#run(scripts.invalidateTags, tags.map(escapeTag));
  }

  async invalidateAll(): Promise<void> {
    await this.#run(scripts.invalidateAll, []);
  }

  async watch(onEvent: (event: CacheEvent) => void): Promise<() => Promise<void>> {
    this.#check();
    const tracker = await trackInvalidations(this.#parts, {
      prefixes: ['a', 'e', 'i'].map((kind) => this.#root + kind),
      onEvent: (event) => onEvent(this.#told(event)),
    });
    const stop = async (): Promise<void> => {
      this.#stops.delete(stop);
      await tracker.close();
    };
    this.#stops.add(stop);
    return stop;
  }

  /** Redis forgets what is past its time by itself. */
  async sweep(): Promise<number> {
    this.#check();
    return 0;
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#waiters.close();
    for (const stop of this.#stops) await stop();
    // Nobody listens any more: whatever was granted to this holder is free.
    await this.#presence?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #getSome(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    this.#tokens += 1;
    const token = `${this.#holder}.${this.#tokens.toString(36)}`;
    const { leaseMs } = this.#options;
    const reply = (await this.#run(scripts.getMany, [
      this.#holder,
      ask.lease,
      String(ask.early),
      String(Math.ceil(leaseMs)),
      token,
      ...keys,
    ])) as readonly unknown[] | null;
    if (reply === null)
      throw new TallyError('STORE_UNREACHABLE', {
        what: 'this process is not listening to the cache at the moment',
        where: this.#parts.where,
        mend: 'nothing; it connects again by itself',
      });
    return readAnswers(reply, keys.length);
  }

  async #storeMany<Stored extends CacheValue>(
    script: Script,
    values: readonly Stored[],
    names: (value: Stored) => readonly string[],
  ): Promise<readonly StoreOutcome[]> {
    for (const value of values) checkCacheValue(value, this.supports, this.#options.payload);
    const outcomes: StoreOutcome[] = [];
    for (const part of inParts(values)) {
      const args = part.flatMap((value) => [
        ...names(value),
        String(Math.ceil(value.freshMs)),
        String(Math.ceil(value.keepMs)),
        entryHead(value),
        typeof value.payload === 'string' ? value.payload : Buffer.from(value.payload),
      ]);
      outcomes.push(...((await this.#run(script, args)) as readonly StoreOutcome[]));
    }
    return outcomes;
  }

  async #run(script: Script, args: readonly RedisArgument[]): Promise<unknown> {
    this.#check();
    const isBytes = this.#options.payload === 'bytes' && script === scripts.getMany;
    const reply = await script.run(
      this.#parts.link,
      [this.#root],
      args,
      isBytes ? { replies: 'bytes' } : {},
    );
    this.#check();
    return reply;
  }

  #told(event: InvalidationEvent): CacheEvent {
    if (event.kind === 'tracking') return { kind: 'watching' };
    if (event.kind === 'gap') return { kind: 'gap' };
    const rest = event.key.slice(this.#root.length + 1);
    switch (event.key.charAt(this.#root.length)) {
      case 'e':
        return { kind: 'key', key: rest };
      case 'i':
        return { kind: 'tag', tag: unescapeTag(rest) };
      default:
        return { kind: 'all' };
    }
  }

  #check(): void {
    if (!this.#isOpen) throw closedStore(this.#parts.where);
  }
}

/** The time, the entries, then pairs of a place (from 1) and what is said of its lease. */
function readAnswers(reply: readonly unknown[], count: number): readonly CacheAnswer[] {
  const nowMs = Number(reply[0]);
  const leases = new Map<number, LeaseAnswer>();
  for (let at = count + 1; at < reply.length; at += 2)
    leases.set(Number(reply[at]), readLease(String(reply[at + 1])));
  const answers: CacheAnswer[] = [];
  for (let place = 1; place <= count; place += 1) {
    const text = reply[place] as string | Buffer | null;
    const entry = text === null ? undefined : readEntry(text, nowMs);
    answers.push({ entry, lease: leases.get(place) ?? NO_LEASE });
  }
  return answers;
}

function readLease(text: string): LeaseAnswer {
  const rest = text.slice(1);
  switch (text.charAt(0)) {
    case 'L':
      return { kind: 'granted', lease: rest };
    case 'H':
      return { kind: 'held', lease: rest };
    case 'F': {
      const space = rest.indexOf(' ');
      const forMs = Math.max(1, Number(rest.slice(0, space)));
      return { kind: 'failed', reason: rest.slice(space + 1), forMs };
    }
    default:
      return { kind: 'barred' };
  }
}

/** Values that one script takes: bounded in number and in size. */
function* inParts<Stored extends CacheValue>(
  values: readonly Stored[],
): Generator<readonly Stored[]> {
  let part: Stored[] = [];
  let bytes = 0;
  for (const value of values) {
    if (part.length > 0 && (part.length >= SCRIPT_KEYS_MAX || bytes > SCRIPT_BYTES_MAX)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(value);
    bytes += value.payload.length;
  }
  if (part.length > 0) yield part;
}
