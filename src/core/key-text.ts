import { decodeKey, encodeKey } from './codec.ts';
import type { Key } from './row.ts';

/**
 * A key as the text in a `key` column: a single text stands as it is, so that people can query by
 * it; anything else, and a text that would read as such a list or does not survive UTF-8, is the
 * canonical list. Two keys never share a text.
 */
export function keyText(key: Key): string {
  const only = key[0];
  return key.length === 1 && typeof only === 'string' && standsAlone(only) ? only : encodeKey(key);
}

/** The key behind {@link keyText}. */
export function keyOfText(text: string): Key {
  return text.startsWith('[') ? decodeKey(text) : [text];
}

function standsAlone(text: string): boolean {
  return !text.startsWith('[') && text.isWellFormed() && !text.includes('\0');
}
