import assert from 'node:assert/strict';
import { isTallyError } from '../core/errors.ts';

/**
 * What a suite needs of a test runner; `{ test }` of vitest and of node:test both fit. Suites use
 * node:assert, name no adapter, and sleep only through the clock they are given.
 */
export interface SuiteRunner {
  readonly test: (name: string, run: () => Promise<void>) => unknown;
}

/**
 * Asserts that `work` rejects with FENCED_OUT and names the epoch that holds it: a worker whose ledger was lost takes
 * its lease anew above that.
 */
export async function rejectsFenced(work: Promise<unknown>, holder: number): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(isTallyError(error, 'FENCED_OUT'), `expected FENCED_OUT, got ${String(error)}`);
    assert.equal(error.details['holder'], holder, 'the epoch of the holder in the details');
    return true;
  });
}
