import { fromDebian } from './debian.ts';
import { askLine } from './line.ts';
import { type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';
import { findProgram, type Program } from './program.ts';

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

/** Finds a server: `memcached` on PATH, else Debian's package, fetched without being installed. */
export function findMemcached(): Promise<Program> {
  return findProgram(['memcached'], ['--version'], () =>
    fromDebian({ name: 'memcached', packages: ['memcached'], program: 'usr/bin/memcached' }),
  );
}

/** Starts a Memcached of its own and waits until it answers. */
export async function startMemcached(options: MemcachedOptions = {}): Promise<MemcachedServer> {
  const program = await findMemcached();
  // As root it wants to be told whom to become; it is root that owns its folder.
  const user = process.getuid?.() === 0 ? ['-u', 'root'] : [];
  return startOwn(
    {
      name: 'Memcached',
      version: program.version,
      how: program.how,
      defaults,
      url: ({ port }) => `memcached://127.0.0.1:${port}`,
      launch: ({ port, settings }) => ({
        command: program.command,
        args: [...program.args, ...user, ...asArguments({ ...settings, p: String(port) })],
        env: program.env,
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
