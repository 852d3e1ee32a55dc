import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import type { KeyValue, KeyValueSupports } from '../ports/key-value.ts';
import type { SuiteRunner } from './harness.ts';

/** One store under test: entries that outlive the connections made to it. */
export interface KeyValueSubject {
  /** Of the present connection. */
  readonly keyValue: KeyValue;
  /**
   * How long a step of the cases about expiry is, where the time between two calls is not the subject's to
   * decide. Not given: the resolution of the manifest.
   */
  readonly stepMs?: number;
  /** Lets time pass: moves the clock that the store was given, or waits where it has its own. */
  advance(delayMs: number): Promise<void>;
  /** Drops the connection, and connects to the same entries again. */
  reopen(): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link keyValueConformance} needs of an adapter. */
export interface KeyValueConformanceOptions extends SuiteRunner {
  /** The adapter's manifest: decides which of each pair of cases runs. */
  readonly supports: KeyValueSupports;
  /** A fresh, empty subject. */
  readonly open: () => Promise<KeyValueSubject>;
}

/** One named policy of the suite. Two cases with one id are a pair. */
export interface KeyValueCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (supports: KeyValueSupports) => boolean;
  readonly run: (subject: KeyValueSubject) => Promise<void>;
}

/** All keys with a prefix. */
export async function listed(
  keyValue: KeyValue,
  prefix: string,
  limit?: number,
): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const key of keyValue.keys(prefix, limit === undefined ? {} : { limit }))
    keys.push(key);
  return keys;
}

/** Asserts that a promise rejects with this code. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => isTallyError(error, code), `expected ${code}`);
}
