import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { announce, endOf, freePort, privateFolder } from './place.ts';
import { type ServerProcess, startProcess, type User } from './process.ts';

export type Settings = Readonly<Record<string, string>>;

export interface OwnOptions {
  /** By the server's own names, over the defaults of its recipe. */
  readonly settings?: Settings;
  readonly port?: number;
  /** The data directory, kept when the server stops. A folder of our own without it. */
  readonly dir?: string;
  /** `'outlives-us'` leaves the server running when this process ends. Default: it ends with it, however that comes about. */
  readonly life?: 'ours' | 'outlives-us';
}

/** A server that was started here: its process, port and data are nobody else's. */
export interface OwnServer extends AsyncDisposable {
  readonly name: string;
  readonly version: string;
  /** Where its program comes from. */
  readonly how: string;
  readonly url: string;
  readonly port: number;
  readonly dir: string;
  /** Of the process that runs now; 0 before the first. */
  readonly pid: number;
  /** Stops it and removes its data, unless `dir` was given. */
  readonly stop: () => Promise<void>;
  /** kill -9 of the server and all its children. The data that reached the disk stay, for `restart`. */
  readonly kill: () => Promise<void>;
  /** Stops it in order if it runs, and starts it again on the same ports and data; settings are added to those it had. */
  readonly restart: (settings?: Settings) => Promise<void>;
}

/** Where one server runs. */
export interface At {
  readonly port: number;
  /** As many as its recipe asks for. */
  readonly otherPorts: readonly number[];
  readonly dir: string;
  /** Above its data: for its log and what it is configured by. */
  readonly folder: string;
  readonly settings: Settings;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** How one kind of server is started. */
export interface Recipe {
  /** As its makers write it. */
  readonly name: string;
  readonly version: string;
  readonly how: string;
  readonly defaults: Settings;
  readonly otherPorts?: number;
  /** Who it runs as, where it refuses root. */
  readonly user?: User | undefined;
  /** How long it may take until it answers, on a busy machine. Default 30 s. */
  readonly readyMs?: number;
  readonly url: (at: At) => string;
  /** Called before every start: writes what it is configured by, and its first data if there are none. */
  readonly launch: (at: At) => Launch | Promise<Launch>;
  /** Whether it serves. Called again and again until it does. */
  readonly answers: (at: At) => Promise<boolean>;
}

const READY_MS = 30_000;
const STOP_MS = 10_000;
const POLL_MS = 10;
const PORTS_TRIED = 5;

/** Starts a server of its own and waits until it answers. */
export async function startOwn(recipe: Recipe, options: OwnOptions = {}): Promise<OwnServer> {
  const began = Date.now();
  const folder = await privateFolder(recipe.name.toLowerCase().replaceAll(/\W/g, ''), recipe.user);
  const server = new Own(recipe, folder, options);
  try {
    await mkdir(server.dir, { recursive: true });
    await server.start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  announce(recipe.name, recipe.version, recipe.how, began);
  return server;
}

class Own implements OwnServer {
  readonly dir: string;
  readonly #recipe: Recipe;
  readonly #folder: string;
  readonly #options: OwnOptions;
  #settings: Settings;
  #process: ServerProcess | undefined;
  #port = 0;
  #otherPorts: readonly number[] = [];

  constructor(recipe: Recipe, folder: string, options: OwnOptions) {
    this.#recipe = recipe;
    this.#folder = folder;
    this.#options = options;
    this.#settings = { ...recipe.defaults, ...options.settings };
    this.dir = options.dir ?? join(folder, 'data');
  }

  get name(): string {
    return this.#recipe.name;
  }

  get version(): string {
    return this.#recipe.version;
  }

  get how(): string {
    return this.#recipe.how;
  }

  get url(): string {
    return this.#recipe.url(this.#at());
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
      await this.#takePorts(given);
      try {
        return await this.#startHere();
      } catch (error) {
        // Somebody else took the port between our look at it and the server's.
        const taken = error instanceof Error && /address already in use/i.test(error.message);
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

  readonly restart = async (settings: Settings = {}): Promise<void> => {
    await this.#process?.end('SIGTERM', STOP_MS);
    this.#settings = { ...this.#settings, ...settings };
    await this.start();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** A restart finds the ports that it had: clients come back to them. */
  async #takePorts(given: number | undefined): Promise<void> {
    if (this.#port !== 0 && given === this.#port) return;
    this.#port = given ?? (await freePort());
    const others = new Set<number>();
    while (others.size < (this.#recipe.otherPorts ?? 0)) {
      const port = await freePort();
      if (port !== this.#port) others.add(port);
    }
    this.#otherPorts = [...others];
  }

  #at(): At {
    return {
      port: this.#port,
      otherPorts: this.#otherPorts,
      dir: this.dir,
      folder: this.#folder,
      settings: this.#settings,
    };
  }

  async #startHere(): Promise<void> {
    const recipe = this.#recipe;
    const log = join(this.#folder, 'server.log');
    const at = this.#at();
    await writeFile(log, '');
    const started = await startProcess({
      ...(await recipe.launch(at)),
      cwd: this.#folder,
      log,
      user: recipe.user,
      guard: this.#options.life === 'outlives-us' ? 'none' : { remove: this.#folder },
    });
    this.#process = started;
    const deadline = Date.now() + (recipe.readyMs ?? READY_MS);
    for (;;) {
      if (started.ended()) throw new Error(`${recipe.name} did not start:\n${await endOf(log)}`);
      if ((await recipe.answers(at)) && !started.ended()) return;
      if (Date.now() > deadline) {
        await started.kill();
        throw new Error(`${recipe.name} does not answer:\n${await endOf(log)}`);
      }
      await sleep(POLL_MS);
    }
  }
}
