import { decodeValue, encodeValue } from '../../core/codec.ts';
import { isTallyError, TallyError, unreachable } from '../../core/errors.ts';
import { checkNumber, checkOptions } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import { point } from '../../observe/point.ts';
import type { Clock } from '../../ports/clock.ts';
import {
  checkDoOptions,
  checkEffectKey,
  EFFECT_RETENTION_MS,
  refused,
  type DoOptions,
  type DoOutcome,
  type EffectKey,
  type Effects,
  type EffectState,
  type EffectsSupports,
  type HeldLock,
  type UndoOutcome,
} from '../../ports/effects.ts';
import type { ObjectInfo, Objects } from '../../ports/objects.ts';

/** S3 takes 2 KiB of metadata with an object; a result shares them with the application's own. */
const OBJECT_RESULT_BYTES_MAX = 1_024;
/** How long a marker outlives the retention: a process may sleep between its look at the clock and its put. */
const OBJECT_MARGIN_MS: number = 24 * 3_600_000;
/** How often one call looks again because somebody else has changed the object. */
const OBJECT_ATTEMPTS_MAX = 20;

const ID = 'tally-effect';
const STARTED = 'tally-started';
const STATE = 'tally-state';
const RESULT = 'tally-result';
const OWN: readonly string[] = [ID, STARTED, STATE, RESULT];

/** Makes one object. The body is given, or made anew for each attempt. */
export interface ObjectWork {
  readonly object: string;
  readonly body: Uint8Array | (() => AsyncIterable<Uint8Array>);
  readonly metadata?: Readonly<Record<string, string>>;
  readonly result?: Value;
}

/** Effects each of which makes one object, which carries its own marker. */
export interface ObjectEffects extends Effects<ObjectWork, { readonly object: string }> {
  /** An object that an effect has made and none has undone; as `objects.get`, without what is the effects' own. */
  get(
    object: string,
  ): Promise<{ readonly info: ObjectInfo; readonly body: AsyncIterable<Uint8Array> } | undefined>;
}

export interface ObjectEffectsOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** How long markers of what was undone are kept after the start of their saga. Default 30 days. */
  readonly retentionMs?: number;
  /** By how much longer they really are. Default a day. */
  readonly marginMs?: number;
}

/**
 * Effects by conditional puts, for any store of objects that has them (S3 and its like, files): an effect makes one
 * object, if there is none, and the object's metadata say whose it is. Undone, it is empty and marked; `get` does not
 * show it, `objects.list` does until it is pruned. Another effect that wants the same object is EFFECT_REFUSED
 * (details.reason `taken`) while the first is not pruned.
 *
 * The marker of a done effect goes with its object: what the application deletes itself can be made again by a late
 * duplicate. There are no locks. A process that sleeps for longer than the margin between its look and its put is not
 * noticed. Throws CAPABILITY_MISSING for a store without conditions.
 */
export function objectEffects(objects: Objects, options: ObjectEffectsOptions): ObjectEffects {
  checkOptions(options, ['clock', 'retentionMs', 'marginMs'], 'objectEffects');
  const { clock, retentionMs = EFFECT_RETENTION_MS, marginMs = OBJECT_MARGIN_MS } = options;
  checkNumber(retentionMs, 'objectEffects.retentionMs', { min: 1_000, integer: true });
  checkNumber(marginMs, 'objectEffects.marginMs', { min: 0, integer: true });
  if (!objects.supports.conditionalPut)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'this store of objects cannot put on condition',
      mend: 'keep the objects of effects in a store that can',
    });
  return new MarkedObjects(objects, { clock, retentionMs, marginMs });
}

type Found =
  | { readonly kind: 'none' }
  | { readonly kind: 'other'; readonly info: ObjectInfo }
  | { readonly kind: 'done'; readonly info: ObjectInfo; readonly result: Value }
  | { readonly kind: 'undone'; readonly info: ObjectInfo };

class MarkedObjects implements ObjectEffects {
  readonly supports: EffectsSupports;
  readonly #objects: Objects;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #marginMs: number;

  constructor(objects: Objects, options: Required<ObjectEffectsOptions>) {
    this.supports = {
      unit: 'object',
      locks: false,
      resultBytesMax: OBJECT_RESULT_BYTES_MAX,
      retentionMs: options.retentionMs,
    };
    this.#objects = objects;
    this.#clock = options.clock;
    this.#marginMs = options.marginMs;
  }

  async get(
    object: string,
  ): Promise<{ readonly info: ObjectInfo; readonly body: AsyncIterable<Uint8Array> } | undefined> {
    const found = await this.#objects.get(object);
    if (found === undefined) return undefined;
    const { info, body } = found;
    if (info.metadata[STATE] !== 'undone') {
      const own = Object.entries(info.metadata).filter(([name]) => !OWN.includes(name));
      return { info: { ...info, metadata: Object.fromEntries(own) }, body };
    }
    // A body that is not read must be given up.
    await body[Symbol.asyncIterator]().return?.();
    return undefined;
  }

