import { describe, expect, test } from 'vitest';
import { isTallyError } from '../../../core/errors.ts';
import { endLsn, endOffset, formatLsn, lsnOf, parseLsn, startOffset } from './lsn.ts';

describe('places in the write-ahead log', () => {
  test('read and write as the server writes them, exactly', () => {
    for (const text of ['0/0', '0/1', '0/FFFFFFFF', '1/0', '16/B374D848', '3FFFF/FFFFFFFF'])
      expect(formatLsn(parseLsn(text))).toBe(text);
    expect(parseLsn('16/b374d848')).toBe(0x16 * 2 ** 32 + 0xb374d848);
  });

  test('past 50 bits are refused, never rounded', () => {
    expect(codeOf(() => parseLsn('40000/0'))).toBe('POSITION_OUT_OF_RANGE');
    expect(codeOf(() => lsnOf(0xffffffff, 0xffffffff))).toBe('POSITION_OUT_OF_RANGE');
  });

  test('that are none are refused', () => {
    for (const text of ['', '1', '1/', '/1', '1/2/3', '0x1/2', '123456789/0'])
      expect(codeOf(() => parseLsn(text))).toBe('STORE_CORRUPT');
  });

  test('order the end of a transaction before the start of the next one at the same byte', () => {
    const end = parseLsn('0/1500000');
    expect(endOffset(end)).toBeLessThan(startOffset(end));
    expect(endLsn(endOffset(end))).toBe(end);
    expect(endOffset(0)).toBe(0);
  });
});

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return isTallyError(error) ? error.code : String(error);
  }
  return undefined;
}
