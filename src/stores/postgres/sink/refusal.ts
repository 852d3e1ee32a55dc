import { errorText, TallyError } from '../../../core/errors.ts';
import { isDataError, sqlState } from '../errors.ts';

/** WRITE_REFUSED: this write, and no other, cannot be applied. */
export function refused(
  what: string,
  details: Readonly<Record<string, unknown>> = {},
  mend = 'change the projection, or the declaration of the target',
): TallyError {
  return new TallyError('WRITE_REFUSED', { what, mend, details });
}

/** VALUE_UNSUPPORTED: PostgreSQL has no place for such a value. */
export function unsupported(what: string, column?: string): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what,
    ...(column === undefined ? {} : { where: `column ${column}` }),
    mend: 'project the text without it, or as bytes',
    details: column === undefined ? {} : { column },
  });
}

/** Refuses a row whose canonical text is over the limit. Throws ROW_TOO_LARGE. */
export function checkSize(text: string, bytesMax: number): void {
  // A UTF-16 unit is at most three bytes: most rows are known to fit without being measured.
  if (text.length * 3 <= bytesMax) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= bytesMax) return;
  throw new TallyError('ROW_TOO_LARGE', {
    what: `the row has ${bytes} bytes, the limit is ${bytesMax}`,
    mend: 'store the large part as an object and keep its key in the row, or raise rowBytesMax',
    details: { bytes, bytesMax },
  });
}

/** Refuses what no text of PostgreSQL can hold. Throws VALUE_UNSUPPORTED. */
export function checkText(text: string, column?: string): void {
  if (text.includes('\0'))
    throw unsupported('a text has the character U+0000, which PostgreSQL does not store', column);
  // Half of a surrogate pair has no UTF-8: on its way it would silently become another character.
  if (!text.isWellFormed())
    throw unsupported('a text has half of a surrogate pair, which is no character', column);
}

/**
 * Refuses canonical JSON that jsonb cannot hold. In it, U+0000 and halves of surrogate pairs stand as escapes.
 * Throws VALUE_UNSUPPORTED.
 */
export function checkJson(text: string, column?: string): void {
  if (!text.includes('\\u')) return;
  if (/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/.test(text))
    throw unsupported(
      'a text has the character U+0000 or half of a surrogate pair, which jsonb does not store',
      column,
    );
}

/**
 * Whether a statement failed for the sake of single rows, so that the others can still go in: the values, a
 * constraint, a view's check option, a trigger that raises, two keys that are one once they have the column's type.
 */
export function isRowError(error: unknown): boolean {
  return isDataError(error) || /^(21|44|P0)/.test(sqlState(error) ?? '');
}

/** What one write failed with, as an error a person can act on. */
export function writeFailure(error: unknown, target: string): TallyError {
  if (error instanceof TallyError) return error;
  const state = sqlState(error);
  const { constraint, column } = fieldsOf(error);
  const named = [
    state === undefined ? '' : `SQLSTATE ${state}`,
    constraint === undefined ? '' : `constraint ${constraint}`,
    column === undefined ? '' : `column ${column}`,
  ].filter((part) => part !== '');
  const encoding = state === '22021' || state === '22P05';
  return new TallyError(encoding ? 'VALUE_UNSUPPORTED' : 'WRITE_REFUSED', {
    what: `PostgreSQL refused the write: ${errorText(error, 300)}${named.length === 0 ? '' : `; ${named.join(', ')}`}`,
    where: `target ${target}`,
    mend: encoding
      ? 'use a database with the encoding UTF8, or project the text without these characters'
      : 'change the projection, or the constraints of the target',
    details: { target, state, constraint, column },
    cause: error,
  });
}

function fieldsOf(error: unknown): { constraint?: string; column?: string } {
  if (typeof error !== 'object' || error === null) return {};
  const found: { constraint?: string; column?: string } = {};
  if ('constraint' in error && typeof error.constraint === 'string')
    found.constraint = error.constraint;
  if ('column' in error && typeof error.column === 'string') found.column = error.column;
  return found;
}
