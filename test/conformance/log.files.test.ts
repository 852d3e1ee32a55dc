import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, test } from 'vitest';
import { logConformance } from '../../src/conformance/log.ts';
import type { Log } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { segmentLog, type SegmentLogOptions } from '../../src/stores/files/log/index.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };
const directories: string[] = [];

afterAll(async () => {
  await Promise.all(directories.map((dir) => rm(dir, { recursive: true, force: true })));
});

function suiteFor(options: Omit<SegmentLogOptions, 'dir'>): void {
  const dirs = new Map<Log, string>();
  const openAt = async (dir: string, bound = {}): Promise<Log> => {
    const log = await segmentLog({ dir, ...options, ...bound }).open(context);
    dirs.set(log, dir);
    return log;
  };
  const newDirectory = async (): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), 'tallystick-log-'));
    directories.push(dir);
    return dir;
  };
  logConformance({
    test,
    open: async () => openAt(await newDirectory()),
    reopen: async (log) => {
      await log.close();
      return openAt(dirs.get(log) ?? '');
    },
    openBounded: async () => {
      const bound = { bytesMax: 20_000, segmentBytes: 4_000 };
      return { log: await openAt(await newDirectory(), bound), recordsMax: 20 };
    },
  });
}

describe('the log of files', () => suiteFor({}));

describe('the log of files, with segments of a few frames', () => suiteFor({ segmentBytes: 1024 }));

describe('the log of files, synced by the operating system', () => suiteFor({ sync: 'os' }));
