import { describe, expect, test } from 'vitest';
import { isTallyError } from 'tallystick';
import { postgresLedger, postgresLog } from 'tallystick/postgres';
import { startPostgres, type PostgresServer } from '../../servers/index.ts';
import type { Ledger, LedgerRecord } from '../../src/ports/ledger.ts';
import type { Log, LogAppender, LogRecord } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { hasPostgres } from '../support/servers.ts';

const context = { name: 'state', clock: systemClock, random: systemRandom };
const KILLS = 3;
const RETRY_MS = 20;

/** Kills the server again and again while `work` goes on, and waits for its end. */
async function killedUnder(
  server: PostgresServer,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const working = work(stop.signal);
  working.catch(() => undefined);
  for (let kill = 0; kill < KILLS; kill += 1) {
    await systemClock.sleep(300);
    await server.kill();
    await systemClock.sleep(100);
    await server.restart();
  }
  await systemClock.sleep(300);
  stop.abort();
  await working;
}

/** Until there is an answer; what does not pass is thrown. */
async function answered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isTallyError(error) || !error.retryable) throw error;
      await systemClock.sleep(RETRY_MS);
    }
  }
}

/**
 * One caller counts in a record of its own, each step on the condition that the one before is there: one that came to
 * pass twice, or late, would break the next. What it is not told it looks up. Returns the last number.
 */
async function count(ledger: Ledger, key: string, signal: AbortSignal): Promise<number> {
  let held: LedgerRecord | undefined;
  for (let number = 1; ; number += 1) {
    if (signal.aborted) return number - 1;
    const version = held?.version ?? 0;
    const put = { kind: 'put', space: 'counts', key, value: String(number) } as const;
    const failed: unknown = await ledger.commit([{ ...put, ifVersion: version }]).then(
      () => undefined,
      (error: unknown) => error,
    );
    const before = held;
    held = await answered(() => ledger.get('counts', key));
    if (failed === undefined) {
      expect(held?.value, 'what was acknowledged is there').toBe(String(number));
      continue;
    }
    expect(isTallyError(failed) && failed.retryable, String(failed)).toBe(true);
    if (held?.value === String(number)) expect(failed).toMatchObject({ code: 'COMMIT_UNKNOWN' });
    else {
      expect(held).toEqual(before);
      number -= 1;
    }
  }
}

const numbered = (number: number, kind: LogRecord['kind']): LogRecord => ({
  kind,
  epoch: 1,
  offset: number,
  ordinal: 0,
  payload: `{"number":${number}}`,
});

/** Appends numbers; after a failure goes on where the log ends. Returns what was acknowledged last. */
async function appendNumbers(log: Log, signal: AbortSignal): Promise<number> {
  let workerEpoch = 0;
  let acknowledged = 0;
  let appender: LogAppender | undefined;
  while (!signal.aborted) {
    appender ??= await answered(async () => log.openAppender((workerEpoch += 1)));
    const from = appender.tail.next;
    expect(from, 'what was acknowledged is there').toBeGreaterThanOrEqual(acknowledged);
    const records = Array.from({ length: 5 }, (_, index) =>
      numbered(from + index, index === 4 ? 'commit' : 'change'),
    );
    try {
      acknowledged = (await appender.append(records)).next;
      expect(acknowledged).toBe(from + records.length);
    } catch (error) {
      if (!isTallyError(error) || !error.retryable) throw error;
      await Promise.resolve(appender[Symbol.asyncDispose]()).catch(() => undefined);
      appender = undefined;
    }
  }
  await appender?.[Symbol.asyncDispose]();
  return acknowledged;
}

describe.skipIf(!hasPostgres)('state in a PostgreSQL that is killed under load', () => {
  test('a ledger of 32 callers keeps each step that was answered, once', async () => {
    await using server = await startPostgres();
    await using ledger = await postgresLedger({ url: server.url }).open(context);
    const callers = Array.from({ length: 32 }, (_, caller) => `caller ${caller}`);
    const counted = new Map<string, number>();
    await killedUnder(server, async (signal) => {
      await Promise.all(
        callers.map(async (key) => counted.set(key, await count(ledger, key, signal))),
      );
    });
    const records = await ledger.list('counts');
    expect(new Map(records.map(({ key, value }) => [key, Number(value)]))).toEqual(counted);
    expect(Math.min(...counted.values())).toBeGreaterThan(KILLS);
  });

  test('a log keeps each record that was answered, once and in order', async () => {
    await using server = await startPostgres();
    await using log = await postgresLog({ url: server.url, lane: 'numbers' }).open(context);
    let acknowledged = 0;
    await killedUnder(server, async (signal) => {
      acknowledged = await appendNumbers(log, signal);
    });
    const { first, next } = await log.extent();
    expect([first, next >= acknowledged]).toEqual([0, true]);
    const found: number[] = [];
    for (let from = 0; from < next;) {
      const { signal } = new AbortController();
      const batch = await log.read({ from, recordsMax: 1_000, bytesMax: 1_000_000, signal });
      found.push(...batch.records.map(({ offset }) => offset));
      from = batch.next;
    }
    expect(found).toEqual(Array.from({ length: next }, (_, number) => number));
  });
});
