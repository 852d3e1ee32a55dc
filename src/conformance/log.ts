import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import type { Log, LogBatch, LogRecord } from '../ports/log.ts';
import { rejectsFenced, type SuiteRunner } from './harness.ts';

/** What the log suite needs of an adapter. */
export interface LogSuite extends SuiteRunner {
  /** Opens a log that is new and empty. */
  readonly open: () => Promise<Log>;
  /**
   * Closes a log of {@link LogSuite.open} and opens the same one again, as after a restart. Not
   * given by a log that lives in memory alone; the cases about restarts are then not registered.
   */
  readonly reopen?: (log: Log) => Promise<Log>;
  /**
   * Opens a log that is new, and so bounded that `recordsMax` appends of one record of 1 000
   * characters do not fit, but some do, and that release frees again what is behind. Not given by
   * a log without a bound of its own; the cases about it are then not registered.
   */
  readonly openBounded?: () => Promise<{ readonly log: Log; readonly recordsMax: number }>;
}

const MIB = 1024 * 1024;

/**
 * The suite of the {@link Log} port, for any test runner. Each case opens a log of its own; no case
 * waits by the clock. Epochs only grow within a case, as those of leases do.
 */
export function logConformance(suite: LogSuite): void {
  const check = (name: string, run: (log: Log) => Promise<void>): void => {
    suite.test(name, async () => {
      await using log = await suite.open();
      await run(log);
    });
  };
  appending(check);
  fencing(check);
  reading(check);
  waiting(check);
  releasing(check);
  if (suite.reopen !== undefined) reopening(suite, suite.reopen);
  if (suite.openBounded !== undefined) bounded(suite, suite.openBounded);
}

type Check = (name: string, run: (log: Log) => Promise<void>) => void;

function appending(check: Check): void {
  check('a new log is empty, and its tail says so', async (log) => {
    assert.deepEqual(pick(await log.extent()), { first: 0, next: 0 });
    const { tail } = await log.openAppender(1);
    assert.deepEqual(tail, { next: 0, last: undefined, commit: undefined });
  });

  check('records come back in order, whole, at dense offsets', async (log) => {
    const appender = await log.openAppender(1);
    const records = [...transaction(1, 3), ...transaction(2, 1), ...transaction(7, 0)];
    assert.deepEqual(await appender.append(records.slice(0, 4)), { next: 4 });
    assert.deepEqual(await appender.append(records.slice(4)), { next: records.length });

    assert.deepEqual(await readAll(log), records);
    assert.deepEqual(pick(await log.extent()), { first: 0, next: records.length });
  });

  check('an append of no records takes no offset', async (log) => {
    const appender = await log.openAppender(1);
    await appender.append(transaction(1, 1));
    assert.deepEqual(await appender.append([]), { next: 2 });
    assert.deepEqual(await readAll(log), transaction(1, 1));
  });

  check('concurrent appends are kept in call order, each in one piece', async (log) => {
    const appender = await log.openAppender(1);
    const calls = Array.from({ length: 200 }, (_, call) => transaction(call + 1, call % 4));
    const results = await Promise.all(calls.map((records) => appender.append(records)));

    assert.deepEqual(await readAll(log), calls.flat());
    let next = 0;
    for (const [index, records] of calls.entries()) {
      next += records.length;
      assert.deepEqual(results[index], { next });
    }
  });

  check('an identity comes back exactly, at the limits of its parts', async (log) => {
    const appender = await log.openAppender(1);
    const records: LogRecord[] = [
      { kind: 'change', epoch: 0, offset: 0, ordinal: 0, payload: '{}' },
      { kind: 'change', epoch: 0, offset: 0, ordinal: 1, payload: '{}' },
      { kind: 'change', epoch: 0, offset: 2 ** 32, ordinal: 2, payload: '{}' },
      { kind: 'change', epoch: 8191, offset: 2 ** 50 - 1, ordinal: 2 ** 31 - 1, payload: '{}' },
      { kind: 'commit', epoch: 8191, offset: 2 ** 50 - 1, ordinal: 2 ** 31 - 1, payload: '{}' },
    ];
    await appender.append(records);
    assert.deepEqual(await readAll(log), records);
  });

  check(
    'payloads of every script, of no characters and of ten megabytes come back',
    async (log) => {
      const appender = await log.openAppender(1);
      const payloads = [
        '',
        'plain',
        'größer',
        '日本語',
        '🪵🪓',
        '\u0000\n"\\',
        'lone \ud800 half',
        big(),
      ];
      const records = payloads.map((payload, index) => ({ ...change(1, index), payload }));
      await appender.append(records);

      // Compared one by one: a difference in ten megabytes is not for printing.
      const found = await readAll(log);
      assert.equal(found.length, payloads.length);
      for (const [index, payload] of payloads.entries())
        assert.ok(found[index]?.payload === payload, `payload ${index} came back changed`);
    },
  );
}

