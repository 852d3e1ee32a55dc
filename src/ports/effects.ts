import { TallyError, unreachable } from '../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../core/options.ts';
import type { Value } from '../core/row.ts';

/** Longer names of effects make every page of their index hold few of them. */
const EFFECT_ID_BYTES_MAX = 512;
/** A result is kept with its marker, for whoever asks again: what is larger belongs into the store, its address here. */
export const EFFECT_RESULT_BYTES_MAX: number = 64 * 1024;
/** A name of what a semantic lock is on, and of who holds it. */
const LOCK_NAME_BYTES_MAX = 512;
/** How long markers are kept if the store is not told: longer than a saga that waits for a person. */
export const EFFECT_RETENTION_MS: number = 30 * 24 * 3_600_000;

/**
 * Names one effect for all its attempts. `do` and `undo` of one step use the same key; two steps never do.
 */
export interface EffectKey {
  /** The step's idempotency key. */
  readonly id: string;
  /**
   * When the saga that the effect belongs to was started, as it says itself: the same number in every attempt. Markers
   * are forgotten by it, and nothing else is compared with it but other such numbers.
   */
  readonly startedAtMs: number;
}

export interface EffectsSupports {
  /**
   * What the marker shares with the effect: one transaction with everything that the work writes, one script, or the
   * one entry or object that the work changes.
   */
  readonly unit: 'transaction' | 'script' | 'entry' | 'object';
  /** Whether an effect can take a semantic lock, in the same step. */
  readonly locks: boolean;
  readonly resultBytesMax: number;
  /** How long after the start of its saga a marker is kept at least. */
  readonly retentionMs: number;
}

/** A lock that an effect takes, or must still hold. */
export interface LockRequest {
  /** What is locked: an account, an order. The application's own word. */
  readonly resource: string;
  /** Who locks it, mostly the saga: the same owner may take it again and goes on. */
  readonly owner: string;
  /** From now; then anybody may take it. */
  readonly ttlMs: number;
  /** If given, only if this very lock is still held: what was lost and taken again has another token. */
  readonly token?: number;
}

/** A lock as readers see it. Until it is released its resource is in the middle of something. */
export interface HeldLock {
  readonly resource: string;
  readonly owner: string;
  /** Grows with each taking, so that an older holder is told from a newer. */
  readonly token: number;
  readonly expiresAtMs: number;
}

export interface DoOptions {
  /** Taken, or checked and prolonged, in the step of the effect. Undoing this effect releases it. */
  readonly lock?: LockRequest;
  /** Released in the step of the effect: by the last step of a saga that holds it. */
  readonly unlock?: { readonly resource: string; readonly owner: string };
}

/** What an effect that was done has left. */
export interface Effected {
  readonly result: Value;
  /** What it has locked, if that is still held. */
  readonly lock?: HeldLock;
  /** The offset of the commit, of a store that owns facts: for `app.evidenceAt`. */
  readonly offset?: number;
}

/**
 * What became of a `do`. Only `done` ran the work to its end; after `undone`, `forgotten`, `locked` and `fenced` nothing
 * of it was kept.
 *
 * - `again`: it had been done before; the result is that of the first time.
 * - `undone`: its undo came first, or has run since: it is never done any more.
 * - `forgotten`: there is no marker, and markers of that age have been removed: nobody can say whether it was done.
 * - `locked`: somebody else holds the lock.
 * - `fenced`: the lock that was named is not held any more.
 */
export type DoOutcome =
  | ({ readonly kind: 'done' } & Effected)
  | ({ readonly kind: 'again' } & Effected)
  | { readonly kind: 'undone' }
  | { readonly kind: 'forgotten' }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'locked'; readonly lock: HeldLock };

/**
 * What became of an `undo`.
 *
 * - `undone`: it was done, and is not any more.
 * - `again`: it had been undone before.
 * - `nothing`: it was never done, and from now on never will be.
 * - `forgotten`: as of a `do`; nothing was changed.
 */
export type UndoOutcome =
  | { readonly kind: 'undone'; readonly offset?: number }
  | { readonly kind: 'again' | 'nothing' | 'forgotten' };

/** What the store knows of an effect. */
export type EffectState =
  | { readonly kind: 'done'; readonly result: Value }
  | { readonly kind: 'undone' | 'absent' | 'forgotten' };

/** What housekeeping needs of the effects of any store. */
export interface EffectMarkers {
  readonly supports: EffectsSupports;
  /**
   * Forgets markers of sagas that were started before `beforeMs` (by default: longer ago than the retention), at most
   * `limit` of them in one call; answers how many. What is forgotten is refused from then on, never done again.
   */
  prune(options?: { readonly beforeMs?: number; readonly limit?: number }): Promise<number>;
}

/**
 * Effects that happen once. `do` runs its work and leaves a marker in one step of the store: however often it is called,
 * by whoever, the work has taken effect at most once, and everybody gets the result of that time. `undo` takes it back,
 * at most once; called first, it leaves a marker that refuses the late `do`. So the three anomalies of compensation (the
 * undo arrives before the do, without a do, or the do after the undo) are outcomes and change nothing.
 *
 * Work may be started several times if its process dies or its transaction is rolled back: what it does outside of the
 * store is not covered. What the work throws is thrown as it is, and nothing was kept. Throws STORE_UNREACHABLE,
 * STORE_BUSY, COMMIT_UNKNOWN (all safe to call again), ROW_TOO_LARGE for a result, CONFIG_INVALID for a key.
 *
 * Called sub-transaction barriers elsewhere (dtm.pub, “Barrier”); this one keeps the results too, and its markers may
 * be removed without opening a gap.
 */
