import { OFFSET_MAX } from '../../../core/position.ts';
import { TallyError } from '../../../core/errors.ts';

/**
 * Places in the write-ahead log. The server counts bytes in 64 bits and writes `X/Y`; the offset of a position
 * keeps 50 of them, which is 1 PiB of log, in a plain number.
 *
 * A transaction has two places: S, where its commit record starts, and E, where it ends. **Its changes carry S,
 * its commit carries E − 1.** For every end the offset is one less than the place: "every byte up to and with this
 * one". Otherwise:
 *   1. a transaction ends at E, and its commit would be logged as (E, n changes)
 *   2. the next commit record starts exactly at E, so that its first change is (E, ordinal 0)
 *   3. (E, 0) sorts before (E, n): the log takes it for a change that it has already.
 * With E − 1, S < E − 1 < S′ holds always, because a commit record is longer than one byte.
 */

const HIGH = 2 ** 32;

/** The offset of `X/Y`. Throws POSITION_OUT_OF_RANGE past 50 bits, STORE_CORRUPT if the text is no such place. */
export function parseLsn(text: string): number {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null)
    throw new TallyError('STORE_CORRUPT', {
      what: `'${text.slice(0, 40)}' is not a place in a write-ahead log`,
      mend: 'look for what stands between this process and the server and changes its answers',
    });
  return lsnOf(Number.parseInt(String(match[1]), 16), Number.parseInt(String(match[2]), 16));
}

/** `X/Y` as the server writes it. */
export function formatLsn(lsn: number): string {
  const hex = (half: number): string => half.toString(16).toUpperCase();
  return `${hex(Math.floor(lsn / HIGH))}/${hex(lsn % HIGH)}`;
}

/** A place from its two halves of 32 bits. Throws POSITION_OUT_OF_RANGE past 50 bits. */
export function lsnOf(high: number, low: number): number {
  const lsn = high * HIGH + low;
  if (lsn <= OFFSET_MAX) return lsn;
  throw new TallyError('POSITION_OUT_OF_RANGE', {
    what: `the write-ahead log has come to ${high.toString(16)}/${low.toString(16)}, past the 50 bits of an offset`,
    mend: 'move the database to a new cluster (dump and restore, or logical replication): its log starts anew',
    details: { high, low },
  });
}

/** The offset of changes whose commit record starts at `lsn`. */
export function startOffset(lsn: number): number {
  return lsn;
}

/** The offset that stands for everything before `lsn`: an end, a head, a snapshot's consistent point. */
export function endOffset(lsn: number): number {
  return Math.max(0, lsn - 1);
}

/** The place that an offset of {@link endOffset} was made of. */
export function endLsn(offset: number): number {
  return offset + 1;
}
