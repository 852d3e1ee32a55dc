import { askLine } from './line.ts';
import { findMemcached } from './memcached-binary.ts';
import { type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';

/** As on its command line, without the dash: `{ m: '8', I: '2m', o: 'no_lru_crawler' }`; an empty text is a switch. */
export type MemcachedSettings = Settings;
export type MemcachedOptions = Omit<OwnOptions, 'dir'>;
/** Its `dir` holds nothing: the data are in memory only. */
export type MemcachedServer = OwnServer;

const defaults: MemcachedSettings = {
  l: '127.0.0.1',
  U: '0',
  m: '64',
  t: '2',
};

/** Starts a Memcached of its own and waits until it answers. */
export async function startMemcached(options: MemcachedOptions = {}): Promise<MemcachedServer> {
  const binary = await findMemcached();
  // As root it wants to be told whom to become; it is root that owns its folder.
  const user = process.getuid?.() === 0 ? ['-u', 'root'] : [];
  return startOwn(
    {
      name: 'Memcached',
      version: binary.version,
      how: binary.how,
      defaults,
      url: ({ port }) => `memcached://127.0.0.1:${port}`,
      launch: ({ port, settings }) => ({
        command: binary.command,
        args: [...binary.args, ...user, ...asArguments({ ...settings, p: String(port) })],
        env: binary.env,
      }),
      // Without a right to ask it has answered all the same.
      answers: async ({ port }) => /^(VERSION |CLIENT_ERROR unauth)/.test(await versionOf(port)),
    },
    options,
  );
}

function asArguments(settings: MemcachedSettings): string[] {
  return Object.entries(settings).flatMap(([name, value]) =>
    value === '' ? [`-${name}`] : [`-${name}`, value],
  );
}

/** What the server there answers to `version`: empty if nothing. */
export function versionOf(port: number): Promise<string> {
  return askLine(port, 'version');
}
