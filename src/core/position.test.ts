import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareIdentities,
  comparePositions,
  EPOCH_MAX,
  OFFSET_MAX,
  ORDINAL_MAX,
  position,
} from './position.ts';

describe('a position', () => {
  it('takes every epoch of 13 bits and offset of 50 bits', () => {
    expect(position(0, 0)).toStrictEqual({ epoch: 0, offset: 0 });
    expect(position(EPOCH_MAX, OFFSET_MAX)).toStrictEqual({ epoch: 8_191, offset: 2 ** 50 - 1 });
  });

  it.each([
    ['epoch', -1, 0],
    ['epoch', 8_192, 0],
    ['epoch', 1.5, 0],
    ['epoch', Number.NaN, 0],
    ['offset', 0, -1],
    ['offset', 0, 2 ** 50],
    ['offset', 0, 0.1],
    ['offset', 0, Infinity],
  ])('is refused for a wrong %s, which the error names', (name, epoch, offset) => {
    expect(() => position(epoch, offset)).toThrow(
      expect.objectContaining({
        code: 'POSITION_OUT_OF_RANGE',
        details: { [name]: name === 'epoch' ? epoch : offset },
      }),
    );
  });

  it('is ordered by epoch before offset', () => {
    expect(comparePositions({ epoch: 1, offset: 9 }, { epoch: 2, offset: 0 })).toBeLessThan(0);
    expect(comparePositions({ epoch: 1, offset: 9 }, { epoch: 1, offset: 8 })).toBeGreaterThan(0);
    expect(comparePositions({ epoch: 1, offset: 9 }, { epoch: 1, offset: 9 })).toBe(0);
  });
});

describe('an identity', () => {
  it('is ordered by epoch, offset, then ordinal, which no two changes share', () => {
    const part = fc.integer({ min: 0, max: 2 });
    const identity = fc.record({
      epoch: part,
      offset: part,
      ordinal: fc.oneof(part, fc.constant(ORDINAL_MAX)),
    });
    fc.assert(
      fc.property(identity, identity, (left, right) => {
        const text = (one: typeof left): string =>
          `${one.epoch} ${one.offset} ${String(one.ordinal).padStart(10, '0')}`;
        const expected = text(left) < text(right) ? -1 : Number(text(left) > text(right));
        expect(Math.sign(compareIdentities(left, right))).toBe(expected);
      }),
    );
  });
});
