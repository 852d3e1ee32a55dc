import type { Duplex } from 'node:stream';
import type pg from 'pg';
import { TallyError } from '../../core/errors.ts';
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

/**
 * A connection that cannot be read any further ends, instead of the process:
 *   1. a value is longer than a text may be in JavaScript  2. the driver throws while the socket hands it the bytes
 *   3. nobody can catch it there.
 */
export function containParser(client: pg.ClientBase): void {
  const { connection } = client as unknown as { readonly connection?: { readonly stream: Duplex } };
  const stream = connection?.stream;
  if (stream === undefined) return;
  for (const listener of stream.listeners('data')) {
    stream.off('data', listener as (chunk: Buffer) => void);
    stream.on('data', (chunk: Buffer) => {
      try {
        listener.call(stream, chunk);
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }
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

/** Throws CONFIG_INVALID, without the URL: there may be a password in it. */
function parseUrl(driver: PgDriver, url: string): ParsedUrl {
  try {
    return new driver.Client({ connectionString: url }) as unknown as ParsedUrl;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw new TallyError('CONFIG_INVALID', {
      what:
        code === 'ENOENT' || code === 'EACCES'
          ? 'a certificate file that the URL names cannot be read'
          : 'the driver cannot read the URL',
      where: 'postgres.url',
      mend: 'correct sslrootcert, sslcert and sslkey; percent-encode what is special in user and password',
      details: code === '' ? {} : { code },
    });
  }
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
