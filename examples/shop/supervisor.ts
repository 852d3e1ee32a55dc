import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readPhase } from './phase.ts';
import {
  CONFIG_VARIABLE,
  type FromWorker,
  type ShopStatus,
  type ToWorker,
  type WorkerConfig,
} from './protocol.ts';
import { Random } from './random.ts';

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url));
/** A worker that says nothing for this long when it should end is ended. */
const GRACE_MS = 10_000;
const RESTART_MS = 20;

/** How often the worker was killed, and in which phase it was. */
export interface Kills {
  readonly total: number;
  readonly byPhase: Readonly<Record<string, number>>;
}

/** Keeps one worker running, kills it if asked to, and starts the next one. */
export class Supervisor {
  readonly #config: WorkerConfig;
  readonly #random: Random;
  readonly #phases: Record<string, number> = {};
  /** The last status of each worker that was; the last entry is of the one that is. */
  readonly #lives: ShopStatus[] = [];
  readonly #done = Promise.withResolvers<{ readonly behind: readonly string[] }>();
  readonly #replayed = Promise.withResolvers<void>();
  readonly #running = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<never>();
  #worker: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #finish: ToWorker | undefined;
  #killEveryMs: number | undefined;
  /** Whether this worker is killed without regard to how far it is. */
  #isHasty = false;
  #isOver = false;
  #starting: NodeJS.Timeout | undefined;
  #killing: NodeJS.Timeout | undefined;

  constructor(config: WorkerConfig) {
    this.#config = config;
    this.#random = new Random(config.seed);
    // Whoever waits is told; if nobody does, that is no error of its own.
    for (const { promise } of this.#waits) promise.catch(() => undefined);
  }

  /** Resolves when the first worker takes orders. Rejects if it cannot. */
  get running(): Promise<void> {
    return this.#running.promise;
  }

  /** Resolves when the whole file was replayed. */
  get replayed(): Promise<void> {
    return this.#replayed.promise;
  }

  /** Never resolves; rejects when a worker has failed, rather than been killed. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** How the shop stands, as each of its workers last said. */
  get lives(): readonly ShopStatus[] {
    return this.#lives;
  }

  get kills(): Kills {
    const byPhase = { ...this.#phases };
    return { total: Object.values(byPhase).reduce((sum, count) => sum + count, 0), byPhase };
  }

  start(): void {
    const { execArgv } = process;
    const worker = fork(WORKER, [], {
      execArgv,
      env: { ...process.env, [CONFIG_VARIABLE]: JSON.stringify(this.#config) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#worker = worker;
    this.#isHasty = this.#random.next() < 0.25;
    if (this.#isHasty) this.#killLater();
    let isNew = true;
    const remember = (status: ShopStatus): void => {
      if (isNew) this.#lives.push(status);
      else this.#lives[this.#lives.length - 1] = status;
      isNew = false;
    };
    worker.on('message', (message: FromWorker) => this.#hear(message, remember));
    const ended = Promise.withResolvers<void>();
    this.#ended = ended.promise;
    worker.on('exit', (code, signal) => {
      ended.resolve();
      this.#afterExit(worker, code, signal);
    });
  }

  /**
   * From now on kills each worker at a random moment, on average `everyMs` after it began to take orders;
   * one of four sooner, while it starts or brings its stores up to date.
   */
  killEvery(everyMs: number): void {
    this.#killEveryMs = everyMs;
    this.#killLater();
  }

  #killLater(): void {
    clearTimeout(this.#killing);
    if (this.#killEveryMs === undefined) return;
    const afterMs = this.#killEveryMs * 2 * this.#random.next();
    this.#killing = setTimeout(() => this.#worker?.kill('SIGKILL'), afterMs);
  }

  /**
   * Stops the killing and the orders, and waits until every store has caught up. Resolves with the stores
   * that have not within the limit. The worker has ended then.
   */
  async finish(withinMs: number): Promise<readonly string[]> {
    this.#killEveryMs = undefined;
    clearTimeout(this.#killing);
    this.#finish = { kind: 'finish', withinMs };
    this.#tell(this.#finish);
    const limit = new AbortController();
    const late = sleep(withinMs + GRACE_MS, undefined, { signal: limit.signal, ref: false }).then(
      () => ({ behind: ['the worker did not answer'] }),
    );
    late.catch(() => undefined);
    const { behind } = await Promise.race([this.#done.promise, late]);
    await Promise.race([this.#ended, late]);
    limit.abort();
    await this.end();
    return behind;
  }

  /** Does not wait any longer: ends the worker as it is. */
  giveUp(): void {
    this.#done.resolve({ behind: ['nobody waited for the stores to catch up'] });
    void this.end();
  }

  /** Ends the worker, if there still is one, and starts no other. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.#killEveryMs = undefined;
    clearTimeout(this.#killing);
    clearTimeout(this.#starting);
    this.#worker?.kill('SIGKILL');
    await this.#ended;
  }

  #hear(message: FromWorker, remember: (status: ShopStatus) => void): void {
    switch (message.kind) {
      case 'running':
        this.#running.resolve();
        if (!this.#isHasty) this.#killLater();
        // It may be the one that was started after the end was decided.
        if (this.#finish !== undefined) this.#tell(this.#finish);
        return;
      case 'status':
        return remember(message.status);
      case 'replayed':
        return this.#replayed.resolve();
      case 'settled':
        remember(message.status);
        return this.#done.resolve(message);
      case 'failed':
        return this.#fail(message.message);
      default:
        return message satisfies never;
    }
  }

  #tell(message: ToWorker): void {
    if (this.#worker?.connected === true) this.#worker.send(message, () => undefined);
  }

  #afterExit(worker: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    if (this.#isOver) return;
    if (signal === 'SIGKILL') {
      const phase = readPhase(join(this.#config.dir, 'phase'));
      this.#phases[phase] = (this.#phases[phase] ?? 0) + 1;
      this.#starting = setTimeout(() => this.start(), RESTART_MS);
      return;
    }
    if (code !== 0) this.#fail(`the worker ended with ${signal ?? code}`);
  }

  #fail(what: string): void {
    const error = new Error(what);
    for (const { reject } of this.#waits) reject(error);
  }

  get #waits(): readonly { promise: Promise<unknown>; reject: (reason: unknown) => void }[] {
    return [this.#done, this.#replayed, this.#running, this.#failed];
  }
}
