import { Client } from 'pg';
import { startPostgres } from '../servers/index.ts';
import { saga, type SagaDefinition, SagaEngine } from '../src/patterns/saga/index.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { seededRandom } from '../src/runtime/random.ts';
import { postgresLedger } from '../src/stores/postgres/ledger/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

const LEVELS = [1, 16, 64, 256] as const;
/** The rates of a shared machine drift within seconds, so the sides take many short turns. */
const ROUNDS = 9;
/** Of the bare journal's rate in the same round. */
const BAR = 0.75;
/** Over the durable commits that a saga alone waits for. */
const ALONE_BAR = 1.3;
/** A saga of three steps: its start, two steps, and the last one with the end. */
const COMMITS_PER_SAGA = 4;

/** Three steps that do nothing, as whole sagas, against a journal that only writes: five fenced records for each. */
export const sagaPostgresBench: Bench = {
  name: 'saga-postgres',
  about: 'sagas of three empty steps on PostgreSQL against a bare fenced journal with group commit',
  run,
};

type Level = (typeof LEVELS)[number];

interface Round {
  readonly journal: number;
  readonly sagas: number;
}

export const threeSteps: SagaDefinition<{ readonly order: string }> = saga<{
  readonly order: string;
}>('three-steps')
  .step('reserve', { do: () => ({ place: 'a-7' }), undo: { none: 'it does nothing' } })
  .pivot('charge', { do: () => ({ receipt: 'r-1' }) })
  .retriable('confirm', { do: () => ({ confirmed: true }) })
  .end();

async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const roundMs = quick ? 100 : 600;
  await using server = await startPostgres({ settings: { fsync: 'on' } });
  await using journal = await openJournal(server.url);
  const context = { name: 'bench', clock: systemClock, random: seededRandom(1) };
  await using ledger = await postgresLedger({ url: server.url }).open(context);
  await using engine = await openEngine(ledger);
  const rounds = new Map<Level, Round[]>(LEVELS.map((level) => [level, []]));
  const commitMs: number[] = [];
  const aloneMs: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1)
    for (const level of LEVELS) {
      const raw = await rate(level, roundMs, () => journal.workflow());
      const times: number[] = [];
      const sagas = await rate(level, roundMs, () => runOne(engine, times));
      if (round === 0) continue;
      rounds.get(level)?.push({ journal: raw, sagas });
      if (level !== 1) continue;
      aloneMs.push(median(times));
      commitMs.push(await commitTime(ledger, roundMs / 2));
    }
  return resultOf(rounds, aloneMs, commitMs);
}

function resultOf(
  rounds: ReadonlyMap<Level, readonly Round[]>,
  aloneMs: readonly number[],
  commitMs: readonly number[],
): BenchResult {
  const details: Record<string, unknown> = {};
  const claims: BenchResult['claims'][number][] = [];
  for (const [level, of] of rounds) {
    const measured = median(of.map(({ journal, sagas }) => sagas / journal));
    claims.push({
      claim: `sagas a second of ${level} callers over the bare journal`,
      bar: BAR,
      measured,
      unit: '×',
      met: measured >= BAR,
    });
    details[`sagasPerSecond${level}`] = Math.round(median(of.map(({ sagas }) => sagas)));
    details[`journalPerSecond${level}`] = Math.round(median(of.map(({ journal }) => journal)));
  }
  const alone = median(
    aloneMs.map((ms, index) => ms / ((commitMs[index] ?? Number.NaN) * COMMITS_PER_SAGA)),
  );
  claims.push({
    claim: `p50 of a saga alone over the ${COMMITS_PER_SAGA} durable commits that it makes`,
    bar: ALONE_BAR,
    measured: alone,
    unit: '×',
    met: alone <= ALONE_BAR,
  });
  details['alone p50 ms'] = Number(median(aloneMs).toFixed(2));
  details['durable commit p50 ms'] = Number(median(commitMs).toFixed(3));
  return { claims, details };
}

