import { TallyError } from '../../../core/errors.ts';
import { EPOCH_MAX, OFFSET_MAX, ORDINAL_MAX, type Identity } from '../../../core/position.ts';
import type { LogRecord } from '../../../ports/log.ts';

/** One script takes at most 2^20 arguments, two for each record. */
const CALL_RECORDS_MAX = 250_000;
/** Redis takes half a gibibyte in one argument, and a gibibyte in one command; a character is up to three bytes. */
const CALL_CHARACTERS_MAX = 128 * 1024 * 1024;

/** The kinds; a capital says that the payload is written as JSON, for UTF-8 has no half surrogates. */
const kinds = { c: 'change', k: 'commit', C: 'change', K: 'commit' } as const;

/** The two fields of a record in a stream. */
export function encodeRecord(record: LogRecord): readonly [string, string] {
  const { kind, epoch, offset, ordinal, payload } = record;
  const letter = kind === 'change' ? 'c' : 'k';
  return payload.isWellFormed()
    ? [`${letter}:${epoch}:${offset}:${ordinal}`, payload]
    : [`${letter.toUpperCase()}:${epoch}:${offset}:${ordinal}`, JSON.stringify(payload)];
}

/** The record of two fields. Throws STORE_CORRUPT. */
export function decodeRecord(fields: string, payload: string): LogRecord {
  const [letter = '', epoch, offset, ordinal] = fields.split(':', 4);
  if (!(letter in kinds) || ordinal === undefined)
    throw new TallyError('STORE_CORRUPT', {
      what: 'an entry of the log is not a record',
      mend: 'look for what else writes to its stream',
      details: { fields: fields.slice(0, 80) },
    });
  return {
    kind: kinds[letter as keyof typeof kinds],
    epoch: Number(epoch),
    offset: Number(offset),
    ordinal: Number(ordinal),
    payload: letter === 'C' || letter === 'K' ? (JSON.parse(payload) as string) : payload,
  };
}

export function identityOf({ epoch, offset, ordinal }: Identity): Identity {
  return { epoch, offset, ordinal };
}

/** Throws POSITION_OUT_OF_RANGE, ROW_TOO_LARGE. Answers the characters of the payloads. */
export function checkRecords(records: readonly LogRecord[]): number {
  let characters = 0;
  for (const { kind, epoch, offset, ordinal, payload } of records) {
    const identified =
      isWhole(epoch, EPOCH_MAX) && isWhole(offset, OFFSET_MAX) && isWhole(ordinal, ORDINAL_MAX);
    if (!identified || (kind !== 'change' && kind !== 'commit') || typeof payload !== 'string')
      throw new TallyError('POSITION_OUT_OF_RANGE', {
        what: `a ${kind} with epoch ${epoch}, offset ${offset}, ordinal ${ordinal} is no record of a log`,
        mend: 'map the positions of the source to whole numbers within the limits, in its adapter',
        details: { epoch, offset, ordinal },
      });
    characters += payload.length;
  }
  if (characters > CALL_CHARACTERS_MAX || records.length > CALL_RECORDS_MAX)
    throw new TallyError('ROW_TOO_LARGE', {
      what: `one append has ${records.length} records with ${characters} characters, more than ${CALL_RECORDS_MAX} or ${CALL_CHARACTERS_MAX}`,
      mend: 'append in several calls',
      details: { records: records.length, characters },
    });
  return characters;
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
