import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { fromDebian, type Unpacked } from './debian.ts';
import { onPath } from './place.ts';

const run = promisify(execFile);

/** Which of the servers that speak this protocol; any of them without it. */
export type RedisFlavour = 'redis8' | 'valkey';

export interface RedisBinary extends Unpacked {
  readonly name: 'Redis' | 'Valkey';
  readonly version: string;
  /** For people: where it comes from. */
  readonly how: string;
}

/**
 * Finds a server: `redis-server` or `valkey-server` on PATH, else Debian's package, fetched without being installed. Flavours that
 * the system lacks come from Debian 13.
 */
export async function findRedis(flavour?: RedisFlavour): Promise<RedisBinary> {
  const programs = { redis8: ['redis-server'], valkey: ['valkey-server'] } as const;
  const wanted = flavour === undefined ? ['redis-server', 'valkey-server'] : programs[flavour];
  const path = await onPath(...wanted);
  if (path !== undefined) {
    const found = await described(
      { command: path, args: [], env: {} },
      `${basename(path)} on PATH`,
    );
    if (flavour !== 'redis8' || Number.parseInt(found.version, 10) >= 8) return found;
  }
  const name = flavour === 'valkey' ? 'valkey' : 'redis';
  const unpacked = await fromDebian({
    name: `${name}-server`,
    packages: [`${name}-server`, `${name}-tools`],
    program: `usr/bin/${name}-server`,
    ...(flavour === undefined ? {} : { release: 'trixie' }),
  });
  const how = `package of Debian${flavour === undefined ? '' : ' 13'}, fetched`;
  return described(unpacked, how);
}

async function described(server: Unpacked, how: string): Promise<RedisBinary> {
  const env = { ...process.env, ...server.env };
  const { stdout } = await run(server.command, [...server.args, '--version'], { env });
  return {
    ...server,
    name: stdout.startsWith('Valkey') ? 'Valkey' : 'Redis',
    version: /v=(\S+)/.exec(stdout)?.[1] ?? 'of unknown version',
    how,
  };
}
