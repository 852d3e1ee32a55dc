import { TallyError } from '../../core/errors.ts';
import { type Evidence, isLaneName } from '../../core/evidence.ts';
import {
  checkDuration,
  checkNumber,
  checkObject,
  checkOneOf,
  checkOptions,
  DURATION_MAX_MS,
} from '../../core/options.ts';
import type { Position } from '../../core/position.ts';
import type { Caches } from '../../ports/cache.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { keyTextOf, plainJson, type Serialiser } from './envelope.ts';
import type { CacheHappening } from './events.ts';

/** Milliseconds as a number, or text such as `'200ms'`, `'10s'`, `'5m'`, `'1h'`. */
export type Duration = number | string;

/** What a loader is told. */
export interface LoadContext<Value> {
  /** Aborts when the load is out of time; what it answers after that is dropped. */
  readonly signal: AbortSignal;
  /** What is still there, past its time. */
  readonly stale: Value | undefined;
  /** What the answer has to contain. A loader that reads a replica waits for it there; the store that owns the facts has it. */
  readonly after: Evidence;
}

/** More than the bare value: what {@link loaded} makes. */
export class Loaded<Value> {
  readonly value: Value | undefined;
  readonly options: LoadedOptions;

  constructor(value: Value | undefined, options: LoadedOptions) {
    this.value = value;
    this.options = options;
  }
}

export interface LoadedOptions {
  /** Instead of the cache's; jitter is applied to it. */
  readonly ttl?: Duration;
  readonly tags?: readonly string[];
  /** The place in the source's history that the value was read at, or its row's own version as one. */
  readonly fence?: Position;
  /** `never`: answer it and keep it nowhere. */
  readonly keep?: 'never';
}

/** A loaded value with what is to be known about it. `undefined` as the value: there is none. */
export function loaded<Value>(
  value: Value | undefined,
  options: LoadedOptions = {},
): Loaded<Value> {
  checkOptions(options, ['ttl', 'tags', 'fence', 'keep'], 'loaded');
  return new Loaded(value, options);
}

/** What a loader may answer; `undefined`: there is no such thing, which is kept for `absentTtl`. */
export type LoadResult<Value> = Value | undefined | Loaded<Value>;

export interface NearOptions {
  /** Values kept in this process; past it, those that nobody asked for since. Default 10 000. */
  readonly entriesMax?: number;
  /**
   * How long a copy is believed without asking the shared tier, if nothing is told of its key. Default 30 s where the store
   * tells of changes, and else 1 s: the bound of its staleness when messages are lost.
   */
  readonly staleMax?: Duration;
}

export interface LoadOptions {
  /** How long one load may take. Default 10 s. */
  readonly timeout?: Duration;
  /** Loads at the same time in this process. Default 64. */
  readonly concurrency?: number;
  /** Loads that wait for their turn; past it they are shed. Default 1 000. */
  readonly queue?: number;
  /** What shed and failed loads come to: a stale value if there is one (default), or always the error. */
  readonly otherwise?: 'stale' | 'fail';
  /** How long after a failed load nobody tries again, in all processes. Default 100 ms, 0: at once. */
  readonly retryAfter?: Duration;
}

export interface SharedOptions {
  /** How long the shared tier may take to answer before it is passed by. Default 20 ms. */
  readonly timeout?: Duration;
  /** After so many failures in a row it is not asked for `pause`. Default 3. */
  readonly failures?: number;
  /** Default 500 ms, then one call tries it. */
  readonly pause?: Duration;
}

