import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, DURATION_MAX_MS } from '../../core/options.ts';
import { comparePositions, type Position } from '../../core/position.ts';
import type {
  CacheAnswer,
  CacheAsk,
  CacheEntry,
  CacheEvent,
  CacheFill,
  Caches,
  CacheSupports,
  CacheTier,
  CacheValue,
  InvalidateOptions,
  LeaseAnswer,
  OpenCacheOptions,
  StoreOutcome,
} from '../../ports/cache.ts';
import { TOMBSTONE_MS } from '../../ports/cache.ts';
import {
  checkCacheKeys,
  checkCacheTags,
  checkCacheValue,
  checkFences,
} from '../../ports/cache-checks.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import { createCacheState, type CacheRecord, type CacheState } from './cache-state.ts';
import type { Connection } from './state.ts';

/** Keys of one cache; past it the one that was used longest ago goes. */
const RECORDS_MAX = 100_000;

/** What the memory tier can do. */
export const memoryCacheSupports: CacheSupports = {
  ttlResolutionMs: 1,
  keyBytesMax: 1_024,
  payloadBytesMax: 16 * 2 ** 20,
  wakes: 'told',
  deathNoticedMs: 1,
  keepsBlockedHolder: true,
  watches: true,
  fences: true,
  tags: true,
};

const NO_LEASE: LeaseAnswer = { kind: 'none' };

/** Caches in this process. Two stores on one state share them, as two processes share a server. */
export class MemoryCaches implements Caches {
  readonly supports: CacheSupports = memoryCacheSupports;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(connection: Connection, clock: Clock, random: Random) {
    this.#connection = connection;
    this.#clock = clock;
    this.#random = random;
  }

  async open(options: OpenCacheOptions): Promise<MemoryCacheTier> {
    checkOptions(options, ['name', 'payload', 'leaseMs'], 'cache');
    checkNumber(options.leaseMs, 'cache.leaseMs', { min: 1, max: DURATION_MAX_MS });
    return this.#connection.unit({ port: 'caches', operation: 'open', size: 0 }, () => {
      const { caches } = this.#connection.state;
      let state = caches.get(options.name);
      if (state === undefined) caches.set(options.name, (state = createCacheState()));
      return new MemoryCacheTier(this.#connection, state, options, {
        clock: this.#clock,
        random: this.#random,
      });
    });
  }
}

class MemoryCacheTier implements CacheTier {
  readonly supports: CacheSupports = memoryCacheSupports;
  readonly #connection: Connection;
  readonly #state: CacheState;
  readonly #options: OpenCacheOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #unwatch = new Set<() => Promise<void>>();
  #open = true;

  constructor(
    connection: Connection,
    state: CacheState,
    options: OpenCacheOptions,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
  ) {
    this.#connection = connection;
    this.#state = state;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
  }

  getMany(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    return this.#unit('get', 0, (nowMs) => keys.map((key) => this.#answer(key, ask, nowMs)));
  }

  fillMany(fills: readonly CacheFill[]): Promise<readonly StoreOutcome[]> {
    for (const fill of fills) checkCacheValue(fill, this.supports, this.#options.payload);
    return this.#unit('fill', fills.length, (nowMs) =>
      fills.map((fill) => {
        const record = this.#state.records.get(fill.key);
        const held = record === undefined ? undefined : liveLease(record, nowMs);
        if (record === undefined || held?.lease !== fill.lease) return 'voided';
        record.lease = undefined;
        const outcome = this.#isInvalidated(fill.tags, held.born)
          ? 'voided'
          : this.#store(record, fill, held.born, nowMs);
        this.#wake(fill.key);
        return outcome;
      }),
    );
  }

  putMany(values: readonly CacheValue[]): Promise<readonly StoreOutcome[]> {
    for (const value of values) checkCacheValue(value, this.supports, this.#options.payload);
    return this.#unit('put', values.length, (nowMs) =>
      values.map((value) => {
        const record = this.#recordOf(value.key);
        record.lease = undefined;
        record.failure = undefined;
        const outcome = this.#store(record, value, this.#state.sequence, nowMs);
        this.#wake(value.key);
        return outcome;
      }),
    );
  }

