import { expect, test } from 'vitest';
import { afterPrefix } from './prefix.ts';

test.each([
  ['', undefined],
  ['a', 'b'],
  ['a\0', 'a\u0001'],
  ['aé', 'aê'],
  ['\ud7ff', '\ue000'],
  ['\uffff', '\u{10000}'],
  ['a\u{1f333}', 'a\u{1f334}'],
  ['a\u{10ffff}', 'b'],
  ['\u{10ffff}\u{10ffff}', undefined],
])('the least text above all that start with %j is %j', (prefix, expected) => {
  expect(afterPrefix(prefix)).toBe(expected);
});
