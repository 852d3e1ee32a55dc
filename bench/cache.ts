import { createClient } from 'redis';
import { startRedis } from '../servers/index.ts';
import { cache } from '../src/patterns/cache/index.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { redis, type RedisStore } from '../src/stores/redis/index.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { ReaderProcess } from './cache/reader-process.ts';

const KEYS = 1_000;
const CALLERS = 64;
const READERS = 200;
const PROCESSES = 4;

/** What a hit costs, and what becomes of a key that many want when it is not there, over Redis. */
export const cacheBench: Bench = {
  name: 'cache',
  about:
    'hits of a copy and of Redis beside the bare driver; a stampede, a killed holder, a Redis that hangs',
  run,
};

async function run({ quick }: BenchOptions): Promise<BenchResult> {
  await using server = await startRedis();
  const claims: BenchClaim[] = [];
  claims.push(...(await copies(quick ? 50_000 : 2_000_000)));
  claims.push(...(await hits(server.url, quick ? 5_000 : 200_000)));
  claims.push(...(await stampede(server.url, quick ? 1 : 5)));
  claims.push(...(await killed(server.url, quick ? 1 : 5)));
  claims.push(...(await hung(server.url, server.pid)));
  return { claims, details: { redis: server.version } };
}

function openStore(url: string): Promise<RedisStore> {
  return redis({ url }).open({ name: 'cache', clock: systemClock, random: systemRandom });
}

/** Awaited one after the other, as callers do. */
async function copies(rounds: number): Promise<readonly BenchClaim[]> {
  await using things = await cache<string, string>({
    name: 'near',
    ttl: '1h',
    load: (key) => `value of ${key}`,
  });
  const keys = Array.from({ length: KEYS }, (_, index) => `k${index}`);
  await things.getMany(keys);
  const map = new Map(keys.map((key) => [key, key]));
  const perCall = async (get: (key: string) => unknown): Promise<number> => {
    const startedAt = process.cpuUsage();
    for (let round = 0; round < rounds; round += 1) await get(keys[round % KEYS] ?? '');
    const { user, system } = process.cpuUsage(startedAt);
    return (user + system) / rounds;
  };
  await perCall((key) => things.get(key));
  const ours = await perCall((key) => things.get(key));
  const bare = await perCall((key) => map.get(key));
  return [
    { ...atMost('hit of a copy, CPU', 0.5, ours, 'µs') },
    { claim: 'the same of a Map, awaited', measured: bare, unit: 'µs' },
  ];
}

async function hits(url: string, calls: number): Promise<readonly BenchClaim[]> {
  await using store = await openStore(url);
  await using things = await cache<string, string>({
    name: 'bench',
    store,
    ttl: '1h',
    shared: { timeout: '1s' },
    load: (key) => `value of ${key}`,
  });
  const keys = Array.from({ length: KEYS }, (_, index) => `k${index}`);
  await things.getMany(keys);
  const client = createClient({ url });
  await client.connect();
  try {
    for (const key of keys) await client.set(`raw:${key}`, `value of ${key}`);
    const raw = (key: string): Promise<unknown> => client.get(`raw:${key}`);
    const ours = (key: string): Promise<unknown> => things.get(key);
    await byCallers(keys, calls / 4, ours);
    const hit = await byCallers(keys, calls, ours);
    const driver = await byCallers(keys, calls, raw);
    const alone = await one(keys, Math.min(calls, 20_000), ours);
    const driverAlone = await one(keys, Math.min(calls, 20_000), raw);
    const many = await times(50, () => things.getMany(keys));
    const mget = await times(50, () => client.mGet(keys.map((key) => `raw:${key}`)));
    return [
      atLeast(`hit of Redis, ${CALLERS} callers`, 120_000, hit.perSecond, 'per s'),
      atMost(`hit of Redis, ${CALLERS} callers, CPU`, 5, hit.cpuUs, 'µs'),
      { claim: 'GET of the driver, the same', measured: driver.perSecond, unit: 'per s' },
      { claim: 'GET of the driver, CPU', measured: driver.cpuUs, unit: 'µs' },
      atMost('hit of Redis alone, p50', 60, alone * 1_000, 'µs'),
      { claim: 'GET of the driver alone, p50', measured: driverAlone * 1_000, unit: 'µs' },
      atMost('getMany of 1 000 keys, p50', 1.5, many, 'ms'),
      { claim: 'MGET of the driver, p50', measured: mget, unit: 'ms' },
    ];
  } finally {
    client.destroy();
  }
}