/** What a cache is made of. */
export interface CacheOptions<Key, Value> {
  /** Names the cache in its store and in events: letters, digits, `_`, `.`, `-`. */
  readonly name: string;
  /** An open store that keeps caches: the tier that all processes share. Not given: this process alone. */
  readonly store?: { readonly caches?: Caches };
  /** Copies in this process, in front of the shared tier. Not given: none, or with the defaults if there is no store. */
  readonly near?: NearOptions | false;
  /** Reads the value from where it is owned. `undefined`: there is none; `null` is a value. */
  readonly load: (
    key: Key,
    context: LoadContext<Value>,
  ) => LoadResult<Value> | Promise<LoadResult<Value>>;
  /** The text of a key; not given: texts as they are, anything else as its canonical text. */
  readonly key?: (key: Key) => string;
  /** How long a value is fresh. */
  readonly ttl: Duration | ((value: Value, key: Key) => Duration);
  /** By how much of itself a ttl is shortened at most, at random, so that what was loaded together does not end together. Default 0.1. */
  readonly jitter?: number;
  /** How long it is kept that there is no value. Default: `ttl`, at most 5 s. 0: not at all. */
  readonly absentTtl?: Duration;
  /** How long after its ttl a value is kept, to be answered stale. Default 0. */
  readonly grace?: Duration;
  /** Within the grace: `refresh` (default) answers it at once while one caller loads; `on-error` only if the load fails. */
  readonly stale?: 'refresh' | 'on-error';
  /** How eagerly values are loaded before they end (XFetch's beta). Default 1; 0: never. */
  readonly early?: number;
  /** Refresh-ahead: past this part of its time the first reader has a value loaded anew, e.g. 0.8. Not given: only by `early`. */
  readonly ahead?: number;
  /** Tags of every value, beside those that `loaded` names. */
  readonly tags?: (value: Value, key: Key) => readonly string[];
  readonly serialise?: Serialiser<Value>;
  /** Bytes of the largest value that is kept. Default what the store takes. */
  readonly sizeMax?: number;
  readonly loads?: LoadOptions;
  readonly shared?: SharedOptions;
  /** Evidence that whatever is loaded from now on contains, e.g. `() => app.heads()`. */
  readonly asOf?: () => Evidence | Promise<Evidence>;
  /** The lane whose positions, as `asOf` tells them exactly, are the fences of values and invalidations. */
  readonly lane?: string;
  /** Called with what happens. It must not throw. */
  readonly onEvent?: (event: CacheHappening) => void;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Options that were checked, defaults filled in, durations in milliseconds. */
export interface Settings<Key, Value> {
  readonly name: string;
  readonly caches: Caches | undefined;
  readonly near: { readonly entriesMax: number; readonly staleMaxMs: number } | undefined;
  readonly load: CacheOptions<Key, Value>['load'];
  readonly key: (key: Key) => string;
  readonly ttlMs: (value: Value, key: Key) => number;
  readonly jitter: number;
  readonly absentTtlMs: number;
  readonly graceMs: number;
  readonly stale: 'refresh' | 'on-error';
  readonly early: number;
  readonly ahead: number;
  readonly tags: ((value: Value, key: Key) => readonly string[]) | undefined;
  readonly serialise: Serialiser<Value>;
  readonly sizeMax: number;
  readonly loads: {
    readonly timeoutMs: number;
    readonly concurrency: number;
    readonly queue: number;
    readonly otherwise: 'stale' | 'fail';
    readonly retryAfterMs: number;
  };
  readonly shared: {
    readonly timeoutMs: number;
    readonly failures: number;
    readonly pauseMs: number;
  };
  readonly asOf: (() => Evidence | Promise<Evidence>) | undefined;
  readonly lane: string | undefined;
  readonly onEvent: ((event: CacheHappening) => void) | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

const known = [
  'name',
  'store',
  'near',
  'load',
  'key',
  'ttl',
  'jitter',
  'absentTtl',
  'grace',
  'stale',
  'early',
  'ahead',
  'tags',
  'serialise',
  'sizeMax',
  'loads',
  'shared',
  'asOf',
  'lane',
  'onEvent',
  'clock',
  'random',
];

const ABSENT_TTL_MAX_MS = 5_000;
const ENTRIES_MAX_DEFAULT = 10_000;
const STALE_MAX_TOLD_MS = 30_000;
const STALE_MAX_UNTOLD_MS = 1_000;
/** A value in this process alone has no limit of a store. */
const SIZE_MAX_DEFAULT: number = 64 * 2 ** 20;

/** Checks options. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION, CAPABILITY_MISSING. */
export function checkCacheOptions<Key, Value>(
  options: CacheOptions<Key, Value>,
): Settings<Key, Value> {
  checkOptions(options, known, 'cache');
  const { name, key = keyTextOf, clock = systemClock, random = systemRandom } = options;
  if (typeof name !== 'string' || !isLaneName(name) || /[/:]/.test(name))
    throw invalid('cache.name', 'use letters, digits, "_", "." and "-", at most 64 of them');
  if (typeof options.load !== 'function')
    throw invalid('cache.load', 'give the function that reads a value from where it is owned');
  const caches = cachesOf(options.store);
  if (options.lane !== undefined && options.asOf === undefined)
    throw invalid('cache.lane', 'give asOf as well: it tells the positions that become fences');
  if (options.lane !== undefined && caches?.supports.fences === false)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'this store compares no fences',
      where: 'cache.lane',
      mend: 'leave lane out, or use memory, sqlite or redis',
    });
  const graceMs = checkDuration(options.grace ?? 0, 'cache.grace');
  return {
    name,
    caches,
    near: nearOf(options.near, caches),
    load: options.load,
    key,
    ttlMs: ttlOf(options.ttl),
    jitter: checkNumber(options.jitter ?? 0.1, 'cache.jitter', { min: 0, max: 0.9 }),
    absentTtlMs: absentOf(options.absentTtl, options.ttl),
    graceMs,
    stale: checkOneOf(options.stale ?? 'refresh', 'cache.stale', ['refresh', 'on-error']),
    early: checkNumber(options.early ?? 1, 'cache.early', { min: 0, max: 100 }),
    ahead: checkNumber(options.ahead ?? 0, 'cache.ahead', { min: 0, max: 1 }),
    tags: options.tags,
    serialise: options.serialise ?? (plainJson as unknown as Serialiser<Value>),
    sizeMax: checkNumber(
      options.sizeMax ?? caches?.supports.payloadBytesMax ?? SIZE_MAX_DEFAULT,
      'cache.sizeMax',
      { min: 1, max: caches?.supports.payloadBytesMax ?? SIZE_MAX_DEFAULT },
    ),
    loads: loadsOf(options.loads ?? {}),
    shared: sharedOf(options.shared ?? {}),
    asOf: options.asOf,
    lane: options.lane,
    onEvent: options.onEvent,
    clock,
    random,
  };
}

