import { createClient } from 'redis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startRedis, type RedisServer } from '../../../../servers/index.ts';
import { hasRedis } from '../../../../test/support/servers.ts';
import type { Log, LogBatch, LogRecord } from '../../../ports/log.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { redisLog } from './definition.ts';

const context = { name: 'shop', clock: systemClock, random: systemRandom };
const LEAP = 2 ** 32;

describe.skipIf(!hasRedis)('a log in a Redis that loses what it was told', () => {
  let server: RedisServer;
  // Only SAVE keeps anything, so that a crash loses exactly what came after it.
  beforeAll(async () => {
    server = await startRedis({ settings: { appendonly: 'no' } });
  });
  afterAll(() => server.stop());
  beforeEach(() => native(['FLUSHALL']));

  const native = async (...commands: readonly string[][]): Promise<unknown[]> => {
    const client = createClient({ url: server.url });
    await client.connect();
    try {
      return await Promise.all(commands.map((command) => client.sendCommand(command)));
    } finally {
      client.destroy();
    }
  };
  const open = (bound = {}): Promise<Log> =>
    redisLog({ url: server.url, name: 'orders', ...bound }).open(context);
  const crash = async (): Promise<void> => {
    await server.kill();
    await server.restart();
  };

  test('after a crash that took the tail, the next appender finds where the log ends and goes on beyond every offset given out', async () => {
    await using log = await open();
    const appender = await log.openAppender(1);
    await appender.append([...transaction(1), ...transaction(2)]);
    await native(['SAVE']);
    await appender.append(transaction(3));
    await crash();

    await expect(appender.append(transaction(4))).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      retryable: true,
    });
    const again = await eventually(() => log.openAppender(2));
    expect(again.tail).toEqual({
      next: LEAP + 1,
      last: { epoch: 1, offset: 2, ordinal: 1 },
      commit: commit(2),
    });
    await again.append([...transaction(3), ...transaction(4)]);

    // Who has read what was lost goes on after the leap, as does who had read just what is left.
    for (const from of [6, 5, 4]) {
      const { first, next, records } = await read(log, from);
      expect({ first, next }).toEqual({ first: LEAP, next: LEAP + 5 });
      expect(records).toEqual([commit(2), ...transaction(3), ...transaction(4)]);
    }
    expect(await read(log, 2)).toEqual({ first: 2, next: 4, records: transaction(2) });
  });

  test('an appender that survives the crash of its Redis notices that records are gone, and appends nothing', async () => {
    await using log = await open();
    const appender = await log.openAppender(1);
    await appender.append(transaction(1));
    await native(['SAVE']);
    await appender.append(transaction(2));
    await crash();
    // Its connection is back before it appends again.
    await eventually(() => log.extent());
    await expect(appender.append(transaction(3))).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      details: { lost: true, expected: 4, found: 2 },
    });
    await expect(appender.append(transaction(3))).rejects.toMatchObject({
      details: { lost: true },
    });
    expect(await log.extent()).toMatchObject({ first: 0, next: 2 });
  });

  test('an appender goes on over a restart that lost nothing', async () => {
    await using log = await open();
    const appender = await log.openAppender(1);
    await appender.append(transaction(1));
    await native(['SAVE']);
    await crash();
    await eventually(() => log.extent());
    expect(await appender.append(transaction(2))).toEqual({ next: 4 });
    expect((await read(log, 0)).records).toEqual([...transaction(1), ...transaction(2)]);
  });

  test('a log that was emptied is another one: readers are told once, and offsets do not begin again', async () => {
    await using log = await open();
    const appender = await log.openAppender(1);
    await appender.append(transaction(1));
    await read(log, 0);
    await native(['FLUSHALL']);
    await expect(appender.append(transaction(2))).rejects.toMatchObject({
      details: { lost: true, expected: 2, found: 0 },
    });
    await expect(read(log, 2)).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      details: { lost: true },
    });
    const again = await log.openAppender(2);
    expect(again.tail).toEqual({ next: LEAP, last: undefined, commit: undefined });
    await again.append(transaction(2));
    expect(await read(log, 2)).toMatchObject({ first: LEAP, records: transaction(2) });
  });

  test('a log whose records somebody took away says so to the appender, and then to readers behind', async () => {
    await using log = await open();
    const appender = await log.openAppender(1);
    await appender.append([...transaction(1), ...transaction(2)]);
    await native(['XTRIM', '{_log:orders}:records', 'MAXLEN', '1']);
    await expect(read(log, 0)).resolves.toMatchObject({ first: 3 });
    await expect(appender.append(transaction(3))).rejects.toMatchObject({
      details: { lost: true },
    });

    const again = await log.openAppender(2);
    expect(again.tail).toMatchObject({ last: { offset: 2, ordinal: 1 }, commit: commit(2) });
    await again.append(transaction(3));
    await expect(read(log, 3)).rejects.toMatchObject({ code: 'LOG_TRUNCATED' });
    expect(await read(log, 4)).toMatchObject({
      first: LEAP,
      records: [commit(2), ...transaction(3)],
    });
  });

  test('a reader in another process is woken, and a crash while it waits is not the end of waiting', async () => {
    await using log = await open();
    await using other = await open();
    const appender = await log.openAppender(1);
    await appender.append(transaction(1));
    const waiting = read(other, 2);
    await appender.append(transaction(2));
    expect((await waiting).records).toEqual(transaction(2));
    await native(['SAVE']);

    const cut = read(other, 4).catch((error: unknown) => error);
    await crash();
    expect(await cut).toMatchObject({ code: 'STORE_UNREACHABLE' });
    const resumed = eventually(() => read(other, 4));
    const again = await eventually(() => log.openAppender(2));
    await again.append(transaction(3));
    // The leap first, which the last commit marks; then what came after it.
    expect((await resumed).records[0]).toEqual(commit(2));
    expect((await read(other, LEAP + 1)).records).toEqual(transaction(3));
  });

  test('a full Redis refuses an append whole, and takes it once there is room', async () => {
    await using log = await open();
    const appender = await log.openAppender(1);
    await appender.append(transaction(1));
    await native(['CONFIG', 'SET', 'maxmemory', '1mb']);
    try {
      await expect(appender.append(transaction(2))).rejects.toMatchObject({ code: 'STORE_FULL' });
    } finally {
      await native(['CONFIG', 'SET', 'maxmemory', '0']);
    }
    expect(await appender.append(transaction(3))).toEqual({ next: 4 });
  });

  test('a Redis that may evict the log is refused', async () => {
    await native(
      ['CONFIG', 'SET', 'maxmemory', '1gb'],
      ['CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru'],
    );
    try {
      await expect(open()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    } finally {
      await native(
        ['CONFIG', 'SET', 'maxmemory-policy', 'noeviction'],
        ['CONFIG', 'SET', 'maxmemory', '0'],
      );
    }
  });

  test('only an append-only file that is synced before each answer counts as durable', async () => {
    for (const [appendonly, appendfsync, durable] of [
      ['no', 'always', false],
      ['yes', 'everysec', false],
      ['yes', 'always', true],
    ] as const) {
      await native(
        ['CONFIG', 'SET', 'appendonly', appendonly],
        ['CONFIG', 'SET', 'appendfsync', appendfsync],
      );
      await using log = await open();
      expect(log.supports, `${appendonly} ${appendfsync}`).toEqual({ durable });
    }
    await native(['CONFIG', 'SET', 'appendonly', 'no']);
  });

  test('lets go of many records in steps, and knows what is left in bytes', async () => {
    await using log = await open({ bytesMax: 100_000_000 });
    const appender = await log.openAppender(1);
    const records = Array.from({ length: 25_000 }, (_, ordinal) => change(1, ordinal));
    await appender.append(records);
    const { bytes } = await log.extent();
    await log.release(24_990);
    const kept = await log.extent();
    expect(kept).toMatchObject({ first: 24_990, next: 25_000 });
    expect(kept.bytes).toBeLessThan(bytes / 1_000);
    await log.release(25_000);
    expect(await log.extent()).toEqual({ first: 25_000, next: 25_000, bytes: 0 });
  });

  test('refuses a name with braces and an unknown option', () => {
    expect(() => redisLog({ url: server.url, name: '{a}' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
    expect(() => redisLog({ url: server.url, name: 'a', byteMax: 1 } as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }),
    );
  });
});

function change(offset: number, ordinal: number): LogRecord {
  return { kind: 'change', epoch: 1, offset, ordinal, payload: `{"k":[${offset},${ordinal}]}` };
}

function commit(offset: number): LogRecord {
  return { kind: 'commit', epoch: 1, offset, ordinal: 1, payload: `{"n":1,"tok":"${offset}"}` };
}

function transaction(offset: number): LogRecord[] {
  return [change(offset, 0), commit(offset)];
}

function read(log: Log, from: number): Promise<LogBatch> {
  const signal = AbortSignal.timeout(20_000);
  return log.read({ from, recordsMax: 1_000, bytesMax: 1_000_000, signal });
}

/** Tries again while Redis cannot be reached: its connections come back a moment after it does. */
async function eventually<Result>(work: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: string }).code !== 'STORE_UNREACHABLE') throw error;
      await systemClock.sleep(20);
    }
  }
}
