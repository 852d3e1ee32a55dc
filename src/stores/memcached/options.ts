import { TallyError } from '../../core/errors.ts';
import { checkDuration, checkOptions, checkString } from '../../core/options.ts';
import { PREFIX_BYTES_MAX } from './supports.ts';
import type { Endpoint } from './wire/connection.ts';

/** How to reach a Memcached, and what its keys are called. */
export interface MemcachedOptions {
  /**
   * `memcached://user:password@host:11211`, or `memcacheds://` for TLS; the user and password are those of its `-Y`
   * file. One server: which of several holds a key is the business of a proxy before them.
   */
  readonly url: string;
  /** What every key of this store starts with, e.g. `shop:`. Not given: nothing. Printable ASCII, at most 23 bytes. */
  readonly prefix?: string;
  /** Silence after which a connection with commands under way is given up. Default 2 s. */
  readonly timeoutMs?: number;
}

/** Options that were checked, with defaults filled in. */
export interface CheckedOptions {
  readonly endpoint: Endpoint;
  readonly credentials: { readonly user: string; readonly password: string } | undefined;
  readonly prefix: string;
  readonly timeoutMs: number;
}

/** A thousand times what an answer takes; longer silence is a server that hangs, or a network that is gone. */
const TIMEOUT_MS = 2_000;
const PORT = 11_211;

/** Checks options without connecting. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function checkMemcachedOptions(options: MemcachedOptions): CheckedOptions {
  checkOptions(options, ['url', 'prefix', 'timeoutMs'], 'memcached');
  const { url, prefix = '', timeoutMs = TIMEOUT_MS } = options;
  checkString(prefix, 'memcached.prefix', {
    charactersMin: 0,
    charactersMax: PREFIX_BYTES_MAX,
    pattern: { matches: /^[!-~]*$/, says: 'printable ASCII without spaces' },
  });
  checkDuration(timeoutMs, 'memcached.timeoutMs', { min: 1 });
  return { ...addressOf(url), prefix, timeoutMs };
}

/** The message never repeats the address: there may be a password in it. */
function addressOf(url: string): Pick<CheckedOptions, 'endpoint' | 'credentials'> {
  checkString(url, 'memcached.url');
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const user = decoded(parsed?.username);
  const password = decoded(parsed?.password);
  if (
    parsed === undefined ||
    !/^memcacheds?:$/.test(parsed.protocol) ||
    parsed.hostname === '' ||
    !/^\/?$/.test(parsed.pathname) ||
    user === undefined ||
    password === undefined
  )
    throw new TallyError('CONFIG_INVALID', {
      what: 'this is not the address of a Memcached',
      where: 'memcached.url',
      mend: 'write memcached://host:11211, or memcacheds:// for TLS; a password with special characters in it is percent-encoded',
      details: { path: 'memcached.url' },
    });
  return {
    endpoint: {
      // An IPv6 address stands in brackets in a URL only.
      host: parsed.hostname.replaceAll(/^\[|\]$/g, ''),
      port: parsed.port === '' ? PORT : Number(parsed.port),
      tls: parsed.protocol === 'memcacheds:',
    },
    credentials: user === '' ? undefined : { user, password },
  };
}

function decoded(text = ''): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
