import { EPOCH_MAX, OFFSET_MAX, position, type Position } from './position.ts';

const OFFSET_BITS = 50n;
const OFFSET_MASK = BigInt(OFFSET_MAX);

/**
 * The version that a write carries, as one number: `epoch << 50 | offset`. A target compares it and
 * refuses an older one. Always a BigInt: from epoch 8 on it is past what a double holds exactly.
 */
export function packFence(at: Position): bigint {
  const { epoch, offset } = position(at.epoch, at.offset);
  return (BigInt(epoch) << OFFSET_BITS) | BigInt(offset);
}

/** The position behind a packed fence. Throws POSITION_OUT_OF_RANGE for a negative or too large one. */
export function unpackFence(fence: bigint): Position {
  return position(Number(fence >> OFFSET_BITS), Number(fence & OFFSET_MASK));
}

/** Digits of the largest fence: text of this width sorts as the numbers do. */
export const FENCE_TEXT_WIDTH: number = String(
  (BigInt(EPOCH_MAX) << OFFSET_BITS) | OFFSET_MASK,
).length;

/** The fence as fixed-width decimal text, for stores and formats whose integers are doubles. */
export function fenceText(at: Position): string {
  return packFence(at).toString().padStart(FENCE_TEXT_WIDTH, '0');
}

/** The fence as two halves below 2^32, high first, for Lua and other double arithmetic. */
export function fenceHalves(at: Position): readonly [high: number, low: number] {
  const fence = packFence(at);
  return [Number(fence >> 32n), Number(fence & 0xffff_ffffn)];
}
