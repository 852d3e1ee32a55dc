import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { fromDebian, type Unpacked } from './debian.ts';
import { onPath } from './place.ts';

const run = promisify(execFile);

export interface MemcachedBinary extends Unpacked {
  readonly version: string;
  /** For people: where it comes from. */
  readonly how: string;
}

/** Finds a server: `memcached` on PATH, else Debian's package, fetched without being installed. */
export async function findMemcached(): Promise<MemcachedBinary> {
  const path = await onPath('memcached');
  if (path !== undefined)
    return described({ command: path, args: [], env: {} }, 'memcached on PATH');
  const unpacked = await fromDebian({
    name: 'memcached',
    packages: ['memcached'],
    program: 'usr/bin/memcached',
  });
  return described(unpacked, 'package of Debian, fetched');
}

async function described(server: Unpacked, how: string): Promise<MemcachedBinary> {
  const env = { ...process.env, ...server.env };
  const { stdout } = await run(server.command, [...server.args, '--version'], { env });
  return { ...server, version: /(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? 'of unknown version', how };
}
