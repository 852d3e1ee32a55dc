import { expect, test } from 'vitest';
import { literalPattern, slotOf, tagOf } from './keys.ts';

test('the slot of a key is that of the cluster specification', () => {
  // The check value of CRC16/XMODEM, and examples of CLUSTER KEYSLOT.
  expect(slotOf('123456789')).toBe(0x31c3 % 16_384);
  expect(slotOf('foo')).toBe(12_182);
  expect(slotOf('{foo}.x')).toBe(12_182);
  expect(slotOf('x{foo}y{bar}')).toBe(12_182);
  expect(slotOf('{}foo')).not.toBe(slotOf(''));
  expect(slotOf('')).toBe(0);
});

test('there is a tag for each slot', () => {
  for (let slot = 0; slot < 16_384; slot += 1)
    if (slotOf(`anything{${tagOf(slot)}}`) !== slot)
      throw new Error(`slot ${slot} has another tag`);
  expect(tagOf(16_384)).toBe('');
});

test('a pattern matches the text that it was made of, and nothing else', () => {
  expect(literalPattern(String.raw`a*b?[c]\d`)).toBe(String.raw`a\*b\?\[c\]\\d`);
});
