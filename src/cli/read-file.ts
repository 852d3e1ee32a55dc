import { readFile } from 'node:fs/promises';
import { errorText, TallyError } from '../core/errors.ts';

/** The text of a file that was named on the command line. Throws INPUT_INVALID if it cannot be read. */
export async function readText(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new TallyError('INPUT_INVALID', {
      what: `${what} cannot be read: ${errorText(cause, 200)}`,
      where: file,
      mend: 'give the path of a file that exists',
      cause,
    });
  }
}
