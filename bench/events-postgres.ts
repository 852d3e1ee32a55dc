import { join } from 'node:path';
import { flow, open, put, tally, type FlowDefinition } from '../src/index.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { memory } from '../src/stores/memory/index.ts';
import { documents, postgres, type PostgresEventsStore } from '../src/stores/postgres/index.ts';
import { query } from '../servers/postgres.ts';
import type { PostgresServer } from '../servers/index.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { callers, fill, sample, seconds, type Reached } from './events/callers.ts';
import { openRaw, type RawEvents } from './events/raw.ts';
import { median } from './flow.ts';
import { durablePostgres } from './postgres/servers.ts';

const context = { name: 'bank', clock: systemClock, random: systemRandom };
const COUNTS = [1, 16, 64, 256] as const;
const ALONE_BAR = 1.5;
const GROUP_BAR = 0.8;
const REPLAY_BAR = 0.8;
const LOAD_BAR = 1.3;
const NOTHING_BAR = 100_000;
const UPSERT_BAR = 60_000;
const VISIBLE_BAR_MS = 20;
const STREAM_EVENTS = 1_000;

/**
 * The event store in PostgreSQL over the shortest statements that write and read the same rows: single appends, replay,
 * the load of a stream, and read models that are built from the past and kept in step.
 */
export const eventsPostgres: Bench = {
  name: 'events-postgres',
  about: 'appends, replay and read models of an event store on PostgreSQL, over raw statements',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  await using server = await durablePostgres();
  const appended = await appends(server, quick);
  const read = await reads(server, quick ? 20_000 : 200_000, quick ? 1 : 5);
  const models = await builds(server, dir, quick ? 10_000 : 100_000);
  const visible = await visibility(server, dir, quick ? 1_000 : 5_000);
  const ratioAt256 = appended.ratios[256] ?? 0;
  return {
    claims: [
      atMost('p50 of one append alone over one durable INSERT', ALONE_BAR, appended.alone, '×'),
      atLeast('appends of 256 callers over a raw group commit', GROUP_BAR, ratioAt256, '×'),
      {
        claim: 'appends of 16 callers over an INSERT of each',
        measured: appended.overInsert,
        unit: '×',
      },
      atLeast('replay over raw pages of 10,000 rows', REPLAY_BAR, read.replay, '×'),
      atMost(
        `load of a stream of ${STREAM_EVENTS} events over the raw read`,
        LOAD_BAR,
        read.load,
        '×',
      ),
      atLeast('building a read model that keeps nothing', NOTHING_BAR, models.nothing, 'events/s'),
      atLeast('building a read model of documents', UPSERT_BAR, models.upsert, 'events/s'),
      atMost(
        'append to visible in a read model, p99 at 1,000/s',
        VISIBLE_BAR_MS,
        visible.p99Ms,
        'ms',
      ),
    ],
    details: { appends: appended.details, reads: read.details, visible, postgres: server.version },
  };
}

function atLeast(claim: string, bar: number, measured: number, unit: string): BenchClaim {
  return { claim, bar, measured, unit, met: measured >= bar };
}

function atMost(claim: string, bar: number, measured: number, unit: string): BenchClaim {
  return { claim, bar, measured, unit, met: measured <= bar };
}

async function database(server: PostgresServer, name: string): Promise<string> {
  await query(server.url, `CREATE DATABASE ${name}`);
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  return url.href;
}

function openStore(url: string): Promise<PostgresEventsStore> {
  return postgres({ url, capture: 'events' }).open(context);
}

/** Short turns of both sides, because the rate of a shared disk drifts. */
async function appends(
  server: PostgresServer,
  quick: boolean,
): Promise<{
  readonly alone: number;
  readonly overInsert: number;
  readonly ratios: Readonly<Record<number, number>>;
  readonly details: unknown;
}> {
  const url = await database(server, 'appends');
  await using store = await openStore(url);
  await using raw = await openRaw(url, 'raw_events');
  const turnMs = quick ? 100 : 700;
  const append = (n: number): Promise<unknown> => store.events.append(`stream-${n}`, [sample(n)]);
  const rounds: {
    readonly count: number;
    readonly store: Reached;
    readonly raw: Reached;
    readonly insert: Reached;
  }[] = [];
  for (let round = 0; round < (quick ? 2 : 6); round += 1)
    for (const count of COUNTS) {
      const one = {
        count,
        raw: await callers(count, turnMs, raw.grouped),
        store: await callers(count, turnMs, append),
        insert: await callers(Math.min(count, 16), turnMs, raw.insert),
      };
      // The first round opens connections and fills plans.
      if (round > 0) rounds.push(one);
    }
  const of = (count: number, ratio: (round: (typeof rounds)[number]) => number): number =>
    median(rounds.filter((round) => round.count === count).map(ratio));
  const rates = (side: 'store' | 'raw' | 'insert'): Record<number, number> =>
    Object.fromEntries(
      COUNTS.map((count) => [count, Math.round(of(count, (round) => round[side].perSecond))]),
    );
  return {
    alone: of(1, (round) => round.store.p50Ms / round.insert.p50Ms),
    overInsert: of(16, (round) => round.store.perSecond / round.insert.perSecond),
    ratios: Object.fromEntries(
      COUNTS.map((count) => [
        count,
        of(count, (round) => round.store.perSecond / round.raw.perSecond),
      ]),
    ),
    details: {
      appendsPerSecond: rates('store'),
      rawGroupCommitsPerSecond: rates('raw'),
      insertsPerSecondOfAtMost16Connections: rates('insert'),
      aloneP50Ms: of(1, (round) => round.store.p50Ms),
      insertAloneP50Ms: of(1, (round) => round.insert.p50Ms),
    },
  };
}

