import { TallyError } from './errors.ts';

/** Positions and fences keep the offset in 50 bits: 1 PiB of write-ahead log, or 10^15 rows. */
export const OFFSET_MAX: number = 2 ** 50 - 1;
/** Thirteen bits of epoch are left above the offset in a positive 64-bit integer. */
export const EPOCH_MAX: number = 2 ** 13 - 1;
/** Changes in one transaction; also the ordinal that a snapshot row carries (it saw them all). */
export const ORDINAL_MAX: number = 2 ** 31 - 1;

/**
 * A place in a lane. Offsets grow within an epoch; the ledger allots the epoch, which only grows,
 * to each history that was observed. An offset is a safe integer, so it is a plain number here.
 */
export interface Position {
  readonly epoch: number;
  readonly offset: number;
}

/** The identity of one change: several changes of a transaction share its commit position. */
export interface Identity extends Position {
  /** The place of the change within its transaction, from 0. */
  readonly ordinal: number;
}

/** A checked position. Throws POSITION_OUT_OF_RANGE. */
export function position(epoch: number, offset: number): Position {
  if (!Number.isSafeInteger(epoch) || epoch < 0 || epoch > EPOCH_MAX)
    throw outOfRange('epoch', epoch, EPOCH_MAX);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > OFFSET_MAX)
    throw outOfRange('offset', offset, OFFSET_MAX);
  return { epoch, offset };
}

/** Orders positions by epoch, then offset: negative, zero or positive. */
export function comparePositions(left: Position, right: Position): number {
  return left.epoch - right.epoch || left.offset - right.offset;
}

/** Orders identities by epoch, offset, then ordinal: negative, zero or positive. */
export function compareIdentities(left: Identity, right: Identity): number {
  return left.epoch - right.epoch || left.offset - right.offset || left.ordinal - right.ordinal;
}

function outOfRange(name: string, value: number, max: number): TallyError {
  return new TallyError('POSITION_OUT_OF_RANGE', {
    what: `${name} ${value} is not a whole number from 0 to ${max}`,
    mend: 'map the offsets of the source to 50 bits, order kept, in its adapter',
    details: { [name]: value },
  });
}
