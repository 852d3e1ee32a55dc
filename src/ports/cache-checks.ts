import { TallyError } from '../core/errors.ts';
import { checkNumber, DURATION_MAX_MS } from '../core/options.ts';
import type { CacheSupports, CacheValue } from './cache.ts';

/** Most tags of one entry: each costs every reader of it a look. */
const CACHE_TAGS_MAX = 32;
/** Keys of one call: a store serves nobody else while it answers one. */
const CACHE_KEYS_MAX = 10_000;

/** What every tier refuses of keys and tags before it does anything. Throws VALUE_UNSUPPORTED, ROW_TOO_LARGE. */
export function checkCacheKeys(
  what: 'key' | 'tag',
  names: readonly string[],
  bytesMax: number,
): void {
  if (names.length > CACHE_KEYS_MAX)
    throw tooLarge(`${names.length} ${what}s in one call`, names.length, CACHE_KEYS_MAX);
  for (const name of names) {
    // A lone surrogate becomes U+FFFD in UTF-8: two keys would be one.
    if (typeof name !== 'string' || name === '' || !name.isWellFormed())
      throw new TallyError('VALUE_UNSUPPORTED', {
        what: `a ${what} must be well-formed text, and not empty`,
      });
    // A UTF-16 unit is at most three bytes: most texts are known to fit without being measured.
    if (name.length * 3 <= bytesMax) continue;
    const bytes = Buffer.byteLength(name);
    if (bytes > bytesMax) throw tooLarge(`the ${what} of ${bytes} bytes`, bytes, bytesMax);
  }
}

/** What every tier refuses of values. Throws VALUE_UNSUPPORTED, ROW_TOO_LARGE, CONFIG_INVALID, CAPABILITY_MISSING. */
export function checkCacheValue(
  value: CacheValue,
  supports: CacheSupports,
  payload: 'text' | 'bytes',
): void {
  checkCacheKeys('key', [value.key], supports.keyBytesMax);
  if ((payload === 'text') !== (typeof value.payload === 'string'))
    throw new TallyError('VALUE_UNSUPPORTED', {
      what: `the payload is ${typeof value.payload === 'string' ? 'text' : 'bytes'}`,
      mend: `this cache was opened for ${payload}`,
    });
  const { length } = value.payload;
  if (length * 3 + value.note.length * 3 > supports.payloadBytesMax) {
    const bytes = byteLength(value.payload) + byteLength(value.note);
    if (bytes > supports.payloadBytesMax)
      throw tooLarge(`the value of ${bytes} bytes`, bytes, supports.payloadBytesMax);
  }
  checkNumber(value.freshMs, 'freshMs', { min: 0, max: DURATION_MAX_MS });
  checkNumber(value.keepMs, 'keepMs', { min: value.freshMs, max: DURATION_MAX_MS });
  checkNumber(value.loadMs, 'loadMs', { min: 0 });
  checkCacheTags(value.tags, supports);
  if (value.fence !== undefined) checkFences(supports);
}

/** Throws VALUE_UNSUPPORTED, ROW_TOO_LARGE, CAPABILITY_MISSING. */
export function checkCacheTags(tags: readonly string[], supports: CacheSupports): void {
  if (tags.length === 0) return;
  if (!supports.tags)
    throw new TallyError('CAPABILITY_MISSING', { what: 'this cache tier keeps no tags' });
  if (tags.length > CACHE_TAGS_MAX)
    throw tooLarge(`${tags.length} tags`, tags.length, CACHE_TAGS_MAX);
  checkCacheKeys('tag', tags, supports.keyBytesMax);
}

/** Throws CAPABILITY_MISSING. */
export function checkFences(supports: CacheSupports): void {
  if (!supports.fences)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'this cache tier compares no fences',
      mend: 'invalidate without one',
    });
}

function byteLength(payload: string | Uint8Array): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength;
}

function tooLarge(what: string, given: number, max: number): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what: `${what} is over the limit of ${max}`,
    mend: what.includes('key') ? 'use a digest of it' : 'cache less at once',
    details: { given, max },
  });
}
