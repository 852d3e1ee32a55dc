import { errorText, TallyError } from '../../core/errors.ts';

/** The text of recorded spans or queries: what fits a string of the engine with room to spare. */
const OBSERVED_CHARACTERS_MAX = 268_435_456;

/**
 * The JSON objects of a text, one a line, or one over the whole text. A last line that was cut off, because the file is
 * still being written, is left out; any other line that is no object is INPUT_INVALID with its number.
 */
export function* jsonLines(
  text: string,
  file: string,
): Generator<readonly [line: number, value: object]> {
  if (text.length > OBSERVED_CHARACTERS_MAX)
    throw invalid(`more than ${OBSERVED_CHARACTERS_MAX} characters`, file, 'give fewer at a time');
  const whole = wholeObject(text);
  if (whole !== undefined) {
    yield [1, whole];
    return;
  }
  let line = 0;
  let start = 0;
  while (start < text.length) {
    line += 1;
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const part = text.slice(start, end).trim();
    start = end + 1;
    if (part === '') continue;
    try {
      yield [line, object(JSON.parse(part))];
    } catch (cause) {
      if (newline === -1 && line > 1) return;
      throw invalid(
        `the line is no JSON object: ${errorText(cause, 120)}`,
        `${file}:${line}`,
        'write one object a line',
        cause,
      );
    }
  }
}

/** An export that was written over many lines for people. */
function wholeObject(text: string): object | undefined {
  const first = text.indexOf('\n');
  if (first !== -1 && isObjectText(text.slice(0, first))) return undefined;
  try {
    return object(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isObjectText(line: string): boolean {
  const trimmed = line.trim();
  return trimmed.startsWith('{') && trimmed.endsWith('}') && trimmed.length > 2;
}

function object(value: unknown): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError('it is not an object');
  return value;
}

function invalid(what: string, where: string, mend: string, cause?: unknown): TallyError {
  return new TallyError('INPUT_INVALID', {
    what,
    where,
    mend,
    ...(cause === undefined ? {} : { cause }),
  });
}
