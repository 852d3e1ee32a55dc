import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { crashPoints } from '../../src/observe/point.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { segmentLog } from '../../src/stores/files/log/index.ts';
import { runUntilKilled, type Kill } from './child.ts';

const context = { name: 'numbers', clock: systemClock, random: seededRandom(1) };

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

async function sweep(rounds: readonly Kill[]): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-log-crash-'));
  try {
    let end = 0;
    for (const [index, how] of rounds.entries()) {
      const acknowledged = await runUntilKilled('log-appender.ts', [dir, String(index + 1)], how);
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
