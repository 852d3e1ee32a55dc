import { errorText, isTallyError, TallyError } from '../../core/errors.ts';
import { mergeEvidence, noEvidence, type Evidence } from '../../core/evidence.ts';
import { checkDuration } from '../../core/options.ts';
import type { Position } from '../../core/position.ts';
import type { CacheValue } from '../../ports/cache.ts';
import type { Core } from './core.ts';
import { writeNote } from './envelope.ts';
import type { Stored } from './events.ts';
import { namespaceTags } from './names.ts';
import { Loaded, type LoadedOptions } from './options.ts';

/** Characters of the reason for a failed load that other processes are told. */
const REASON_CHARACTERS_MAX = 300;

/** What a load came to. */
export interface LoadOutcome<Value> {
  readonly value: Value | undefined;
  readonly stored: Stored;
}

export interface LoadRequest<Key, Value> {
  readonly name: string;
  readonly key: Key;
  /** Undefined: load and keep it nowhere. */
  readonly lease: string | undefined;
  readonly stale: Value | undefined;
  readonly after: Evidence;
  /** Whether nothing has been told of the key since the load began. */
  readonly isClean: () => boolean;
  /** Called when the value is on its way to the tier. */
  readonly onStoring: () => void;
}

/** Runs loaders, and stores what they answer under the lease that it was loaded under. */
export class Filler<Key, Value> {
  readonly #core: Core<Key, Value>;

  constructor(core: Core<Key, Value>) {
    this.#core = core;
  }

  /** Throws what the loader throws, DEADLINE_EXCEEDED, OVERLOADED; the lease is then given back. */
  async load(request: LoadRequest<Key, Value>): Promise<LoadOutcome<Value>> {
    const { name, key, lease, stale, after } = request;
    const { settings, meter, loads } = this.#core;
    const startedAtMs = this.#core.nowMs();
    let asOf: Evidence;
    let result: Loaded<Value>;
    try {
      // Before the load begins: what it reads contains that.
      asOf = mergeEvidence((await settings.asOf?.()) ?? noEvidence, after);
      meter.loads += 1;
      const answer = await loads.run((signal) => settings.load(key, { signal, stale, after }));
      result = answer instanceof Loaded ? answer : new Loaded(answer, {});
    } catch (error) {
      this.#failed(name, lease, error);
      throw error;
    }
    const loadMs = this.#core.nowMs() - startedAtMs;
    meter.loadMs.record(loadMs);
    const stored = await this.#store(request, result, { asOf, loadMs });
    if (stored === 'voided') meter.voided += 1;
    if (stored === 'older') meter.older += 1;
    this.#core.emit({ kind: 'loaded', key: name, tookMs: loadMs, stored });
    return { value: result.value, stored };
  }

  /** What is stored for a value; undefined: it is not to be kept. Throws for what cannot be. */
  valueOf(
    name: string,
    key: Key,
    { value, options }: Loaded<Value>,
    { asOf, loadMs }: { readonly asOf: Evidence; readonly loadMs: number },
  ): CacheValue | undefined {
    const { settings, hasShared } = this.#core;
    const isAbsent = value === undefined;
    const ttlMs = this.#ttlMs(value, key, options);
    if (ttlMs <= 0 || options.keep === 'never') return undefined;
    const freshMs = ttlMs * (1 - settings.jitter * settings.random.next());
    // Where there is no other tier nobody reads the payload.
    const payload = isAbsent || !hasShared ? this.#empty() : settings.serialise.encode(value);
    if (payload.length > settings.sizeMax)
      throw new TallyError('ROW_TOO_LARGE', {
        what: `the value is larger than ${settings.sizeMax} bytes`,
        where: `cache ${settings.name}`,
        mend: 'cache a part of it, or raise sizeMax as far as the store takes',
      });
    const fence = options.fence ?? this.#fenceOf(asOf);
    const own = isAbsent ? [] : (settings.tags?.(value, key) ?? []);
    return {
      key: name,
      payload,
      note: writeNote({ isAbsent, asOf }),
      freshMs,
      keepMs: freshMs + (isAbsent ? 0 : settings.graceMs),
      loadMs,
      tags: [...new Set([...namespaceTags(name), ...own, ...(options.tags ?? [])])],
      ...(fence === undefined ? {} : { fence }),
    };
  }

  async #store(
    { name, key, lease, isClean, onStoring }: LoadRequest<Key, Value>,
    result: Loaded<Value>,
    about: { readonly asOf: Evidence; readonly loadMs: number },
  ): Promise<Stored> {
    const { guard, tier, near } = this.#core;
    if (lease === undefined) return 'not-kept';
    let value: CacheValue | undefined;
    try {
      value = this.valueOf(name, key, result, about);
    } catch (error) {
      this.#core.emit({ kind: 'not-kept', key: name, error });
    }
    if (value === undefined) {
      this.#release(name, lease);
      return 'not-kept';
    }
    const stored = value;
    onStoring();
    const nowMs = this.#core.nowMs();
    try {
      const [outcome = 'voided'] = await guard.run(() => tier.fillMany([{ ...stored, lease }]));
      if (outcome === 'stored' && isClean())
        near?.keep(name, {
          value: result.value,
          nowMs,
          freshForMs: stored.freshMs,
          keptForMs: stored.keepMs,
          ageMs: 0,
          loadMs: about.loadMs,
          tags: stored.tags,
          asOf: about.asOf,
        });
      return outcome;
    } catch (error) {
      if (isTallyError(error) && error.retryable) return 'unreachable';
      this.#core.emit({ kind: 'not-kept', key: name, error });
      this.#release(name, lease);
      return 'not-kept';
    }
  }

  #failed(name: string, lease: string | undefined, error: unknown): void {
    const { meter, settings } = this.#core;
    const isShed = isTallyError(error, 'OVERLOADED');
    if (isShed) meter.loadsShed += 1;
    else meter.loadsFailed += 1;
    this.#core.emit(
      isShed ? { kind: 'load-shed', key: name } : { kind: 'load-failed', key: name, error },
    );
    if (lease === undefined) return;
    const { retryAfterMs } = settings.loads;
    const reason = errorText(error, REASON_CHARACTERS_MAX);
    // That this process has too much to do says nothing of the database: another one may load.
    this.#release(
      name,
      lease,
      isShed || retryAfterMs === 0 ? undefined : { reason, forMs: retryAfterMs },
    );
  }

  /** Nobody waits for it; a lease that cannot be given back runs out. */
  #release(
    name: string,
    lease: string,
    failure?: { readonly reason: string; readonly forMs: number },
  ): void {
    const { guard, tier } = this.#core;
    guard.run(() => tier.release(name, lease, failure)).catch(() => undefined);
  }

  #ttlMs(value: Value | undefined, key: Key, { ttl }: LoadedOptions): number {
    if (ttl !== undefined) return checkDuration(ttl, 'loaded.ttl');
    const { settings } = this.#core;
    return value === undefined ? settings.absentTtlMs : settings.ttlMs(value, key);
  }

  #fenceOf(asOf: Evidence): Position | undefined {
    const { lane } = this.#core.settings;
    return lane === undefined ? undefined : asOf.get(lane)?.at(-1);
  }

  #empty(): string | Uint8Array {
    return this.#core.settings.serialise.payload === 'text' ? '' : new Uint8Array();
  }
}
