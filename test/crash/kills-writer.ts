import { isTallyError, type Evidence, type OpenApp } from 'tallystick';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Random } from '../../src/ports/clock.ts';
import { redisRun } from './kills-redis.ts';
import { chained, type ServerApp, type Setup, type TargetName } from './server-app.ts';
import { sourceRows, targetRows, type Held } from './server-oracle.ts';

/** What the cycles count. All but the first three must be 0. */
export interface Counts {
  writes: number;
  freshReads: number;
  looks: number;
  lost: number;
  doubled: number;
  movedBack: number;
  wrongFresh: number;
  /** What the store said of a commit was not so. */
  lied: number;
  /** The first violations, for people. */
  readonly seen: string[];
}

export function noCounts(): Counts {
  return {
    writes: 0,
    freshReads: 0,
    looks: 0,
    lost: 0,
    doubled: 0,
    movedBack: 0,
    wrongFresh: 0,
    lied: 0,
    seen: [],
  };
}

type Violation = 'lost' | 'doubled' | 'movedBack' | 'wrongFresh' | 'lied';

export function violate(counts: Counts, what: Violation, how: string): void {
  counts[what] += 1;
  if (counts.seen.length < 20) counts.seen.push(`${what}: ${how}`);
}

export type Application = OpenApp<ServerApp['stores']>;

interface WriterOptions {
  readonly id: number;
  readonly setup: Setup;
  readonly app: Application;
  readonly random: Random;
  readonly counts: Counts;
  /** Targets whose reads this process can wait for. */
  readonly readable: readonly TargetName[];
}

const KEYS = 60;
const RETRY_MS = 40;

/** The keys that a writer owns: nobody else writes them. */
export function keysOf(writer: number): readonly string[] {
  return Array.from({ length: KEYS }, (_, key) => `w${writer} k${key}`);
}

/**
 * Writes keys of its own, one transaction after the other, and knows of each what was acknowledged. A transaction
 * whose end is not known is looked up in the source before the next one.
 */
export class Writer {
  readonly #options: WriterOptions;
  readonly #keys: readonly string[];
  readonly #held = new Map<string, Held>();
  /** Grows for ever, so that a key that was deleted does not come back with an older number. */
  #number = 0;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#keys = keysOf(options.id);
  }

  /** What the source has to hold of its keys. */
  get held(): ReadonlyMap<string, Held> {
    return this.#held;
  }

  /** Writes until the signal aborts; what is under way is brought to an end first. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#step();
      await systemClock.sleep(this.#options.random.next() * 12);
    }
  }

  async #step(): Promise<void> {
    const { random, app, counts } = this.#options;
    this.#number += 1;
    const isLarge = random.next() < 0.03;
    const touched = isLarge
      ? this.#keys
      : Array.from({ length: 1 + Math.floor(random.next() * 3) }, () => this.#pick());
    const next = new Map(
      touched.map((key): [string, Held | undefined] => {
        const before = this.#held.get(key);
        if (before !== undefined && random.next() < 0.1) return [key, undefined];
        const n = this.#number;
        return [key, { n, chain: chained(before?.chain ?? 0, n) }];
      }),
    );
    let evidence: Evidence;
    try {
      ({ evidence } = await app.write('orders', (tx) => store(tx, next)));
    } catch (error) {
      await this.#settle(next, error);
      return;
    }
    this.#keep(next);
    counts.writes += 1;
    if (random.next() < 0.3) await this.#read(evidence, [...next][0]);
  }

  #pick(): string {
    return this.#keys[Math.floor(this.#options.random.next() * KEYS)] as string;
  }

  #keep(next: ReadonlyMap<string, Held | undefined>): void {
    for (const [key, held] of next) {
      if (held === undefined) this.#held.delete(key);
      else this.#held.set(key, held);
    }
  }

  /** Finds out what became of a transaction that failed. */
  async #settle(next: ReadonlyMap<string, Held | undefined>, error: unknown): Promise<void> {
    const { setup, counts } = this.#options;
    if (!isTallyError(error)) throw error;
    const isUnknown = error.code === 'COMMIT_UNKNOWN';
    if (!isUnknown && !error.retryable) throw error;
    for (;;) {
      await systemClock.sleep(RETRY_MS);
      const found = await sourceRows(setup.sourceUrl, [...next.keys()]).catch(() => undefined);
      if (found === undefined) continue;
      const isNew = [...next].every(([key, held]) => found.get(key)?.n === held?.n);
      const isOld = [...next.keys()].every((key) => found.get(key)?.n === this.#held.get(key)?.n);
      if (isNew === isOld) violate(counts, 'lied', `half of a transaction of w${this.#options.id}`);
      else if (isNew && !isUnknown)
        violate(counts, 'lied', `this was said of what was committed: ${error.message}`);
      if (!isNew) return;
      this.#keep(next);
      counts.writes += 1;
      return;
    }
  }

  /** Its own write must be in what is called fresh: nobody else writes that key, and nothing came after. */
  async #read(
    after: Evidence,
    written: readonly [string, Held | undefined] | undefined,
  ): Promise<void> {
    const { app, setup, readable, random, counts } = this.#options;
    const target = readable[Math.floor(random.next() * readable.length)];
    if (target === undefined || written === undefined) return;
    const [key, held] = written;
    const isRedis = target === 'redis';
    const run = isRedis ? await redisRun(setup.redisUrl) : '';
    try {
      const options = { after, within: '300ms', otherwise: 'stale' } as const;
      const { value, freshness } = await app.read(target, options, () =>
        targetRows(setup, target, 'copies', key),
      );
      if (freshness.kind !== 'fresh') return;
      // A Redis that was killed in between may have lost what it had answered.
      if (isRedis && (run === undefined || (await redisRun(setup.redisUrl)) !== run)) return;
      counts.freshReads += 1;
      const seen = value.get(key)?.n;
      if (seen !== held?.n)
        violate(counts, 'wrongFresh', `${target}: ${key} is ${seen}, not ${held?.n}`);
    } catch {
      // A server that is down answers no reads.
    }
  }
}

interface Transaction {
  query(text: string, values: readonly unknown[]): Promise<unknown>;
}

async function store(tx: Transaction, next: ReadonlyMap<string, Held | undefined>): Promise<void> {
  const gone = [...next].flatMap(([key, held]) => (held === undefined ? [key] : []));
  const kept = [...next].flatMap(([key, held]) => (held === undefined ? [] : [{ key, ...held }]));
  if (gone.length > 0) await tx.query('DELETE FROM counters WHERE key = ANY($1)', [gone]);
  if (kept.length === 0) return;
  await tx.query(
    `INSERT INTO counters SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
     ON CONFLICT (key) DO UPDATE SET n = excluded.n, chain = excluded.chain`,
    [kept.map(({ key }) => key), kept.map(({ n }) => n), kept.map(({ chain }) => chain)],
  );
}
