import assert from 'node:assert/strict';
import { errorText, isTallyError, type ErrorCode } from '../core/errors.ts';
import type { Ledger, LedgerOperation } from '../ports/ledger.ts';
import type { SuiteRunner } from './harness.ts';

/** What the suites of a ledger need: a runner, and how to come by a ledger. */
export interface LedgerSuite extends SuiteRunner {
  /** Opens a new, empty ledger. */
  readonly open: () => Promise<Ledger>;
  /**
   * Opens again, on the same state, a ledger that `open` or `reopen` returned and that was closed.
   * Left out for a ledger that keeps nothing; it then has to say so in `supports.durable`.
   */
  readonly reopen?: (closed: Ledger) => Promise<Ledger>;
}

/** A step that writes one record over whatever is there. */
export function put(key: string, value: string, space = 'space'): LedgerOperation {
  return { kind: 'put', space, key, value };
}

/** A step that writes one record only over this version; 0: only if there is none. */
export function putOver(ifVersion: number, key: string, value: string): LedgerOperation {
  return { kind: 'put', space: 'space', key, value, ifVersion };
}

/** The value of a record, or undefined if there is none. */
export async function valueAt(
  ledger: Ledger,
  key: string,
  space = 'space',
): Promise<string | undefined> {
  return (await ledger.get(space, key))?.value;
}

/** The keys of a space in the order they are listed. */
export async function keysOf(
  ledger: Ledger,
  options?: Parameters<Ledger['list']>[1],
): Promise<readonly string[]> {
  return (await ledger.list('space', options)).map((record) => record.key);
}

/** The one number that a step of one operation results in. */
export async function only(ledger: Ledger, operation: LedgerOperation): Promise<number> {
  const result = await ledger.commit([operation]);
  assert.equal(result.length, 1, 'one result for one operation');
  const [first] = result;
  assert.ok(first !== undefined);
  return first;
}

/** Asserts that `work` rejects with a TallyError of this code, and returns the error. */
export async function rejectsWith(code: ErrorCode, work: Promise<unknown>): Promise<Error> {
  const outcome = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(outcome !== undefined, `it has to fail with ${code}, but it went through`);
  assert.ok(isTallyError(outcome), `it has to fail with a TallyError, not ${errorText(outcome)}`);
  assert.equal(outcome.code, code);
  return outcome;
}
