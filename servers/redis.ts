import { mkdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { announce, endOf, freePort, privateFolder } from './place.ts';
import { type ServerProcess, startProcess } from './process.ts';
import { findRedis, type RedisBinary, type RedisFlavour } from './redis-binary.ts';

export type RedisSettings = Readonly<Record<string, string>>;

export interface RedisOptions {
  /** Which server; the first that is found without it. */
  readonly flavour?: RedisFlavour;
  /** As in redis.conf, over the defaults below: `{ replicaof: '127.0.0.1 6379' }`. */
  readonly settings?: RedisSettings;
  readonly port?: number;
  /** The data directory, kept when the server stops. A folder of our own without it. */
  readonly dir?: string;
  /** `'outlives-us'` leaves the server running when this process ends. Default: it ends with it, however that comes about. */
  readonly life?: 'ours' | 'outlives-us';
}

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly name: 'Redis' | 'Valkey';
  readonly version: string;
  readonly port: number;
  readonly dir: string;
  readonly pid: number;
  /** Where its binary comes from. */
  readonly how: string;
  /** Stops it and removes its data, unless `dir` was given. */
  readonly stop: () => Promise<void>;
  /** kill -9. The data that reached the disk stay, for `restart`. */
  readonly kill: () => Promise<void>;
  /** Stops it in order if it runs, and starts it again on the same port and data; settings are added to those it had. */
  readonly restart: (settings?: RedisSettings) => Promise<void>;
}

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

const READY_MS = 30_000;
const STOP_MS = 10_000;
const PORTS_TRIED = 5;

/** Starts a Redis of its own and waits until it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const began = Date.now();
  const binary = await findRedis(options.flavour);
  const folder = await privateFolder('redis', undefined);
  const server = new Redis(binary, folder, options);
  try {
    await mkdir(server.dir, { recursive: true });
    await server.start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  announce(binary.name, binary.version, binary.how, began);
  return server;
}

class Redis implements RedisServer {
  readonly dir: string;
  readonly #binary: RedisBinary;
  readonly #folder: string;
  readonly #options: RedisOptions;
  #settings: RedisSettings;
  #process: ServerProcess | undefined;
  #port = 0;

  constructor(binary: RedisBinary, folder: string, options: RedisOptions) {
    this.#binary = binary;
    this.#folder = folder;
    this.#options = options;
    this.#settings = { ...defaults, ...options.settings };
    this.dir = options.dir ?? join(folder, 'data');
  }

  get url(): string {
    const password = this.#settings['requirepass'];
    const secret = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
    return `redis://${secret}127.0.0.1:${this.#port}`;
  }

  get name(): 'Redis' | 'Valkey' {
    return this.#binary.name;
  }

  get version(): string {
    return this.#binary.version;
  }

  get how(): string {
    return this.#binary.how;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async start(): Promise<void> {
    const given = this.#port === 0 ? this.#options.port : this.#port;
    for (let tried = 1; ; tried += 1) {
      this.#port = given ?? (await freePort());
      try {
        return await this.#startHere();
      } catch (error) {
        // Somebody else took the port between our look at it and the server's.
        const taken = error instanceof Error && error.message.includes('Address already in use');
        if (!taken || given !== undefined || tried === PORTS_TRIED) throw error;
      }
    }
  }

  readonly stop = async (): Promise<void> => {
    if (this.#options.dir === undefined) await this.#process?.kill();
    else await this.#process?.end('SIGTERM', STOP_MS);
    await rm(this.#folder, { recursive: true, force: true });
  };

  readonly kill = async (): Promise<void> => {
    await this.#process?.kill();
  };

  readonly restart = async (settings: RedisSettings = {}): Promise<void> => {
    await this.#process?.end('SIGTERM', STOP_MS);
    this.#settings = { ...this.#settings, ...settings };
    await this.start();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #startHere(): Promise<void> {
    const log = join(this.#folder, 'server.log');
    const settings = { ...this.#settings, port: String(this.#port), dir: this.dir };
    await writeFile(log, '');
    this.#process = await startProcess({
      command: this.#binary.command,
      args: [...this.#binary.args, ...asArguments(settings)],
      cwd: this.#folder,
      log,
      env: this.#binary.env,
      guard: this.#options.life === 'outlives-us' ? 'none' : { remove: this.#folder },
    });
    const started = this.#process;
    const deadline = Date.now() + READY_MS;
    for (;;) {
      if (started.ended()) throw new Error(`${this.name} did not start:\n${await endOf(log)}`);
      // Without a right to ask it has answered all the same.
      const answer = await ping(this.#port);
      if (/^(\+PONG|-NOAUTH)/.test(answer) && !started.ended()) return;
      if (Date.now() > deadline) {
        await started.kill();
        throw new Error(`${this.name} does not answer:\n${await endOf(log)}`);
      }
      await sleep(10);
    }
  }
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
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    let answer = '';
    socket.setEncoding('utf8').setTimeout(2_000, () => socket.destroy());
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.includes('\r\n')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}
