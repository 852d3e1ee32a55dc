import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import {
  ask,
  copied,
  inFolder,
  openCopy,
  owned,
  resnapshot,
  stateOf,
  until,
  WITHIN,
  write,
} from '../support/copy-app.ts';
import { isTallyError } from 'tallystick';

/** What `work` fails with, by code. */
async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'done';
  } catch (error) {
    return isTallyError(error) ? error.code : String(error);
  }
}

/** Writes some rows, waits until they have arrived, and ends. */
async function arrive(dir: string, rows: Readonly<Record<string, string>>): Promise<void> {
  await using app = await openCopy(dir);
  const after = await write(app, rows);
  expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
}

/** A copy of the source as a backup tool makes it: one file, everything in it. */
async function backUp(dir: string, name: string): Promise<void> {
  using db = new DatabaseSync(join(dir, 'orders.db'));
  db.exec(`VACUUM INTO '${join(dir, name)}'`);
}

async function restore(dir: string, name: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm'])
    await rm(join(dir, `orders.db${suffix}`), { force: true });
  await copyFile(join(dir, name), join(dir, 'orders.db'));
}

/** The lane has failed with the remedy; after the remedy every row is what the owner has. */
async function failsAndIsMended(dir: string): Promise<void> {
  await using app = await openCopy(dir);
  const { worker } = await stateOf(app, 'lane', 'failed', 'HISTORY_LOST');
  expect(worker.kind === 'failed' && worker.message).toContain(
    'run tally resnapshot APP.ts orders',
  );
  const unrelated = await write(app, { meanwhile: 'written while lost' });
  const freshness = await app.barrier('search', { after: unrelated, within: 0 });
  expect(freshness.kind).toBe('incomparable');
  expect(await codeOf(() => app.read('search', { after: unrelated }, () => 1))).toBe(
    'BARRIER_INCOMPARABLE',
  );
  expect(await ask(app, resnapshot)).toBe(2);
  const after = await write(app, { last: 'after the remedy' });
  expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
  expect(copied(dir)).toEqual(owned(dir));
  expect(Object.keys(copied(dir))).toContain('meanwhile');
}

test('a source restored from an older copy is lost history, and mended by a resnapshot', () =>
  inFolder(async (dir) => {
    await arrive(dir, { a: '1', b: '1' });
    await backUp(dir, 'backup.db');
    await arrive(dir, { a: '2', c: '1' });
    await restore(dir, 'backup.db');
    await failsAndIsMended(dir);
    expect(copied(dir)).toMatchObject({ a: '1', b: '1' });
    expect(copied(dir)).not.toHaveProperty('c');
  }));

test('a source restored and written beyond its old head is lost history, not a gap', () =>
  inFolder(async (dir) => {
    await arrive(dir, { a: '1' });
    await backUp(dir, 'backup.db');
    await arrive(dir, { a: '2', gone: '1' });
    await restore(dir, 'backup.db');
    {
      // A program that knows nothing of flows: the triggers in the file capture what it does.
      using db = new DatabaseSync(join(dir, 'orders.db'));
      const insert = db.prepare('INSERT INTO products (sku, title) VALUES (?, ?)');
      for (let number = 0; number < 50; number += 1) insert.run(`new${number}`, 'beyond');
    }
    await failsAndIsMended(dir);
    expect(copied(dir)).not.toHaveProperty('gone');
  }));

test('a log that was removed behind our back is lost history, not silence', () =>
  inFolder(async (dir) => {
    await arrive(dir, Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`k${at}`, 'x'])));
    await rm(join(dir, 'coordinator', 'log'), { recursive: true });
    await failsAndIsMended(dir);
  }));

test('a flow that had read further than a log now ends goes on after the resnapshot', () =>
  inFolder(async (dir) => {
    await arrive(dir, { a: '1' });
    await copyLog(dir, 'log', 'older-log');
    for (let round = 0; round < 20; round += 1) await arriveMany(dir, round);
    await rm(join(dir, 'coordinator', 'log'), { recursive: true });
    await copyLog(dir, 'older-log', 'log');
    await failsAndIsMended(dir);
  }));

test('what was written since an older copy of the log was made is never skipped in silence', () =>
  inFolder(async (dir) => {
    await arrive(dir, { a: '1' });
    await rm(join(dir, 'coordinator', 'ledger.db'));
    await rm(join(dir, 'coordinator', 'ledger.db-wal'), { force: true });
    await rm(join(dir, 'coordinator', 'ledger.db-shm'), { force: true });
    await rm(join(dir, 'coordinator', 'log'), { recursive: true });
    // Everything of the coordinator is gone, but the target knows how far it was.
    await using app = await openCopy(dir);
    const after = await write(app, { b: '1' });
    const settled = await until(
      async () => {
        const lane = (await app.status()).lanes[0];
        if (lane?.worker.kind === 'failed') return lane.worker.code;
        const { kind } = await app.barrier('search', { after, within: 0 });
        return kind === 'fresh' ? kind : undefined;
      },
      () => app.status(),
    );
    if (settled !== 'fresh') {
      expect(settled).toBe('HISTORY_LOST');
      await ask(app, resnapshot);
      const again = await write(app, { c: '1' });
      expect(await app.barrier('search', { after: again, within: WITHIN })).toEqual({
        kind: 'fresh',
      });
    }
    expect(copied(dir)).toEqual(owned(dir));
  }));

async function arriveMany(dir: string, round: number): Promise<void> {
  await arrive(dir, { [`r${round}`]: String(round), a: String(round) });
}

async function copyLog(dir: string, from: string, to: string): Promise<void> {
  const { cp } = await import('node:fs/promises');
  await cp(join(dir, 'coordinator', from), join(dir, 'coordinator', to), { recursive: true });
}
