import { execFile } from 'node:child_process';
import {
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Log, LogAppender, LogRecord } from '../../../ports/log.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { liveSegments } from './segment-files.ts';
import { segmentLog, type SegmentLogOptions } from './segment-log.ts';

const context = { name: 'orders', clock: systemClock, random: seededRandom(1) };
const directories: string[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  const used = directories.splice(0);
  await Promise.all(used.map((dir) => rm(dir, { recursive: true, force: true })));
});

async function newDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-segments-'));
  directories.push(dir);
  return dir;
}

function openLog(dir: string, options: Omit<SegmentLogOptions, 'dir'> = {}): Promise<Log> {
  return segmentLog({ dir, ...options }).open(context);
}

function record(number: number, payload = `{"number":${number}}`): LogRecord {
  return {
    kind: number % 3 === 2 ? 'commit' : 'change',
    epoch: 1,
    offset: number,
    ordinal: 0,
    payload,
  };
}

function run(from: number, count: number, payload?: string): LogRecord[] {
  return Array.from({ length: count }, (_, index) => record(from + index, payload));
}

async function readAll(log: Log): Promise<LogRecord[]> {
  const { first, next } = await log.extent();
  const { signal } = new AbortController();
  const found: LogRecord[] = [];
  while (first + found.length < next) {
    const from = first + found.length;
    found.push(...(await log.read({ from, recordsMax: 7, bytesMax: 1e6, signal })).records);
  }
  return found;
}

describe('the segments of a directory', () => {
  const named = (
    first: number,
    epoch: number,
    turn = 0,
  ): Parameters<typeof liveSegments>[0][0] => ({
    first,
    epoch,
    turn,
    path: `${first}-${epoch}-${turn}`,
  });
  const live = (...names: ReturnType<typeof named>[]): string[] =>
    liveSegments(names).map(({ path }) => path);

  test('a segment ends where that of a newer appender begins', () => {
    expect(live(named(100, 2), named(0, 1))).toEqual(['0-1-0', '100-2-0']);
    expect(live(named(0, 1), named(100, 1), named(100, 2))).toEqual(['0-1-0', '100-2-0']);
    expect(live(named(0, 3, 0), named(0, 3, 1))).toEqual(['0-3-1']);
  });

  test('what a fenced appender began after the newer one is not read', () => {
    expect(live(named(0, 1), named(100, 2), named(120, 1), named(150, 2))).toEqual([
      '0-1-0',
      '100-2-0',
      '150-2-0',
    ]);
  });
});

