/*
 * PostgreSQL's text holds every character but U+0000. The escape keeps the byte order and so every comparison by
 * prefix and range: U+0000 becomes U+0001 U+0001, and U+0001 itself U+0001 U+0002. All other text stays readable.
 */
// oxlint-disable-next-line no-control-regex -- these two are what it is about
const UNSTORABLE = /[\u0000\u0001]/;
// oxlint-disable-next-line no-control-regex -- as above
const EACH_UNSTORABLE = /[\u0000\u0001]/g;
// oxlint-disable-next-line no-control-regex -- as above
const EACH_ESCAPED = /\u0001[\u0001\u0002]/g;

/** A text as it is stored. */
export function toStored(text: string): string {
  if (!UNSTORABLE.test(text)) return text;
  return text.replaceAll(EACH_UNSTORABLE, (character) =>
    character === '\u0000' ? '\u0001\u0001' : '\u0001\u0002',
  );
}

/** A text as it was before it was stored. */
export function fromStored(text: string): string {
  if (!text.includes('\u0001')) return text;
  return text.replaceAll(EACH_ESCAPED, (pair) => (pair === '\u0001\u0001' ? '\u0000' : '\u0001'));
}

const LAST_CODE_POINT = 0x10_ff_ff;

/**
 * The least text above every text that starts with `prefix`, in the byte order of UTF-8; undefined if there is none.
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
