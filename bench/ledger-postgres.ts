import { Pool } from 'pg';
import { startPostgres } from '../servers/index.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { seededRandom } from '../src/runtime/random.ts';
import { postgresLedger } from '../src/stores/postgres/ledger/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

const CALLERS = 64;
const RECORD_BYTES = 200;
/** The rates of a shared disk drift within seconds, so the sides take many short turns. */
const ROUNDS = 15;
const BAR = 5;

/**
 * How many durable steps a second the ledger takes from 64 callers, each waiting for its own answer before it asks
 * again, over the same callers with an INSERT and a COMMIT of their own on 64 connections, and over one such caller:
 * same server, same durability (fsync on), same records, same table.
 */
export const ledgerPostgresBench: Bench = {
  name: 'ledger-postgres',
  about: 'durable steps of 64 callers against transactions of their own on PostgreSQL',
  run,
};

interface Round {
  readonly one: number;
  readonly own: number;
  readonly auto: number;
  readonly ledger: number;
  readonly guarded: number;
}

async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const roundMs = quick ? 60 : 500;
  await using server = await startPostgres({ settings: { fsync: 'on' } });
  const raw = await openRaw(server.url);
  const context = { name: 'bench', clock: systemClock, random: seededRandom(1) };
  const ledger = await postgresLedger({ url: server.url }).open(context);
  const rounds: Round[] = [];
  try {
    const epoch = await takeLease(ledger);
    const turn = async (): Promise<Round> => ({
      one: await rate(1, roundMs, raw.transaction),
      own: await rate(CALLERS, roundMs, raw.transaction),
      auto: await rate(CALLERS, roundMs, raw.statement),
      ledger: await rate(CALLERS, roundMs, (key, value) => put(ledger, key, value)),
      guarded: await rate(CALLERS, roundMs, (key, value) => put(ledger, key, value, epoch)),
    });
    await turn();
    for (let round = 0; round < ROUNDS; round++) rounds.push(await turn());
  } finally {
    await ledger.close();
    await raw.pool.end();
  }
  return resultOf(rounds);
}

function resultOf(rounds: readonly Round[]): BenchResult {
  const ratio = (of: keyof Round): number =>
    median(rounds.map((round) => round.ledger / round[of]));
  const perSecond = (of: keyof Round): number =>
    Math.round(median(rounds.map((round) => round[of])));
  const overOne = ratio('one');
  return {
    claims: [
      {
        claim: `steps of ${CALLERS} callers over single transactions of one`,
        bar: BAR,
        measured: overOne,
        unit: '×',
        met: overOne >= BAR,
      },
      // Without a bar: the server lets its connections share a sync too, so on a slow disk both wait for the same.
      {
        claim: `steps of ${CALLERS} callers over an INSERT and COMMIT of each on ${CALLERS} connections`,
        measured: ratio('own'),
        unit: '×',
      },
    ],
    details: {
      callers: CALLERS,
      recordBytes: RECORD_BYTES,
      oneCallersTransactionsPerSecond: perSecond('one'),
      ownTransactionsPerSecond: perSecond('own'),
      ownStatementsPerSecond: perSecond('auto'),
      ledgerStepsPerSecond: perSecond('ledger'),
      ledgerGuardedStepsPerSecond: perSecond('guarded'),
      overOwnStatements: Number(ratio('auto').toFixed(1)),
    },
  };
}

type Write = (key: string, value: string) => Promise<unknown>;

async function openRaw(
  url: string,
): Promise<{ readonly pool: Pool; readonly transaction: Write; readonly statement: Write }> {
  const pool = new Pool({ connectionString: url, max: CALLERS });
  await pool.query(
    `CREATE TABLE raw (space text COLLATE "C", key text COLLATE "C", value text NOT NULL, version bigint NOT NULL,
       PRIMARY KEY (space, key)) WITH (fillfactor = 70)`,
  );
  await pool.query('CREATE SEQUENCE raw_version');
  const insert = {
    name: 'insert',
    text: `INSERT INTO raw VALUES ($1, $2, $3, nextval('raw_version'))
      ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, version = excluded.version RETURNING version`,
  };
  return {
    pool,
    statement: (key, value) => pool.query({ ...insert, values: ['bench', key, value] }),
    transaction: async (key, value) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await client.query({ ...insert, values: ['bench', key, value] });
        await client.query('COMMIT');
      } finally {
        client.release();
      }
    },
  };
}

async function takeLease(ledger: Ledger): Promise<number> {
  const acquire = {
    kind: 'acquire',
    lease: 'bench',
    owner: 'bench',
    ttlMs: 1e9,
    nowMs: 0,
  } as const;
  const [epoch = 0] = await ledger.commit([acquire]);
  return epoch;
}

function put(ledger: Ledger, key: string, value: string, epoch?: number): Promise<unknown> {
  const write = { kind: 'put', space: 'bench', key, value } as const;
  if (epoch === undefined) return ledger.commit([write]);
  return ledger.commit([{ kind: 'guard', lease: 'bench', epoch }, write]);
}

async function rate(callers: number, durationMs: number, write: Write): Promise<number> {
  let steps = 0;
  const startedMs = performance.now();
  const caller = async (key: string): Promise<void> => {
    while (performance.now() - startedMs < durationMs) {
      await write(key, String(steps).padStart(RECORD_BYTES, 'v'));
      steps += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(`caller-${index}`)));
  return (steps / (performance.now() - startedMs)) * 1_000;
}

function median(values: readonly number[]): number {
  return (
    values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN
  );
}