async function reads(
  server: PostgresServer,
  count: number,
  rounds: number,
): Promise<{ readonly replay: number; readonly load: number; readonly details: unknown }> {
  const url = await database(server, 'reads');
  await using store = await openStore(url);
  await fill(store.events, count);
  const stream = 'the-stream';
  await store.events.append(
    stream,
    Array.from({ length: STREAM_EVENTS }, (_, n) => sample(n)),
  );
  await query(url, 'VACUUM ANALYZE _tally.events');
  await using raw = await openRaw(url, '_tally.events');
  const replays: { readonly store: number; readonly raw: number }[] = [];
  const loads: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const one = {
      raw: await timed(raw.replay, count + STREAM_EVENTS),
      store: await timed(() => replayed(store), count + STREAM_EVENTS),
    };
    if (round > 0) replays.push(one);
    loads.push(await loaded(store, raw, stream));
  }
  return {
    replay: median(replays.map((one) => one.store / one.raw)),
    load: median(loads.slice(1)),
    details: {
      events: count,
      replayPerSecond: Math.round(median(replays.map((one) => one.store))),
      rawPerSecond: Math.round(median(replays.map((one) => one.raw))),
    },
  };
}

async function timed(work: () => Promise<number>, expected: number): Promise<number> {
  let count = 0;
  const took = await seconds(async () => {
    count = await work();
  });
  if (count !== expected) throw new Error(`read ${count} of ${expected} events`);
  return count / took;
}

async function replayed({ events }: PostgresEventsStore): Promise<number> {
  let count = 0;
  for await (const page of events.readAll()) count += page.events.length;
  return count;
}

/** How much longer the load of a stream takes than the raw read, the two taking turns. */
async function loaded(
  { events }: PostgresEventsStore,
  raw: RawEvents,
  stream: string,
): Promise<number> {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let turn = 0; turn < 30; turn += 1) {
    theirs.push(await seconds(() => raw.load(stream)));
    ours.push(
      await seconds(async () => {
        let count = 0;
        for await (const page of events.readStream(stream)) count += page.length;
        if (count !== STREAM_EVENTS) throw new Error(`loaded ${count} events`);
      }),
    );
  }
  return median(ours) / median(theirs);
}

/** Read models that begin with all events in the past. */
async function builds(
  server: PostgresServer,
  dir: string,
  count: number,
): Promise<{ readonly nothing: number; readonly upsert: number }> {
  const url = await database(server, 'builds');
  {
    await using store = await openStore(url);
    await fill(store.events, count);
  }
  const nothing = flow({
    from: 'bank',
    tables: ['events'],
    to: 'views',
    into: 'views',
    project: () => undefined,
  });
  const upsert = flow({
    from: 'bank',
    tables: ['events'],
    to: 'views',
    into: 'views',
    project: ({ stream, version, data }) =>
      put('views', [String(stream)], { version: version ?? null, data: data ?? null }),
  });
  const target = await database(server, 'views');
  return {
    nothing: await built(
      join(dir, 'nothing'),
      { bank: postgres({ url, capture: 'events' }), views: memory() },
      nothing,
      count,
    ),
    upsert: await built(
      join(dir, 'upsert'),
      {
        bank: postgres({ url, capture: 'events' }),
        views: postgres({ url: target, targets: { views: documents() } }),
      },
      upsert,
      count,
    ),
  };
}

async function built(
  dir: string,
  stores: Parameters<typeof tally>[0]['stores'],
  views: FlowDefinition,
  count: number,
): Promise<number> {
  const app = await open(tally({ name: 'bench', dir, stores, flows: { views } }));
  try {
    const took = await seconds(async () => {
      const after = await app.evidenceAt('bank', count);
      const { kind } = await app.barrier('views', { after, within: '300s' });
      if (kind !== 'fresh') throw new Error(`the read model is ${kind}`);
    });
    return Math.round(count / took);
  } finally {
    await app.close();
  }
}

/** From the call of an append to its row in a read model, at a steady rate. */
async function visibility(
  server: PostgresServer,
  dir: string,
  count: number,
): Promise<{ readonly p50Ms: number; readonly p99Ms: number; readonly perSecond: number }> {
  const url = await database(server, 'visible');
  const views = flow({
    from: 'bank',
    tables: ['events'],
    to: 'views',
    into: 'views',
    project: ({ stream, version }) => put('views', [String(stream)], { version: version ?? null }),
  });
  const bank = postgres({ url, capture: 'events' });
  const app = await open(
    tally({
      name: 'bench',
      dir: join(dir, 'visible'),
      stores: { bank, views: memory() },
      flows: { views },
    }),
  );
  try {
    const { events } = app.stores.bank;
    await events.append('first', [sample(0)]);
    const first = await app.evidenceAt('bank', 1);
    await app.barrier('views', { after: first, within: '30s' });
    const epoch = first.get('bank')?.[0]?.epoch ?? 0;
    const tookMs: number[] = [];
    const startedMs = performance.now();
    const calls: Promise<void>[] = [];
    for (let n = 1; n <= count; n += 1) {
      const dueMs = startedMs + n;
      if (performance.now() < dueMs) await systemClock.sleep(dueMs - performance.now());
      calls.push(
        (async () => {
          const { offset } = await events.append(`account-${n % 100}`, [sample(n)]);
          await app.barrier('views', {
            after: new Map([['bank', [{ epoch, offset }]]]),
            within: '30s',
          });
          tookMs.push(performance.now() - dueMs);
        })(),
      );
    }
    await Promise.all(calls);
    const sorted = tookMs.toSorted((left, right) => left - right);
    return {
      p50Ms: median(tookMs),
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
      perSecond: Math.round(count / ((performance.now() - startedMs) / 1_000)),
    };
  } finally {
    await app.close();
  }
}