  async do(key: EffectKey, work: ObjectWork, options: DoOptions = {}): Promise<DoOutcome> {
    checkEffectKey(key);
    checkDoOptions(options);
    if (options.lock !== undefined || options.unlock !== undefined) throw noLocks();
    const { object, body, metadata = {}, result = null } = work;
    const text = plain(encodeValue(result));
    this.#checkResult(text);
    return this.#retrying(async () => {
      const found = await this.#find(key, object);
      switch (found.kind) {
        case 'done':
          return { kind: 'again', result: found.result };
        case 'undone':
          return { kind: 'undone' };
        case 'other':
          throw taken(object);
        case 'none':
          break;
      }
      if (this.#isOld(key)) return { kind: 'forgotten' };
      point('effects.before-effect');
      await this.#objects.put(object, typeof body === 'function' ? body() : body, {
        metadata: { ...metadata, ...marksOf(key, 'done'), [RESULT]: text },
        ifNoneMatch: '*',
      });
      point('effects.after-effect-before-answer');
      return { kind: 'done', result };
    });
  }

  async undo(key: EffectKey, { object }: { readonly object: string }): Promise<UndoOutcome> {
    checkEffectKey(key);
    return this.#retrying(async () => {
      const found = await this.#find(key, object);
      switch (found.kind) {
        case 'undone':
          return { kind: 'again' };
        case 'other':
          throw taken(object);
        case 'none':
          if (this.#isOld(key)) return { kind: 'forgotten' };
          break;
        case 'done':
          break;
      }
      point('effects.before-effect');
      await this.#objects.put(object, new Uint8Array(), {
        metadata: marksOf(key, 'undone'),
        ...(found.kind === 'done' ? { ifMatch: found.info.etag } : { ifNoneMatch: '*' }),
      });
      point('effects.after-effect-before-answer');
      return { kind: found.kind === 'done' ? 'undone' : 'nothing' };
    });
  }

  async probe(key: EffectKey, place?: string): Promise<EffectState> {
    checkEffectKey(key);
    if (place === undefined)
      throw new TallyError('CONFIG_INVALID', {
        what: 'the marker of an effect is on its object, which is not given',
        mend: 'give the object as the place',
      });
    const found = await this.#find(key, place);
    switch (found.kind) {
      case 'done':
        return { kind: 'done', result: found.result };
      case 'undone':
        return { kind: 'undone' };
      case 'other':
      case 'none':
        return { kind: this.#isOld(key) ? 'forgotten' : 'absent' };
      default:
        return unreachable(found);
    }
  }

  async holder(): Promise<HeldLock | undefined> {
    await Promise.resolve();
    throw noLocks();
  }

  /** Removes what was undone. It looks at every object of the store. */
  async prune(
    options: { readonly beforeMs?: number; readonly limit?: number } = {},
  ): Promise<number> {
    checkOptions(options, ['beforeMs', 'limit'], 'prune');
    const horizonMs = this.#clock.nowMs() - this.supports.retentionMs;
    const { beforeMs = horizonMs, limit = Infinity } = options;
    if (options.beforeMs !== undefined)
      checkNumber(options.beforeMs, 'prune.beforeMs', { min: 0, integer: true });
    // Nothing but the clock refuses a late do: a younger marker than it allows for is not removed.
    const oldestMs = Math.min(beforeMs, horizonMs) - this.#marginMs;
    let pruned = 0;
    for await (const { key, metadata, etag } of this.#objects.list('')) {
      if (pruned >= limit) break;
      if (metadata[STATE] !== 'undone' || Number(metadata[STARTED]) >= oldestMs) continue;
      if (await this.#objects.delete(key, { ifMatch: etag })) pruned += 1;
    }
    return pruned;
  }

  async #find(key: EffectKey, object: string): Promise<Found> {
    const info = await this.#objects.head(object);
    if (info === undefined) return { kind: 'none' };
    if (info.metadata[ID] !== encodeURIComponent(key.id)) return { kind: 'other', info };
    if (info.metadata[STATE] === 'undone') return { kind: 'undone', info };
    return { kind: 'done', info, result: decodeValue(info.metadata[RESULT] ?? 'null') };
  }

  #isOld(key: EffectKey): boolean {
    return key.startedAtMs < this.#clock.nowMs() - this.supports.retentionMs;
  }

  async #retrying<Outcome>(work: () => Promise<Outcome>): Promise<Outcome> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        if (!isTallyError(error, 'CONDITION_FAILED') || attempt === OBJECT_ATTEMPTS_MAX)
          throw error;
      }
    }
  }

  #checkResult(text: string): void {
    const bytes = Buffer.byteLength(text);
    if (bytes <= OBJECT_RESULT_BYTES_MAX) return;
    throw new TallyError('ROW_TOO_LARGE', {
      what: `the result of the effect has ${bytes} bytes; the limit beside an object is ${OBJECT_RESULT_BYTES_MAX}`,
      mend: 'return less: the object itself says the rest',
      details: { bytes, bytesMax: OBJECT_RESULT_BYTES_MAX },
    });
  }
}

/** Metadata travel in HTTP headers: plain ASCII. */
function marksOf({ id, startedAtMs }: EffectKey, state: 'done' | 'undone'): Record<string, string> {
  return { [ID]: encodeURIComponent(id), [STARTED]: String(startedAtMs), [STATE]: state };
}

/** JSON in ASCII. */
function plain(text: string): string {
  return text.replaceAll(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function taken(object: string): TallyError {
  return refused(
    'taken',
    `the object '${object.slice(0, 80)}' is not of this effect`,
    'give each effect an object of its own, named after its saga',
  );
}

function noLocks(): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: 'effects of entries and objects take no locks: a lock would be another object',
    mend: 'take the lock with an effect in a store that has locks',
  });
}
