import { createHash } from 'node:crypto';

/** What the items of one cache are called. */
export interface CacheNames {
  /** The item of a key: its entry, its lease, and whatever else is known of it. */
  key(key: string): string;
  /** The item that says when a tag was last invalidated. */
  tag(tag: string): string;
  /** The item by which others see that a holder of leases is alive. */
  holder(id: string): string;
  /** The item that counts invalidations of tags. */
  readonly sequence: string;
}

/** A name of Memcached in bytes, before base64. */
const NAME_BYTES_MAX = 187;
/** Longer names of caches leave little room for keys. */
const CACHE_NAME_BYTES_MAX = 40;

/** Names under `<prefix>_c:<cache>:`. What is too long for Memcached is named by its SHA-256. */
export function cacheNames(prefix: string, cache: string): CacheNames {
  // A colon in the name could make two caches one.
  const isPlain = /^[^:]+$/.test(cache) && Buffer.byteLength(cache) <= CACHE_NAME_BYTES_MAX;
  const root = `${prefix}_c:${isPlain ? cache : `:${digest(cache)}`}:`;
  const room = NAME_BYTES_MAX - Buffer.byteLength(root) - 1;
  const named = (kind: string, text: string): string =>
    // A UTF-16 unit is at most three bytes: most texts are known to fit without being measured.
    text.length * 3 <= room || Buffer.byteLength(text) <= room
      ? `${root}${kind}${text}`
      : `${root}${kind.toUpperCase()}${digest(text)}`;
  return {
    key: (key) => named('k', key),
    tag: (tag) => named('t', tag),
    holder: (id) => `${root}h${id}`,
    sequence: `${root}s`,
  };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
