import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import { must } from '../core/errors.ts';
import type {
  CacheAnswer,
  CacheAsk,
  CacheSupports,
  CacheTier,
  CacheValue,
  OpenCacheOptions,
} from '../ports/cache.ts';
import type { SuiteRunner } from './harness.ts';

/** One store under test: caches that outlive the connections made to them. */
export interface CacheSubject {
  /** Opens a cache as another process would: a holder of its own. Not given: name `things`, text, a lease of 600 steps. */
  open(options?: Partial<OpenCacheOptions>): Promise<CacheTier>;
  /** Ends a holder as a killed process ends: it says nothing to anybody. */
  kill(tier: CacheTier): Promise<void>;
  /** A step of the cases about time: well above the pauses of a busy machine if time is not the subject's to decide. */
  readonly stepMs: number;
  /** Lets time pass: moves the clock that the store was given, or waits where it has its own. */
  advance(delayMs: number): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link cacheConformance} needs of an adapter. */
export interface CacheConformanceOptions extends SuiteRunner {
  /** The adapter's manifest: decides which of each pair of cases runs. */
  readonly supports: CacheSupports;
  /** A fresh, empty subject. */
  readonly open: () => Promise<CacheSubject>;
}

/** One named policy of the suite. Two cases with one id are a pair. */
export interface CacheCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (supports: CacheSupports) => boolean;
  readonly run: (subject: CacheSubject, tier: CacheTier) => Promise<void>;
}

export const look: CacheAsk = { lease: 'none', early: 0 };
export const due: CacheAsk = { lease: 'due', early: 0 };
export const always: CacheAsk = { lease: 'always', early: 0 };

/** A value that stays fresh for longer than any case takes. */
export function value(key: string, payload: string, more: Partial<CacheValue> = {}): CacheValue {
  const day = 86_400_000;
  return { key, payload, note: '', freshMs: day, keepMs: day, loadMs: 1, tags: [], ...more };
}

export async function ask(tier: CacheTier, key: string, how: CacheAsk = due): Promise<CacheAnswer> {
  const [answer] = await tier.getMany([key], how);
  return must(answer, 'the answer');
}

/** The payload that is found, if there is one. */
export async function found(tier: CacheTier, key: string): Promise<unknown> {
  return (await ask(tier, key, look)).entry?.payload;
}

/** Takes the lease on a key, which must be granted. */
export async function lease(tier: CacheTier, key: string, how: CacheAsk = due): Promise<string> {
  const { lease: answer } = await ask(tier, key, how);
  assert.equal(answer.kind, 'granted');
  return answer.kind === 'granted' ? answer.lease : '';
}

/** Takes the lease on a key that somebody holds: which one it is. */
export async function heldLease(tier: CacheTier, key: string): Promise<string> {
  const { lease: answer } = await ask(tier, key);
  assert.equal(answer.kind, 'held');
  return answer.kind === 'held' ? answer.lease : '';
}

export async function fill(
  tier: CacheTier,
  token: string,
  stored: CacheValue,
): Promise<string | undefined> {
  return (await tier.fillMany([{ ...stored, lease: token }]))[0];
}

/** Asserts that a call throws or rejects with this code. */
export async function rejects(call: () => Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(
    async () => call(),
    (error) => isTallyError(error, code),
    `expected ${code}`,
  );
}
