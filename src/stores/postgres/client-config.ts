import type pg from 'pg';
import type { PgDriver } from './driver.ts';
import { checkUrl, type ConnectionOptions, type PoolOptions } from './options.ts';

/** The URL taken apart by the driver itself, so that it means here what it means everywhere. */
export async function clientConfig(
  driver: PgDriver,
  options: ConnectionOptions,
): Promise<pg.ClientConfig> {
  const { url, ssl } = options;
  const text = await readUrl(url);
  const parsed = parseUrl(driver, text);
  const password =
    options.password ??
    (typeof url === 'function'
      ? async () => passwordOf(parseUrl(driver, await readUrl(url)))
      : passwordOf(parsed));
  const { host, port, user, database } = parsed;
  const found: PoolOptions & pg.ClientConfig = { host, port, user, database };
  if (typeof password === 'function' || password !== '') found.password = password;
  const encryption: pg.ClientConfig['ssl'] = ssl ?? parsed.ssl;
  if (encryption !== undefined && encryption !== false) found.ssl = encryption;
  const parameters = parameterNames.map((name) => [name, parsed.connectionParameters[name]]);
  for (const [name, value] of parameters) {
    if (typeof value === 'string') Object.assign(found, { [String(name)]: value });
  }
  found.application_name ??= 'tallystick';
  return found;
}

/** Parameters of the URL that are passed on, beside those that say where the server is. */
const parameterNames = ['options', 'application_name', 'sslnegotiation'] as const;

interface ParsedUrl {
  readonly host: string;
  readonly port: number;
  readonly user?: string | undefined;
  readonly database?: string | undefined;
  readonly password?: string | null | undefined;
  readonly ssl?: pg.ClientConfig['ssl'];
  readonly connectionParameters: Readonly<
    Partial<Record<(typeof parameterNames)[number], unknown>>
  >;
}

function parseUrl(driver: PgDriver, url: string): ParsedUrl {
  return new driver.Client({ connectionString: url }) as unknown as ParsedUrl;
}

function passwordOf(parsed: ParsedUrl): string {
  return parsed.password ?? '';
}

async function readUrl(url: ConnectionOptions['url']): Promise<string> {
  if (typeof url === 'string') return url;
  const text = await url();
  checkUrl(text, 'postgres');
  return text;
}