  release(
    key: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void> {
    return this.#unit('release', 1, (nowMs) => {
      const record = this.#state.records.get(key);
      if (record?.lease?.lease !== lease) return;
      record.lease = undefined;
      if (failure !== undefined)
        record.failure = { reason: failure.reason, untilMs: nowMs + failure.forMs };
      this.#wake(key);
    });
  }

  async settled(key: string, lease: string, signal?: AbortSignal): Promise<void> {
    const { waiting } = this.#state;
    const { wakers } = this.#connection.state;
    for (;;) {
      this.#check();
      if (signal?.aborted === true) throw gaveUp(signal);
      const record = this.#state.records.get(key);
      const held = record === undefined ? undefined : liveLease(record, this.#nowMs());
      if (held?.lease !== lease) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const callers = waiting.get(key) ?? new Set();
      waiting.set(key, callers.add(resolve));
      // A holder that crashes changes nothing of the key; its connection says so to everybody.
      wakers.add(resolve);
      signal?.addEventListener('abort', () => resolve(), { once: true });
      const cancel = this.#clock.after(held.untilMs - this.#nowMs(), resolve);
      await promise;
      cancel();
      callers.delete(resolve);
      if (callers.size === 0) waiting.delete(key);
      wakers.delete(resolve);
    }
  }

  invalidate(keys: readonly string[], options: InvalidateOptions = {}): Promise<void> {
    checkOptions(options, ['fence', 'as', 'barMs'], 'invalidate');
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    if (options.fence !== undefined) checkFences(this.supports);
    return this.#unit('invalidate', keys.length, (nowMs) => {
      for (const key of keys) this.#invalidateKey(key, options, nowMs);
    });
  }

  invalidateTags(tags: readonly string[]): Promise<void> {
    checkCacheTags(tags, this.supports);
    return this.#unit('invalidateTags', tags.length, () => {
      const sequence = (this.#state.sequence += 1);
      for (const tag of tags) this.#state.tags.set(tag, sequence);
      for (const tag of tags) this.#tell({ kind: 'tag', tag });
    });
  }

  invalidateAll(): Promise<void> {
    return this.#unit('invalidateAll', 1, () => {
      const state = this.#state;
      state.all = state.sequence += 1;
      for (const [key, record] of state.records) {
        record.entry = undefined;
        record.lease = undefined;
        record.failure = undefined;
        this.#wake(key);
      }
      this.#tell({ kind: 'all' });
    });
  }

  async watch(onEvent: (event: CacheEvent) => void): Promise<() => Promise<void>> {
    return this.#unit('watch', 0, () => {
      const { watchers } = this.#state;
      const told = (event: CacheEvent): void => onEvent(event);
      watchers.add(told);
      onEvent({ kind: 'watching' });
      const stop = async (): Promise<void> => {
        watchers.delete(told);
        this.#unwatch.delete(stop);
        await Promise.resolve();
      };
      this.#unwatch.add(stop);
      return stop;
    });
  }

  sweep(limit: number = Infinity): Promise<number> {
    return this.#unit('sweep', 1, (nowMs) => {
      let swept = 0;
      for (const [key, record] of this.#state.records) {
        if (swept >= limit) break;
        const { entry } = record;
        if (entry !== undefined && entry.keptUntilMs > nowMs) continue;
        record.entry = undefined;
        if (entry !== undefined) swept += 1;
        if (isEmpty(record, nowMs)) this.#state.records.delete(key);
      }
      return swept;
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    for (const stop of this.#unwatch) await stop();
    for (const key of this.#state.waiting.keys()) this.#wake(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #answer(key: string, ask: CacheAsk, nowMs: number): CacheAnswer {
    const entry = this.#entry(key, nowMs);
    if (ask.lease === 'none') return { entry, lease: NO_LEASE };
    const isFresh = entry !== undefined && entry.freshForMs > 0;
    const isEarly = isFresh && entry.freshForMs < ask.early * entry.loadMs;
    if (isFresh && !isEarly && ask.lease === 'due') return { entry, lease: NO_LEASE };
    const lease = this.#lease(key, nowMs);
    // Nobody waits for the early refresh of somebody else.
    const isWaitedFor = !isFresh || ask.lease === 'always';
    return { entry, lease: lease.kind === 'granted' || isWaitedFor ? lease : NO_LEASE };
  }

  #lease(key: string, nowMs: number): LeaseAnswer {
    const record = this.#recordOf(key);
    if (record.barredUntilMs > nowMs) return { kind: 'barred' };
    const held = liveLease(record, nowMs);
    if (held !== undefined) return { kind: 'held', lease: held.lease };
    const { failure } = record;
    if (failure !== undefined && failure.untilMs > nowMs)
      return { kind: 'failed', reason: failure.reason, forMs: failure.untilMs - nowMs };
    record.failure = undefined;
    record.lease = {
      lease: this.#random.id(),
      born: this.#state.sequence,
      untilMs: nowMs + this.#options.leaseMs,
      isAlive: () => this.#open && this.#connection.open,
    };
    return { kind: 'granted', lease: record.lease.lease };
  }

  #entry(key: string, nowMs: number): CacheEntry | undefined {
    const { records } = this.#state;
    const record = records.get(key);
    const entry = record?.entry;
    if (record === undefined || entry === undefined) return undefined;
    if (entry.keptUntilMs <= nowMs || this.#isInvalidated(entry.tags, entry.born)) {
      record.entry = undefined;
      return undefined;
    }
    records.delete(key);
    records.set(key, record);
    const { payload, note, loadMs, tags, fence } = entry;
    const freshForMs = entry.freshUntilMs - nowMs;
    return { payload, note, freshForMs, ageMs: nowMs - entry.storedAtMs, loadMs, tags, fence };
  }

  #store(record: CacheRecord, value: CacheValue, born: number, nowMs: number): StoreOutcome {
    const { entry, tombstone } = record;
    if (
      isOlder(
        value.fence,
        tombstone !== undefined && tombstone.untilMs > nowMs ? tombstone.fence : undefined,
      )
    )
      return 'older';
    const holds = entry !== undefined && entry.keptUntilMs > nowMs;
    if (holds && !this.#isInvalidated(entry.tags, entry.born) && isOlder(value.fence, entry.fence))
      return 'older';
    record.failure = undefined;
    record.entry = {
      ...value,
      storedAtMs: nowMs,
      freshUntilMs: nowMs + value.freshMs,
      keptUntilMs: nowMs + value.keepMs,
      born,
    };
    this.#tell({ kind: 'key', key: value.key });
    return 'stored';
  }

  #invalidateKey(
    key: string,
    { fence, as = 'delete', barMs }: InvalidateOptions,
    nowMs: number,
  ): void {
    const record = this.#recordOf(key);
    if (fence !== undefined) {
      const known = record.tombstone?.fence;
      if (known === undefined || comparePositions(fence, known) >= 0)
        record.tombstone = { fence, untilMs: nowMs + TOMBSTONE_MS };
      const held = record.entry?.fence;
      if (held !== undefined && comparePositions(held, fence) >= 0) return;
    }
    if (as === 'delete' || record.entry === undefined) record.entry = undefined;
    else record.entry = { ...record.entry, freshUntilMs: nowMs };
    record.lease = undefined;
    record.failure = undefined;
    record.barredUntilMs = barMs === undefined ? 0 : nowMs + barMs;
    this.#wake(key);
    this.#tell({ kind: 'key', key });
  }

  #isInvalidated(tags: readonly string[], born: number): boolean {
    const { all, tags: invalidated } = this.#state;
    return all > born || tags.some((tag) => (invalidated.get(tag) ?? 0) > born);
  }

  #recordOf(key: string): CacheRecord {
    const { records } = this.#state;
    const known = records.get(key);
    if (known !== undefined) return known;
    const record: CacheRecord = {
      entry: undefined,
      lease: undefined,
      barredUntilMs: 0,
      failure: undefined,
      tombstone: undefined,
    };
    records.set(key, record);
    if (records.size > RECORDS_MAX)
      for (const [oldest, { lease, tombstone }] of records) {
        // A tombstone has to outlive what it guards against; a lease its load.
        if (lease !== undefined || tombstone !== undefined) continue;
        records.delete(oldest);
        break;
      }
    return record;
  }

  #wake(key: string): void {
    for (const resolve of this.#state.waiting.get(key) ?? []) resolve();
  }

  #tell(event: CacheEvent): void {
    for (const watcher of this.#state.watchers) watcher(event);
  }

  #nowMs(): number {
    return this.#clock.monotonicMs();
  }

  #check(): void {
    this.#connection.check();
    if (!this.#open)
      throw new TallyError('STORE_CLOSED', {
        what: 'the cache was used after it was closed',
        where: this.#connection.name,
        mend: 'open it again',
      });
  }

  #unit<Result>(
    operation: string,
    size: number,
    action: (nowMs: number) => Result,
  ): Promise<Result> {
    this.#check();
    return this.#connection.unit({ port: 'caches', operation, size }, () => action(this.#nowMs()));
  }
}

function liveLease(record: CacheRecord, nowMs: number): CacheRecord['lease'] {
  const { lease } = record;
  return lease !== undefined && lease.untilMs > nowMs && lease.isAlive() ? lease : undefined;
}

function isEmpty(record: CacheRecord, nowMs: number): boolean {
  return (
    record.lease === undefined &&
    record.barredUntilMs <= nowMs &&
    (record.failure === undefined || record.failure.untilMs <= nowMs) &&
    (record.tombstone === undefined || record.tombstone.untilMs <= nowMs)
  );
}

function gaveUp(signal: AbortSignal): TallyError {
  return new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}

/** Without a fence there is nothing to compare: the lease alone decides. */
function isOlder(fence: Position | undefined, than: Position | undefined): boolean {
  return fence !== undefined && than !== undefined && comparePositions(fence, than) < 0;
}
