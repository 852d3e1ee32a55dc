import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TallyError } from 'tallystick';
import type { SagaDefinition, SagaEngine, SagaSummary } from 'tallystick/saga';
import { openShop, type Place } from './app.ts';
import { check, type Checked } from './check.ts';
import type { Order } from './order.ts';
import type { Patience } from './saga.ts';
import { orderOf } from './traffic.ts';
import type { WorkerOptions } from './worker.ts';

/** What a run is told. */
export interface RunOptions {
  readonly place: Place;
  readonly seed: number;
  /** Orders to place, at least. */
  readonly orders: number;
  /** Times that workers are to be killed, at least. */
  readonly kills: number;
  /** Processes that run sagas; each is killed by itself, and the others take over what it had. */
  readonly workers: number;
  /** About how long a worker lives that is to be killed. */
  readonly killEveryMs: number;
  /** The share of attempts that go wrong. */
  readonly faults: number;
  /** Orders under way at the same time. */
  readonly width: number;
  readonly patience?: Patience;
  /** Told now and then how it stands. */
  readonly say?: (line: string) => void;
}

/** What became of a run. */
export interface Report extends Checked {
  readonly orders: number;
  readonly kills: number;
  readonly tookMs: number;
}

/** How long an order may take once nobody kills anything any more. */
const ORDER_MAX_MS = 120_000;
const SAY_EVERY_KILLS = 50;

/**
 * Places orders while workers, killed again and again, run their sagas; then waits until each has come to an end, and
 * checks the stores. Throws BARRIER_TIMEOUT if a saga does not come to an end.
 */
export async function runOrders(options: RunOptions): Promise<Report> {
  const { place, seed, width } = options;
  const startedMs = performance.now();
  await using shop = await openShop(place, { prepare: true });
  const { sagas } = shop;
  const count = { kills: 0 };
  const workers = Array.from({ length: options.workers }, () => new Mortal(options, count));
  const placed: Order[] = [];
  const isEnough = (): boolean => placed.length >= options.orders && count.kills >= options.kills;
  const following = {
    definition: shop.definition,
    isCalm: () => count.kills >= options.kills,
  };
  const customer = async (): Promise<void> => {
    while (!isEnough()) {
      const order = orderOf(seed, placed.length);
      placed.push(order);
      await follow(sagas, order, following);
    }
  };
  try {
    const living = workers.map((worker) => worker.live());
    await Promise.all([...living, ...Array.from({ length: width }, customer)]);
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
  }
  const checked = await check(place, placed, await everySaga(sagas));
  return {
    orders: placed.length,
    kills: count.kills,
    tookMs: Math.round(performance.now() - startedMs),
    ...checked,
  };
}

/** Places an order and waits for what becomes of it: as long as it takes while workers are being killed. */
async function follow(sagas: SagaEngine, order: Order, run: Following): Promise<void> {
  const handle = await sagas.start(run.definition, { id: order.id, input: order });
  for (;;) {
    const isCalm = run.isCalm();
    const { status } = await handle.result({ within: ORDER_MAX_MS });
    if (status === 'completed' || status === 'compensated' || status === 'parked') return;
    if (!isCalm) continue;
    throw new TallyError('BARRIER_TIMEOUT', {
      what: `the saga of ${order.id} is still ${status} after ${ORDER_MAX_MS} ms`,
    });
  }
}

interface Following {
  readonly definition: SagaDefinition<Order>;
  /** Whether nobody is killed any more. */
  readonly isCalm: () => boolean;
}

async function everySaga(sagas: SagaEngine): Promise<readonly SagaSummary[]> {
  const found: SagaSummary[] = [];
  for (;;) {
    const after = found.at(-1)?.id;
    const page = await sagas.list({ limit: 1_000, ...(after === undefined ? {} : { after }) });
    found.push(...page);
    if (page.length < 1_000) return found;
  }
}

/** A worker that is killed with SIGKILL again and again, and started again. */
class Mortal {
  readonly #options: RunOptions;
  readonly #count: { kills: number };
  #process: ChildProcess | undefined;
  #lives = 0;
  #isOver = false;
  #living: Promise<void> = Promise.resolve();

  constructor(options: RunOptions, count: { kills: number }) {
    this.#options = options;
    this.#count = count;
  }

  /** Until there were enough kills; the last one stays alive until {@link Mortal.end}. */
  live(): Promise<void> {
    this.#living = this.#live();
    return this.#living;
  }

  async #live(): Promise<void> {
    const { killEveryMs, kills, say } = this.#options;
    this.#process = this.#start();
    while (this.#count.kills < kills && !this.#isOver) {
      // One in eight dies while it starts; the others at any moment of their work.
      if (Math.random() > 1 / 8) await ready(this.#process);
      await sleep(Math.random() * 2 * killEveryMs);
      this.#process.kill('SIGKILL');
      await ended(this.#process);
      this.#count.kills += 1;
      if (this.#count.kills % SAY_EVERY_KILLS === 0) say?.(`${this.#count.kills} kills`);
      this.#process = this.#start();
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#living;
    this.#process?.stdin?.end();
    if (this.#process !== undefined) await ended(this.#process);
  }

  #start(): ChildProcess {
    const { place, patience, faults, seed } = this.#options;
    // Each life has a weather of its own: an attempt that is too slow for one is not for all.
    this.#lives += 1;
    const told: WorkerOptions = {
      place,
      ...(patience === undefined ? {} : { patience }),
      weather: { rate: faults, seed: seed + this.#lives * 1_000 },
    };
    return startWorker(told);
  }
}

/** Starts a process that runs sagas. */
export function startWorker(options: WorkerOptions): ChildProcess {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const file = join(import.meta.dirname, 'worker.ts');
  return spawn(process.execPath, [...flags, file, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // The same sources again and again: Node compiles them once.
    env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'tally-order-saga-compiled') },
  });
}

/** Resolves when a worker has said that it is ready, or has ended. */
async function ready(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  await Promise.race([
    worker.stdout === null ? undefined : once(worker.stdout, 'data'),
    once(worker, 'exit'),
  ]);
}

/** Resolves when a worker has ended, to the signal that ended it. */
export async function ended(worker: ChildProcess): Promise<NodeJS.Signals | null> {
  if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit');
  return worker.signalCode;
}
