import { decodeValue, encodeValue } from '../core/codec.ts';
import { errorText, TallyError } from '../core/errors.ts';
import type { Identity, Position } from '../core/position.ts';
import type { Value } from '../core/row.ts';
import type { BackfillProgress, Checkpoint } from './sink.ts';

/** A checkpoint as canonical text: the key that a backfill stands at may be a BigInt or bytes. */
export function encodeCheckpoint({ log, last, through, backfill }: Checkpoint): string {
  return encodeValue({
    log,
    last: last === undefined ? null : { ...last },
    through: through === undefined ? null : { ...through },
    backfill: (backfill === undefined ? null : { ...backfill }) as Value,
  });
}

/** Reads the text of {@link encodeCheckpoint}. Throws STORE_CORRUPT. */
export function decodeCheckpoint(text: string, where?: string): Checkpoint {
  let reason = 'it has no place in the log';
  try {
    const held = decodeValue(text) as unknown as {
      readonly log: number;
      readonly last: Identity | null;
      readonly through: Position | null;
      readonly backfill: BackfillProgress | null;
    };
    if (typeof held.log === 'number')
      return {
        log: held.log,
        last: held.last ?? undefined,
        through: held.through ?? undefined,
        backfill: held.backfill ?? undefined,
      };
  } catch (error) {
    reason = errorText(error, 200);
  }
  throw new TallyError('STORE_CORRUPT', {
    what: `a stored checkpoint cannot be read: ${reason}`,
    ...(where === undefined ? {} : { where }),
    mend: 'look for what wrote there; once it is removed, the flow fills its target anew',
    details: { text: text.slice(0, 200) },
  });
}
