import { createRequire } from 'node:module';
import { join } from 'node:path';
import { npmPeer } from '../peers/fetch.ts';

/** Those that the bars were set by. */
const OPOSSUM = '9.0.0';
const COCKATIEL = '3.2.1';
const DATALOADER = '2.2.3';

type Work<Result> = () => Promise<Result>;
type Candidates<Call> = Readonly<Record<string, Call>>;

/** What other libraries make of the same; without those that cannot be had. */
export interface Peers {
  /** Breaker, limit, timeout and fallback around one function. */
  wrappers(work: Work<number>): Candidates<() => Promise<unknown>>;
  /** At most two at once, with a timeout of 50 ms. */
  limitTwo(): Candidates<(work: Work<void>) => Promise<unknown>>;
}

interface Opossum {
  new (
    work: (...args: never[]) => unknown,
    options: object,
  ): {
    fire(...args: unknown[]): Promise<unknown>;
    fallback(answer: () => unknown): void;
  };
}

interface CockatielPolicy {
  execute<Result>(work: () => Promise<Result>): Promise<Result>;
}

interface Cockatiel {
  readonly handleAll: unknown;
  readonly SamplingBreaker: new (options: object) => unknown;
  circuitBreaker(handle: unknown, options: object): CockatielPolicy;
  bulkhead(limit: number, queue?: number): CockatielPolicy;
  timeout(ms: number, strategy: string): CockatielPolicy;
  fallback(handle: unknown, value: unknown): CockatielPolicy;
  wrap(...policies: CockatielPolicy[]): CockatielPolicy;
}

export async function fetchedPeers(): Promise<Peers> {
  const Breaker = await loaded<Opossum>('opossum', OPOSSUM);
  const cockatiel = await loaded<Cockatiel>('cockatiel', COCKATIEL);
  return {
    wrappers(work) {
      const calls: Record<string, () => Promise<unknown>> = {};
      if (Breaker !== undefined) {
        const breaker = new Breaker(work, { timeout: 100, capacity: 64 });
        breaker.fallback(() => 0);
        calls['opossum'] = () => breaker.fire();
      }
      if (cockatiel !== undefined) {
        const { handleAll, SamplingBreaker } = cockatiel;
        const policy = cockatiel.wrap(
          cockatiel.fallback(handleAll, 0),
          cockatiel.timeout(100, 'aggressive'),
          cockatiel.circuitBreaker(handleAll, {
            halfOpenAfter: 1_000,
            breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000, minimumRps: 5 }),
          }),
          cockatiel.bulkhead(64, 64),
        );
        calls['cockatiel'] = () => policy.execute(work);
      }
      return calls;
    },
    limitTwo() {
      const calls: Record<string, (work: Work<void>) => Promise<unknown>> = {};
      if (Breaker !== undefined) {
        const breaker = new Breaker((work: Work<void>) => work(), {
          timeout: 50,
          capacity: 2,
          volumeThreshold: 1_000_000,
        });
        calls['opossum'] = (work) => breaker.fire(work);
      }
      if (cockatiel !== undefined) {
        const policy = cockatiel.wrap(cockatiel.bulkhead(2), cockatiel.timeout(50, 'aggressive'));
        calls['cockatiel'] = (work) => policy.execute(work);
      }
      return calls;
    },
  };
}

interface DataLoader {
  loadMany(keys: readonly string[]): Promise<readonly unknown[]>;
}

/** Makes a DataLoader of the peer; undefined if it cannot be had. */
export async function fetchedDataLoader(): Promise<
  ((batch: (keys: readonly string[]) => Promise<readonly unknown[]>) => DataLoader) | undefined
> {
  const Loader = await loaded<new (batch: unknown) => DataLoader>('dataloader', DATALOADER);
  return Loader === undefined ? undefined : (batch) => new Loader(batch);
}

async function loaded<Module>(name: string, version: string): Promise<Module | undefined> {
  const dir = await npmPeer(name, version);
  if (dir === undefined) return undefined;
  return createRequire(join(dir, 'package.json'))(name) as Module;
}
