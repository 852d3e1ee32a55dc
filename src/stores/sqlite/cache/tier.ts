import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions } from '../../../core/options.ts';
import type {
  CacheAnswer,
  CacheAsk,
  CacheFill,
  CacheSupports,
  CacheTier,
  CacheValue,
  InvalidateOptions,
  LeaseAnswer,
  OpenCacheOptions,
  StoreOutcome,
} from '../../../ports/cache.ts';
import { checkCacheKeys, checkCacheTags, checkCacheValue } from '../../../ports/cache-checks.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import { snapshot, transaction, type Host } from '../sink/host.ts';
import { closeHolder, isDeadHolder, openHolder } from './holder.ts';
import {
  entryOf,
  invalidated,
  leaseWish,
  pruned,
  withValue,
  type KeyRecord,
  type Moment,
} from './record.ts';
import { Shelf } from './shelf.ts';
import { LOOK_MS, sqliteCacheSupports } from './supports.ts';

/** Rows removed by one sweep: some tens of milliseconds of write lock. */
const SWEEP_MAX = 10_000;

/** The two connections of the caches of one file. */
export interface CacheHosts {
  /** As durable as the store: what is invalidated stays so after the loss of power. */
  readonly durable: Host;
  /** Leases and fills, which may be lost, wait for no disk. */
  readonly quick: Host;
}

interface Waiting {
  readonly key: string;
  readonly lease: string;
  readonly wake: () => void;
}

/** One cache in the file. Every step is one transaction of SQLite, which is all the atomicity that the port asks for. */
export class SqliteCacheTier implements CacheTier {
  readonly supports: CacheSupports = sqliteCacheSupports;
  readonly #hosts: CacheHosts;
  readonly #options: OpenCacheOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #quick: Shelf;
  readonly #durable: Shelf;
  readonly #holder: string;
  readonly #waiting = new Set<Waiting>();
  #isLooking = false;
  #isOpen = true;

  constructor(hosts: CacheHosts, options: OpenCacheOptions, random: Random) {
    this.#hosts = hosts;
    this.#options = options;
    this.#clock = hosts.quick.clock;
    this.#random = random;
    this.#quick = new Shelf(hosts.quick.connection, options.name);
    this.#durable = new Shelf(hosts.durable.connection, options.name);
    this.#holder = openHolder(random.id());
  }

  async getMany(keys: readonly string[], ask: CacheAsk): Promise<readonly CacheAnswer[]> {
    this.#check();
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    let isWriting = false;
    const answers = snapshot(this.#hosts.quick, () => {
      const moment = this.#quick.moment(this.#clock.nowMs());
      return keys.map((key) => {
        const record = pruned(this.#quick.read(key), moment);
        const lease = leaseWish(record, ask, moment.nowMs);
        if (lease === 'take') isWriting = true;
        return { entry: entryOf(record, moment.nowMs), lease };
      });
    });
    if (!isWriting) return answers.filter(isDecided);
    // What was free may be taken by now: all of it is looked at again, under the lock.
    return transaction(this.#hosts.quick, () => {
      const moment = this.#quick.moment(this.#clock.nowMs());
      return keys.map((key) => this.#answer(key, ask, moment));
    });
  }

