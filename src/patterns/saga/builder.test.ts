import { expect, test } from 'vitest';
import { saga, type SagaDefinition } from './index.ts';

const none = { undo: { none: 'a test' } } as const;
const act = { do: () => 1 };

test.each<[string, () => SagaDefinition]>([
  [
    'a compensatable step after the pivot',
    () =>
      saga('s')
        .pivot('a', act)
        .step('b', { ...act, ...none })
        .end(),
  ],
  ['a second pivot', () => saga('s').pivot('a', act).pivot('b', act).end()],
  ['a pivot after a retriable step', () => saga('s').retriable('a', act).pivot('b', act).end()],
  [
    'a pivot beside a branch that can fail',
    () =>
      saga('s')
        .parallel('p', { a: (b) => b.pivot('x', act), b: (b) => b.step('y', { ...act, ...none }) })
        .end(),
  ],
  [
    'a pivot in a loop',
    () =>
      saga('s')
        .loop('l', { over: () => [1] }, (b) => b.pivot('a', act))
        .end(),
  ],
  [
    'a signal that fails after the pivot',
    () => saga('s').pivot('a', act).signal('b', { timeout: '1h' }).end(),
  ],
  ['two steps of one name', () => saga('s').pivot('a', act).retriable('a', act).end()],
  ['no steps', () => saga('s').end()],
  [
    'a step without an undo',
    () =>
      saga('s')
        .step('a', act as never)
        .end(),
  ],
  [
    'an undo that gives no reason',
    () =>
      saga('s')
        .step('a', { ...act, undo: { none: ' ' } })
        .end(),
  ],
  ['a name that is no part of a path', () => saga('s').pivot('a/b', act).end()],
])('%s is refused when it is defined', (_what, define) => {
  expect(define).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error);
});

test('an option that is not known is refused with the nearest one', () => {
  expect(() => saga('s').pivot('a', { ...act, timeuot: '1s' } as never)).toThrow(
    /did you mean timeout/,
  );
});

test('the fingerprint is of the structure, not of the code', () => {
  const of = (work: () => number) => saga('s').pivot('a', { do: work }).end().fingerprint;
  expect(of(() => 1)).toBe(of(() => 2));
  expect(saga('s').retriable('a', act).end().fingerprint).not.toBe(of(() => 1));
});
