import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FENCE_TEXT_WIDTH, fenceHalves, fenceText, packFence, unpackFence } from './fence.ts';
import { comparePositions, EPOCH_MAX, OFFSET_MAX, type Position } from './position.ts';

const outOfRange: unknown = expect.objectContaining({ code: 'POSITION_OUT_OF_RANGE' });
const anyPosition: fc.Arbitrary<Position> = fc.record(
  {
    epoch: fc.oneof(fc.constantFrom(0, 1, 7, 8, EPOCH_MAX), fc.integer({ min: 0, max: EPOCH_MAX })),
    offset: fc.oneof(
      fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, OFFSET_MAX - 1, OFFSET_MAX),
      fc.maxSafeNat().map((offset) => offset % (OFFSET_MAX + 1)),
    ),
  },
  { noNullPrototype: true },
);

describe('a fence', () => {
  it.each([0, 7, 8, 8_191])('keeps every offset of epoch %i apart', (epoch) => {
    for (const offset of [0, 1, OFFSET_MAX - 1, OFFSET_MAX]) {
      const fence = packFence({ epoch, offset });
      expect(unpackFence(fence)).toStrictEqual({ epoch, offset });
      expect(fence).toBe(BigInt(epoch) * 2n ** 50n + BigInt(offset));
    }
  });

  it('fits a positive signed 64-bit integer at its largest', () => {
    expect(packFence({ epoch: EPOCH_MAX, offset: OFFSET_MAX })).toBe(2n ** 63n - 1n);
  });

  it('sorts as positions do: as a number, as text, and as two halves', () => {
    fc.assert(
      fc.property(anyPosition, anyPosition, (left, right) => {
        const order = Math.sign(comparePositions(left, right));
        const [leftFence, rightFence] = [packFence(left), packFence(right)];
        expect(leftFence < rightFence ? -1 : Number(leftFence > rightFence)).toBe(order);
        const [leftText, rightText] = [fenceText(left), fenceText(right)];
        expect(leftText < rightText ? -1 : Number(leftText > rightText)).toBe(order);
        const [leftHigh, leftLow] = fenceHalves(left);
        const [rightHigh, rightLow] = fenceHalves(right);
        expect(Math.sign(leftHigh - rightHigh || leftLow - rightLow)).toBe(order);
      }),
    );
  });

  it('is whole in each of its forms', () => {
    fc.assert(
      fc.property(anyPosition, (at) => {
        expect(unpackFence(packFence(at))).toStrictEqual(at);
        expect(fenceText(at)).toHaveLength(FENCE_TEXT_WIDTH);
        expect(unpackFence(BigInt(fenceText(at)))).toStrictEqual(at);
        const [high, low] = fenceHalves(at);
        expect(high).toBeLessThan(2 ** 31);
        expect(low).toBeLessThan(2 ** 32);
        expect((BigInt(high) << 32n) | BigInt(low)).toBe(packFence(at));
      }),
    );
  });

  it.each([
    { epoch: EPOCH_MAX + 1, offset: 0 },
    { epoch: 0, offset: OFFSET_MAX + 1 },
    { epoch: -1, offset: 0 },
    { epoch: 0, offset: -1 },
    { epoch: 0.5, offset: 0 },
    { epoch: 0, offset: Number.NaN },
  ])('is refused for $epoch.$offset, in every form', (at) => {
    expect(() => packFence(at)).toThrow(outOfRange);
    expect(() => fenceText(at)).toThrow(outOfRange);
    expect(() => fenceHalves(at)).toThrow(outOfRange);
  });

  it('is refused as a number that no position has', () => {
    expect(() => unpackFence(2n ** 63n)).toThrow(outOfRange);
    expect(() => unpackFence(-1n)).toThrow(outOfRange);
  });
});
