import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions, checkString, DURATION_MAX_MS } from '../../../core/options.ts';
import type { Caches, CacheTier, OpenCacheOptions } from '../../../ports/cache.ts';
import type { RedisParts } from '../parts.ts';
import { cacheSupports } from './supports.ts';
import { RedisCacheTier } from './tier.ts';

/** Caches in one Redis server. Not on a cluster: a script there sees one slot only. */
export function openCaches(parts: RedisParts): Caches {
  return {
    supports: cacheSupports,
    async open(options: OpenCacheOptions): Promise<CacheTier> {
      checkOptions(options, ['name', 'payload', 'leaseMs'], 'cache');
      checkString(options.name, 'cache.name', {
        pattern: { matches: /^[\w.-]+$/, says: 'letters, digits, "_", "." and "-"' },
      });
      checkNumber(options.leaseMs, 'cache.leaseMs', { min: 1, max: DURATION_MAX_MS });
      if (parts.address.kind === 'cluster')
        throw new TallyError('CAPABILITY_MISSING', {
          what: 'caches are kept on one Redis server, not on a cluster',
          where: parts.where,
          mend: 'open a store of one server for them',
        });
      return RedisCacheTier.open(parts, parts.address.url, options);
    },
  };
}
