import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  crashPoints,
  patternCrashPoints,
  serverCrashPoints,
  type CrashPoint,
} from '../../src/observe/point.ts';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from '../support/servers.ts';
import { chained, schema, type Setup, type TargetName } from './server-app.ts';
import { ask, sourceRows, targetRows } from './server-oracle.ts';
import { runStory } from './story.ts';

/** Transactions of one story: each point is passed several times. */
const TRANSACTIONS = 80;
/** `TALLY_SWEEP=full`: every point of every target, early and late, with either place of the coordinator's state. */
const isFull = process.env['TALLY_SWEEP'] === 'full';

/** Points that a story passes once or so; the others are also hit later, with more behind them. */
const RARE: readonly CrashPoint[] = [
  'capture.after-publication-before-slot',
  'capture.after-record-before-slot',
  'capture.after-slot-before-place',
  'capture.after-slot-before-tables',
  'capture.after-claim-before-epoch',
  'capture.after-ledger-before-acknowledge',
  'capture.after-mark-before-confirm',
  'capture.after-acknowledge',
  'log.before-segment-delete',
  'sink.mid-apply',
  'sink.after-apply-before-checkpoint',
  'sink.mid-reset',
  'log.after-new-segment',
  'flow.after-park-before-apply',
  'flow.after-snapshot-chunk',
  'flow.after-snapshot-before-stream',
  'rebuild.after-build-before-switch',
  'rebuild.after-switch-before-forget',
];

/** Sinks have sweeps of their own: here the others are hit where PostgreSQL as the source makes a difference. */
const few: Readonly<Record<Exclude<TargetName, 'redis'>, readonly CrashPoint[]>> = {
  postgres: [
    'sink.mid-apply',
    'sink.after-send-before-answer',
    'flow.after-park-before-apply',
    'flow.after-snapshot-before-stream',
    'rebuild.after-build-before-switch',
    'rebuild.after-switch-before-forget',
  ],
  sqlite: ['flow.after-snapshot-chunk', 'sink.after-commit'],
  duckdb: ['flow.after-snapshot-chunk', 'rebuild.after-switch-before-forget'],
};

interface Case {
  readonly target: TargetName;
  readonly name: CrashPoint;
  readonly count: number;
  readonly state: Setup['state'];
}

/** The points that lie in the way from PostgreSQL to a target. */
function pointsOf(target: TargetName): readonly CrashPoint[] {
  if (target === 'redis')
    return crashPoints.filter(
      (name) =>
        !name.startsWith('rebuild.') &&
        name !== 'sink.after-send-before-answer' &&
        !patternCrashPoints.includes(name),
    );
  if (!isFull) return few[target];
  return crashPoints.filter(
    (name) =>
      /^(sink|flow|rebuild)\./.test(name) &&
      (!serverCrashPoints.includes(name) ||
        (target === 'postgres' && name === 'sink.after-send-before-answer')),
  );
}

/** Where the coordinator keeps ledger and log: only some places pass a point of theirs. */
function statesOf(name: CrashPoint): readonly Setup['state'][] {
  if (name === 'log.after-new-segment') return ['files'];
  if (name === 'ledger.after-send-before-answer') return ['postgres'];
  if (isFull) return ['files', 'postgres'];
  return [/^(log|ledger)\./.test(name) ? 'postgres' : 'files'];
}

function casesOf(target: TargetName): readonly Case[] {
  return pointsOf(target).flatMap((name, index) => {
    const counts = RARE.includes(name) ? [1] : isFull ? [1, 7] : [index % 2 === 0 ? 1 : 7];
    return statesOf(name).flatMap((state) =>
      counts.map((count): Case => ({ target, name, count, state })),
    );
  });
}

/** What makes a story of Redis pass the points of a batch that takes several steps. */
function shapeOf({ target, name }: Case): Pick<Setup, 'buckets' | 'batchRows'> & { rows: number } {
  if (target !== 'redis') return { rows: 60 };
  if (name === 'sink.after-checkpoint-before-commit') return { rows: 60, buckets: 4 };
  return name === 'sink.mid-apply' || name === 'sink.after-apply-before-checkpoint'
    ? { rows: 2_500, batchRows: 5_000 }
    : { rows: 60 };
}

async function killAndCompare(one: Case): Promise<void> {
  await using source = await freshDatabase();
  await using other = one.target === 'postgres' ? await freshDatabase() : undefined;
  await using redis = one.target === 'redis' ? await freshRedis() : undefined;
  const dir = await mkdtemp(join(tmpdir(), 'tally-servers-'));
  const { rows, ...shape } = shapeOf(one);
  const setup: Setup = {
    dir,
    sourceUrl: source.url,
    targetUrl: other?.url ?? '',
    redisUrl: redis?.url ?? '',
    prefix: redis?.prefix ?? '',
    targets: [one.target],
    state: one.state,
    ...shape,
  };
  const story = (env: Readonly<Record<string, string>>) =>
    runStory('server-sweep-worker.ts', [JSON.stringify(setup), String(TRANSACTIONS)], env);
  try {
    await ask(source.url, schema);
    await ask(
      source.url,
      "INSERT INTO counters SELECT 'old' || i, 0, 0 FROM generate_series(0, $1) AS i",
      [rows - 1],
    );
    const linger = one.name === 'log.before-segment-delete' ? { SWEEP_LINGER: '1' } : {};
    const killed = await story({ TALLY_CRASH: `${one.name}:${one.count}`, ...linger });
    expect(killed.signal, `it never came to ${one.name}: ${killed.errors}`).toBe('SIGKILL');
    await writeMeanwhile(source.url);
    if (isFull) expect(await story({}), 'after the kill').toMatchObject({ code: 0, errors: '' });
    expect(await story({ SWEEP_HEALED: '1' })).toMatchObject({ code: 0, errors: '' });
    const owned = await sourceRows(source.url);
    expect(await ask(source.url, 'SELECT max(number) AS done FROM done')).toEqual([
      { done: TRANSACTIONS },
    ]);
    const tables =
      setup.buckets === undefined ? (['copies', 'chains'] as const) : ['copies' as const];
    for (const table of tables)
      expect(sorted(await targetRows(setup, one.target, table)), table).toEqual(sorted(owned));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Somebody else writes while no worker is there. */
async function writeMeanwhile(url: string): Promise<void> {
  let chain = 0;
  for (const n of [1, 2]) {
    chain = chained(chain, n);
    await ask(
      url,
      `INSERT INTO counters VALUES ('foreign', $1, $2)
       ON CONFLICT (key) DO UPDATE SET n = excluded.n, chain = excluded.chain`,
      [n, chain],
    );
  }
}

function sorted(rows: Awaited<ReturnType<typeof sourceRows>>): readonly unknown[] {
  return [...rows].toSorted(([one], [other]) => (one < other ? -1 : 1));
}

const targets: readonly (readonly [TargetName, boolean])[] = [
  ['redis', hasPostgres && hasRedis],
  ['postgres', hasPostgres],
  ['sqlite', hasPostgres],
  ['duckdb', hasPostgres],
];

for (const [target, isThere] of targets)
  describe.skipIf(!isThere)(
    `PostgreSQL to ${target}: killed, nothing is lost, doubled or swapped`,
    () => {
      for (const one of casesOf(target))
        test.concurrent(
          `T1 at ${one.name}, time ${one.count}, with its state in ${one.state}`,
          { timeout: 180_000 },
          () => killAndCompare(one),
        );
    },
  );