/** An engine that is among the workers. */
export async function openEngine(ledger: Ledger): Promise<SagaEngine> {
  const engine = new SagaEngine({
    ledger,
    clock: systemClock,
    random: seededRandom(2),
    owner: 'bench',
    isDead: () => false,
    definitions: [threeSteps],
    run: true,
  });
  await (await engine.start(threeSteps, { input: { order: 'first' } })).result();
  return engine;
}

let orders = 0;

/** One saga from its start to its end. */
export async function runOne(engine: SagaEngine, times: number[]): Promise<void> {
  const startedMs = performance.now();
  orders += 1;
  const handle = await engine.start(threeSteps, {
    id: `o-${process.pid}-${orders}`,
    input: { order: `order-${orders}` },
  });
  const outcome = await handle.result();
  if (outcome.status !== 'completed') throw new Error(`a saga is ${outcome.status}`);
  times.push(performance.now() - startedMs);
}

/** How many times a second callers that each wait for their own have something done. */
export async function rate(
  callers: number,
  durationMs: number,
  work: () => Promise<void>,
): Promise<number> {
  let done = 0;
  const startedMs = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() - startedMs < durationMs) {
      await work();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (done / (performance.now() - startedMs)) * 1_000;
}

/** The median of single puts, one after the other, through the same ledger. */
async function commitTime(ledger: Ledger, durationMs: number): Promise<number> {
  const times: number[] = [];
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    const startedMs = performance.now();
    await ledger.commit([
      { kind: 'put', space: 'bench', key: 'k', value: String(startedMs).padStart(400, 'v') },
    ]);
    times.push(performance.now() - startedMs);
  }
  return median(times);
}

interface Journal extends AsyncDisposable {
  workflow(): Promise<void>;
}

interface Waiting {
  readonly workflow: string;
  readonly seq: number;
  readonly body: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The bare journal: five records of a workflow, each durable before the next, each written only while the lease is
 * held; what waits at the same time shares one statement. No queue, timers, retries, takeover or states.
 */
export async function openJournal(url: string): Promise<Journal> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(
    `CREATE TABLE bare_journal (workflow text, seq int, body text, PRIMARY KEY (workflow, seq));
     CREATE TABLE bare_lease (name text PRIMARY KEY, epoch bigint);
     INSERT INTO bare_lease VALUES ('bench', 1)`,
  );
  let waiting: Waiting[] = [];
  let isRunning = false;
  let workflows = 0;
  const flush = async (): Promise<void> => {
    await new Promise<void>((resolve) => process.nextTick(resolve));
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        const { rowCount } = await client.query({
          name: 'journal',
          text: `INSERT INTO bare_journal SELECT u.* FROM unnest($1::text[], $2::int[], $3::text[]) AS u
             WHERE EXISTS (SELECT FROM bare_lease WHERE name = 'bench' AND epoch = $4)`,
          values: [
            batch.map(({ workflow }) => workflow),
            batch.map(({ seq }) => seq),
            batch.map(({ body }) => body),
            1,
          ],
        });
        if (rowCount !== batch.length) throw new Error('fenced out');
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    isRunning = false;
  };
  const write = (workflow: string, seq: number, body: object): Promise<void> =>
    new Promise((resolve, reject) => {
      waiting.push({ workflow, seq, body: JSON.stringify(body), resolve, reject });
      if (isRunning) return;
      isRunning = true;
      void flush();
    });
  return {
    workflow: async () => {
      workflows += 1;
      const workflow = `w-${workflows}`;
      await write(workflow, 0, { kind: 'started', input: { order: `order-${workflows}` } });
      await write(workflow, 1, { kind: 'done', step: 'reserve', result: { place: 'a-7' } });
      await write(workflow, 2, { kind: 'done', step: 'charge', result: { receipt: 'r-1' } });
      await write(workflow, 3, { kind: 'done', step: 'confirm', result: { confirmed: true } });
      await write(workflow, 4, { kind: 'ended', end: 'completed' });
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** The one in the middle. */
export function median(values: readonly number[]): number {
  return (
    values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN
  );
}
