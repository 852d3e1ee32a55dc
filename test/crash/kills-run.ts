import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isTallyError, open } from 'tallystick';
import type { PostgresServer, RedisServer } from '../../servers/index.ts';
import { leaveRequest } from '../../src/app/requests.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import type { Random } from '../../src/ports/clock.ts';
import { KillsWatch } from './kills-watch.ts';
import { keysOf, violate, Writer, type Application, type Counts } from './kills-writer.ts';
import { chained, schema, serverApp, type Setup, type TargetName } from './server-app.ts';
import { compileCache } from './story.ts';
import { ask, compare, sourceRows, targetRows, type Held, type Rows } from './server-oracle.ts';

const WRITERS = 4;
/** How long everything may take to arrive once all is up again. */
const HOME_MS = 90_000;

export interface StoryOptions {
  readonly number: number;
  readonly seed: string;
  readonly cycles: number;
  readonly targets: readonly TargetName[];
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly counts: Counts;
  readonly kills: Map<string, number>;
  readonly say: (line: string) => void;
}

/**
 * One application from its first row to its last, killed in every cycle. Odd stories keep the coordinator's ledger
 * and log in the PostgreSQL that is killed, even ones in files. Returns when source, writers and targets agree.
 */
export async function runStory(options: StoryOptions): Promise<void> {
  const { number, seed, targets, postgres, redis } = options;
  const dir = await mkdtemp(join(tmpdir(), 'tally-kills-'));
  const databases = [`kills_source_${number}`, `kills_target_${number}`] as const;
  for (const name of databases) await ask(postgres.url, `CREATE DATABASE ${name}`);
  const [sourceUrl = '', targetUrl = ''] = databases.map((name) => inDatabase(postgres.url, name));
  const setup: Setup = {
    dir,
    sourceUrl,
    targetUrl,
    redisUrl: redis.url,
    prefix: `kills${number}:`,
    targets,
    state: number % 2 === 0 ? 'files' : 'postgres',
  };
  try {
    await ask(sourceUrl, schema);
    const story = new Story(options, setup, seededRandom(`${seed} ${number}`));
    await story.run();
  } finally {
    await ask(
      postgres.url,
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1 AND NOT active`,
      [databases[0]],
    );
    for (const name of databases) await ask(postgres.url, `DROP DATABASE ${name} WITH (FORCE)`);
    await rm(dir, { recursive: true, force: true });
  }
}

function inDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

type Victim = 'worker' | 'postgres' | 'redis';

const victims: readonly (readonly Victim[])[] = [
  ['worker'],
  ['postgres'],
  ['redis'],
  ['postgres', 'redis'],
  ['worker', 'postgres'],
  ['worker', 'redis'],
  ['worker', 'postgres', 'redis'],
];

class Story {
  readonly #options: StoryOptions;
  readonly #setup: Setup;
  readonly #random: Random;
  readonly #seeded = new Map<string, Held>();
  #worker: ChildProcess | undefined;
  /** What ended it, if nobody killed it. */
  #died: string | undefined;
  #errors = '';
  /** What was killed in this cycle, and during what. */
  #harmed: string[] = [];

  constructor(options: StoryOptions, setup: Setup, random: Random) {
    this.#options = options;
    this.#setup = setup;
    this.#random = random;
  }

  async run(): Promise<void> {
    const { cycles, counts, redis } = this.#options;
    const { targets, sourceUrl } = this.#setup;
    await this.#seed();
    // The second of every two runs forgets nothing; the first may lose what was not written for a second.
    await redis.restart({ appendfsync: this.#random.next() < 0.5 ? 'always' : 'everysec' });
    this.#start();
    try {
      // A file of DuckDB belongs to one process.
      const readable = targets.filter((target) => target !== 'duckdb');
      const setup = { ...this.#setup, targets: readable };
      await using app = await open(serverApp(setup), { run: false });
      const writers = Array.from({ length: WRITERS }, (_, id) => {
        const random = seededRandom(`${this.#options.seed} ${this.#options.number} writer ${id}`);
        return new Writer({ id, setup, app, random, counts, readable });
      });
      await using watch = new KillsWatch(setup, counts);
      watch.start();
      for (let cycle = 0; cycle < cycles; cycle += 1) {
        const writing = new AbortController();
        const written = Promise.all(writers.map((writer) => writer.run(writing.signal)));
        // Awaited below; meanwhile servers come and go.
        written.catch(() => undefined);
        await this.#harm(app);
        await systemClock.sleep(this.#within(100, 400));
        writing.abort();
        await written;
        const upAtMs = systemClock.monotonicMs();
        await this.#home(app, readable);
        const homeMs = systemClock.monotonicMs() - upAtMs;
        const owned = await sourceRows(sourceUrl);
        this.#checkSource(owned, writers);
        for (const target of readable) await this.#checkTarget(target, owned);
        const harmed = this.#harmed.splice(0).join(', ');
        this.#options.say(`cycle ${cycle + 1}: ${harmed}; home after ${Math.round(homeMs)} ms`);
      }
    } catch (error) {
      this.#worker?.kill('SIGKILL');
      throw error;
    }
    await this.#stop();
    const owned = await sourceRows(sourceUrl);
    for (const target of targets) await this.#checkTarget(target, owned);
  }

  /** Rows that are there before the flows are. */
  async #seed(): Promise<void> {
    const keys = Array.from({ length: 300 }, (_, key) => `old${key}`);
    const chain = chained(0, 1);
    for (const key of keys) this.#seeded.set(key, { n: 1, chain });
    await ask(
      this.#setup.sourceUrl,
      'INSERT INTO counters SELECT key, 1, $2 FROM unnest($1::text[]) AS key',
      [keys, chain],
    );
  }

  /** Kills some, perhaps in the middle of a rebuild or a resnapshot, and starts them again. */
  async #harm(app: Application): Promise<void> {
    const { postgres, redis } = this.#options;
    await systemClock.sleep(this.#within(50, 500));
    if (this.#random.next() < 0.3) {
      await this.#request(app);
      await systemClock.sleep(this.#within(0, 700));
    }
    const chosen = victims[Math.floor(this.#random.next() * victims.length)] ?? [];
    const again = this.#random.next() < 0.2 ? chosen.slice(0, 1) : [];
    for (const group of [chosen, again]) {
      if (group.length === 0) continue;
      for (const victim of group) this.#count(victim);
      await Promise.all(group.map((victim) => this.#kill(victim)));
      await systemClock.sleep(this.#within(0, 300));
      await Promise.all([
        ...(group.includes('postgres') ? [postgres.restart()] : []),
        ...(group.includes('redis') ? [redis.restart()] : []),
      ]);
      if (group.includes('worker')) this.#start();
      await systemClock.sleep(this.#within(0, 300));
    }
  }

  async #kill(victim: Victim): Promise<void> {
    const { postgres, redis } = this.#options;
    if (victim === 'postgres') return postgres.kill();
    if (victim === 'redis') return redis.kill();
    await this.#end('SIGKILL');
  }

  /** Asks the worker for something that reads all rows again. */
  async #request(app: Application): Promise<void> {
    const { targets } = this.#setup;
    const rebuilt = targets.filter((target) => target !== 'redis');
    const target = rebuilt[Math.floor(this.#random.next() * rebuilt.length)];
    const flow = `${this.#random.next() < 0.5 ? 'copy' : 'chain'}-${target}`;
    const isRebuild = this.#random.next() < 0.6 && target !== undefined;
    this.#count(isRebuild ? 'during a rebuild' : 'during a resnapshot');
    await leaveRequest(
      app.ledger,
      systemRandom,
      isRebuild
        ? { of: 'flow', flow, request: { kind: 'rebuild' } }
        : { of: 'lane', lane: 'orders', request: 'resnapshot' },
    );
  }

  /**
   * Waits until all targets that can be asked have what was committed. Before that, until nobody is asked for anything
   * any more: 1. all is fresh  2. the worker finds a request for a resnapshot, and empties what a fold has written
   * 3. the rows are compared, and are not there.
   */
  async #home(app: Application, targets: readonly TargetName[]): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + HOME_MS;
    while ((await this.#requests(app)) > 0) {
      this.#checkWorker();
      if (systemClock.monotonicMs() > deadlineMs)
        throw new Error(`a request was never done: ${this.#errors}`);
      await systemClock.sleep(50);
    }
    for (const target of targets)
      for (;;) {
        // Takes note of the epoch that a resnapshot has begun: what the one before covers is about to be emptied.
        const freshness = await app
          .barrier(target, { within: 0 })
          .then(() => app.write('orders', () => undefined))
          .then(({ evidence }) => app.barrier(target, { after: evidence, within: '2s' }))
          .catch((error: unknown) => error);
        if ((freshness as { readonly kind?: string }).kind === 'fresh') break;
        this.#checkWorker();
        if (systemClock.monotonicMs() < deadlineMs) continue;
        const [status] = await app.ledger.list('status');
        throw new Error(
          `${target} did not come home: ${JSON.stringify(freshness)} ${status?.value ?? ''} ${this.#errors}`,
        );
      }
  }

  /** How many requests nobody has done yet; a ledger that is down is asked again. */
  async #requests(app: Application): Promise<number> {
    try {
      return (await app.ledger.list('requests')).length;
    } catch (error) {
      if (!isTallyError(error) || !error.retryable) throw error;
      return 1;
    }
  }

  #checkSource(owned: Rows, writers: readonly Writer[]): void {
    const { counts } = this.#options;
    const expected = new Map<string, Held>(this.#seeded);
    for (const writer of writers) for (const [key, held] of writer.held) expected.set(key, held);
    const known = new Set([...expected.keys(), ...writers.flatMap((_, id) => keysOf(id))]);
    const found = new Map([...owned].filter(([key]) => known.has(key)));
    this.#note(compare('source', expected, found), counts);
  }

  async #checkTarget(target: TargetName, owned: Rows): Promise<void> {
    // The worker writes its own key all the while: what counts is what nobody writes now.
    const quiet = (rows: Rows): Rows =>
      new Map([...rows].filter(([key]) => this.#worker === undefined || !key.startsWith('worker')));
    for (const table of ['copies', 'chains'] as const)
      this.#note(
        compare(
          `${target} ${table}`,
          quiet(owned),
          quiet(await targetRows(this.#setup, target, table)),
        ),
        this.#options.counts,
      );
  }

  #note(differences: ReturnType<typeof compare>, counts: Counts): void {
    counts.lost += differences.lost;
    counts.doubled += differences.doubled;
    counts.seen.push(...differences.seen);
  }

  #start(): void {
    const { counts } = this.#options;
    const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
    const file = join(import.meta.dirname, 'kills-worker.ts');
    const worker = spawn(process.execPath, [...flags, file, JSON.stringify(this.#setup)], {
      stdio: 'pipe',
      env: { ...process.env, ...compileCache },
    });
    this.#worker = worker;
    this.#errors = '';
    worker.stderr.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    createInterface(worker.stdout).on('line', (line) => {
      const { fresh, wrong } = JSON.parse(line) as { fresh?: number; wrong?: string };
      counts.freshReads += fresh ?? 0;
      if (wrong !== undefined) violate(counts, 'wrongFresh', wrong);
    });
    worker.once('close', (code, signal) => {
      if (signal !== 'SIGKILL' && this.#worker === worker)
        this.#died = `the worker ended by itself with ${code ?? signal}: ${this.#errors}`;
    });
  }

  #checkWorker(): void {
    if (this.#died !== undefined) throw new Error(this.#died);
  }

  /** Ends the worker with everything brought home, and checks that this went well. */
  async #stop(): Promise<void> {
    this.#checkWorker();
    const code = await this.#end('SIGTERM');
    if (code !== 0) throw new Error(`the worker did not come home: ${this.#errors}`);
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const worker = this.#worker;
    if (worker === undefined) return null;
    this.#checkWorker();
    const closed = once(worker, 'close');
    this.#worker = undefined;
    worker.kill(signal);
    return (await closed)[0] as number | null;
  }

  #count(what: string): void {
    this.#harmed.push(what);
    const { kills } = this.#options;
    kills.set(what, (kills.get(what) ?? 0) + 1);
  }

  #within(from: number, to: number): number {
    return from + this.#random.next() * (to - from);
  }
}
