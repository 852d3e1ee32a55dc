import type { KeyValueSupports } from '../../ports/key-value.ts';

/** What a store may put before its keys. */
export const PREFIX_BYTES_MAX = 23;
/** A key of Memcached has 250 bytes, as base64 187; the rest of them is the prefix and `_kv:`. */
export const KEY_BYTES_MAX = 160;
/** Header, key and version of an item, which count towards its size. */
export const ITEM_OVERHEAD_BYTES = 1_024;

/** What the key-value port of Memcached can do, on a server that was started without `-I`. */
export const keyValueSupports: KeyValueSupports = {
  ttlResolutionMs: 1_000,
  compareAndSet: true,
  keyBytesMax: KEY_BYTES_MAX,
  valueBytesMax: 1_048_576 - ITEM_OVERHEAD_BYTES,
};
