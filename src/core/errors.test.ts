import { describe, expect, it } from 'vitest';
import {
  errorCodes,
  type ErrorCode,
  errorText,
  isTallyError,
  must,
  TallyError,
  unreachable,
} from './errors.ts';

describe('a TallyError', () => {
  it('says what happened, where, and how to mend it', () => {
    const cause = new Error('disk');
    const error = new TallyError('STORE_FULL', {
      what: 'the log cannot be written',
      where: 'shop.log',
      mend: 'free some space',
      details: { freeBytes: 0 },
      cause,
    });
    expect(error.message).toBe(
      'the log cannot be written (shop.log). To mend it: free some space.',
    );
    expect(error).toMatchObject({ name: 'TallyError', code: 'STORE_FULL', retryable: true, cause });
    expect(error.details).toStrictEqual({ freeBytes: 0 });
  });

  it('leaves out what it was not told', () => {
    const error = new TallyError('INTERNAL', { what: 'odd' });
    expect(error.message).toBe('odd.');
    expect(error.details).toStrictEqual({});
    expect('cause' in error).toBe(false);
  });

  it.each(Object.keys(errorCodes) as ErrorCode[])(
    'of code %s is retryable as the table says',
    (code) => {
      expect(new TallyError(code, { what: 'x' }).retryable).toBe(errorCodes[code].retryable);
      expect(errorCodes[code].summary).toMatch(/^[A-Z].*[^.]$/);
    },
  );

  it('is told apart by its code', () => {
    const error = new TallyError('LEASE_HELD', { what: 'held' });
    expect(isTallyError(error)).toBe(true);
    expect(isTallyError(error, 'LOG_FULL', 'LEASE_HELD')).toBe(true);
    expect(isTallyError(error, 'LOG_FULL')).toBe(false);
    expect(isTallyError(new Error('held'))).toBe(false);
    expect(isTallyError({ code: 'LEASE_HELD' })).toBe(false);
  });
});

describe('the text of what was thrown', () => {
  it('is there for anything, and bounded', () => {
    expect(errorText(new Error('boom'))).toBe('boom');
    expect(errorText('word')).toBe('word');
    expect(errorText(undefined)).toBe('undefined');
    expect(errorText(Symbol('s'))).toBe('Symbol(s)');
    expect(errorText(Object.create(null))).toBe('something without a text was thrown');
    expect(errorText('x'.repeat(30), 10)).toBe(`${'x'.repeat(10)}…`);
    expect(errorText('x'.repeat(10), 10)).toBe('x'.repeat(10));
  });
});

describe('what an invariant promises', () => {
  it('is handed on, falsy or not, and is INTERNAL where it is missing', () => {
    const internal: unknown = expect.objectContaining({ code: 'INTERNAL' });
    expect(must(0, 'count')).toBe(0);
    expect(() => must(undefined, 'count')).toThrow(internal);
    expect(() => must(null, 'count')).toThrow(internal);
    expect(() => unreachable(5n as never)).toThrow(internal);
  });
});
