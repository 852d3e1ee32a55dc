import { decodeEvidence, encodeEvidence } from '../../core/evidence-token.ts';
import type { Evidence } from '../../core/evidence.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { checkDuration, checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { Value as Stored } from '../../core/row.ts';
import type { Clock } from '../../ports/clock.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Duration } from './guard-options.ts';
import type { Reason } from './reason.ts';

/** What there is instead of an answer. */
export interface Recalled<Value> {
  readonly value: Value;
  /** How old it is, where that is known. */
  readonly ageMs?: number;
  /** What it was known to hold; tells how fresh it is by evidence. */
  readonly evidence?: Evidence;
}

/** Something to fall back on. For one of your own see {@link fallback}. */
export interface Fallback<Value> {
  /** Undefined: it has nothing, and the part is missing. What it throws counts as nothing. */
  recall(reason: Reason): Recalled<Value> | undefined | Promise<Recalled<Value> | undefined>;
  /**
   * Set if it has to be fetched: the part then stops waiting a tenth of the page's time earlier, so that the
   * fallback still fits into it.
   */
  readonly takesTime?: true;
  /** Is told each good answer. Nobody waits for it; what it throws is dropped. */
  remember?(value: Value, evidence: Evidence): void | Promise<void>;
}

/** Whether this is a fallback rather than a value that happens to be an object. */
export function isFallback(value: unknown): value is Fallback<unknown> {
  return typeof value === 'object' && value !== null && made.has(value);
}

const made = new WeakSet<object>();

/** Makes an object of your own a fallback: without this mark it would be taken for the value. */
export function fallback<Value>(own: Fallback<Value>): Fallback<Value> {
  made.add(own);
  return own;
}

/** Last good answers that are kept in memory, by key. */
export interface LastGood<Value> {
  /** What was there last under this key. */
  of(key: string): Fallback<Value>;
  readonly size: number;
}

/** Last good answers of one kind in one process; at 2 kB each this is 20 MB. */
const LAST_GOOD_MAX = 10_000;
/** Yesterday's recommendations are better than none; last week's may name what is gone. */
const MAX_AGE_DEFAULT_MS = 86_400_000;

interface Kept<Value> {
  readonly value: Value;
  readonly atMs: number;
  readonly evidence: Evidence;
}

/**
 * Keeps the last good answer of each key in the memory of this process, the newest `entriesMax` of them. It
 * is what a part falls back on for as long as `maxAge`. Of two answers the one that came last is kept. Throws
 * CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function lastGood<Value>(
  options: {
    readonly maxAge?: Duration;
    readonly entriesMax?: number;
    readonly clock?: Clock;
  } = {},
): LastGood<Value> {
  checkOptions(options, ['maxAge', 'entriesMax', 'clock'], 'lastGood');
  const maxAgeMs = checkDuration(options.maxAge ?? MAX_AGE_DEFAULT_MS, 'lastGood.maxAge');
  const entriesMax = checkNumber(options.entriesMax ?? LAST_GOOD_MAX, 'lastGood.entriesMax', {
    min: 1,
    max: 10_000_000,
    integer: true,
  });
  const clock = options.clock ?? systemClock;
  // In the order in which they were last remembered: the first is the one to forget.
  const kept = new Map<string, Kept<Value>>();
  return {
    get size() {
      return kept.size;
    },
    of: (key) =>
      fallback({
        remember(value, evidence) {
          kept.delete(key);
          kept.set(key, { value, atMs: clock.monotonicMs(), evidence });
          const [oldest] = kept.keys();
          if (kept.size > entriesMax && oldest !== undefined) kept.delete(oldest);
        },
        recall() {
          const found = kept.get(key);
          if (found === undefined) return undefined;
          const ageMs = clock.monotonicMs() - found.atMs;
          return ageMs > maxAgeMs
            ? undefined
            : { value: found.value, ageMs, evidence: found.evidence };
        },
      }),
  };
}

/**
 * Keeps last good answers in a store's key-value port, for all processes, for as long as `maxAge`. The store
 * should be another one than the part reads. An entry that cannot be read counts as none. Each good
 * answer is written, so keep to what is read by few. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function lastGoodIn(
  keyValue: KeyValue,
  options: { readonly prefix: string; readonly maxAge?: Duration; readonly clock?: Clock },
): { of<Value extends Stored>(key: string): Fallback<Value> } {
  checkOptions(options, ['prefix', 'maxAge', 'clock'], 'lastGoodIn');
  const prefix = checkString(options.prefix, 'lastGoodIn.prefix', { charactersMax: 200 });
  const ttlMs = checkDuration(options.maxAge ?? MAX_AGE_DEFAULT_MS, 'lastGoodIn.maxAge', {
    min: 1,
  });
  const clock = options.clock ?? systemClock;
  if (keyValue.supports.ttlResolutionMs === undefined)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'the store has no time to live: what is kept there would stay for ever',
      where: 'lastGoodIn',
      mend: 'use a store whose entries expire',
    });
  return {
    of: <Value extends Stored>(key: string) =>
      fallback<Value>({
        takesTime: true,
        async remember(value, evidence) {
          const entry = { value, atMs: clock.nowMs(), evidence: encodeEvidence(evidence) };
          await keyValue.set(prefix + key, entry, { ttlMs });
        },
        async recall() {
          return recalledFrom<Value>((await keyValue.get(prefix + key))?.value, clock.nowMs());
        },
      }),
  };
}

function recalledFrom<Value>(entry: unknown, nowMs: number): Recalled<Value> | undefined {
  if (typeof entry !== 'object' || entry === null || !('value' in entry)) return undefined;
  const { value, atMs, evidence } = entry as Record<string, unknown>;
  const ageMs = typeof atMs === 'number' ? { ageMs: Math.max(0, nowMs - atMs) } : {};
  return { value: value as Value, ...ageMs, ...evidenceFrom(evidence) };
}

/** What another version wrote may not be readable here: the value then is of unknown freshness. */
function evidenceFrom(token: unknown): { readonly evidence?: Evidence } {
  if (typeof token !== 'string') return {};
  try {
    return { evidence: decodeEvidence(token) };
  } catch (error) {
    if (!isTallyError(error, 'EVIDENCE_MALFORMED', 'EVIDENCE_TOO_LARGE')) throw error;
    return {};
  }
}
