import { TallyError } from '../../../core/errors.ts';
import { isTooBig } from './host.ts';

/** WRITE_REFUSED: this write, and no other, cannot be applied. */
export function refused(
  what: string,
  details: Readonly<Record<string, unknown>> = {},
  mend = 'change the projection, or the declaration of the target',
): TallyError {
  return new TallyError('WRITE_REFUSED', { what, mend, details });
}

/** Refuses a row whose canonical text is over the limit. Throws ROW_TOO_LARGE. */
export function checkSize(text: string, bytesMax: number): void {
  // A UTF-16 unit is at most three bytes: most rows are known to fit without being measured.
  if (text.length * 3 <= bytesMax) return;
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) throw tooLarge(bytes, bytesMax);
}

function tooLarge(bytes: number | undefined, bytesMax: number | undefined): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what:
      bytes === undefined
        ? 'the row is larger than SQLite takes'
        : `the row has ${bytes} bytes, the limit is ${bytesMax}`,
    mend: 'store the large part as an object and keep its key in the row, or raise rowBytesMax',
    details: { bytes, bytesMax },
  });
}

/** What one write failed with, as an error a person can act on. */
export function writeFailure(error: unknown, target: string): TallyError {
  if (error instanceof TallyError) return error;
  if (isTooBig(error)) return tooLarge(undefined, undefined);
  const text = error instanceof Error ? error.message : String(error);
  return new TallyError('WRITE_REFUSED', {
    what: `SQLite refused the write: ${text}`,
    where: `target ${target}`,
    mend: 'change the projection, or the constraints of the target',
    details: { target },
    cause: error,
  });
}
