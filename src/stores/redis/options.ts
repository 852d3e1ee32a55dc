import {
  checkDuration,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkString,
  fieldPath,
} from '../../core/options.ts';
import { TallyError } from '../../core/errors.ts';
import { EFFECT_RETENTION_MS } from '../../ports/effects.ts';
import type { RedisAddress } from './driver.ts';
import type { Eviction } from './eviction.ts';
import { Catalogue } from './sink/catalogue.ts';
import { Names } from './sink/names.ts';
import { checkTargets, type Targets } from './sink/targets.ts';
import { sinkSupports } from './supports.ts';

/** What both kinds of Redis are told. */
export interface RedisOptions {
  /**
   * What every key of this store starts with, e.g. `shop:`. Not given: nothing, so that a row of `products` is
   * at `products:sku-1`. Without braces.
   */
  readonly prefix?: string;
  /** What targets look like, by name; one that is not named holds JSON texts. */
  readonly targets?: Targets;
  /**
   * Over how many hash slots the rows are spread, 1 if not given. In a cluster 16, say, share the work among its
   * nodes; then `products:sku-1` is at `products:{3}:sku-1`, and there is no fold state. Not to be changed later.
   */
  readonly buckets?: number;
  /** The largest row, as bytes of its canonical text. Default 8 MiB. */
  readonly rowBytesMax?: number;
  /** `refuse` (default): flows do not write where Redis may evict the fences. `accept`: they do, unprotected. */
  readonly eviction?: Eviction;
  /** How long markers of effects are kept after the start of their saga. Default 30 days. */
  readonly effectRetention?: number | string;
}

/** One server, with or without replicas. */
export interface RedisServerOptions extends RedisOptions {
  /** `redis://user:password@host:6379/0`, or `rediss://` for TLS. */
  readonly url: string;
  readonly cluster?: undefined;
}

/** A Redis Cluster. */
export interface RedisClusterOptions extends RedisOptions {
  /** Some of its nodes; the others are found through them. */
  readonly cluster: readonly string[];
  readonly url?: undefined;
}

/** Options that were checked, with defaults filled in. */
export interface CheckedOptions {
  readonly address: RedisAddress;
  readonly prefix: string;
  readonly names: Names;
  readonly catalogue: Catalogue;
  readonly eviction: Eviction;
  readonly effectRetentionMs: number;
}

const BUCKETS_MAX = 1_024;
/** Redis takes no text over 512 MB; a row of this size keeps it from serving others for about 100 ms. */
const ROW_BYTES_LIMIT = 64 * 2 ** 20;
const known = [
  'url',
  'cluster',
  'prefix',
  'targets',
  'buckets',
  'rowBytesMax',
  'eviction',
  'effectRetention',
];

const PREFIX_CHARACTERS_MAX = 200;

/** Checks options without connecting. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function checkRedisOptions(
  options: RedisServerOptions | RedisClusterOptions,
): CheckedOptions {
  checkOptions(options, known, 'redis');
  const {
    prefix = '',
    targets = {},
    buckets = 1,
    rowBytesMax = sinkSupports.rowBytesMax,
    eviction = 'refuse',
    effectRetention = EFFECT_RETENTION_MS,
  } = options;
  checkString(prefix, 'redis.prefix', {
    charactersMin: 0,
    charactersMax: PREFIX_CHARACTERS_MAX,
    pattern: {
      matches: /^[^{}]*$/,
      says: 'a text without braces: they would say where a cluster keeps the key',
    },
  });
  checkNumber(buckets, 'redis.buckets', { min: 1, max: BUCKETS_MAX, integer: true });
  checkNumber(rowBytesMax, 'redis.rowBytesMax', {
    min: 1_024,
    max: ROW_BYTES_LIMIT,
    integer: true,
  });
  checkOneOf(eviction, 'redis.eviction', ['refuse', 'accept']);
  const address = addressOf(options);
  return {
    address,
    prefix,
    names: new Names({ prefix, buckets, cluster: address.kind === 'cluster' }),
    catalogue: new Catalogue(checkTargets(targets, 'redis.targets', buckets), rowBytesMax),
    eviction,
    effectRetentionMs: Math.ceil(
      checkDuration(effectRetention, 'redis.effectRetention', { min: 1_000 }),
    ),
  };
}

function addressOf(options: RedisServerOptions | RedisClusterOptions): RedisAddress {
  if ((options.url === undefined) === (options.cluster === undefined))
    throw new TallyError('CONFIG_INVALID', {
      what:
        options.url === undefined ? 'no address is given' : 'both a url and a cluster are given',
      where: 'redis',
      mend: 'give url for one server, or cluster with the addresses of some nodes',
    });
  if (options.url !== undefined) return { kind: 'server', url: checkUrl(options.url, 'redis.url') };
  if (!Array.isArray(options.cluster) || options.cluster.length === 0)
    throw new TallyError('CONFIG_INVALID', {
      what: 'the cluster has no addresses',
      where: 'redis.cluster',
      mend: "give the addresses of some nodes: ['redis://host-1:6379', 'redis://host-2:6379']",
    });
  return {
    kind: 'cluster',
    urls: options.cluster.map((url: string, index) =>
      checkUrl(url, fieldPath('redis.cluster', index)),
    ),
  };
}

/** The message never repeats the address: there may be a password in it. */
function checkUrl(url: string, path: string): string {
  checkString(url, path);
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isAddress =
    parsed !== undefined &&
    /^rediss?:$/.test(parsed.protocol) &&
    parsed.hostname !== '' &&
    /^\/?\d*$/.test(parsed.pathname) &&
    isEncoded(parsed.username) &&
    isEncoded(parsed.password);
  if (isAddress) return url;
  throw new TallyError('CONFIG_INVALID', {
    what: 'this is not the address of a Redis',
    where: path,
    mend: 'write redis://host:6379, with /3 behind it for database 3, or rediss:// for TLS; a password with special characters in it is percent-encoded',
    details: { path },
  });
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
