import type { CacheSupports } from '../../../ports/cache.ts';

/** How often those who wait for leases look, with as much again by chance. */
export const LOOK_MS = 10;

/** What the cache tier of SQLite can do. */
export const sqliteCacheSupports: CacheSupports = {
  ttlResolutionMs: 1,
  keyBytesMax: 1_024,
  payloadBytesMax: 16 * 2 ** 20,
  wakes: 'asks',
  // The system is asked whether the process of the holder is still there.
  deathNoticedMs: 3 * LOOK_MS,
  keepsBlockedHolder: true,
  watches: false,
  fences: true,
  tags: true,
};
