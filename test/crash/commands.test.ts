import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { crashPoints } from '../../src/observe/point.ts';
import { runUntilKilled, type Kill } from './child.ts';
import { accountsIn, ACCOUNTS, nthCommand, openFiles } from './commands-worker.ts';

/** Every command up to the last one is in the store once, in order; returns how many that were. */
async function checkEvents(dir: string): Promise<number> {
  const files = await openFiles(dir);
  await using bank = files.bank;
  await using desk = files.desk;
  let count = 0;
  const cents = new Map<string, number>();
  for await (const { events } of bank.events.readAll())
    for (const { stream, type, data, metadata } of events) {
      count += 1;
      const { id, command } = nthCommand(count);
      expect(stream).toBe(`account-${id}`);
      expect(metadata).toMatchObject({ command: { key: `k${count}`, events: 1 } });
      expect(type).toBe(command.kind === 'open' ? 'opened' : 'deposited');
      if (command.kind === 'deposit') {
        expect(data).toEqual({ cents: count, currency: 'EUR' });
        cents.set(id, (cents.get(id) ?? 0) + count);
      }
    }
  // Also from the snapshots, which a crash may have left behind or not.
  const accounts = accountsIn({ bank, desk });
  for (let account = 0; account < ACCOUNTS; account++) {
    const { state } = await accounts.load(`a${account}`);
    if (count >= ACCOUNTS)
      expect(state).toMatchObject({ open: true, cents: cents.get(`a${account}`) ?? 0 });
  }
  return count;
}

async function sweep(kills: readonly Kill[]): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'tally-commands-crash-'));
  try {
    let count = 0;
    for (const how of kills) {
      // The last command that is in the store was perhaps never answered: it is sent again, by its key.
      const acknowledged = await runUntilKilled(
        'commands-worker.ts',
        [dir, String(Math.max(1, count))],
        how,
      );
      const before = count;
      count = await checkEvents(dir);
      expect(count).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
      expect(count).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
    }
    return count;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const points = crashPoints.filter((name) => name.startsWith('command.'));

test.each(points)(
  'each command is carried out once after SIGKILL at %s, and is answered again',
  async (point) => {
    expect(await sweep([1, 2, 7].map((hits) => ({ crash: `${point}:${hits}` })))).toBeGreaterThan(
      5,
    );
  },
);

test('each command is carried out once after SIGKILL at any moment', async () => {
  expect(await sweep([3, 20, 9].map((killAfterLines) => ({ killAfterLines })))).toBeGreaterThan(20);
});
