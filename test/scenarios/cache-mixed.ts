import { cache, type Cache } from '../../src/patterns/cache/index.ts';
import type { Random } from '../../src/ports/clock.ts';
import type { Store } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';

interface MixedOptions {
  /** One for each process. */
  readonly stores: readonly Store[];
  readonly operations: number;
  readonly seed: number;
  /** Callers at a time. */
  readonly callers?: number;
  readonly keys?: number;
  /** Characters of each value, for a store that is to run out of room. */
  readonly padding?: number;
}

interface MixedReport {
  readonly reads: number;
  readonly loads: number;
  readonly voided: number;
  /** Reads that were answered what an invalidation had been answered for before they began. */
  readonly stale: readonly string[];
  /** Calls that ended in an error. */
  readonly errors: readonly string[];
}

/** What the checker knows of a key: the version at the database, and the one below which no reader may be answered. */
interface Known {
  version: number;
  floor: number;
}

const PROBLEMS_MAX = 20;
const TAGS = 7;

/**
 * Any mixture of reads, writes and invalidations by several processes over one store, with loads that take their time between
 * reading and answering. The checker is one rule: who begins to read a key after a write of it was answered `done` is
 * answered that write or a later one.
 */
export async function mixed(options: MixedOptions): Promise<MixedReport> {
  const { stores, operations, seed, callers = 32, keys = 200, padding = 0 } = options;
  const random = seededRandom(seed);
  const known = new Map<string, Known>();
  const stale: string[] = [];
  const errors: string[] = [];
  let reads = 0;
  const of = (key: string): Known => {
    const one = known.get(key) ?? { version: 0, floor: 0 };
    known.set(key, one);
    return one;
  };
  const caches = await Promise.all(
    stores.map((store) =>
      cache<string, string>({
        name: 'mixed',
        store,
        ttl: 400,
        grace: 0,
        shared: { timeout: '30s' },
        loads: { concurrency: 1_000, queue: 100_000 },
        tags: (_, key) => [tagOf(key)],
        load: async (key) => {
          const read = of(key).version;
          await pause(random);
          return `${read} ${'x'.repeat(padding)}`;
        },
      }),
    ),
  );
  const check = (key: string, floor: number, answer: string | undefined, what: string): void => {
    reads += 1;
    const version = Number(answer?.split(' ')[0]);
    if (!(version >= floor) && stale.length < PROBLEMS_MAX)
      stale.push(`${what} ${key}: ${version} after ${floor}`);
  };
  const one = async (): Promise<void> => {
    const things = pick(caches, random);
    const key = `k${Math.floor(random.next() ** 2 * keys)}`;
    const dice = random.next();
    if (dice < 0.6) {
      const { floor } = of(key);
      check(key, floor, await things.get(key), 'get');
    } else if (dice < 0.7) {
      const many = Array.from({ length: 8 }, () => `k${Math.floor(random.next() * keys)}`);
      const floors = many.map((name) => of(name).floor);
      const answers = await things.getMany(many);
      for (const [index, name] of many.entries())
        check(name, floors[index] ?? 0, answers[index], 'getMany');
    } else if (dice < 0.9) await write(things, key, dice < 0.75 ? { guard: '5s' } : {});
    else if (dice < 0.95) await byTag(things, tagOf(key));
    else if (dice < 0.99) await things.expire(key);
    else if (dice < 0.998) await things.delete([key, `${key}x`]);
    else await things.invalidateAll();
  };
  const write = async (
    things: Cache<string, string>,
    key: string,
    how: { readonly guard?: string },
  ): Promise<void> => {
    let version = 0;
    const { invalidation } = await things.write(
      key,
      async () => {
        await pause(random);
        version = of(key).version += 1;
        await pause(random);
      },
      how,
    );
    if (invalidation.kind === 'done') of(key).floor = Math.max(of(key).floor, version);
  };
  const byTag = async (things: Cache<string, string>, tag: string): Promise<void> => {
    const changed = Array.from({ length: keys }, (_, index) => `k${index}`)
      .filter((key) => tagOf(key) === tag)
      .map((key) => [key, (of(key).version += 1)] as const);
    const { kind } = await things.invalidateTags([tag]);
    if (kind === 'done')
      for (const [key, version] of changed) of(key).floor = Math.max(of(key).floor, version);
  };
  let left = operations;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (left > 0) {
        left -= 1;
        try {
          await one();
        } catch (error) {
          if (errors.length < PROBLEMS_MAX) errors.push(String(error));
        }
      }
    }),
  );
  const stats = caches.map((things) => things.stats());
  for (const things of caches) await things.close();
  return {
    reads,
    loads: stats.reduce((sum, { loads }) => sum + loads, 0),
    voided: stats.reduce((sum, { voided }) => sum + voided, 0),
    stale,
    errors,
  };
}

function tagOf(key: string): string {
  return `t${Number(key.slice(1)) % TAGS}`;
}

interface RacesReport {
  readonly rounds: number;
  /** Loaded values that arrived after an invalidation and were refused. */
  readonly voided: number;
  readonly stale: number;
}

/**
 * Forces the race that leaves an old value behind, again and again: a load has read the row, the row is written and the key
 * invalidated by another process, and then the load's value arrives at the store. `stale` counts those that are found there.
 */
export async function races(
  [one, other]: readonly [Store, Store],
  rounds: number,
): Promise<RacesReport> {
  const gates = new Map<string, { begun: () => void; go: Promise<void> }>();
  const rows = new Map<string, number>();
  const open = (store: Store): Promise<Cache<string, number>> =>
    cache<string, number>({
      name: 'races',
      store,
      ttl: '1h',
      shared: { timeout: '30s' },
      loads: { concurrency: 10_000 },
      load: async (key) => {
        const read = rows.get(key) ?? 0;
        const gate = gates.get(key);
        gate?.begun();
        await gate?.go;
        return read;
      },
    });
  const [reader, writer] = [await open(one), await open(other)];
  let stale = 0;
  let left = rounds;
  await Promise.all(
    Array.from({ length: PARALLEL }, async (_, key) => {
      const name = `k${key}`;
      while (left > 0) {
        left -= 1;
        const begun = Promise.withResolvers<void>();
        const go = Promise.withResolvers<void>();
        gates.set(name, { begun: begun.resolve, go: go.promise });
        const reading = reader.get(name);
        await begun.promise;
        const version = (rows.get(name) ?? 0) + 1;
        await writer.write(name, () => rows.set(name, version));
        gates.delete(name);
        go.resolve();
        await reading;
        if ((await writer.get(name)) !== version) stale += 1;
        await writer.delete(name);
      }
    }),
  );
  const { voided } = reader.stats();
  await reader.close();
  await writer.close();
  return { rounds, voided, stale };
}

const PARALLEL = 64;

/** No pause, a turn of the event loop, or a millisecond or two. */
async function pause(random: Random): Promise<void> {
  const dice = random.next();
  if (dice < 0.3) return;
  if (dice < 0.8) await new Promise((resolve) => setImmediate(resolve));
  else await systemClock.sleep(1 + random.next());
}

function pick<Item>(items: readonly Item[], random: Random): Item {
  return items[Math.floor(random.next() * items.length)] as Item;
}
