import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import { startPostgres } from '../../../servers/index.ts';
import { startStandby } from '../../../servers/standby.ts';
import { freshDatabase, hasPostgres, postgresUrl } from '../../../test/support/servers.ts';
import type { Vital, Vitals } from '../../ports/vitals.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { openDatabase } from './database.ts';
import { readVitals } from './vitals.ts';

const suffix = randomBytes(4).toString('hex');
const slot = `vitals_${suffix}`;
const plain = 'reader';

async function vitals(url: string, of?: string): Promise<Vitals> {
  const context = { name: 'orders', clock: systemClock, random: systemRandom };
  const database = await openDatabase(context, { url });
  try {
    return await readVitals(database, of);
  } finally {
    await database.close();
  }
}

function value({ measures }: Vitals, name: string): Vital['value'] | undefined {
  return measures.find((measure) => measure.name === name)?.value;
}

async function client(url: string): Promise<Client> {
  const opened = new Client({ connectionString: url });
  await opened.connect();
  return opened;
}

async function run(url: string, ...statements: readonly string[]): Promise<void> {
  const opened = await client(url);
  for (const statement of statements) await opened.query(statement);
  await opened.end();
}

describe.skipIf(!hasPostgres)('a primary', () => {
  test('says who it is and where its WAL stands', async () => {
    const found = await vitals(postgresUrl());
    expect(found).toMatchObject({
      system: 'postgres',
      version: expect.stringMatching(/^1[5-9]\./),
    });
    expect(value(found, 'in_recovery')).toBe('no');
    expect(value(found, 'timeline')).toBe(1);
    expect(value(found, 'system_identifier')).toMatch(/^\d{15,}$/);
    expect(value(found, 'wal_flush_lsn')).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    expect(value(found, 'database_bytes')).toBeGreaterThan(1_000_000);
    expect(value(found, 'slot')).toBeUndefined();
  });

  test('says what its slot retains, and when it is not there', async () => {
    await using database = await freshDatabase();
    expect(value(await vitals(database.url, slot), 'slot')).toBe('absent');
    await run(
      database.url,
      `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`,
      'CREATE TABLE filler AS SELECT repeat(md5(n::text), 10) FROM generate_series(1, 5000) AS n',
    );
    const found = await vitals(database.url, slot);
    expect(value(found, 'slot')).toBe(slot);
    expect(value(found, 'slot_active')).toBe('no');
    expect(value(found, 'slot_wal_status')).toBe('reserved');
    expect(value(found, 'slot_safe_wal_size')).toBe('unlimited');
    expect(value(found, 'slot_retained_bytes')).toBeGreaterThan(1_000_000);
    expect(value(found, 'slot_lag_bytes')).toBeGreaterThan(1_000_000);
    const other = await vitals(database.url, 'another');
    expect(value(other, 'other_slots_retained_bytes_max')).toBeGreaterThan(1_000_000);
  });

  test('names the oldest transaction and counts who waits for a lock', async () => {
    // A server of its own: on a shared one others have transactions too.
    await using database = await startPostgres();
    await run(database.url, 'CREATE TABLE orders (id int)', `CREATE ROLE ${plain} LOGIN`);
    const holder = await client(database.url);
    const waiter = await client(database.url);
    const { rows } = await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE orders');
    const waiting = waiter.query('SELECT count(*) FROM orders');
    let found = await vitals(database.url);
    while (value(found, 'locks_waited_for') === 0) found = await vitals(database.url);
    expect(value(found, 'oldest_transaction_session')).toBe(`${rows[0]?.pid} idle in transaction`);
    expect(value(found, 'oldest_transaction_age_ms')).toBeGreaterThan(0);

    // A role that may not see the sessions of others is told so, and gets everything else.
    const url = new URL(database.url);
    url.username = plain;
    const seen = await vitals(url.href);
    expect(value(seen, 'sessions_hidden')).toBeGreaterThanOrEqual(2);
    expect(seen.measures.length).toBeGreaterThanOrEqual(found.measures.length - 1);
    await holder.query('COMMIT');
    await waiting;
    await holder.end();
    await waiter.end();
  }, 60_000);

  test('says what a role may not see, instead of failing', async () => {
    await using primary = await startPostgres();
    await run(
      primary.url,
      'CREATE ROLE reader LOGIN',
      'REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC',
    );
    await using standby = await startStandby(primary);
    const url = new URL(primary.url);
    const replicating = await vitals(url.href);
    expect(value(replicating, 'replication_clients')).toBe(1);
    expect(value(replicating, 'replication_lag_bytes_max')).toEqual(expect.any(Number));
    url.username = 'reader';
    const seen = await vitals(url.href);
    expect(value(seen, 'system_identifier')).toBe('not visible to this user');
    expect(value(seen, 'replication_lag_bytes_max')).toBe('not visible to this user');
    expect(value(seen, 'database_bytes')).toBeGreaterThan(1_000_000);

    await run(standby.url, 'SELECT pg_wal_replay_pause()');
    const there = await vitals(standby.url);
    expect(value(there, 'in_recovery')).toBe('yes');
    expect(value(there, 'timeline')).toBe(1);
    expect(value(there, 'replay_paused')).toBe('yes');
    expect(value(there, 'wal_replay_lsn')).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
  }, 60_000);
});