async function byCallers(
  keys: readonly string[],
  calls: number,
  get: (key: string) => Promise<unknown>,
): Promise<{ readonly perSecond: number; readonly cpuUs: number }> {
  const cpu = process.cpuUsage();
  const startedAtMs = performance.now();
  let left = calls;
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (left > 0) {
        left -= 1;
        await get(keys[left % keys.length] ?? '');
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  return {
    perSecond: (calls / (performance.now() - startedAtMs)) * 1_000,
    cpuUs: (user + system) / calls,
  };
}

function one(
  keys: readonly string[],
  calls: number,
  get: (key: string) => Promise<unknown>,
): Promise<number> {
  let at = 0;
  return times(calls, () => get(keys[(at += 1) % keys.length] ?? ''));
}

/** The median in milliseconds. */
async function times(count: number, work: () => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let round = 0; round < count; round += 1) {
    const startedAtMs = performance.now();
    await work();
    took.push(performance.now() - startedAtMs);
  }
  return percentile(took, 0.5);
}

async function stampede(url: string, rounds: number): Promise<readonly BenchClaim[]> {
  const waitedMs: number[] = [];
  let loadsMax = 0;
  for (let round = 0; round < rounds; round += 1) {
    await using stack = new AsyncDisposableStack();
    const readers = await started(stack, url, `stampede${round}`, 100);
    const answers = await Promise.all(readers.map((reader) => reader.read()));
    waitedMs.push(...answers.flatMap((answer) => answer.waitedMs));
    loadsMax = Math.max(loadsMax, readers.flatMap(({ loadedAtMs }) => loadedAtMs).length);
  }
  return [
    atMost('4 × 200 readers of a key that is not there: loads', 1, loadsMax, 'loads'),
    atMost('their wait for a load of 100 ms, p99', 106, percentile(waitedMs, 0.99), 'ms'),
  ];
}

async function killed(url: string, rounds: number): Promise<readonly BenchClaim[]> {
  const waitedMs: number[] = [];
  const noticedMs: number[] = [];
  let errors = 0;
  for (let round = 0; round < rounds; round += 1) {
    await using stack = new AsyncDisposableStack();
    const [holder, ...others] = await started(stack, url, `killed${round}`, 300);
    if (holder === undefined) continue;
    void holder.read().catch(() => undefined);
    await holder.loading;
    const reading = others.map((reader) => reader.read());
    await systemClock.sleep(40);
    const killedAtMs = performance.now();
    holder.kill();
    const answers = await Promise.all(reading);
    errors += answers.reduce((sum, answer) => sum + answer.errors, 0);
    waitedMs.push(...answers.flatMap((answer) => answer.waitedMs));
    const second = Math.min(...others.flatMap(({ loadedAtMs }) => loadedAtMs));
    noticedMs.push(second - killedAtMs);
  }
  return [
    atMost('SIGKILL of the holder to the second load, worst', 50, Math.max(...noticedMs), 'ms'),
    atMost(
      'wait for a load of 300 ms whose holder is killed, p99',
      400,
      percentile(waitedMs, 0.99),
      'ms',
    ),
    atMost('errors of those who waited', 0, errors, 'errors'),
  ];
}

async function started(
  stack: AsyncDisposableStack,
  url: string,
  prefix: string,
  loadMs: number,
): Promise<readonly ReaderProcess[]> {
  const readers: ReaderProcess[] = [];
  for (let index = 0; index < PROCESSES; index += 1)
    readers.push(stack.use(await ReaderProcess.start({ url, prefix, loadMs, readers: READERS })));
  return readers;
}

/** A load of 10 ms while Redis does not answer, before and after the breaker has opened. */
async function hung(url: string, pid: number): Promise<readonly BenchClaim[]> {
  await using store = await openStore(url);
  await using things = await cache<string, string>({
    name: 'hung',
    store,
    ttl: '1h',
    load: async (key) => {
      await systemClock.sleep(10);
      return key;
    },
  });
  await things.get('warm');
  process.kill(pid, 'SIGSTOP');
  try {
    const waits: number[] = [];
    for (let index = 0; index < 20; index += 1) {
      const startedAtMs = performance.now();
      await things.get(`k${index}`);
      waits.push(performance.now() - startedAtMs);
    }
    return [
      atMost('a miss with a load of 10 ms while Redis hangs, worst', 40, Math.max(...waits), 'ms'),
    ];
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function atMost(claim: string, bar: number, measured: number, unit: string): BenchClaim {
  return { claim, bar, measured, unit, met: measured <= bar };
}

function atLeast(claim: string, bar: number, measured: number, unit: string): BenchClaim {
  return { claim, bar, measured, unit, met: measured >= bar };
}