function fencing(check: Check): void {
  check(
    'the tail is the last identity and the last commit, for whoever appends next',
    async (log) => {
      const first = await log.openAppender(1);
      await first.append([...transaction(1, 2), ...transaction(2, 2), change(3, 0), change(3, 1)]);
      await first.close();

      const { tail } = await log.openAppender(2);
      assert.equal(tail.next, 8);
      assert.deepEqual(tail.last, { epoch: 1, offset: 3, ordinal: 1 });
      assert.deepEqual(tail.commit, commit(2, 2));
    },
  );

  check('an appender is fenced out once a newer one was opened', async (log) => {
    const older = await log.openAppender(1);
    await older.append(transaction(1, 1));
    const newer = await log.openAppender(2);
    await rejects('FENCED_OUT', () => older.append(transaction(2, 1)));
    await newer.append(transaction(3, 1));
    await rejects('FENCED_OUT', () => older.append(transaction(4, 1)));

    assert.deepEqual(await readAll(log), [...transaction(1, 1), ...transaction(3, 1)]);
  });

  check('an appender of an older epoch is refused, and the newer goes on', async (log) => {
    const newer = await log.openAppender(5);
    await newer.append(transaction(1, 1));
    await rejectsFenced(log.openAppender(4), 5);
    await newer.append(transaction(2, 1));
    assert.deepEqual(await readAll(log), [...transaction(1, 1), ...transaction(2, 1)]);
  });

  check(
    'an append on the way while a newer appender opens resolves only if it is kept',
    async (log) => {
      const older = await log.openAppender(1);
      const calls = Array.from({ length: 20 }, (_, call) => transaction(call + 1, 1));
      const outcomes = calls.map((records) => older.append(records));
      const [newer, settled] = await Promise.all([
        log.openAppender(2),
        Promise.allSettled(outcomes),
      ]);
      await newer.append(transaction(99, 1));

      const kept = await readAll(log);
      const resolved = settled.filter(({ status }) => status === 'fulfilled').length;
      assert.deepEqual(kept.slice(0, resolved * 2), calls.slice(0, resolved).flat());
      assert.deepEqual(kept.slice(-2), transaction(99, 1));
      assert.deepEqual(kept.slice(0, -2), calls.flat().slice(0, kept.length - 2));
    },
  );
}

function reading(check: Check): void {
  check('a read starts anywhere, and stops at the bound of records', async (log) => {
    const appender = await log.openAppender(1);
    const records = Array.from({ length: 50 }, (_, index) => change(1, index));
    await appender.append(records.slice(0, 30));
    await appender.append(records.slice(30));
    for (const from of [0, 1, 29, 30, 49, 7]) {
      const batch = await read(log, { from, recordsMax: 7 });
      assert.equal(batch.first, from);
      assert.deepEqual(batch.records, records.slice(from, from + 7));
      assert.equal(batch.next, Math.min(50, from + 7));
    }
  });

  check('a read stops at the bound of bytes, but gives one record however large', async (log) => {
    const appender = await log.openAppender(1);
    const payload = 'x'.repeat(1000);
    await appender.append(
      Array.from({ length: 10 }, (_, index) => ({ ...change(1, index), payload })),
    );

    assert.equal((await read(log, { from: 0, bytesMax: 1 })).records.length, 1);
    const some = (await read(log, { from: 1, bytesMax: 5000 })).records.length;
    assert.ok(some >= 1 && some <= 5, `${some} records of 1000 bytes in 5000`);
  });

  check('readers at several places do not disturb one another', async (log) => {
    const appender = await log.openAppender(1);
    const records = Array.from({ length: 300 }, (_, index) => change(1, index));
    for (let at = 0; at < 300; at += 10) await appender.append(records.slice(at, at + 10));
    const walks = [0, 0, 100, 299, 150].map(async (start) => {
      const found: LogRecord[] = [];
      for (let from = start; from < 300; from += found.length - (from - start))
        found.push(...(await read(log, { from, recordsMax: 13 })).records);
      assert.deepEqual(found, records.slice(start));
    });
    await Promise.all(walks);
  });
}

