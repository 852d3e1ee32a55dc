import { encodeValue } from '../../core/codec.ts';
import { isTallyError, TallyError, unreachable } from '../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { Row, Value } from '../../core/row.ts';
import { point } from '../../observe/point.ts';
import type { Clock } from '../../ports/clock.ts';
import {
  checkDoOptions,
  checkEffectKey,
  checkResult,
  EFFECT_RESULT_BYTES_MAX,
  EFFECT_RETENTION_MS,
  type DoOptions,
  type DoOutcome,
  type EffectKey,
  type Effects,
  type EffectState,
  type EffectsSupports,
  type HeldLock,
  type UndoOutcome,
} from '../../ports/effects.ts';
import type { KeyValue, KeyValueEntry } from '../../ports/key-value.ts';

/** Markers in one entry. Beyond it the oldest are forgotten: an entry is read and written whole by each effect. */
const ENTRY_MARKERS_MAX = 500;
/** How often one call reads an entry anew because somebody else has changed it. */
const ENTRY_ATTEMPTS_MAX = 100;

/** What one entry holds after an effect, and what the effect answers. */
export interface EntryChange {
  /** The new value; undefined: none. */
  readonly value: Value | undefined;
  readonly result?: Value;
}

/** Changes the value of one entry. `change` is pure: it is called again if somebody else was faster. */
export interface EntryWork {
  readonly entry: string;
  readonly change: (value: Value | undefined) => EntryChange;
}

/** Takes the change of one entry back. Pure as well. */
export interface EntryUndo {
  readonly entry: string;
  readonly change: (value: Value | undefined, result: Value) => Value | undefined;
}

/** Effects each of which changes one entry; the markers of an entry are in it. */
export interface EntryEffects extends Effects<EntryWork, EntryUndo> {
  /** The value of an entry without its markers; undefined if it has none. */
  get(entry: string): Promise<Value | undefined>;
}

export interface EntryEffectsOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** How long markers are kept after the start of their saga. Default 30 days. */
  readonly retentionMs?: number;
  /** What the key of every entry starts with: other keys of the store are somebody else's. Default `effects/`. */
  readonly prefix?: string;
}

interface Marker {
  readonly id: string;
  readonly startedAtMs: number;
  /** Undefined: undone. */
  readonly result: Value | undefined;
}

/** An entry taken apart. */
interface Item {
  readonly value: Value | undefined;
  readonly markers: readonly Marker[];
  /** No marker of a saga that was started before is kept. */
  readonly horizonMs: number;
  /** Of the entry; 0: there is none. */
  readonly version: number;
}

/**
 * Effects by conditional writes, for any store that can write an entry on condition of its version: one entry holds the
 * value and the markers of the effects on it, and is replaced as a whole. So it is done in stores of items
 * (DynamoDB, a document with a version). Entries belong to the effects: what else writes them removes their markers. An
 * entry without a value and markers remains, with the age of what it has forgotten.
 *
 * A hot entry costs its callers repetitions; after {@link ENTRY_ATTEMPTS_MAX} of them it is CONDITION_FAILED. There are
 * no locks. Throws CAPABILITY_MISSING for a store without conditions.
 */
export function entryEffects(keyValue: KeyValue, options: EntryEffectsOptions): EntryEffects {
  checkOptions(options, ['clock', 'retentionMs', 'prefix'], 'entryEffects');
  const { clock, retentionMs = EFFECT_RETENTION_MS, prefix = 'effects/' } = options;
  checkString(prefix, 'entryEffects.prefix', { charactersMin: 0, charactersMax: 200 });
  checkNumber(retentionMs, 'entryEffects.retentionMs', { min: 1_000, integer: true });
  if (!keyValue.supports.compareAndSet)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'this key-value store cannot write on condition of a version',
      mend: 'keep the entries of effects in a store that can',
    });
  return new ItemEffects(keyValue, { clock, retentionMs, prefix });
}

type Decision<Outcome> =
  | { readonly outcome: Outcome }
  | { readonly outcome: Outcome; readonly value: Value | undefined; readonly marker: Marker };

class ItemEffects implements EntryEffects {
  readonly supports: EffectsSupports;
  readonly #keyValue: KeyValue;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #prefix: string;

  constructor(keyValue: KeyValue, { clock, retentionMs, prefix }: Required<EntryEffectsOptions>) {
    this.supports = {
      unit: 'entry',
      locks: false,
      resultBytesMax: EFFECT_RESULT_BYTES_MAX,
      retentionMs,
    };
    this.#keyValue = keyValue;
    this.#clock = clock;
    this.#prefix = prefix;
  }

