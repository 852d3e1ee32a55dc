/** Longer texts are cut: a fingerprint is for people as well. */
const CHARACTERS_MAX = 500;
/** More of a query than this is not looked at. */
const LOOKED_AT_MAX = 10_000;

/**
 * What queries have in common that differ in their values only: literals and parameters become `?`, lists of
 * them one, white space one space. For SQL of any dialect; it need not understand it.
 */
export function sqlFingerprint(sql: string): string {
  const text = sql
    .slice(0, LOOKED_AT_MAX)
    .replaceAll(/\/\*[^*]*\*\/|--[^\n]*/g, ' ')
    .replaceAll(/'(?:[^']|'')*'/g, '?')
    .replaceAll(/\$\d+|[:@]\w+\b|(?<![\w"`])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b/gi, '?')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\(\s*\?(?:\s*,\s*\?)*\s*\)/g, '(?)')
    .replaceAll(/\(\?\)(?:\s*,\s*\(\?\))+/g, '(?)')
    .trim();
  return text.slice(0, CHARACTERS_MAX);
}

/** A command with its key, in which numbers and identifiers are one: `GET session:?`. */
export function commandFingerprint(parts: readonly unknown[]): string {
  const [name = '', key = ''] = parts.slice(0, 2).map((part) => textOf(part));
  const shape = key
    .slice(0, LOOKED_AT_MAX)
    .replaceAll(/[\da-f]{8}-[\da-f-]{27}/gi, '?')
    .replaceAll(/(?<=^|[:/._-])[\w@.+]*\d[\w@.+]*/g, '?');
  return `${name.toUpperCase()} ${shape}`.trim().slice(0, CHARACTERS_MAX);
}

function textOf(part: unknown): string {
  if (typeof part === 'string') return part;
  return typeof part === 'number' || typeof part === 'bigint' ? String(part) : '';
}
