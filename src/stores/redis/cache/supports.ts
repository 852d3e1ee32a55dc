import type { CacheSupports } from '../../../ports/cache.ts';

/** What a cache tier in Redis can do. */
export const cacheSupports: CacheSupports = {
  ttlResolutionMs: 1,
  keyBytesMax: 4_096,
  // 8 MiB: while it takes a value in, Redis serves nobody else.
  payloadBytesMax: 8_388_608,
  wakes: 'told',
  // The kernel closes the connection of a dead process at once; those who wait look every 20 ms.
  deathNoticedMs: 50,
  keepsBlockedHolder: true,
  watches: true,
  fences: true,
  tags: true,
};
