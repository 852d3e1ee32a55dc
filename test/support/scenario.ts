import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { afterEach, beforeEach, expect } from 'vitest';
import type { Evidence, OpenApp } from 'tallystick';
import { systemClock } from '../../src/runtime/clock.ts';

export { ask } from './ask.ts';

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

/** Runs statements in a file with a driver of its own: neither capture nor sinks are asked. */
export function sql(file: string, text: string): void {
  using db = new DatabaseSync(file);
  db.exec('PRAGMA busy_timeout = 5000');
  db.exec(text);
}

/** Rows of a file, read with a driver of its own. */
export function rowsOf(
  file: string,
  text: string,
  ...values: readonly SQLInputValue[]
): readonly unknown[] {
  using db = new DatabaseSync(file, { readOnly: true });
  return db
    .prepare(text)
    .all(...values)
    .map((row) => ({ ...row }));
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