describe('appenders in two processes', () => {
  test('an append that resolved is read, whenever the newer appender came', async () => {
    const random = seededRandom('takeover');
    for (let round = 0; round < 40; round += 1) {
      const dir = await newDirectory();
      await using older = await openLog(dir, { segmentBytes: 1024 });
      await using newer = await openLog(dir, { segmentBytes: 1024 });
      const zombie = await older.openAppender(1);
      const moment = Math.floor(random.next() * 30);
      let resolved = 0;
      let takeover: Promise<LogAppender> | undefined;
      const zombieAppends = async (): Promise<void> => {
        for (let number = 0; ; number += 2) {
          if (number === moment * 2) takeover = newer.openAppender(2);
          resolved = (await zombie.append(run(number, 2))).next;
        }
      };
      await expect(zombieAppends()).rejects.toMatchObject({ code: 'FENCED_OUT' });
      const appender = await takeover;
      const { next = 0 } = appender?.tail ?? {};
      expect(next).toBeGreaterThanOrEqual(resolved);
      await appender?.append(run(next, 3));
      expect(await readAll(newer)).toEqual(run(0, next + 3));
      await expect(zombie.append(run(0, 1))).rejects.toMatchObject({ code: 'FENCED_OUT' });
      expect(await readAll(older)).toEqual(run(0, next + 3));
    }
  });

  test('what a fenced appender still writes is never read, not after a restart either', async () => {
    const dir = await newDirectory();
    await using older = await openLog(dir);
    await using newer = await openLog(dir);
    const zombie = await older.openAppender(1);
    await zombie.append(run(0, 3));
    const appender = await newer.openAppender(2);
    await expect(zombie.append(run(900, 3))).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await appender.append(run(3, 3));
    await newer.close();

    await using again = await openLog(dir);
    expect(await readAll(again)).toEqual(run(0, 6));
    expect((await again.openAppender(3)).tail.next).toBe(6);
    await expect(again.openAppender(2)).rejects.toMatchObject({ code: 'FENCED_OUT' });
  });

  test('an epoch may be opened again, and the earlier appender of it is fenced', async () => {
    const dir = await newDirectory();
    await using one = await openLog(dir);
    await using two = await openLog(dir);
    const earlier = await one.openAppender(4);
    const later = await two.openAppender(4);
    await later.append(run(0, 3));
    await expect(earlier.append(run(7, 3))).rejects.toMatchObject({ code: 'FENCED_OUT' });
    // At once: whoever is told of the newer appender is also shown what it wrote.
    expect((await one.extent()).next).toBe(3);
    expect(await readAll(one)).toEqual(run(0, 3));
    expect(await readAll(two)).toEqual(run(0, 3));
  });

  test('a log without an appender tells the extent, and reads what there is', async () => {
    const dir = await newDirectory();
    await using writing = await openLog(dir, { segmentBytes: 1024 });
    await using watching = await openLog(dir);
    expect(await watching.extent()).toEqual({ first: 0, next: 0, bytes: 0 });
    const appender = await writing.openAppender(1);
    for (let number = 0; number < 60; number += 3) await appender.append(run(number, 3));

    expect(await watching.extent()).toMatchObject({ first: 0, next: 60 });
    expect(await readAll(watching)).toEqual(run(0, 60));
    await appender.append(run(60, 3));
    expect(await readAll(watching)).toEqual(run(0, 63));
    await writing.release(63);
    const from = { from: 0, recordsMax: 1, bytesMax: 1, signal: new AbortController().signal };
    await expect(watching.read(from)).rejects.toMatchObject({ code: 'LOG_TRUNCATED' });
  });
});

test('a log watched from outside is never taken for damaged while it is written', async () => {
  const dir = await newDirectory();
  await using writing = await openLog(dir, { sync: 'os' });
  await using watching = await openLog(dir);
  const appender = await writing.openAppender(1);
  const done = { next: 0, looks: 0 };
  const enough = (): boolean => done.looks >= 60 && done.next >= 12_000;
  const writes = async (): Promise<void> => {
    while (!enough()) done.next = (await appender.append(run(done.next, 3))).next;
  };
  const looks = async (): Promise<void> => {
    for (; !enough(); done.looks += 1) {
      const before = done.next;
      const { next } = await watching.extent();
      expect(next).toBeGreaterThanOrEqual(before);
    }
  };
  await Promise.all([writes(), looks()]);
  expect(await readAll(watching)).toEqual(run(0, done.next));
});

describe('a random history', () => {
  test.each([1, 2, 3, 4, 5, 6])('is read as the array it is (seed %i)', async (seed) => {
    const random = seededRandom(seed);
    const below = (bound: number): number => Math.floor(random.next() * bound);
    const dir = await newDirectory();
    const model: LogRecord[] = [];
    // As after a crash; when they are closed in the end, they must not disturb anything.
    const abandoned: Log[] = [];
    let epoch = 1;
    let log = await openLog(dir, { segmentBytes: 2048 });
    let appender = await log.openAppender(epoch);
    const append = (count: number): Promise<{ next: number }> => {
      const records = run(model.length, count, ['', 'x'.repeat(below(600)), 'ü🪵'][below(3)]);
      model.push(...records);
      return appender.append(records);
    };
    for (let step = 0; step < 300; step += 1) {
      const { first } = await log.extent();
      const dice = below(100);
      if (dice < 35) {
        const { next } = await append(1 + below(5));
        expect(next).toBe(model.length);
      } else if (dice < 50) {
        await Promise.all(Array.from({ length: below(6) }, () => append(below(4))));
      } else if (dice < 85) {
        const from = first + below(model.length - first);
        const options = { from, recordsMax: 1 + below(40), bytesMax: 1 + below(3000) };
        if (from === model.length) continue;
        const batch = await log.read({ ...options, signal: new AbortController().signal });
        expect(batch.records.length).toBeGreaterThan(0);
        expect(batch.records).toEqual(model.slice(from, batch.next));
      } else if (dice < 92) {
        await log.release(first + below(model.length - first + 1));
      } else {
        if (below(2) === 0) await log.close();
        else abandoned.push(log);
        if (below(2) === 0) epoch += 1;
        log = await openLog(dir, { segmentBytes: 2048 });
        appender = await log.openAppender(epoch);
      }
      expect(appender.tail.next).toBe(model.length);
      expect(appender.tail.commit).toEqual(model.findLast(({ kind }) => kind === 'commit'));
    }
    for (const old of abandoned) await old.close();
    await log.close();
    await using again = await openLog(dir);
    const { first } = await again.extent();
    expect(await readAll(again)).toEqual(model.slice(first));
  });
});

