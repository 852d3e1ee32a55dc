import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findMemcached, type MemcachedBinary } from './memcached-binary.ts';
import { announce, endOf, freePort, privateFolder } from './place.ts';
import { type ServerProcess, startProcess } from './process.ts';

/** As on its command line, without the dash: `{ m: '8', I: '2m', o: 'no_lru_crawler' }`; an empty text is a switch. */
export type MemcachedSettings = Readonly<Record<string, string>>;

export interface MemcachedOptions {
  /** Over the defaults below. */
  readonly settings?: MemcachedSettings;
  readonly port?: number;
  /** `'outlives-us'` leaves the server running when this process ends. Default: it ends with it, however that comes about. */
  readonly life?: 'ours' | 'outlives-us';
}

export interface MemcachedServer extends AsyncDisposable {
  readonly url: string;
  readonly version: string;
  readonly port: number;
  /** Holds its log; the data are in memory only. */
  readonly dir: string;
  readonly pid: number;
  /** Where its binary comes from. */
  readonly how: string;
  readonly stop: () => Promise<void>;
  /** kill -9. */
  readonly kill: () => Promise<void>;
  /** Ends it if it runs, and starts it again, empty, on the same port; settings are added to those it had. */
  readonly restart: (settings?: MemcachedSettings) => Promise<void>;
}

const defaults: MemcachedSettings = {
  l: '127.0.0.1',
  U: '0',
  m: '64',
  t: '2',
};

const READY_MS = 30_000;
const STOP_MS = 10_000;
const PORTS_TRIED = 5;

/** Starts a Memcached of its own and waits until it answers. */
export async function startMemcached(options: MemcachedOptions = {}): Promise<MemcachedServer> {
  const began = Date.now();
  const binary = await findMemcached();
  const folder = await privateFolder('memcached', undefined);
  const server = new Memcached(binary, folder, options);
  try {
    await server.start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  announce('Memcached', binary.version, binary.how, began);
  return server;
}

class Memcached implements MemcachedServer {
  readonly dir: string;
  readonly #binary: MemcachedBinary;
  readonly #options: MemcachedOptions;
  #settings: MemcachedSettings;
  #process: ServerProcess | undefined;
  #port = 0;

  constructor(binary: MemcachedBinary, folder: string, options: MemcachedOptions) {
    this.#binary = binary;
    this.#options = options;
    this.#settings = { ...defaults, ...options.settings };
    this.dir = folder;
  }

  get url(): string {
    return `memcached://127.0.0.1:${this.#port}`;
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
    await this.#process?.kill();
    await rm(this.dir, { recursive: true, force: true });
  };

  readonly kill = async (): Promise<void> => {
    await this.#process?.kill();
  };

  readonly restart = async (settings: MemcachedSettings = {}): Promise<void> => {
    await this.#process?.end('SIGTERM', STOP_MS);
    this.#settings = { ...this.#settings, ...settings };
    await this.start();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #startHere(): Promise<void> {
    const log = join(this.dir, 'server.log');
    const settings = { ...this.#settings, p: String(this.#port) };
    await writeFile(log, '');
    // As root it wants to be told whom to become; it is root that owns its folder.
    const user = process.getuid?.() === 0 ? ['-u', 'root'] : [];
    this.#process = await startProcess({
      command: this.#binary.command,
      args: [...this.#binary.args, ...user, ...asArguments(settings)],
      cwd: this.dir,
      log,
      env: this.#binary.env,
      guard: this.#options.life === 'outlives-us' ? 'none' : { remove: this.dir },
    });
    const started = this.#process;
    const deadline = Date.now() + READY_MS;
    for (;;) {
      if (started.ended()) throw new Error(`Memcached did not start:\n${await endOf(log)}`);
      // Without a right to ask it has answered all the same.
      const answer = await versionOf(this.#port);
      if (/^(VERSION |CLIENT_ERROR unauth)/.test(answer) && !started.ended()) return;
      if (Date.now() > deadline) {
        await started.kill();
        throw new Error(`Memcached does not answer:\n${await endOf(log)}`);
      }
      await sleep(10);
    }
  }
}

function asArguments(settings: MemcachedSettings): string[] {
  return Object.entries(settings).flatMap(([name, value]) =>
    value === '' ? [`-${name}`] : [`-${name}`, value],
  );
}

/** What the server there answers to `version`: empty if nothing. */
export function versionOf(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('version\r\n'));
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