function waiting(check: Check): void {
  check('a read at the end waits for the next record', async (log) => {
    const appender = await log.openAppender(1);
    await appender.append(transaction(1, 1));
    const pending = [2, 2, 3].map((from) => read(log, { from }));
    await appender.append([change(2, 0)]);
    await appender.append([commit(2, 1)]);

    const batches = await Promise.all(pending);
    assert.deepEqual(batches[0]?.records[0], change(2, 0));
    assert.deepEqual(batches[1]?.records[0], change(2, 0));
    assert.deepEqual(batches[2]?.records[0], commit(2, 1));
  });

  check('a read waits even when nothing was ever appended', async (log) => {
    const pending = read(log, { from: 0 });
    const appender = await log.openAppender(1);
    await appender.append(transaction(1, 0));
    assert.deepEqual((await pending).records, [commit(1, 0)]);
  });

  check('an abort ends the wait with an empty batch, and a later read goes on', async (log) => {
    const appender = await log.openAppender(1);
    await appender.append(transaction(1, 1));
    const stop = new AbortController();
    const pending = read(log, { from: 2, signal: stop.signal });
    stop.abort();
    const empty = { first: 2, next: 2, records: [] };
    assert.deepEqual(await pending, empty);
    assert.deepEqual(await read(log, { from: 2, signal: stop.signal }), empty);

    await appender.append(transaction(2, 0));
    assert.deepEqual((await read(log, { from: 2 })).records, [commit(2, 0)]);
  });
}

function releasing(check: Check): void {
  check(
    'release keeps what is at or after the offset, and refuses reads of what is gone',
    async (log) => {
      const appender = await log.openAppender(1);
      const records = await fill(appender, 40);
      await log.release(25);

      const { first, next } = await log.extent();
      assert.ok(first <= 25, `the log starts at ${first}`);
      assert.equal(next, records.length);
      assert.deepEqual(await readAll(log, first), records.slice(first));
      if (first > 0) await rejects('LOG_TRUNCATED', () => read(log, { from: first - 1 }));
    },
  );

  check('the tail survives the release of everything', async (log) => {
    const appender = await log.openAppender(1);
    await appender.append([...transaction(1, 2), ...transaction(2, 0), change(3, 0)]);
    await log.release(5);
    await appender.close();
    const { tail } = await log.openAppender(2);
    await log.release(5);

    assert.equal(tail.next, 5);
    assert.deepEqual(tail.last, { epoch: 1, offset: 3, ordinal: 0 });
    assert.deepEqual(tail.commit, commit(2, 0));
  });

  check('release beyond the end lets go of no later record', async (log) => {
    const appender = await log.openAppender(1);
    await appender.append(transaction(1, 1));
    await log.release(1_000);
    await appender.append(transaction(2, 1));
    assert.deepEqual((await read(log, { from: 2 })).records, transaction(2, 1));
  });
}

function reopening(suite: LogSuite, reopen: (log: Log) => Promise<Log>): void {
  suite.test('everything appended is there after a restart, with its tail', async () => {
    const log = await suite.open();
    const appender = await log.openAppender(1);
    const records = await fill(appender, 30);
    await using again = await reopen(log);

    assert.deepEqual(await readAll(again), records);
    const { tail } = await again.openAppender(2);
    assert.equal(tail.next, records.length);
    assert.deepEqual(tail.commit, records.at(-1));
  });

  suite.test('offsets go on after a restart, and a second one', async () => {
    let log = await suite.open();
    const records: LogRecord[] = [];
    for (let epoch = 1; epoch <= 4; epoch += 1) {
      const appender = await log.openAppender(epoch);
      assert.equal(appender.tail.next, records.length);
      // The second opens an appender and appends nothing.
      const appended = epoch === 2 ? [] : transaction(epoch, 2);
      if (appended.length > 0) await appender.append(appended);
      records.push(...appended);
      log = await reopen(log);
    }
    await using last = log;
    assert.deepEqual(await readAll(last), records);
  });

  suite.test('an older epoch stays refused after a restart', async () => {
    const log = await suite.open();
    await log.openAppender(7);
    await using again = await reopen(log);
    await rejects('FENCED_OUT', () => again.openAppender(6));
  });

  suite.test('what was released stays released, and the tail stays known', async () => {
    const log = await suite.open();
    const appender = await log.openAppender(1);
    const records = await fill(appender, 40);
    await log.release(records.length);
    const before = await log.extent();
    await using again = await reopen(log);

    assert.deepEqual(pick(await again.extent()), pick(before));
    const { tail } = await again.openAppender(2);
    assert.equal(tail.next, records.length);
    assert.deepEqual(tail.commit, records.at(-1));
  });
}

