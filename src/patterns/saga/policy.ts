import { checkDuration, checkNumber, checkOptions } from '../../core/options.ts';
import type { Policy, RetryPolicy, StepClass } from './definition.ts';

/** Before the point of no return somebody waits, and going back is a good end too. */
const BEFORE_PIVOT: Policy = { attemptsMax: 5, firstMs: 100, maxMs: 10_000, factor: 2 };
/** After it there is no other way than forward. */
const AFTER_PIVOT: Policy = { attemptsMax: Infinity, firstMs: 100, maxMs: 60_000, factor: 2 };
/** About ten minutes; then a person is told. */
export const UNDO_POLICY: Policy = { attemptsMax: 20, firstMs: 100, maxMs: 60_000, factor: 2 };

/** Long enough for a slow service, short enough for a person to wait for. */
const TIMEOUT_MS = 30_000;
/** Attempts that a policy may count; who wants more wants Infinity. */
const ATTEMPTS_MAX = 1_000_000;

/** The policy of a step's class where its options say nothing. */
export function policyOf(kind: StepClass): Policy {
  return kind === 'retriable' ? AFTER_PIVOT : BEFORE_PIVOT;
}

/** `given` with what it leaves out taken from `otherwise`. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION. */
export function checkPolicy(
  given: RetryPolicy | undefined,
  otherwise: Policy,
  path: string,
): Policy {
  if (given === undefined) return otherwise;
  checkOptions(given, ['attempts', 'first', 'max', 'factor'], path);
  const { attempts = otherwise.attemptsMax, factor = otherwise.factor } = given;
  if (attempts !== Infinity)
    checkNumber(attempts, `${path}.attempts`, { min: 1, max: ATTEMPTS_MAX, integer: true });
  checkNumber(factor, `${path}.factor`, { min: 1, max: 100 });
  const firstMs =
    given.first === undefined ? otherwise.firstMs : checkDuration(given.first, `${path}.first`);
  const maxMs =
    given.max === undefined
      ? Math.max(firstMs, otherwise.maxMs)
      : checkDuration(given.max, `${path}.max`, { min: firstMs });
  return { attemptsMax: attempts, firstMs, maxMs, factor };
}

/** A time limit of one attempt; at least a millisecond, at most a day. */
export function checkTimeout(given: unknown, path: string): number {
  return given === undefined ? TIMEOUT_MS : checkDuration(given, path, { min: 1, max: 86_400_000 });
}