export interface Effects<Work, UndoWork> extends EffectMarkers {
  do(key: EffectKey, work: Work, options?: DoOptions): Promise<DoOutcome>;
  undo(key: EffectKey, work: UndoWork): Promise<UndoOutcome>;
  /** Looks, and changes nothing. `place` is the entry, object or Redis key of the work, where the marker stands by it. */
  probe(key: EffectKey, place?: string): Promise<EffectState>;
  /** Who holds a lock now; undefined if nobody does. Throws CAPABILITY_MISSING. */
  holder(resource: string, place?: string): Promise<HeldLock | undefined>;
}

/**
 * The result of an effect that was done, now or before. Throws EFFECT_REFUSED (undone or forgotten: another attempt
 * changes nothing), LOCK_HELD (may pass), FENCED_OUT.
 */
export function resultOf(outcome: DoOutcome): Value {
  switch (outcome.kind) {
    case 'done':
    case 'again':
      return outcome.result;
    case 'undone':
      throw refused(
        'undone',
        'the effect was undone before it came',
        'leave it: its saga went back',
      );
    case 'forgotten':
      throw forgotten();
    case 'locked': {
      const { resource, owner, expiresAtMs } = outcome.lock;
      throw new TallyError('LOCK_HELD', {
        what: `'${resource.slice(0, 80)}' is locked by '${owner.slice(0, 80)}' until ${new Date(expiresAtMs).toISOString()}`,
        mend: 'try again, or refuse the request: another saga is in the middle of changing it',
        details: { resource, owner, expiresAtMs },
      });
    }
    case 'fenced':
      throw new TallyError('FENCED_OUT', {
        what: 'the semantic lock of this saga has expired',
        mend: 'read what is there anew, or compensate; give a longer ttlMs if steps take longer than that',
      });
    default:
      return unreachable(outcome);
  }
}

/** Nothing, for an effect that is not there any more. Throws EFFECT_REFUSED if nobody can say whether it is. */
export function settled(outcome: UndoOutcome): void {
  if (outcome.kind === 'forgotten') throw forgotten();
}

/**
 * What the state of an effect says to a saga that asks whether a step took effect. An absent effect may still be on its
 * way, so that nothing is certain of it: undefined. Its undo makes that final.
 */
export function probed(
  state: EffectState,
): { readonly took: 'effect'; readonly result: Value } | { readonly took: 'none' } | undefined {
  switch (state.kind) {
    case 'done':
      return { took: 'effect', result: state.result };
    case 'undone':
      return { took: 'none' };
    case 'absent':
    case 'forgotten':
      return undefined;
    default:
      return unreachable(state);
  }
}

/** Refuses what names no effect. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function checkEffectKey(key: EffectKey): void {
  checkOptions(key, ['id', 'startedAtMs'], 'key');
  checkName(key.id, 'key.id', EFFECT_ID_BYTES_MAX);
  checkNumber(key.startedAtMs, 'key.startedAtMs', { min: 0, integer: true });
}

/** Refuses options of a `do` that cannot be meant. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function checkDoOptions({ lock, unlock, ...rest }: DoOptions): void {
  checkOptions(rest, ['lock', 'unlock'], 'do');
  if (unlock !== undefined) {
    checkOptions(unlock, ['resource', 'owner'], 'do.unlock');
    checkName(unlock.resource, 'do.unlock.resource', LOCK_NAME_BYTES_MAX);
    checkName(unlock.owner, 'do.unlock.owner', LOCK_NAME_BYTES_MAX);
  }
  if (lock === undefined) return;
  checkOptions(lock, ['resource', 'owner', 'ttlMs', 'token'], 'do.lock');
  checkName(lock.resource, 'do.lock.resource', LOCK_NAME_BYTES_MAX);
  checkName(lock.owner, 'do.lock.owner', LOCK_NAME_BYTES_MAX);
  checkNumber(lock.ttlMs, 'do.lock.ttlMs', { min: 1, integer: true });
  if (lock.token !== undefined) checkNumber(lock.token, 'do.lock.token', { integer: true });
}

/** Refuses a result that is too large to keep. Throws ROW_TOO_LARGE. */
export function checkResult(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= EFFECT_RESULT_BYTES_MAX) return;
  throw new TallyError('ROW_TOO_LARGE', {
    what: `the result of the effect has ${bytes} bytes; the limit is ${EFFECT_RESULT_BYTES_MAX}`,
    mend: 'return the address of what was made, not the whole of it; nothing of the effect was kept',
    details: { bytes, bytesMax: EFFECT_RESULT_BYTES_MAX },
  });
}

/** An effect that is not done, and why. */
export function refused(
  reason: 'undone' | 'forgotten' | 'torn' | 'taken',
  what: string,
  mend: string,
): TallyError {
  return new TallyError('EFFECT_REFUSED', { what, mend, details: { reason } });
}

function forgotten(): TallyError {
  return refused(
    'forgotten',
    'the markers of effects as old as this one have been removed',
    'look in the store whether it was done, and settle its saga by hand; keep markers longer than any saga takes',
  );
}

function checkName(text: unknown, path: string, bytesMax: number): void {
  checkString(text, path, { charactersMax: bytesMax });
  const given = String(text);
  // A lone surrogate has no form in UTF-8, and some stores end a text at its first zero.
  if (given.isWellFormed() && !given.includes('\0') && Buffer.byteLength(given) <= bytesMax) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `${path} is not well-formed text of at most ${bytesMax} bytes without zeros`,
    where: path,
    mend: 'use a shorter name, or a digest of it',
  });
}
