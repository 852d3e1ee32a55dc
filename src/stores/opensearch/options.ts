import { TallyError } from '../../core/errors.ts';
import {
  checkDuration,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkString,
} from '../../core/options.ts';
import { checkPrefix } from './sink/names.ts';
import { checkTargets, type Targets } from './sink/targets.ts';
import { sinkSupports } from './supports.ts';

/** Who asks. */
export type OpenSearchAuth =
  | { readonly user: string; readonly password: string }
  /** Base64 of `id:key`, as the server gave it. */
  | { readonly apiKey: string }
  /** A token of OAuth, or of a service account. */
  | { readonly bearer: string };

/** What the server's certificate is checked with, and a certificate of one's own. PEM texts. */
export interface OpenSearchTls {
  /** Who signed the server's certificate, where the system does not know. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name in the certificate, if it is not that of the url. */
  readonly serverName?: string;
}

/**
 * `search`: a flow has got somewhere once a search finds it; the index is refreshed before the checkpoint. `get`: once a
 * GET by id returns it; searches find it with the index's own `refresh_interval`.
 */
export type Visibility = 'search' | 'get';

/** How to reach an OpenSearch or Elasticsearch, and what its indices look like. */
export interface OpenSearchOptions {
  /** `https://user:password@host:9200`: one node, or what stands before several. A path is put before every request. */
  readonly url: string;
  readonly auth?: OpenSearchAuth;
  readonly tls?: OpenSearchTls;
  /** What every index and alias of this store starts with, e.g. `shop-`. Not given: nothing. */
  readonly prefix?: string;
  /** What the indices look like, by target; one that is not named takes every member, by the server's dynamic mapping. */
  readonly targets?: Targets;
  /** What a barrier waits for. Default `search`. */
  readonly visible?: Visibility;
  /** Of what is sent and answered. Default `none`; `gzip` where the network costs more than processors. */
  readonly compression?: 'none' | 'gzip';
  /** How long one answer may take. Default 30 s. */
  readonly timeoutMs?: number;
  /** The largest row, in bytes of its JSON. Default 1 MiB. */
  readonly rowBytesMax?: number;
}

/** Where the server is, and how it is spoken to. */
export interface Endpoint {
  readonly isTls: boolean;
  readonly host: string;
  readonly port: number;
  readonly basePath: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: OpenSearchTls;
  readonly compression: 'none' | 'gzip';
  readonly timeoutMs: number;
}

/** Options that were checked, with defaults filled in. */
export interface CheckedOptions {
  readonly endpoint: Endpoint;
  readonly prefix: string;
  readonly targets: Targets;
  readonly visible: Visibility;
  readonly rowBytesMax: number;
}

/** A bulk of large documents takes seconds on a small node; the server's own limit for a shard is a minute. */
const TIMEOUT_MS = 30_000;
const PORT = 9_200;
/** The server takes 100 MB in one request, and parses it in memory. */
const ROW_BYTES_LIMIT: number = 64 * 2 ** 20;

const known = [
  'url',
  'auth',
  'tls',
  'prefix',
  'targets',
  'visible',
  'compression',
  'timeoutMs',
  'rowBytesMax',
];

/** Checks options without connecting. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION. */
export function checkOpenSearchOptions(options: OpenSearchOptions): CheckedOptions {
  checkOptions(options, known, 'opensearch');
  const {
    prefix = '',
    targets = {},
    tls = {},
    visible = 'search',
    compression = 'none',
    timeoutMs = TIMEOUT_MS,
    rowBytesMax = sinkSupports.rowBytesMax,
  } = options;
  checkPrefix(prefix, 'opensearch.prefix');
  checkOptions(tls, ['ca', 'cert', 'key', 'serverName'], 'opensearch.tls');
  for (const [name, text] of Object.entries(tls)) checkString(text, `opensearch.tls.${name}`);
  checkOneOf(visible, 'opensearch.visible', ['search', 'get']);
  checkOneOf(compression, 'opensearch.compression', ['none', 'gzip']);
  checkDuration(timeoutMs, 'opensearch.timeoutMs', { min: 100 });
  checkNumber(rowBytesMax, 'opensearch.rowBytesMax', {
    min: 1_024,
    max: ROW_BYTES_LIMIT,
    integer: true,
  });
  const address = addressOf(options.url);
  const authorization = authorizationOf(options.auth) ?? address.authorization;
  return {
    endpoint: {
      ...address.at,
      headers: {
        accept: 'application/json',
        ...(authorization === undefined ? {} : { authorization }),
        ...(compression === 'gzip' ? { 'accept-encoding': 'gzip' } : {}),
      },
      tls,
      compression,
      timeoutMs,
    },
    prefix,
    targets: checkTargets(targets, 'opensearch.targets'),
    visible,
    rowBytesMax,
  };
}

interface Address {
  readonly at: Pick<Endpoint, 'isTls' | 'host' | 'port' | 'basePath'>;
  readonly authorization: string | undefined;
}

/** The message never repeats the address: there may be a password in it. */
function addressOf(url: string): Address {
  checkString(url, 'opensearch.url');
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const user = decoded(parsed?.username);
  const password = decoded(parsed?.password);
  if (
    parsed === undefined ||
    !/^https?:$/.test(parsed.protocol) ||
    parsed.hostname === '' ||
    parsed.search !== '' ||
    user === undefined ||
    password === undefined
  )
    throw new TallyError('CONFIG_INVALID', {
      what: 'this is not the address of an OpenSearch or Elasticsearch',
      where: 'opensearch.url',
      mend: 'write https://host:9200; a password with special characters in it is percent-encoded, or stands in opensearch.auth',
      details: { path: 'opensearch.url' },
    });
  return {
    at: {
      isTls: parsed.protocol === 'https:',
      // An IPv6 address stands in brackets in a URL only.
      host: parsed.hostname.replaceAll(/^\[|\]$/g, ''),
      port: portOf(url, parsed),
      basePath: parsed.pathname.replace(/\/+$/, ''),
    },
    authorization: user === '' ? undefined : basic(user, password),
  };
}

/** A URL forgets a port that is its scheme's own: `https://host:443` is not port 9200. */
function portOf(url: string, parsed: URL): number {
  if (parsed.port !== '') return Number(parsed.port);
  const own = parsed.protocol === 'https:' ? 443 : 80;
  return /:\d+(?:\/|$)/.test(url) ? own : PORT;
}

function authorizationOf(auth: OpenSearchAuth | undefined): string | undefined {
  if (auth === undefined) return undefined;
  checkOptions(auth, ['user', 'password', 'apiKey', 'bearer'], 'opensearch.auth');
  for (const [name, text] of Object.entries(auth)) checkString(text, `opensearch.auth.${name}`);
  const names = Object.keys(auth).toSorted().join(' and ');
  if ('apiKey' in auth && names === 'apiKey') return `ApiKey ${auth.apiKey}`;
  if ('bearer' in auth && names === 'bearer') return `Bearer ${auth.bearer}`;
  if ('user' in auth && names === 'password and user') return basic(auth.user, auth.password);
  throw new TallyError('CONFIG_INVALID', {
    what: `${names === '' ? 'nothing' : names} is no way to say who asks`,
    where: 'opensearch.auth',
    mend: 'give user and password, or apiKey, or bearer',
    details: { path: 'opensearch.auth' },
  });
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`, 'utf8').toString('base64')}`;
}

function decoded(text = ''): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
