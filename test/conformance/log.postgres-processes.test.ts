import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log, LogRecord } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { openDatabase } from '../../src/stores/postgres/database.ts';
import { openKeyValue } from '../../src/stores/postgres/key-value/index.ts';
import { postgresLedger } from '../../src/stores/postgres/ledger/index.ts';
import { postgresLog } from '../../src/stores/postgres/log/index.ts';
import { runUntilKilled, type Kill } from '../crash/child.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

// A log in PostgreSQL as several processes have it open: each with connections of its own, some of them killed.

const worker = '../conformance/postgres-log-appender.ts';
/** Never looks by itself whether there is more: a reader is woken, or it hangs. */
const timeless: Clock = { ...systemClock, after: () => () => undefined };

function openLog(url: string, lane: string, clock: Clock = systemClock): Promise<Log> {
  return postgresLog({ url, lane }).open({ name: lane, clock, random: seededRandom(lane) });
}

function commit(offset: number): LogRecord {
  return { kind: 'commit', epoch: 1, offset, ordinal: 0, payload: `{"n":0,"tok":"${offset}"}` };
}

async function readFrom(log: Log, from: number): Promise<readonly LogRecord[]> {
  const { signal } = new AbortController();
  return (await log.read({ from, recordsMax: 100, bytesMax: 1_000_000, signal })).records;
}

/** How many rows a statement answers with. */
async function asSuperuser(url: string, text: string): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows.length;
  } finally {
    await client.end();
  }
}

describe.skipIf(!hasPostgres)('a log in PostgreSQL, open in several processes', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
  });

  test('wakes a reader of another process by message', async () => {
    await using writing = await openLog(database.url, 'woken', timeless);
    await using reading = await openLog(database.url, 'woken', timeless);
    const appender = await writing.openAppender(1);
    for (let offset = 1; offset <= 20; offset += 1) {
      const pending = readFrom(reading, offset - 1);
      await appender.append([commit(offset)]);
      expect(await pending).toEqual([commit(offset)]);
    }
  });

  test('wakes a reader whose connection for messages was cut', async () => {
    await using writing = await openLog(database.url, 'cut', timeless);
    await using reading = await openLog(database.url, 'cut', timeless);
    const appender = await writing.openAppender(1);
    await appender.append([commit(1)]);
    const pending = readFrom(reading, 1);
    const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE 'LISTEN%'`;
    while ((await asSuperuser(database.url, cut)) === 0) await systemClock.sleep(5);
    await appender.append([commit(2)]);
    expect(await pending).toEqual([commit(2)]);
  });

  test('fences an appender of another process out, and names the epoch that holds it', async () => {
    await using first = await openLog(database.url, 'fenced');
    await using second = await openLog(database.url, 'fenced');
    const older = await first.openAppender(3);
    await older.append([commit(1)]);
    const newer = await second.openAppender(4);
    expect(newer.tail.last?.offset).toBe(1);
    await expect(older.append([commit(2)])).rejects.toMatchObject({
      code: 'FENCED_OUT',
      details: { holder: 4 },
    });
    await expect(first.openAppender(3)).rejects.toMatchObject({
      code: 'FENCED_OUT',
      details: { holder: 4 },
    });
    await newer.append([commit(3)]);
    expect(await readFrom(first, 0)).toEqual([commit(1)]);
    expect(await readFrom(first, 1)).toEqual([commit(3)]);
  });

  test('refuses a reader of another process what was released', async () => {
    await using first = await openLog(database.url, 'released');
    await using second = await openLog(database.url, 'released');
    const appender = await first.openAppender(1);
    for (let offset = 1; offset <= 5; offset += 1) await appender.append([commit(offset)]);
    await second.release(3);
    await expect(readFrom(second, 2)).rejects.toMatchObject({
      code: 'LOG_TRUNCATED',
      details: { first: 3 },
    });
    expect(await readFrom(second, 3)).toEqual([commit(4), commit(5)]);
    expect((await second.extent()).first).toBe(3);
  });

  test('says of an append whose connection was cut that it is not known, and what is there to the next', async () => {
    await using log = await openLog(database.url, 'lost');
    const older = await log.openAppender(1);
    await older.append([commit(1)]);
    const cut = `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE '%INSERT INTO _tally.log_segment%' AND pid <> pg_backend_pid()`;
    expect(await asSuperuser(database.url, cut)).toBe(1);
    await expect(older.append([commit(2)])).rejects.toMatchObject({
      code: 'COMMIT_UNKNOWN',
      retryable: true,
    });
    await expect(older.append([commit(3)])).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' });
    const next = await log.openAppender(1);
    const kept = next.tail.next;
    await next.append([commit(4)]);
    expect((await readFrom(log, 0)).length).toBe(kept + 1);
  });

  test.each(['log.before-write', 'log.after-sync-before-resolve', 'log.before-segment-delete'])(
    'has what was acknowledged after kills at %s',
    async (name) => {
      await killed([1, 5, 30].map((count) => ({ crash: `${name}:${count}` })));
    },
  );

  test('has what was acknowledged after kills at any moment', async () => {
    const random = seededRandom('log in PostgreSQL, kills');
    await killed(
      Array.from({ length: 4 }, () => ({ killAfterLines: 1 + Math.floor(random.next() * 400) })),
    );
  });
});

/** Kills appenders one after the other; after each, every record that is kept is numbered as its offset. */
async function killed(kills: readonly Kill[]): Promise<void> {
  await using database = await freshDatabase();
  let end = 0;
  for (const [index, how] of kills.entries()) {
    const acknowledged = await runUntilKilled(worker, [database.url, String(index + 1)], how);
    await using log = await openLog(database.url, 'numbers');
    const { first, next } = await log.extent();
    expect(next).toBeGreaterThanOrEqual(Math.max(acknowledged, end));
    expect(first).toBeLessThanOrEqual(Math.max(0, next - 250));
    for (let from = first; from < next;) {
      const records = await readFrom(log, from);
      for (const [at, { offset, payload }] of records.entries())
        expect({ offset, payload }).toEqual({
          offset: from + at,
          payload: `{"number":${from + at}}`,
        });
      from += records.length;
    }
    end = next;
  }
  expect(end).toBeGreaterThan(20);
}

describe.skipIf(!hasPostgres)('a database that does not have every character', () => {
  test('is refused by the ledger, the log and key-value entries', async () => {
    await using latin = await freshDatabase({ encoding: 'LATIN1' });
    const { url } = latin;
    const context = { name: 'latin', clock: systemClock, random: seededRandom('latin') };
    const refused = { code: 'CONFIG_INVALID', details: { encoding: 'LATIN1' } };
    await expect(postgresLedger({ url }).open(context)).rejects.toMatchObject(refused);
    await expect(openLog(url, 'latin')).rejects.toMatchObject(refused);
    const database = await openDatabase(context, { url });
    await expect(openKeyValue(database).get('a')).rejects.toMatchObject(refused);
    await database.close();
  });
});
