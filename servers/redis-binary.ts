import { fromDebian } from './debian.ts';
import { onPath } from './place.ts';
import { described, findProgram, type Program } from './program.ts';

/** Which of the servers that speak this protocol; any of them without it. */
export type RedisFlavour = 'redis8' | 'valkey';

export interface RedisBinary extends Program {
  readonly name: 'Redis' | 'Valkey';
}

const VERSION = ['--version'];

/**
 * Finds a server: `redis-server` or `valkey-server` on PATH, else Debian's package, fetched without being installed. Flavours that
 * the system lacks come from Debian 13.
 */
export async function findRedis(flavour?: RedisFlavour): Promise<RedisBinary> {
  if (flavour === undefined) {
    return named(
      await findProgram(['redis-server', 'valkey-server'], VERSION, () => fetch('redis')),
    );
  }
  const name = flavour === 'valkey' ? 'valkey' : 'redis';
  const path = await onPath(`${name}-server`);
  if (path !== undefined) {
    const how = `${name}-server on PATH`;
    const found = await described({ command: path, args: [], env: {} }, VERSION, how);
    if (flavour === 'valkey' || Number.parseInt(found.version, 10) >= 8) return named(found);
  }
  return named(
    await described(await fetch(name, 'trixie'), VERSION, 'package of Debian 13, fetched'),
  );
}

function fetch(name: 'redis' | 'valkey', release?: string): ReturnType<typeof fromDebian> {
  return fromDebian({
    name: `${name}-server`,
    packages: [`${name}-server`, `${name}-tools`],
    program: `usr/bin/${name}-server`,
    ...(release === undefined ? {} : { release }),
  });
}

function named(program: Program): RedisBinary {
  return { ...program, name: program.said.startsWith('Valkey') ? 'Valkey' : 'Redis' };
}
