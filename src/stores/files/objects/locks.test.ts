import { spawnSync } from 'node:child_process';
import { link, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Clock } from '../../../ports/clock.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { KeyLocks, NAME_CHARACTERS } from './locks.ts';
import { registerOwner, type Owner } from './owner.ts';

let dir: string;
let self: Owner;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tallystick-locks-'));
  await mkdir(join(dir, 'owners'));
  await mkdir(join(dir, 'locks'));
  self = await registerOwner(join(dir, 'owners'), systemRandom);
});

afterEach(async () => {
  await rm(dir, { recursive: true });
});

function locksOf(owner: Owner, clock: Clock = systemClock): KeyLocks {
  return new KeyLocks(join(dir, 'locks'), join(dir, 'owners', owner.id), owner, clock);
}

function fileOf(name: string): string {
  const hash = createHash('sha256').update(name).digest('hex').slice(0, NAME_CHARACTERS);
  return join(dir, 'locks', hash);
}

async function plant(owner: Owner, path: string): Promise<void> {
  await writeFile(join(dir, 'owners', owner.id), JSON.stringify(owner));
  await link(join(dir, 'owners', owner.id), path);
}

/** An owner whose process has ended. */
function deadOwner(id: string): Owner {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  return { ...self, id, pid, started: '1' };
}

/** A clock on which every sleep takes its time at once. */
function fastClock(): Clock {
  let nowMs = 0;
  return {
    ...systemClock,
    monotonicMs: () => nowMs,
    sleep: async (delayMs) => {
      nowMs += delayMs;
    },
  };
}

test('lets one in at a time, and forgets what was held', async () => {
  const other = await registerOwner(join(dir, 'owners'), systemRandom);
  const [one, two] = [locksOf(self), locksOf(other)];
  let inside = 0;
  const visits = Array.from({ length: 60 }, (_, index) =>
    (index % 2 === 0 ? one : two).hold('a', async () => {
      inside += 1;
      expect(inside).toBe(1);
      await Promise.resolve();
      inside -= 1;
    }),
  );
  await Promise.all(visits);
  expect(await readdir(join(dir, 'locks'))).toEqual([]);
});

test('gives the lock back when the work throws', async () => {
  const locks = locksOf(self);
  await expect(locks.hold('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await locks.hold('a', async () => 'again')).toBe('again');
});

test('breaks the lock of a dead process, by one of many who want it', async () => {
  await plant(deadOwner('dead'), fileOf('a'));
  const others = await Promise.all(
    Array.from({ length: 6 }, () => registerOwner(join(dir, 'owners'), systemRandom)),
  );
  let inside = 0;
  await Promise.all(
    others.map((owner) =>
      locksOf(owner).hold('a', async () => {
        inside += 1;
        expect(inside).toBe(1);
        await systemClock.sleep(0);
        inside -= 1;
      }),
    ),
  );
  expect(await readdir(join(dir, 'locks'))).toEqual([]);
});

test('breaks the lock also where the one who was breaking it died', async () => {
  await plant(deadOwner('dead'), fileOf('a'));
  await plant(deadOwner('breaker'), `${fileOf('a')}.dead`);
  expect(await locksOf(self).hold('a', async () => 'in')).toBe('in');
  expect(await readdir(join(dir, 'locks'))).toEqual([]);
});

test('never breaks the lock of a process that lives, and says who holds it', async () => {
  await plant({ ...self, id: 'alive' }, fileOf('a'));
  const waiting = locksOf(self, fastClock()).hold('a', async () => 'in');
  await expect(waiting).rejects.toMatchObject({
    code: 'STORE_BUSY',
    details: { pid: process.pid },
  });
});

test('takes a process id that was given anew for another process', async () => {
  await plant({ ...self, id: 'reused', started: `${self.started}0` }, fileOf('a'));
  await plant({ ...self, id: 'before the boot', boot: 'another' }, fileOf('b'));
  const locks = locksOf(self);
  expect(await locks.hold('b', async () => 'in')).toBe('in');
  // Where the system does not say when a process started, its id must do.
  if (self.started !== '') expect(await locks.hold('a', async () => 'in')).toBe('in');
});

test('waits for a lock of another host until it has long been untouched', async () => {
  await plant({ ...self, id: 'foreign', place: 'elsewhere' }, fileOf('a'));
  const clock = fastClock();
  expect(await locksOf(self, clock).hold('a', async () => 'in')).toBe('in');
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(30_000);
});
