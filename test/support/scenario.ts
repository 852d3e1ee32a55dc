import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { Evidence, OpenApp } from 'tallystick';
import { systemClock } from '../../src/runtime/clock.ts';

export { ask } from './ask.ts';
export { rowsOf, sql } from './sqlite-rows.ts';

/** A directory of its own for each test of the file that calls it. */
export function tempDir(): (name?: string) => string {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tally-scenario-'));
  });
  afterEach(async () => {
    await rm(dir, { recursive: true, force: true });
  });
  return (name = '') => join(dir, name);
}

/** Asks until there is an answer. */
export async function waitFor<Found>(
  look: () => Promise<Found | undefined> | Found | undefined,
  what = 'it',
): Promise<Found> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await systemClock.sleep(10);
  }
  throw new Error(`${what} never came`);
}

/** Waits until every flow into a store has applied the evidence. */
export async function fresh(
  app: Pick<OpenApp, 'barrier' | 'status'>,
  store: string,
  after: Evidence,
): Promise<void> {
  const freshness = await app.barrier(store, { after, within: '20s' });
  expect(freshness, JSON.stringify(await app.status())).toEqual({ kind: 'fresh' });
}
