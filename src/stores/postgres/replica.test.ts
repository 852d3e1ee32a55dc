import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres, type PostgresServer } from '../../../servers/index.ts';
import { startStandby, type StandbyServer } from '../../../servers/standby.ts';
import { hasPostgres } from '../../../test/support/servers.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { openDatabase, type Database } from './database.ts';
import { judge, openReplica, type OpenReplica } from './replica.ts';

const context = { name: 'reads', clock: systemClock, random: systemRandom };

interface Opened extends AsyncDisposable {
  readonly replica: OpenReplica;
  readonly database: Database;
}

async function opened(url: string, user?: string): Promise<Opened> {
  const other = new URL(url);
  if (user !== undefined) other.username = user;
  const database = await openDatabase(context, { url: other.href });
  const replica = openReplica(database, 'orders');
  return {
    replica,
    database,
    [Symbol.asyncDispose]: async () => {
      await replica.close();
      await database.close();
    },
  };
}

async function one<Value>(url: string, sql: string): Promise<Value> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: 'array' });
    return rows.at(-1)?.[0] as Value;
  } finally {
    await client.end();
  }
}

/** Commits, and returns the evidence of it as an offset. */
async function commit(url: string): Promise<number> {
  await one(url, `INSERT INTO orders DEFAULT VALUES`);
  return Number(await one(url, `SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn`)) - 1;
}

async function history(url: string, timeline: number): Promise<string> {
  const system = await one<string>(url, 'SELECT system_identifier::text FROM pg_control_system()');
  return `${system}/${timeline}/0b5e3f0a-6f0e-4e3a-9d55-1f7c58f1c0aa`;
}

describe.skipIf(!hasPostgres)('a standby', () => {
  let primary: PostgresServer;
  let standby: StandbyServer;
  let ofFirst: string;
  beforeAll(async () => {
    primary = await startPostgres();
    await one(primary.url, 'CREATE TABLE orders (id bigserial PRIMARY KEY)');
    await one(primary.url, 'CREATE ROLE reader LOGIN');
    await one(primary.url, 'CREATE ROLE replicator LOGIN REPLICATION');
    standby = await startStandby(primary);
    ofFirst = await history(primary.url, 1);
  }, 60_000);
  afterAll(async () => {
    await standby.stop();
    await primary.stop();
  });

  test('is fresh once it has replayed the commit, and readers then see it', async () => {
    await using reads = await opened(standby.url);
    const offset = await commit(primary.url);
    expect(await reads.replica.reached(ofFirst, offset, { withinMs: 10_000 })).toEqual({
      kind: 'fresh',
    });
    const count = 'SELECT count(*)::int FROM orders';
    expect(await one(standby.url, count)).toBe(await one(primary.url, count));
  });

  test('that lags ends the wait at its limit, and says what readers see', async () => {
    await using reads = await opened(standby.url);
    await one(standby.url, 'SELECT pg_wal_replay_pause()');
    const offset = await commit(primary.url);
    const late = await reads.replica.reached(ofFirst, offset, { withinMs: 50 });
    expect(late).toMatchObject({ kind: 'timeout' });
    expect(late.kind === 'timeout' && late.seen).toBeLessThan(offset);
    expect(await reads.replica.reached(ofFirst, offset, { withinMs: 0 })).toMatchObject({
      kind: 'timeout',
    });
    const abort = new AbortController();
    const aborted = reads.replica.reached(ofFirst, offset, {
      withinMs: 60_000,
      signal: abort.signal,
    });
    abort.abort();
    expect(await aborted).toMatchObject({ kind: 'timeout' });
    const waiting = reads.replica.reached(ofFirst, offset, { withinMs: 30_000 });
    await one(standby.url, 'SELECT pg_wal_replay_resume()');
    expect(await waiting).toEqual({ kind: 'fresh' });
  });

  test('answers a user without statistics by a replication connection, if it may open one', async () => {
    const offset = await commit(primary.url);
    await using replicator = await opened(standby.url, 'replicator');
    const fresh = { kind: 'fresh' };
    expect(await replicator.replica.reached(ofFirst, offset, { withinMs: 10_000 })).toEqual(fresh);
    await using reader = await opened(standby.url, 'reader');
    expect(await reader.replica.reached(ofFirst, offset, { withinMs: 10_000 })).toEqual({
      kind: 'incomparable',
    });
  });

  test('compares with no other cluster, and with no other timeline', async () => {
    await using reads = await opened(standby.url);
    const offset = await commit(primary.url);
    const incomparable = { kind: 'incomparable' };
    for (const other of ['17/1/x', 'outbox/1/x', '', await history(primary.url, 2)])
      expect(await reads.replica.reached(other, offset, { withinMs: 20 })).toEqual(incomparable);
  });

  test('a primary has its own writes', async () => {
    await using reads = await opened(primary.url);
    const offset = await commit(primary.url);
    expect(await reads.replica.reached(ofFirst, offset, { withinMs: 0 })).toEqual({
      kind: 'fresh',
    });
  });

  test('T7: promoted while it lagged, it is never fresh for what it lost', async () => {
    await using reads = await opened(standby.url);
    const reached = (of: string, offset: number): Promise<unknown> =>
      reads.replica.reached(of, offset, { withinMs: 5_000 });
    const kept = await commit(primary.url);
    expect(await reached(ofFirst, kept)).toEqual({ kind: 'fresh' });
    // Nothing of this reaches the standby.
    await primary.kill();
    // While nothing is received, the timeline is asked of a replication connection.
    expect(await reached(ofFirst, kept)).toEqual({ kind: 'fresh' });
    const lost = kept + 200;
    await standby.promote();
    const ofSecond = await history(standby.url, 2);
    let written = 0;
    while (written <= lost) written = await commit(standby.url);
    expect(await reached(ofFirst, lost)).toEqual({ kind: 'incomparable' });
    expect(await reached(ofFirst, kept)).toEqual({ kind: 'incomparable' });
    expect(await reached(ofSecond, written)).toEqual({ kind: 'fresh' });
  }, 60_000);
});

test('the rule: the same system, and the timeline that was read after the position', () => {
  const wanted = { system: '7', timeline: 2 };
  const seen = { system: '7', recovering: true, offset: 10, timeline: 2 };
  expect(judge(seen, wanted, 10)).toEqual({ kind: 'fresh' });
  expect(judge(seen, wanted, 11)).toBe('wait');
  expect(judge({ ...seen, timeline: 1 }, wanted, 5)).toBe('wait');
  const never = [
    { ...seen, timeline: 3 },
    { ...seen, timeline: undefined },
    { ...seen, system: '8' },
    { ...seen, timeline: 1, recovering: false },
  ];
  for (const other of never) expect(judge(other, wanted, 5)).toEqual({ kind: 'incomparable' });
});
