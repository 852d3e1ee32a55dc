import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { flow, open, put, tally } from 'tallystick';
import { sqlite } from 'tallystick/sqlite';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { fresh, rowsOf, sql, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();

interface Ended {
  readonly code: number | null;
  readonly errors: string;
  readonly tookMs: number;
}

/** Runs the writer; after `lifeMs` of load it gets the signal, and must then end by itself. */
async function life(mode: string, lifeMs: number, signal?: NodeJS.Signals): Promise<Ended> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--conditions=tallystick-source',
      join(import.meta.dirname, 'stores-restart-worker.ts'),
      path(),
      mode,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const closed = once(child, 'close');
  await Promise.race([once(child.stdout, 'data'), closed]);
  await systemClock.sleep(lifeMs);
  const startedAtMs = systemClock.monotonicMs();
  if (signal !== undefined) child.kill(signal);
  const [code] = (await closed) as [number | null];
  return { code, errors, tookMs: systemClock.monotonicMs() - startedAtMs };
}

test(
  'twenty restarts under load, by SIGTERM and by exiting without a word, lose and double nothing',
  { timeout: 120_000 },
  async () => {
    for (let round = 0; round < 20; round += 1) {
      const ended = await life('write', (round % 4) * 60, round % 4 === 3 ? 'SIGUSR2' : 'SIGTERM');
      expect(ended, `round ${round}`).toMatchObject({ code: 0, errors: '' });
      expect(ended.tookMs, `round ${round}`).toBeLessThan(5_000);
    }
    expect(await life('settle', 0)).toMatchObject({ code: 0, errors: '' });
    const owned = rowsOf(path('source.db'), 'SELECT id, n FROM items ORDER BY id');
    expect(owned.length).toBeGreaterThan(5);
    for (const name of ['one', 'two'])
      expect(
        rowsOf(
          path('target.db'),
          `SELECT document ->> 'id' AS id, document ->> 'n' AS n FROM ${name} ORDER BY 1`,
        ),
        name,
      ).toEqual(owned);
  },
);

function shop() {
  return tally({
    name: 'shop',
    dir: path('tally'),
    stores: {
      orders: sqlite({ file: path('orders.db') }),
      search: sqlite({ file: path('search.db') }),
    },
    flows: {
      copy: flow({
        from: 'orders',
        tables: ['items'],
        to: 'search',
        into: 'items',
        project: (row) => put('items', [row['id'] as number], row),
      }),
    },
  });
}

const seed = (): void =>
  sql(path('orders.db'), 'CREATE TABLE items (id INTEGER PRIMARY KEY, n INTEGER)');
const held = (): readonly unknown[] =>
  rowsOf(
    path('search.db'),
    "SELECT document ->> 'id' AS id, document ->> 'n' AS n FROM items ORDER BY 1",
  );

test('one application opened twice in a process has one worker, and both can wait for evidence', async () => {
  seed();
  const [one, two] = await Promise.all([open(shop()), open(shop())]);
  try {
    await waitFor(async () => {
      const workers = [...(await one.status()).flows, ...(await two.status()).flows].map(
        ({ worker }) => worker.kind,
      );
      return workers.toSorted().join() === 'running,standby' ? true : undefined;
    }, 'one worker');
    for (let id = 1; id <= 20; id += 1) {
      const writer = id % 2 === 0 ? one : two;
      const { evidence } = await writer.write('orders', (db) =>
        db.exec(`INSERT INTO items VALUES (${id}, 0)`),
      );
      await fresh(one, 'search', evidence);
      await fresh(two, 'search', evidence);
      expect(held()).toHaveLength(id);
    }
  } finally {
    await one.close();
    await two.close();
  }
});

test('a process that stands by can wait for evidence while another runs the flows', async () => {
  seed();
  await using first = await open(shop(), { owner: 'one', isDead: () => false });
  await fresh(first, 'search', (await first.write('orders', () => undefined)).evidence);
  await using second = await open(shop(), { owner: 'two', isDead: () => false });
  await waitFor(async () =>
    (await second.status()).flows[0]?.worker.kind === 'standby' ? true : undefined,
  );
  for (let id = 1; id <= 5; id += 1) {
    const { evidence } = await second.write('orders', (db) =>
      db.exec(`INSERT INTO items VALUES (${id}, 0)`),
    );
    await fresh(second, 'search', evidence);
  }
  await first.close();
  const { evidence } = await second.write('orders', (db) => db.exec('UPDATE items SET n = 1'));
  await fresh(second, 'search', evidence);
  expect(held()).toEqual([1, 2, 3, 4, 5].map((id) => ({ id, n: 1 })));
});

test('a wall clock that jumps an hour back and forth changes nothing but times on screens', async () => {
  seed();
  let shiftMs = 0;
  const jumping: Clock = {
    nowMs: () => systemClock.nowMs() + shiftMs,
    monotonicMs: () => systemClock.monotonicMs(),
    sleep: (delayMs, signal) => systemClock.sleep(delayMs, signal),
    after: (delayMs, callback) => systemClock.after(delayMs, callback),
  };
  await using app = await open(shop(), { clock: jumping, owner: 'one', isDead: () => false });
  // Beside one whose clock is right, and which sees the other's lease end too early or too late.
  await using other = await open(shop(), { owner: 'two', isDead: () => false });
  for (let id = 1; id <= 24; id += 1) {
    shiftMs = [3_600_000, -3_600_000, 0][id % 3] ?? 0;
    const { evidence } = await (id % 2 === 0 ? app : other).write('orders', (db) =>
      db.exec(`INSERT INTO items VALUES (${id}, 0); UPDATE items SET n = n + 1`),
    );
    await fresh(app, 'search', evidence);
    await fresh(other, 'search', evidence);
    await systemClock.sleep(id % 6 === 0 ? 600 : 20);
  }
  expect(held()).toEqual(rowsOf(path('orders.db'), 'SELECT id, n FROM items ORDER BY id'));
  const flows = [...(await app.status()).flows, ...(await other.status()).flows];
  expect(flows.filter(({ worker }) => worker.kind === 'failed')).toEqual([]);
});
