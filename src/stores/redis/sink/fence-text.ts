import { ORDINAL_MAX, position, type Identity, type Position } from '../../../core/position.ts';

const EPOCH_DIGITS = 4;
const OFFSET_DIGITS = 16;
const ORDINAL_DIGITS = 10;
/** Digits of a fence: epoch, offset and ordinal, each of fixed width. */
const FENCE_DIGITS = EPOCH_DIGITS + OFFSET_DIGITS + ORDINAL_DIGITS;

/**
 * Fences as digits of fixed width: epoch, offset, ordinal. Lua's numbers are doubles and lose the lowest bits of
 * a packed fence from epoch 8 on; digits of equal number compare as the numbers do, in whatever locale the
 * server runs. The changes of a transaction share all but the ordinal, which is kept from one to the next.
 */
export class FenceWriter {
  #epoch = -1;
  #offset = -1;
  #head = '';

  /** Throws POSITION_OUT_OF_RANGE. */
  text({ epoch, offset, ordinal }: Identity): string {
    if (epoch !== this.#epoch || offset !== this.#offset) {
      this.#head = headOf({ epoch, offset });
      this.#epoch = epoch;
      this.#offset = offset;
    }
    return this.#head + String(ordinal).padStart(ORDINAL_DIGITS, '0');
  }
}

/** Less than every fence at `at`, and more than every one before it. */
export function fenceBefore(at: Position): string {
  return headOf(at) + '0'.repeat(ORDINAL_DIGITS);
}

/** The last fence at `at`: what a snapshot of that position has seen. */
export function fenceAfter(at: Position): string {
  return headOf(at) + String(ORDINAL_MAX).padStart(ORDINAL_DIGITS, '0');
}

function headOf(at: Position): string {
  const { epoch, offset } = position(at.epoch, at.offset);
  return String(epoch).padStart(EPOCH_DIGITS, '0') + String(offset).padStart(OFFSET_DIGITS, '0');
}

/** What stands behind the digits of a stored fence. */
export interface HeldFence {
  /** The digits alone. */
  readonly fence: string;
  readonly isTombstone: boolean;
  /** The types of the key's parts. */
  readonly types: string;
}

/** Reads a stored fence: digits, then `-` for a tombstone or `.types` and `+sorted set` for a row. */
export function readFence(text: string): HeldFence {
  const fence = text.slice(0, FENCE_DIGITS);
  const rest = text.slice(FENCE_DIGITS);
  const set = rest.indexOf('+');
  const types = (set === -1 ? rest : rest.slice(0, set)).slice(1);
  return { fence, isTombstone: rest.startsWith('-'), types };
}
