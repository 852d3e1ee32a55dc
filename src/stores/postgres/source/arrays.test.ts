import { describe, expect, test } from 'vitest';
import { isTallyError } from '../../../core/errors.ts';
import { parseArray } from './arrays.ts';

describe('the text of an array', () => {
  test('that ends or breaks anywhere is refused, never cut', () => {
    const whole = String.raw`{{"a\"b",c},{NULL,"}"}}`;
    expect(parseArray(whole, ',', String)).toEqual([
      ['a"b', 'c'],
      [null, '}'],
    ]);
    for (let length = 0; length < whole.length; length++)
      expect(codeOf(whole.slice(0, length)), whole.slice(0, length)).toBe('STORE_CORRUPT');
    for (const broken of ['', 'a', '{a}b', '{"a"b}', '{{a}b}'])
      expect(codeOf(broken), broken).toBe('STORE_CORRUPT');
  });
});

function codeOf(text: string): string {
  try {
    return `nothing: ${JSON.stringify(parseArray(text, ',', String))}`;
  } catch (error) {
    return isTallyError(error) ? error.code : String(error);
  }
}
