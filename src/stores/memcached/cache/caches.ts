import { TallyError } from '../../../core/errors.ts';
import {
  checkNumber,
  checkOneOf,
  checkOptions,
  checkString,
  DURATION_MAX_MS,
} from '../../../core/options.ts';
import type { Caches, CacheSupports, CacheTier, OpenCacheOptions } from '../../../ports/cache.ts';
import type { Random } from '../../../ports/clock.ts';
import type { MemcachedParts } from '../parts.ts';
import { ITEM_OVERHEAD_BYTES } from '../supports.ts';
import { cacheSupports, HEAD_BYTES_MAX } from './supports.ts';
import { MemcachedCacheTier } from './tier.ts';

const NAME_CHARACTERS_MAX = 200;

/** The caches of one Memcached, under `<prefix>_c:<name>:`. */
export function openCaches(parts: MemcachedParts, random: Random): Caches {
  const { itemBytesMax } = parts.link.life;
  const supports: CacheSupports = {
    ...cacheSupports,
    payloadBytesMax: itemBytesMax - ITEM_OVERHEAD_BYTES - HEAD_BYTES_MAX,
  };
  return {
    supports,
    async open(options: OpenCacheOptions): Promise<CacheTier> {
      checkOptions(options, ['name', 'payload', 'leaseMs'], 'cache');
      checkString(options.name, 'cache.name', { charactersMax: NAME_CHARACTERS_MAX });
      checkOneOf(options.payload, 'cache.payload', ['text', 'bytes']);
      checkNumber(options.leaseMs, 'cache.leaseMs', { min: 1, max: DURATION_MAX_MS });
      if (!options.name.isWellFormed())
        throw new TallyError('CONFIG_INVALID', {
          what: 'the name of the cache is no well-formed text',
          where: 'cache.name',
          mend: 'give another one',
        });
      return new MemcachedCacheTier(parts, options, { supports, random });
    },
  };
}
