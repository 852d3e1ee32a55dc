const LAST_CODE_POINT = 0x10_ff_ff;

/**
 * The least text above every text that starts with `prefix`, in code point order, which is the byte
 * order of UTF-8 that the database sorts by; undefined if there is none.
 */
export function afterPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === LAST_CODE_POINT) continue;
    // The surrogates U+D800 to U+DFFF are no characters of their own.
    const next = last === 0xd7_ff ? 0xe0_00 : last + 1;
    return String.fromCodePoint(...points, next);
  }
  return undefined;
}
