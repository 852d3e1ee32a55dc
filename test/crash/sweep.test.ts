import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import {
  crashPoints,
  patternCrashPoints,
  serverCrashPoints,
  type CrashPoint,
} from '../../src/observe/point.ts';
import { runStory, type End } from './story.ts';

/** Transactions of one story: enough that every point is passed several times. */
const TRANSACTIONS = 300;
/** Points that a story passes once or so; the others are also hit later, with more behind them. */
const RARE: readonly CrashPoint[] = [
  'flow.after-snapshot-before-stream',
  'rebuild.after-build-before-switch',
  'rebuild.after-switch-before-forget',
  'log.before-segment-delete',
  'capture.after-acknowledge',
  'flow.after-snapshot-chunk',
  'capture.after-claim-before-epoch',
  'capture.after-ledger-before-acknowledge',
];

describe('a process killed at each crash point, started again, has lost, doubled and swapped nothing', () => {
  for (const name of crashPoints.filter(
    (point) => !serverCrashPoints.includes(point) && !patternCrashPoints.includes(point),
  )) {
    for (const count of RARE.includes(name) ? [1] : [1, 7]) {
      // A story waits for its disk and its leases half of the time.
      test.concurrent(`${name}, time ${count}`, { timeout: 90_000 }, async () => {
        const dir = await mkdtemp(join(tmpdir(), 'tally-sweep-'));
        try {
          await sweep(dir, name, count);
        } finally {
          await rm(dir, { recursive: true, force: true });
        }
      });
    }
  }
});

async function sweep(dir: string, name: CrashPoint, count: number): Promise<void> {
  const story = (env: Readonly<Record<string, string>>): Promise<End> =>
    runStory('sweep-worker.ts', [dir, String(TRANSACTIONS)], env);
  const killed = await story({
    TALLY_CRASH: `${name}:${count}`,
    ...(name === 'log.before-segment-delete' ? { SWEEP_LINGER: '1' } : {}),
  });
  expect(killed.signal, `it never came to ${name}: ${killed.errors}`).toBe('SIGKILL');
  expect(await story({}), 'after the kill').toMatchObject({ code: 0, errors: '' });
  expect(await story({ SWEEP_HEALED: '1' }), 'with the projection corrected').toMatchObject({
    code: 0,
    errors: '',
  });
  check(dir);
}

/** Compares the files with plain SQL: nothing of the flow is used to check the flow. */
function check(dir: string): void {
  using source = new DatabaseSync(join(dir, 'source.db'), { readOnly: true });
  using target = new DatabaseSync(join(dir, 'target.db'), { readOnly: true });
  const owned = source.prepare('SELECT key, n, chain FROM counters ORDER BY key').all();
  expect(source.prepare('PRAGMA user_version').get()).toEqual({ user_version: TRANSACTIONS });
  for (const name of ['copies', 'chains']) {
    const rows = target
      .prepare(
        `SELECT key, json_extract(document, '$.n') AS n, json_extract(document, '$.chain') AS chain FROM ${name} ORDER BY 1`,
      )
      .all();
    expect(rows, name).toEqual(owned);
  }
}
