import { createClient } from 'redis';
import { startRedis } from '../servers/index.ts';
import { noEvidence } from '../src/core/evidence.ts';
import { guard } from '../src/patterns/compose/guard.ts';
import { join } from '../src/patterns/compose/join.ts';
import { loader } from '../src/patterns/compose/loader.ts';
import { keysMaxOf } from '../src/patterns/compose/loader-limits.ts';
import { runInContext } from '../src/runtime/context.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { fetchedDataLoader } from './compose/peers.ts';

const KEYS = 1_000;
const BAR_JOIN_MS = 1.5;
const CHUNK = keysMaxOf('redis');

/** A thousand keys of one store, for the rows of another. */
export const composeJoinBench: Bench = {
  name: 'compose-join',
  about:
    'a thousand keys from Redis for the rows of another store: one by one, batched, loaded, joined',
  run,
};

async function run({ quick }: BenchOptions): Promise<BenchResult> {
  await using server = await startRedis({});
  const client = createClient({ url: server.url, RESP: 2 });
  await client.connect();
  try {
    const rows = Array.from({ length: KEYS }, (_, index) => ({ id: `k${index}` }));
    const keys = rows.map(({ id }) => id);
    await client.mSet(keys.map((key) => [key, `${key}:${'x'.repeat(200)}`] as [string, string]));
    const times = await inTurns(await candidates(client, rows, keys), quick ? 3 : 60);
    const ratio = (name: string): number => round((times['join'] ?? 0) / (times[name] ?? 1));
    const claims: BenchClaim[] = [
      {
        claim: `join of ${KEYS} rows with Redis, median`,
        bar: BAR_JOIN_MS,
        measured: times['join'] ?? 0,
        unit: 'ms',
        met: (times['join'] ?? Infinity) <= BAR_JOIN_MS,
      },
      ...Object.entries(times)
        .filter(([name]) => name !== 'join')
        .map(([name, ms]) => ({ claim: name, measured: ms, unit: 'ms' })),
      { claim: 'join over parallel MGET by hand', measured: ratio('parallel MGET'), unit: '×' },
    ];
    if (times['DataLoader to MGET'] !== undefined)
      claims.push({
        claim: 'join over DataLoader to MGET',
        measured: ratio('DataLoader to MGET'),
        unit: '×',
      });
    return { claims, details: { keys: KEYS, chunk: CHUNK, medians: times } };
  } finally {
    await client.close();
  }
}

/** The part of a Redis client that is measured. */
interface Client {
  get(key: string): Promise<unknown>;
  mGet(keys: string[]): Promise<readonly (string | null)[]>;
}

async function candidates(
  client: Client,
  rows: readonly { readonly id: string }[],
  keys: readonly string[],
): Promise<Readonly<Record<string, () => Promise<unknown>>>> {
  const store = guard('redis', { idempotent: true });
  const driving = guard('orders', { idempotent: true });
  const load = async (
    wanted: readonly (string | number | bigint)[],
  ): Promise<(string | undefined)[]> =>
    (await client.mGet(wanted as string[])).map((value) => value ?? undefined);
  const values = loader<string, string>(store, load, { keysMax: CHUNK });
  const joined = join({
    name: 'orders',
    from: { from: driving, read: () => rows, pageRows: KEYS },
    with: { value: { from: store, on: 'id', load, keysMax: CHUNK } },
  });
  const dataLoader = await fetchedDataLoader();
  return {
    'one by one': async () => {
      for (const key of keys) await client.get(key);
    },
    'all at once': () => Promise.all(keys.map((key) => client.get(key))),
    'one MGET': () => client.mGet([...keys]),
    'parallel MGET': () => {
      const chunks: Promise<unknown>[] = [];
      for (let from = 0; from < KEYS; from += CHUNK)
        chunks.push(client.mGet(keys.slice(from, from + CHUNK)));
      return Promise.all(chunks);
    },
    ...(dataLoader === undefined
      ? {}
      : {
          'DataLoader to MGET': () =>
            dataLoader((wanted) => client.mGet([...wanted])).loadMany(keys),
        }),
    loader: () => runInContext(noEvidence, () => values.loadMany(keys)),
    join: () =>
      runInContext(noEvidence, async () => {
        const all = await joined.rows({ limit: KEYS }).all();
        const seen = all.filter(({ value }) => value !== undefined).length;
        if (seen !== KEYS) throw new Error(`${seen} rows of ${KEYS} were joined`);
      }),
  };
}

/** The median of each, in milliseconds, taken in turns so that the machine is the same for all. */
async function inTurns(
  calls: Readonly<Record<string, () => Promise<unknown>>>,
  rounds: number,
): Promise<Readonly<Record<string, number>>> {
  const times = new Map<string, number[]>(Object.keys(calls).map((name) => [name, []]));
  for (let turn = 0; turn < rounds + 5; turn++)
    for (const [name, call] of Object.entries(calls)) {
      const startedMs = performance.now();
      await call();
      // The first rounds are not compiled yet.
      if (turn >= 5) times.get(name)?.push(performance.now() - startedMs);
    }
  return Object.fromEntries(
    [...times].map(([name, all]) => {
      const sorted = all.toSorted((left, right) => left - right);
      return [name, round(sorted[sorted.length >> 1] ?? 0)];
    }),
  );
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
