import { checkOptions, checkString, fieldPath } from '../../core/options.ts';
import { TallyError } from '../../core/errors.ts';
import type { RedisAddress } from './driver.ts';

/** What both kinds of Redis are told. */
export interface RedisOptions {
  /**
   * What every key of this store starts with, e.g. `shop:`. Not given: nothing, so that a row of `products` is
   * at `products:sku-1`. Without braces.
   */
  readonly prefix?: string;
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
}

const PREFIX_CHARACTERS_MAX = 200;

/** Checks options without connecting. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function checkRedisOptions(
  options: RedisServerOptions | RedisClusterOptions,
): CheckedOptions {
  checkOptions(options, ['url', 'cluster', 'prefix'], 'redis');
  const { prefix = '' } = options;
  checkString(prefix, 'redis.prefix', {
    charactersMin: 0,
    charactersMax: PREFIX_CHARACTERS_MAX,
    pattern: {
      matches: /^[^{}]*$/,
      says: 'a text without braces: they would say where a cluster keeps the key',
    },
  });
  return { address: addressOf(options), prefix };
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
  if (parsed !== undefined && /^rediss?:$/.test(parsed.protocol) && parsed.hostname !== '')
    return url;
  throw new TallyError('CONFIG_INVALID', {
    what: 'this is not the address of a Redis',
    where: path,
    mend: 'write redis://host:6379, or rediss:// for TLS; a password with special characters in it is percent-encoded',
    details: { path },
  });
}