describe('a full disk', () => {
  /** From the next write on, the file system takes `bytes` and then has no room. */
  async function fillDisk(bytes: number): Promise<{ free(): void }> {
    const handle = await open(process.execPath, 'r');
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    let room = bytes;
    const write: unknown = Reflect.get(prototype, 'write');
    if (typeof write !== 'function') throw new Error('a file handle has no write');
    const spy = vi.spyOn(prototype, 'write').mockImplementation(function limited(
      this: FileHandle,
      ...[buffer, offset, length, position]: unknown[]
    ) {
      const fits = Math.min(Number(length), room);
      room -= fits;
      if (fits === 0) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      return Reflect.apply(write, this, [buffer, offset, fits, position]) as never;
    });
    return { free: () => spy.mockRestore() };
  }

  test.each([0, 1, 39, 40, 100, 2000])(
    'refuses the append after %i bytes of it, keeps nothing of it, and goes on when there is room',
    async (bytes) => {
      const dir = await newDirectory();
      await using log = await openLog(dir);
      const appender = await log.openAppender(1);
      await appender.append(run(0, 3));
      const disk = await fillDisk(bytes);
      const refused = [appender.append(run(3, 3, 'x'.repeat(900))), appender.append(run(6, 1))];
      for (const result of await Promise.allSettled(refused))
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'STORE_FULL' } });
      disk.free();
      const [name = ''] = (await readdir(dir)).filter((file) => file.endsWith('.seg'));
      const kept = (await log.extent()).bytes;
      const rest = (await readFile(join(dir, name))).subarray(kept);
      expect(rest.every((byte) => byte === 0)).toBe(true);
      expect(appender.tail).toMatchObject({ next: 3, last: { offset: 2 } });
      await appender.append(run(3, 2));
      expect(await readAll(log)).toEqual(run(0, 5));
      await log.close();

      await using again = await openLog(dir);
      expect((await again.openAppender(2)).tail.next).toBe(5);
      expect(await readAll(again)).toEqual(run(0, 5));
    },
  );

  const root = process.platform === 'linux' && process.getuid?.() === 0;
  test.runIf(root)('of a real file system is refused and survived', async ({ skip }) => {
    const dir = await newDirectory();
    const execute = promisify(execFile);
    try {
      await execute('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir]);
    } catch {
      skip('this machine does not let root mount');
    }
    try {
      await using log = await openLog(dir, { segmentBytes: 16_384 });
      const appender = await log.openAppender(1);
      let kept = 0;
      const grow = async (): Promise<void> => {
        for (;;) kept = (await appender.append(run(kept, 3, 'x'.repeat(1000)))).next;
      };
      await expect(grow()).rejects.toMatchObject({ code: 'STORE_FULL' });
      expect(kept).toBeGreaterThan(100);
      expect((await readAll(log)).length).toBe(kept);
      await expect(appender.append(run(kept, 300, 'x'))).rejects.toMatchObject({
        code: 'STORE_FULL',
      });

      await log.release(kept - 60);
      await appender.append(run(kept, 3, 'x'.repeat(1000)));
      await log.close();
      await using again = await openLog(dir);
      expect((await again.openAppender(2)).tail.next).toBe(kept + 3);
      const { first } = await again.extent();
      expect(await readAll(again)).toEqual(run(first, kept + 3 - first, 'x'.repeat(1000)));
    } finally {
      await execute('umount', [dir]);
    }
  });
});

