import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import type { Value } from '../core/row.ts';
import type { EffectKey, Effects, EffectsSupports } from '../ports/effects.ts';
import type { SuiteRunner } from './harness.ts';

/** One store under test, with accounts that effects add to. An account is 0 until something is added to it. */
export interface EffectsSubject {
  /** Of the present connection. */
  readonly effects: Effects<unknown, unknown>;
  /** The present time of the store, in milliseconds since 1970. */
  nowMs(): number;
  /** Work that adds to an account that holds 0, and whose result is `{ amount, tag }`. */
  add(account: string, amount: number, tag: Value): unknown;
  /**
   * Work that does not come to its end: it throws (after it has added, where that is taken back), or refuses in the way
   * of the store.
   */
  fail(account: string): unknown;
  /** Work that takes from the account the amount that the result of the effect tells. */
  takeBack(account: string): unknown;
  /** Undo that throws after it has taken something; where the store has no such thing, undefined. */
  failBack(account: string): unknown;
  balance(account: string): Promise<number>;
  /** Where `probe` and `holder` are to look. */
  place(account: string): string | undefined;
  /** Makes the store forget all sagas that were started before, by its own means; answers how many markers went. */
  forget(beforeMs: number, limit?: number): Promise<number>;
  /** Lets all locks that are held run out. */
  expireLocks(): Promise<void>;
  /** Drops the connection, and connects to the same state again. */
  reopen(): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link effectsConformance} needs of an adapter. */
export interface EffectsConformanceOptions extends SuiteRunner {
  /** The adapter's manifest: decides which of each pair of cases runs. */
  readonly supports: EffectsSupports;
  /** A fresh, empty subject. */
  readonly open: () => Promise<EffectsSubject>;
}

/** One named policy of the suite. Two cases with one id are a pair. */
export interface EffectsCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (supports: EffectsSupports) => boolean;
  readonly run: (subject: EffectsSubject) => Promise<void>;
}

/** The key of an effect whose saga starts now. */
export function keyOf(subject: EffectsSubject, id: string): EffectKey {
  return { id, startedAtMs: Math.floor(subject.nowMs()) };
}

/** Asserts that a promise rejects with this code. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => isTallyError(error, code), `expected ${code}`);
}

/** Asserts the kind of an outcome, and answers it. */
export async function comesTo<Outcome extends { readonly kind: string }, Kind extends string>(
  promise: Promise<Outcome>,
  kind: Kind,
): Promise<Extract<Outcome, { readonly kind: Kind }>> {
  const outcome = await promise;
  assert.equal(outcome.kind, kind);
  return outcome as Extract<Outcome, { readonly kind: Kind }>;
}
