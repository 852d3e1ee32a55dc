import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { crashPoints } from '../../src/observe/point.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { segmentLog } from '../../src/stores/files/log/index.ts';

const child = fileURLToPath(new URL('log-appender.ts', import.meta.url));
const context = { name: 'numbers', clock: systemClock, random: seededRandom(1) };

/** Runs the appender until it is killed; returns the last log offset that it had acknowledged. */
async function appendUntilKilled(
  dir: string,
  epoch: number,
  how: { readonly crash?: string; readonly killAfterLines?: number },
): Promise<number> {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const running = spawn(process.execPath, [...flags, child, dir, String(epoch)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TALLY_CRASH: how.crash ?? '' },
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    running.on('close', (_, signal) => resolve(signal));
  });
  let acknowledged = 0;
  let lines = 0;
  for await (const line of createInterface(running.stdout)) {
    acknowledged = Number(line);
    lines += 1;
    if (lines === how.killAfterLines) running.kill('SIGKILL');
  }
  expect(await ended).toBe('SIGKILL');
  return acknowledged;
}

/** Every record kept, from the first to the end, numbered as its offset; returns the end. */
async function checkNumbers(dir: string, acknowledged: number): Promise<number> {
  await using log = await segmentLog({ dir, segmentBytes: 4096 }).open(context);
  const { first, next } = await log.extent();
  expect(next).toBeGreaterThanOrEqual(acknowledged);
  expect(first).toBeLessThanOrEqual(Math.max(0, next - 250));
  const { signal } = new AbortController();
  let last;
  for (let from = first; from < next;) {
    const batch = await log.read({ from, recordsMax: 100, bytesMax: 1_000_000, signal });
    for (const [index, { offset, payload }] of batch.records.entries()) {
      const number = from + index;
      expect({ offset, payload }).toEqual({ offset: number, payload: `{"number":${number}}` });
    }
    last = batch.records.at(-1);
    from = batch.next;
  }
  expect(last?.offset).toBe(next === 0 ? undefined : next - 1);
  return next;
}

async function sweep(
  rounds: readonly { readonly crash?: string; readonly killAfterLines?: number }[],
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-log-crash-'));
  try {
    let end = 0;
    for (const [index, how] of rounds.entries()) {
      const acknowledged = await appendUntilKilled(dir, index + 1, how);
      const next = await checkNumbers(dir, Math.max(acknowledged, end));
      end = next;
    }
    expect(end).toBeGreaterThan(100);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const points = crashPoints.filter((name) => name.startsWith('log.'));

test.each(points)('what was acknowledged survives a kill at %s, again and again', async (name) => {
  await sweep(
    [1, 2, 7].map((count) => ({ crash: `${name}:${count}` })).concat({ crash: `${name}:20` }),
  );
});

test('what was acknowledged survives kills at random moments', async () => {
  const random = seededRandom('log kills');
  await sweep(
    Array.from({ length: 8 }, () => ({ killAfterLines: 1 + Math.floor(random.next() * 400) })),
  );
});