describe('the files of the log', () => {
  test('a failed sync ends the appender, and opening anew tells what is there', async () => {
    const dir = await newDirectory();
    await using log = await openLog(dir);
    const appender = await log.openAppender(1);
    await appender.append(run(0, 3));
    const handle = await open(process.execPath, 'r');
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    const failure = Object.assign(new Error('input/output error'), { code: 'EIO' });
    vi.spyOn(prototype, 'datasync').mockRejectedValueOnce(failure);
    await expect(appender.append(run(3, 3))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await expect(appender.append(run(3, 3))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });

    const { tail } = await log.openAppender(2);
    expect([3, 6]).toContain(tail.next);
    expect(await readAll(log)).toEqual(run(0, tail.next));
  });

  test('stay under the bound, with what is needed to go on', async () => {
    const dir = await newDirectory();
    await using log = await openLog(dir, { bytesMax: 30_000 });
    const appender = await log.openAppender(1);
    let next = 0;
    for (let round = 0; round < 200; round += 1) {
      try {
        ({ next } = await appender.append(run(next, 3, 'x'.repeat(round * 7))));
      } catch (error) {
        expect(error).toMatchObject({ code: 'LOG_FULL' });
        await log.release(next);
      }
      let bytes = 0;
      for (const name of await readdir(dir)) bytes += (await stat(join(dir, name))).size;
      expect(bytes).toBeLessThanOrEqual(30_000);
      expect((await log.extent()).bytes).toBeLessThanOrEqual(bytes);
    }
    expect(next).toBeGreaterThan(300);
    await log.close();
  });

  test('do not pile up when appenders come and go without appending', async () => {
    const dir = await newDirectory();
    for (let epoch = 1; epoch <= 5; epoch += 1) {
      await using log = await openLog(dir);
      const appender = await log.openAppender(epoch);
      if (epoch === 3) await appender.append(run(0, 3));
    }
    expect((await readdir(dir)).toSorted()).toEqual([
      '00000000000000000000-00003-0000.seg',
      '00000000000000000003-00005-0000.seg',
      '00005-0000.claim',
    ]);
  });

  test('a close ends a waiting read, and what comes after it, with STORE_CLOSED', async () => {
    const log = await openLog(await newDirectory());
    const appender = await log.openAppender(1);
    const options = { from: 0, recordsMax: 1, bytesMax: 1, signal: new AbortController().signal };
    const waiting = expect(log.read(options)).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    const kept = appender.append(run(5, 1));
    await log.close();
    expect(await kept).toEqual({ next: 1 });
    await expect(log.read({ ...options, from: 1 })).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    await expect(appender.append(run(0, 1))).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    await waiting.catch(() => undefined);
  });

  test('a directory that is a file, and options that are none, are refused', async () => {
    const dir = await newDirectory();
    await writeFile(join(dir, 'file'), '');
    await expect(openLog(join(dir, 'file'))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    const misspelt = { dir, segmentBites: 1 } as SegmentLogOptions;
    expect(() => segmentLog(misspelt)).toThrow(/segmentBytes/);
    expect(() => segmentLog({ dir, segmentBytes: 10 })).toThrow(/segmentBytes/);
    expect(() => segmentLog({ dir, segmentBytes: 4096, bytesMax: 4096 })).toThrow(/bytesMax/);
    expect(() => segmentLog({ dir, sync: 'never' as 'os' })).toThrow(/sync/);
  });

  test('a record that is none is refused before anything is written', async () => {
    await using log = await openLog(await newDirectory());
    const appender = await log.openAppender(1);
    for (const wrong of [{ epoch: -1 }, { epoch: 8192 }, { offset: 0.5 }, { ordinal: 2 ** 31 }]) {
      const refused = appender.append([{ ...record(0), ...wrong }]);
      await expect(refused).rejects.toMatchObject({ code: 'POSITION_OUT_OF_RANGE' });
    }
    expect(await appender.append(run(0, 1))).toEqual({ next: 1 });
  });
});
