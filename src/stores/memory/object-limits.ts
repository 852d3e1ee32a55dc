import { TallyError } from '../../core/errors.ts';

const KEY_BYTES_MAX = 1_024;
const PART_NUMBER_MAX = 10_000;

/** Refuses what is no key of an object with VALUE_UNSUPPORTED. */
export function checkObjectKey(key: string): void {
  if (key !== '' && key.isWellFormed() && Buffer.byteLength(key) <= KEY_BYTES_MAX) return;
  throw unsupported(
    `an object key of ${Buffer.byteLength(key)} bytes cannot be used`,
    `give well-formed text of 1 to ${KEY_BYTES_MAX} bytes`,
  );
}

/** Refuses metadata that is not text with VALUE_UNSUPPORTED. */
export function checkMetadata(key: string, metadata: Readonly<Record<string, string>> = {}): void {
  for (const [name, value] of Object.entries(metadata))
    if (typeof value !== 'string')
      throw unsupported(
        `metadata ${JSON.stringify(name)} of object ${JSON.stringify(key)} is not text`,
        'turn it into text',
      );
}

/** Refuses a range that is none with VALUE_UNSUPPORTED; `end` is the first byte that is not wanted. */
export function checkRange(
  range: { readonly start: number; readonly end?: number } | undefined,
): void {
  if (range === undefined) return;
  const { start, end = start } = range;
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start)
    return;
  throw unsupported(
    `the range from ${start} to ${end} cannot be read`,
    'give whole numbers, start first',
  );
}

/** Refuses what is no number of a part with VALUE_UNSUPPORTED. */
export function checkPartNumber(number: number): void {
  if (Number.isSafeInteger(number) && number >= 1 && number <= PART_NUMBER_MAX) return;
  throw unsupported(
    `${number} is no part number`,
    `give a whole number from 1 to ${PART_NUMBER_MAX}`,
  );
}

/** Refuses to complete an upload of nothing with VALUE_UNSUPPORTED. */
export function checkHasParts(key: string, parts: number): void {
  if (parts > 0) return;
  throw unsupported(
    `the upload of ${JSON.stringify(key)} has no parts`,
    'send a part first, or put an empty object',
  );
}

function unsupported(what: string, mend: string): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', { what, mend });
}
