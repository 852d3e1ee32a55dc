import { askLine } from './line.ts';
import { type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';
import { findRedis, type RedisFlavour } from './redis-binary.ts';

/** As in redis.conf: `{ replicaof: '127.0.0.1 6379' }`. */
export type RedisSettings = Settings;

export interface RedisOptions extends OwnOptions {
  /** Which server; the first that is found without it. */
  readonly flavour?: RedisFlavour;
}

export type RedisServer = OwnServer;

/** What was answered stays after kill -9 (the append-only file is written before the answer); no snapshots in the background. */
const defaults: RedisSettings = {
  bind: '127.0.0.1',
  save: '',
  appendonly: 'yes',
  databases: '512',
  daemonize: 'no',
  // A replica gets its copy at once; in production the primary waits 5 s for others that may want the same.
  'repl-diskless-sync-delay': '0',
};

/** Starts a Redis or Valkey of its own and waits until it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const binary = await findRedis(options.flavour);
  return startOwn(
    {
      name: binary.name,
      version: binary.version,
      how: binary.how,
      defaults,
      url: ({ port, settings: { requirepass } }) => {
        const secret = requirepass === undefined ? '' : `:${encodeURIComponent(requirepass)}@`;
        return `redis://${secret}127.0.0.1:${port}`;
      },
      launch: ({ port, dir, settings }) => ({
        command: binary.command,
        args: [...binary.args, ...asArguments({ ...settings, port: String(port), dir })],
        env: binary.env,
      }),
      // Without a right to ask it has answered all the same.
      answers: async ({ port }) => /^(\+PONG|-NOAUTH)/.test(await ping(port)),
    },
    options,
  );
}

function asArguments(settings: RedisSettings): string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, ...wordsOf(value)]);
}

/** `save ''` is one empty argument; `replicaof host port` is two. */
function wordsOf(value: string): string[] {
  return value === '' ? [''] : value.split(/\s+/);
}

/** What the server there answers to PING: empty if nothing. */
export function ping(port: number): Promise<string> {
  return askLine(port, 'PING');
}