function bounded(suite: LogSuite, open: NonNullable<LogSuite['openBounded']>): void {
  suite.test(
    'at its bound the log refuses whole appends, and goes on after a release',
    async () => {
      const { log: opened, recordsMax } = await open();
      await using log = opened;
      const appender = await log.openAppender(1);
      const payload = 'x'.repeat(1000);
      let kept = 0;
      const grow = async (): Promise<void> => {
        for (let round = 0; round < recordsMax; round += 1) {
          await appender.append([{ ...change(1, kept), payload }]);
          kept += 1;
        }
      };
      await rejects('LOG_FULL', grow);
      assert.ok(kept > 0);
      assert.equal((await log.extent()).next, kept);
      assert.deepEqual(appender.tail.last, { epoch: 1, offset: 1, ordinal: kept - 1 });

      await log.release(kept);
      assert.deepEqual(await appender.append(transaction(2, 0)), { next: kept + 1 });
      assert.deepEqual((await read(log, { from: kept })).records, [commit(2, 0)]);
    },
  );

  suite.test(
    'an append that waits behind one refused at the bound is refused with it',
    async () => {
      const { log: opened, recordsMax } = await open();
      await using log = opened;
      const appender = await log.openAppender(1);
      const large = Array.from({ length: recordsMax }, (_, index) => ({
        ...change(2, index),
        payload: 'x'.repeat(1000),
      }));
      const settled = await Promise.allSettled([
        appender.append(transaction(1, 0)),
        appender.append(large),
        appender.append(transaction(3, 0)),
      ]);
      assert.deepEqual(
        settled.map(({ status }) => status),
        ['fulfilled', 'rejected', 'rejected'],
      );
      assert.deepEqual(await readAll(log), [commit(1, 0)]);
    },
  );
}

function change(offset: number, ordinal: number): LogRecord {
  return {
    kind: 'change',
    epoch: 1,
    offset,
    ordinal,
    payload: `{"t":"t","k":[${offset},${ordinal}]}`,
  };
}

function commit(offset: number, changes: number): LogRecord {
  const payload = `{"n":${changes},"at":0,"tok":"${offset}"}`;
  return { kind: 'commit', epoch: 1, offset, ordinal: changes, payload };
}

function transaction(offset: number, changes: number): LogRecord[] {
  const records = Array.from({ length: changes }, (_, ordinal) => change(offset, ordinal));
  return [...records, commit(offset, changes)];
}

/** Appends transactions of two changes one after the other; returns their records. */
async function fill(
  appender: { append(records: readonly LogRecord[]): Promise<unknown> },
  transactions: number,
): Promise<LogRecord[]> {
  const all: LogRecord[] = [];
  for (let offset = 1; offset <= transactions; offset += 1) {
    const records = transaction(offset, 2);
    await appender.append(records);
    all.push(...records);
  }
  return all;
}

function big(): string {
  return 'é'.repeat(5 * MIB);
}

function read(
  log: Log,
  options: { from: number; recordsMax?: number; bytesMax?: number; signal?: AbortSignal },
): Promise<LogBatch> {
  const { from, recordsMax = 1000, bytesMax = MIB } = options;
  return log.read({
    from,
    recordsMax,
    bytesMax,
    signal: options.signal ?? new AbortController().signal,
  });
}

/** All records from `start` to the end; asserts that each batch joins on to the one before. */
async function readAll(log: Log, start = 0): Promise<LogRecord[]> {
  const { next } = await log.extent();
  const records: LogRecord[] = [];
  for (let from = start; from < next;) {
    const batch = await read(log, { from, recordsMax: 17 });
    assert.equal(batch.first, from);
    assert.equal(batch.next, from + batch.records.length);
    assert.ok(batch.records.length > 0);
    records.push(...batch.records);
    from = batch.next;
  }
  return records;
}

function pick({ first, next }: { first: number; next: number }): { first: number; next: number } {
  return { first, next };
}

async function rejects(code: ErrorCode, run: () => Promise<unknown>): Promise<void> {
  await assert.rejects(run, (error) => {
    assert.ok(isTallyError(error, code), `expected ${code}, got ${String(error)}`);
    return true;
  });
}
