import type { CacheSupports } from '../../../ports/cache.ts';
import { keyValueSupports } from '../supports.ts';

/** Of an item, for the head of its record: times, lease, note and tags. The rest is payload and note. */
export const HEAD_BYTES_MAX: number = 48 * 1024;
/** How long the sign of life of a holder may stay the same until it is taken for dead: eight that did not come. */
export const SILENCE_MS = 500;
/** How often it must have been seen unchanged: whoever looks may have stood still himself. */
export const SILENT_LOOKS = 20;
/** How often it changes. */
export const BEAT_MS = 60;
/** How often those who wait for leases look, with as much again by chance. */
export const LOOK_MS = 10;

/** What the cache tier of Memcached can do, on a server that was started without `-I`. */
export const cacheSupports: CacheSupports = {
  ttlResolutionMs: 1_000,
  keyBytesMax: 1_024,
  payloadBytesMax: keyValueSupports.valueBytesMax - HEAD_BYTES_MAX,
  // Memcached tells nobody anything.
  wakes: 'asks',
  deathNoticedMs: SILENCE_MS + 100,
  // A process that is stopped gives no sign of life. It loses its lease, and nothing else: what it then loads is void.
  keepsBlockedHolder: false,
  watches: false,
  // Memcached may forget the tombstone that would refuse an older value.
  fences: false,
  tags: true,
};
