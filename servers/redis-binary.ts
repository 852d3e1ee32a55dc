import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { cache, isProgram, onPath, ServerUnavailable } from './place.ts';

const run = promisify(execFile);

export interface RedisBinary {
  readonly path: string;
  readonly version: string;
  /** For people: where it comes from. */
  readonly how: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Finds `redis-server` or `valkey-server`: on PATH, else in Debian's package, fetched without being installed. */
export async function findRedis(): Promise<RedisBinary> {
  const found = await onPath('redis-server', 'valkey-server');
  if (found !== undefined) {
    return {
      path: found,
      version: await versionOf(found, {}),
      how: `${basename(found)} on PATH`,
      env: {},
    };
  }
  if ((await onPath('apt-get')) === undefined || (await onPath('dpkg')) === undefined) {
    throw new ServerUnavailable(
      'no redis-server or valkey-server on PATH, and no apt-get to fetch one',
    );
  }
  const root = await fetched();
  const path = join(root, 'usr/bin/redis-server');
  const env = { LD_LIBRARY_PATH: (await libraries(root)).join(':') };
  return { path, version: await versionOf(path, env), how: "Debian's package, fetched", env };
}

async function versionOf(path: string, env: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await run(path, ['--version'], { env: { ...process.env, ...env } });
  return /v=(\S+)/.exec(stdout)?.[1] ?? 'of unknown version';
}

async function fetched(): Promise<string> {
  const place = join(cache, 'redis-debian');
  if (await isProgram(join(place, 'usr/bin/redis-server'))) return place;
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(join(cache, 'fetching-'));
  const root = join(temporary, 'root');
  try {
    const names = ['redis-server', 'redis-tools'];
    const { stdout } = await run('apt-cache', ['depends', ...names]);
    // Its own libraries; the C library is the system's.
    const needed = stdout.matchAll(/Depends: ((?:lib|lua-)\S+)/g);
    const all = [...names, ...[...needed].map(([, name]) => name ?? '')];
    const wanted = [...new Set(all)].filter((name) => name !== 'libc6');
    await run('apt-get', ['download', '-qq', ...wanted], { cwd: temporary, timeout: 120_000 });
    for (const file of (await readdir(temporary)).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', join(temporary, file), root]);
    }
    // Another run may have fetched the same meanwhile; then its copy is as good as ours.
    await rename(root, place).catch(() => undefined);
  } catch (error) {
    const said = error instanceof Error ? error.message.split('\n').slice(0, 2).join(' ') : '';
    throw new ServerUnavailable(
      `no redis-server on PATH, and apt-get could not fetch one: ${said}`,
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return place;
}

async function libraries(root: string): Promise<string[]> {
  const lib = join(root, 'usr/lib');
  const folders = await readdir(lib).catch(() => []);
  return folders.filter((name) => name.includes('-linux-')).map((name) => join(lib, name));
}