function cachesOf(store: CacheOptions<unknown, unknown>['store']): Caches | undefined {
  if (store === undefined) return undefined;
  checkObject(store, 'cache.store');
  if (store.caches !== undefined) return store.caches;
  throw new TallyError('CAPABILITY_MISSING', {
    what: 'this store keeps no caches',
    where: 'cache.store',
    mend: 'use memory, sqlite, redis or memcached, opened',
  });
}

function ttlOf<Key, Value>(
  ttl: CacheOptions<Key, Value>['ttl'],
): (value: Value, key: Key) => number {
  if (typeof ttl === 'function')
    return (value, key) => checkDuration(ttl(value, key), 'cache.ttl', { min: 1 });
  const ttlMs = checkDuration(ttl, 'cache.ttl', { min: 1 });
  return () => ttlMs;
}

function absentOf(absentTtl: Duration | undefined, ttl: unknown): number {
  if (absentTtl !== undefined) return checkDuration(absentTtl, 'cache.absentTtl');
  return typeof ttl === 'function'
    ? ABSENT_TTL_MAX_MS
    : Math.min(checkDuration(ttl, 'cache.ttl'), ABSENT_TTL_MAX_MS);
}

function nearOf(
  near: NearOptions | false | undefined,
  caches: Caches | undefined,
): Settings<unknown, unknown>['near'] {
  if (near === false || (near === undefined && caches !== undefined)) {
    if (caches === undefined) throw invalid('cache.near', 'give a store, or keep values here');
    return undefined;
  }
  const { entriesMax = ENTRIES_MAX_DEFAULT, staleMax } = near ?? {};
  checkOptions(near ?? {}, ['entriesMax', 'staleMax'], 'cache.near');
  checkNumber(entriesMax, 'cache.near.entriesMax', { min: 1, max: 10_000_000, integer: true });
  const unset =
    caches === undefined
      ? DURATION_MAX_MS
      : caches.supports.watches
        ? STALE_MAX_TOLD_MS
        : STALE_MAX_UNTOLD_MS;
  return { entriesMax, staleMaxMs: checkDuration(staleMax ?? unset, 'cache.near.staleMax') };
}

function loadsOf(loads: LoadOptions): Settings<unknown, unknown>['loads'] {
  checkOptions(
    loads,
    ['timeout', 'concurrency', 'queue', 'otherwise', 'retryAfter'],
    'cache.loads',
  );
  const { timeout = 10_000, concurrency = 64, queue = 1_000, retryAfter = 100 } = loads;
  return {
    timeoutMs: checkDuration(timeout, 'cache.loads.timeout', { min: 1, max: 600_000 }),
    concurrency: checkNumber(concurrency, 'cache.loads.concurrency', { min: 1, integer: true }),
    queue: checkNumber(queue, 'cache.loads.queue', { min: 0, max: 1_000_000, integer: true }),
    otherwise: checkOneOf(loads.otherwise ?? 'stale', 'cache.loads.otherwise', ['stale', 'fail']),
    retryAfterMs: checkDuration(retryAfter, 'cache.loads.retryAfter', { max: 60_000 }),
  };
}

function sharedOf(shared: SharedOptions): Settings<unknown, unknown>['shared'] {
  checkOptions(shared, ['timeout', 'failures', 'pause'], 'cache.shared');
  const { timeout = 20, failures = 3, pause = 500 } = shared;
  return {
    timeoutMs: checkDuration(timeout, 'cache.shared.timeout', { min: 1, max: 60_000 }),
    failures: checkNumber(failures, 'cache.shared.failures', { min: 1, integer: true }),
    pauseMs: checkDuration(pause, 'cache.shared.pause', { min: 1, max: 60_000 }),
  };
}

function invalid(path: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: 'it cannot be used as it is',
    where: path,
    mend,
    details: { path },
  });
}