  async fillMany(fills: readonly CacheFill[]): Promise<readonly StoreOutcome[]> {
    this.#check();
    for (const fill of fills) checkCacheValue(fill, this.supports, this.#options.payload);
    return transaction(this.#hosts.quick, () => {
      const moment = this.#quick.moment(this.#clock.nowMs());
      return fills.map((fill): StoreOutcome => {
        const record = pruned(this.#quick.read(fill.key), moment);
        const { lease, ...rest } = record.state;
        if (lease === undefined || lease.id !== fill.lease) return 'voided';
        const next = moment.isInvalidated(fill.tags, lease.born)
          ? 'voided'
          : withValue(record, fill, { nowMs: moment.nowMs, born: lease.born });
        this.#quick.write(fill.key, typeof next === 'string' ? { ...record, state: rest } : next);
        return typeof next === 'string' ? next : 'stored';
      });
    });
  }

  async putMany(values: readonly CacheValue[]): Promise<readonly StoreOutcome[]> {
    this.#check();
    for (const value of values) checkCacheValue(value, this.supports, this.#options.payload);
    return transaction(this.#hosts.durable, () => {
      const { nowMs, sequence, ...others } = this.#durable.moment(this.#clock.nowMs());
      return values.map((value): StoreOutcome => {
        const record = pruned(this.#durable.read(value.key), { nowMs, sequence, ...others });
        const next = withValue(record, value, { nowMs, born: sequence });
        const { lease: _lease, failure: _failure, ...rest } = record.state;
        this.#durable.write(
          value.key,
          next === 'older' ? { ...record, state: rest } : orFail(next),
        );
        return next === 'older' ? 'older' : 'stored';
      });
    });
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
    checkAborted(signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting: Waiting = { key, lease, wake: resolve };
    this.#waiting.add(waiting);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    if (!this.#isLooking) void this.#look();
    await promise;
    this.#waiting.delete(waiting);
    checkAborted(signal);
    this.#check();
  }

  async invalidate(keys: readonly string[], options: InvalidateOptions = {}): Promise<void> {
    this.#check();
    checkOptions(options, ['fence', 'as', 'barMs'], 'invalidate');
    checkCacheKeys('key', keys, this.supports.keyBytesMax);
    await transaction(this.#hosts.durable, () => {
      const moment = this.#durable.moment(this.#clock.nowMs());
      for (const key of keys) {
        const record = pruned(this.#durable.read(key), moment);
        this.#durable.write(key, invalidated(record, options, moment.nowMs));
      }
    });
  }

  async invalidateTags(tags: readonly string[]): Promise<void> {
    this.#check();
    checkCacheTags(tags, this.supports);
    await transaction(this.#hosts.durable, () => this.#durable.invalidateTags(tags));
  }

  async invalidateAll(): Promise<void> {
    this.#check();
    await transaction(this.#hosts.durable, () => this.#durable.invalidateAll());
  }

  async watch(): Promise<() => Promise<void>> {
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'SQLite tells nobody what other processes change',
      where: this.#hosts.quick.connection.file,
      mend: 'keep no near copies: the file is as near',
    });
  }

  async sweep(limit: number = SWEEP_MAX): Promise<number> {
    this.#check();
    checkNumber(limit, 'sweep.limit', { min: 1, integer: true });
    return transaction(this.#hosts.quick, () => this.#quick.sweep(this.#clock.nowMs(), limit));
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // From here on its leases are nobody's: whoever looks next takes them.
    closeHolder(this.#holder);
    for (const { wake } of this.#waiting) wake();
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #answer(key: string, ask: CacheAsk, moment: Moment): CacheAnswer {
    const record = pruned(this.#quick.read(key), moment);
    const entry = entryOf(record, moment.nowMs);
    const lease = leaseWish(record, ask, moment.nowMs);
    if (lease !== 'take') return { entry, lease };
    const granted = {
      id: this.#random.id(),
      holder: this.#holder,
      born: moment.sequence,
      untilMs: moment.nowMs + this.#options.leaseMs,
    };
    const { failure: _failure, ...rest } = record.state;
    const next = { ...rest, lease: granted };
    // The payload is not written again beside the lease.
    if (entry === undefined) this.#quick.write(key, { payload: undefined, state: next });
    else this.#quick.writeState(key, next);
    return { entry, lease: { kind: 'granted', lease: granted.id } };
  }

  async #release(
    key: string,
    id: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): Promise<void> {
    await transaction(this.#hosts.quick, () => {
      const moment = this.#quick.moment(this.#clock.nowMs());
      const record = pruned(this.#quick.read(key), moment);
      const { lease, ...rest } = record.state;
      if (lease?.id !== id) return;
      const failed =
        failure === undefined
          ? {}
          : { failure: { reason: failure.reason, untilMs: moment.nowMs + failure.forMs } };
      this.#quick.write(key, { ...record, state: { ...rest, ...failed } });
    });
  }

  /** Looks for all who wait in this process, every ten to twenty milliseconds. Never rejects. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    while (this.#isOpen && this.#waiting.size > 0) {
      for (const { wake } of this.#overAmong([...this.#waiting])) wake();
      await this.#clock.sleep(LOOK_MS * (1 + this.#random.next()));
    }
    this.#isLooking = false;
  }

  #overAmong(waiting: readonly Waiting[]): readonly Waiting[] {
    try {
      return snapshot(this.#hosts.quick, () => {
        const { nowMs, isInvalidated } = this.#quick.moment(this.#clock.nowMs());
        const leases = new Map(
          [...new Set(waiting.map(({ key }) => key))].map((key) => [
            key,
            this.#quick.readState(key).lease,
          ]),
        );
        return waiting.filter(({ key, lease: id }) => {
          const lease = leases.get(key);
          return (
            lease?.id !== id ||
            lease.untilMs <= nowMs ||
            isInvalidated([], lease.born) ||
            isDeadHolder(lease.holder)
          );
        });
      });
    } catch {
      // Whoever waited asks again, and is told.
      return waiting;
    }
  }

  #check(): void {
    if (!this.#isOpen)
      throw new TallyError('STORE_CLOSED', {
        what: 'the cache was used after it was closed',
        where: this.#hosts.quick.connection.file,
        mend: 'open it again',
      });
  }
}

function isDecided(answer: {
  readonly entry: CacheAnswer['entry'];
  readonly lease: LeaseAnswer | 'take';
}): answer is CacheAnswer {
  return answer.lease !== 'take';
}

function orFail(record: KeyRecord | 'voided'): KeyRecord {
  if (record === 'voided') throw new TallyError('INTERNAL', { what: 'a put was voided' });
  return record;
}

function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}
