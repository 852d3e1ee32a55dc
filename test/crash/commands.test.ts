import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { crashPoints } from '../../src/observe/point.ts';
import { runUntilKilled, type Kill } from './child.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import { ACCOUNTS, nthCommand, openPlaces } from './commands-worker.ts';

/** Every command up to the last one is in the store once, in order; returns how many that were. */
async function checkEvents(engine: string, place: string): Promise<number> {
  await using places = await openPlaces(engine, place);
  const { events: store, accounts } = places;
  let count = 0;
  const cents = new Map<string, number>();
  for await (const { events } of store.readAll())
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
  const balances = await places.balances();
  // Also from the snapshots, which a crash may have left behind or not.
  for (let account = 0; account < Math.min(ACCOUNTS, count); account++) {
    const id = nthCommand(account + 1).id;
    const wanted = cents.get(id) ?? 0;
    const { state, version } = await accounts.load(id);
    expect(state).toMatchObject({ open: true, cents: wanted });
    if (engine === 'postgres')
      expect(balances.get(`account-${id}`)).toEqual({ version, cents: wanted });
  }
  return count;
}

async function sweep(engine: string, place: string, kills: readonly Kill[]): Promise<number> {
  let count = 0;
  for (const how of kills) {
    // The last command that is in the store was perhaps never answered: it is sent again, by its key.
    const acknowledged = await runUntilKilled(
      'commands-worker.ts',
      [engine, place, String(Math.max(1, count))],
      how,
    );
    const before = count;
    count = await checkEvents(engine, place);
    expect(count).toBeGreaterThanOrEqual(Math.max(before, acknowledged));
    expect(count).toBeLessThanOrEqual(Math.max(before, acknowledged) + 1);
  }
  return count;
}

const sweeps: Readonly<Record<string, (kills: readonly Kill[]) => Promise<number>>> = {
  sqlite: async (kills) => {
    const dir = await mkdtemp(join(tmpdir(), 'tally-commands-crash-'));
    try {
      return await sweep('sqlite', dir, kills);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
  // With rows of the application, in the transaction of the events.
  ...(hasPostgres
    ? {
        postgres: async (kills: readonly Kill[]) => {
          await using database = await freshDatabase();
          return await sweep('postgres', database.url, kills);
        },
      }
    : {}),
};

const points = crashPoints.filter((name) => name.startsWith('command.'));

describe.each(Object.entries(sweeps))('on %s, each command is carried out once', (_, swept) => {
  test.each(points)('after SIGKILL at %s, and is answered again', async (point) => {
    expect(await swept([1, 2, 7].map((hits) => ({ crash: `${point}:${hits}` })))).toBeGreaterThan(
      5,
    );
  });

  test('after SIGKILL at any moment', async () => {
    expect(await swept([3, 20, 9].map((killAfterLines) => ({ killAfterLines })))).toBeGreaterThan(
      20,
    );
  });
});