  async get(entry: string): Promise<Value | undefined> {
    return (await this.#read(entry)).value;
  }

  async do(key: EffectKey, work: EntryWork, options: DoOptions = {}): Promise<DoOutcome> {
    checkEffectKey(key);
    checkDoOptions(options);
    if (options.lock !== undefined || options.unlock !== undefined) throw noLocks();
    return this.#decide<DoOutcome>(work.entry, (item) => {
      const state = stateOf(item, key);
      if (state.kind === 'done') return { outcome: { kind: 'again', result: state.result } };
      if (state.kind !== 'absent') return { outcome: { kind: state.kind } };
      const { value, result = null } = work.change(item.value);
      checkResult(encodeValue(result));
      return { outcome: { kind: 'done', result }, value, marker: { ...key, result } };
    });
  }

  async undo(key: EffectKey, work: EntryUndo): Promise<UndoOutcome> {
    checkEffectKey(key);
    return this.#decide<UndoOutcome>(work.entry, (item) => {
      const state = stateOf(item, key);
      const marker = { ...key, result: undefined };
      switch (state.kind) {
        case 'undone':
          return { outcome: { kind: 'again' } };
        case 'forgotten':
          return { outcome: { kind: 'forgotten' } };
        case 'absent':
          return { outcome: { kind: 'nothing' }, value: item.value, marker };
        case 'done': {
          const value = work.change(item.value, state.result);
          return { outcome: { kind: 'undone' }, value, marker };
        }
        default:
          return unreachable(state);
      }
    });
  }

  async probe(key: EffectKey, place?: string): Promise<EffectState> {
    checkEffectKey(key);
    if (place === undefined)
      throw new TallyError('CONFIG_INVALID', {
        what: 'the marker of an effect is in its entry, which is not given',
        mend: 'give the entry as the place',
      });
    return stateOf(await this.#read(place), key);
  }

  async holder(): Promise<HeldLock | undefined> {
    await Promise.resolve();
    throw noLocks();
  }

  async prune(
    options: { readonly beforeMs?: number; readonly limit?: number } = {},
  ): Promise<number> {
    checkOptions(options, ['beforeMs', 'limit'], 'prune');
    const { beforeMs, limit = Infinity } = options;
    if (beforeMs !== undefined) checkNumber(beforeMs, 'prune.beforeMs', { min: 0, integer: true });
    let pruned = 0;
    for await (const entry of this.#keyValue.keys(this.#prefix)) {
      if (pruned >= limit) break;
      pruned += await this.#pruneEntry(
        entry.slice(this.#prefix.length),
        beforeMs ?? this.#horizonMs(),
      );
    }
    return pruned;
  }

  async #pruneEntry(entry: string, beforeMs: number): Promise<number> {
    return this.#retrying(async () => {
      const item = await this.#read(entry);
      const old = item.markers.filter(({ startedAtMs }) => startedAtMs < beforeMs);
      if (old.length === 0) return 0;
      const kept = item.markers.filter((marker) => !old.includes(marker));
      const horizonMs = Math.max(item.horizonMs, beforeMs);
      await this.#write(entry, { ...item, markers: kept, horizonMs });
      return old.length;
    });
  }

  /** Reads, decides, and writes if nobody else has meanwhile; else anew. */
  #decide<Outcome>(entry: string, decide: (item: Item) => Decision<Outcome>): Promise<Outcome> {
    return this.#retrying(async () => {
      const item = await this.#read(entry);
      const decision = decide(item);
      if (!('marker' in decision)) return decision.outcome;
      const { value, marker } = decision;
      point('effects.before-effect');
      await this.#write(entry, this.#bounded({ ...item, value }, marker));
      point('effects.after-effect-before-answer');
      return decision.outcome;
    });
  }

  async #retrying<Outcome>(work: () => Promise<Outcome>): Promise<Outcome> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        if (!isTallyError(error, 'CONDITION_FAILED') || attempt === ENTRY_ATTEMPTS_MAX) throw error;
      }
    }
  }

  /** Forgets what is too old, or one too many; what is forgotten moves the horizon, and is refused. */
  #bounded(item: Item, marker: Marker): Item {
    const others = item.markers.filter(({ id }) => id !== marker.id);
    const young = others
      .filter(({ startedAtMs }) => startedAtMs >= this.#horizonMs())
      .toSorted((left, right) => left.startedAtMs - right.startedAtMs);
    const kept = young.slice(-(ENTRY_MARKERS_MAX - 1));
    const gone = others.filter((other) => !kept.includes(other));
    const horizonMs = Math.max(item.horizonMs, ...gone.map(({ startedAtMs }) => startedAtMs + 1));
    return { ...item, markers: [...kept, marker], horizonMs };
  }

  #horizonMs(): number {
    return Math.max(0, Math.floor(this.#clock.nowMs() - this.supports.retentionMs));
  }

  async #read(entry: string): Promise<Item> {
    const found = await this.#keyValue.get(this.#prefix + entry);
    if (found === undefined) return { value: undefined, markers: [], horizonMs: 0, version: 0 };
    return itemOf(found, entry);
  }

  async #write(entry: string, { value, markers, horizonMs, version }: Item): Promise<void> {
    const marked = markers.map(({ id, startedAtMs, result }) =>
      result === undefined ? [id, startedAtMs] : [id, startedAtMs, result],
    );
    const whole = { ...(value === undefined ? {} : { value }), effects: marked, horizonMs };
    await this.#keyValue.set(this.#prefix + entry, whole, { ifVersion: version });
  }
}

function stateOf({ markers, horizonMs }: Item, key: EffectKey): EffectState {
  const marker = markers.find(({ id }) => id === key.id);
  if (marker === undefined) return { kind: key.startedAtMs < horizonMs ? 'forgotten' : 'absent' };
  if (marker.result === undefined) return { kind: 'undone' };
  return { kind: 'done', result: marker.result };
}

function itemOf(found: KeyValueEntry, entry: string): Item {
  const held = found.value as Row | null;
  const effects = typeof held === 'object' ? held?.['effects'] : undefined;
  if (held === null || !Array.isArray(effects))
    throw new TallyError('STORE_CORRUPT', {
      what: `the entry '${entry.slice(0, 80)}' was not written by effects`,
      mend: 'give effects entries of their own',
    });
  return {
    value: held['value'],
    markers: (effects as readonly (readonly Value[])[]).map(([id, startedAtMs, result]) => ({
      id: id as string,
      startedAtMs: Number(startedAtMs),
      result,
    })),
    horizonMs: Number(held['horizonMs'] ?? 0),
    version: found.version,
  };
}

function noLocks(): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: 'effects of entries and objects take no locks: a lock would be another entry',
    mend: 'keep the state of the lock in the value, or take it with an effect in a store that has locks',
  });
}
