import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { flow, open, put, tally, type FlowDefinition, type FlowOptions } from 'tallystick';
import { files, segmentLog } from 'tallystick/files';
import { documents, sqlite } from 'tallystick/sqlite';
import { systemClock } from '../../src/runtime/clock.ts';
import { ask, fresh, rowsOf, sql, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();

/** An application whose plan changes from one start to the next. */
function shop(flows: Record<string, FlowDefinition>) {
  return tally({
    name: 'shop',
    dir: path('tally'),
    stores: {
      orders: sqlite({ file: path('orders.db') }),
      people: sqlite({ file: path('people.db') }),
      search: sqlite({
        file: path('search.db'),
        targets: { docs: documents(), more: documents() },
      }),
    },
    // Small segments: what is released is gone at once.
    log: (lane) => segmentLog({ dir: path(`log-${lane}`), segmentBytes: 4096 }),
    flows,
  });
}

function copy(options: Partial<FlowOptions> = {}): FlowDefinition {
  const into = options.into ?? 'docs';
  const targets = typeof into === 'string' ? [into] : into;
  return flow({
    from: 'orders',
    tables: ['products'],
    to: 'search',
    into,
    project: (row, { table }) =>
      targets.map((target) =>
        put(target, [`${table}/${String(row['id'])}`], { name: row['name'] ?? null }),
      ),
    ...options,
  });
}

function seed(file: string): void {
  sql(
    path(file),
    `CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);
     CREATE TABLE makers (id INTEGER PRIMARY KEY, name TEXT);
     INSERT INTO products VALUES (1, 'lamp'), (2, 'desk');
     INSERT INTO makers VALUES (1, 'Ada'), (2, 'Bo')`,
  );
}

const keys = (target: string): readonly unknown[] =>
  rowsOf(path('search.db'), `SELECT key FROM ${target} ORDER BY key`).map(
    (row) => (row as { key: unknown }).key,
  );

/** Runs the application until everything written is in, and writes one row more. */
async function run(flows: Record<string, FlowDefinition>, id: number): Promise<void> {
  await using app = await open(shop(flows));
  const { evidence } = await app.write('orders', (db) =>
    db.exec(`INSERT INTO products VALUES (${id}, 'new')`),
  );
  await fresh(app, 'search', evidence);
}

test('a table that is added to a flow is brought over with its old rows', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 3);
  expect(keys('docs')).toEqual(['products/1', 'products/2', 'products/3']);
  await run({ copy: copy({ tables: ['products', 'makers'] }) }, 4);
  expect(keys('docs')).toEqual([
    'makers/1',
    'makers/2',
    'products/1',
    'products/2',
    'products/3',
    'products/4',
  ]);
});

test('the rows of a table that is taken from a flow leave its targets', async () => {
  seed('orders.db');
  await run({ copy: copy({ tables: ['products', 'makers'] }) }, 3);
  await run({ copy: copy() }, 4);
  expect(keys('docs')).toEqual(['products/1', 'products/2', 'products/3', 'products/4']);
});

test('a target that is added to a flow gets every row, and one that comes back has no rows of before', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 3);
  await run({ copy: copy({ into: ['docs', 'more'] }) }, 4);
  expect(keys('more')).toEqual(keys('docs'));
  await run({ copy: copy() }, 5);
  sql(path('orders.db'), 'DELETE FROM products WHERE id = 1');
  await run({ copy: copy() }, 6);
  await run({ copy: copy({ into: ['docs', 'more'] }) }, 7);
  expect(keys('docs')).toEqual([2, 3, 4, 5, 6, 7].map((id) => `products/${id}`));
  expect(keys('more')).toEqual(keys('docs'));
});

test('a flow whose table list changed is not called fresh before the new table is in', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 3);
  const definition = shop({ copy: copy({ tables: ['products', 'makers'] }) });
  await using app = await open(definition);
  const made = await app.write('orders', (db) => db.exec("UPDATE makers SET name = 'Cy'"));
  await fresh(app, 'search', made.evidence);
  expect(keys('docs')).toContain('makers/2');
});

test('a fold whose tables change counts from the rows again', async () => {
  seed('orders.db');
  const count = (tables: readonly string[]) =>
    flow({
      from: 'orders',
      to: 'search',
      into: 'docs',
      tables,
      fold: {
        apply: async ({ before, after }, state) => {
          const now =
            Number((await state.get('n')) ?? 0) +
            (after === null ? 0 : 1) -
            (before === null ? 0 : 1);
          state.set('n', now);
          return put('docs', ['count'], { now });
        },
      },
    });
  await run({ count: count(['products']) }, 3);
  await run({ count: count(['products', 'makers']) }, 4);
  expect(rowsOf(path('search.db'), "SELECT document ->> 'now' AS now FROM docs")).toEqual([
    { now: 6 },
  ]);
});

test('a flow that now reads another store is refused until its target is another too', async () => {
  seed('orders.db');
  seed('people.db');
  await run({ copy: copy() }, 3);
  {
    await using app = await open(shop({ copy: copy({ from: 'people' }) }));
    const failed = await waitFor(async () =>
      (await app.status()).flows.find(({ worker }) => worker.kind === 'failed'),
    );
    expect(failed.worker).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(JSON.stringify(failed.worker)).toContain('orders');
  }
  // Under another name it would meet the fences of the other lane in the same rows.
  await using app = await open(shop({ other: copy({ from: 'people' }) }));
  const refused = await waitFor(async () =>
    (await app.status()).flows.find(({ worker }) => worker.kind === 'failed'),
  );
  expect(refused.worker).toMatchObject({ code: 'CONFIG_INVALID' });
  expect(keys('docs')).toEqual(['products/1', 'products/2', 'products/3']);
});

test('a flow added later to a running application is brought up; the others are not touched', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 3);
  const fences = 'SELECT key, _fence FROM docs ORDER BY key';
  const before = rowsOf(path('search.db'), fences);
  {
    await using app = await open(shop({ copy: copy(), second: copy({ into: 'more' }) }));
    await fresh(app, 'search', (await app.write('orders', () => undefined)).evidence);
  }
  expect(rowsOf(path('search.db'), fences)).toEqual(before);
  expect(keys('more')).toEqual(keys('docs'));
});

test('a flow that was taken out holds no log, and is brought up from the rows when it comes back', async () => {
  seed('orders.db');
  const second = copy({ into: 'more' });
  await run({ copy: copy(), second }, 3);
  {
    await using app = await open(shop({ copy: copy() }));
    for (let id = 10; id < 200; id += 1) {
      await app.write('orders', (db) => {
        db.exec(`INSERT INTO products VALUES (${id}, '${'x'.repeat(200)}')`);
        if (id === 50) db.exec('DELETE FROM products WHERE id = 2');
      });
      // Not faster than capture: one append would be one segment, however large.
      if (id % 10 === 0) await systemClock.sleep(20);
    }
    await fresh(app, 'search', (await app.write('orders', () => undefined)).evidence);
    await waitFor(async () => {
      const { first } = (await app.status()).lanes[0]?.log ?? { first: 0 };
      return first > 100 ? true : undefined;
    }, 'the release');
  }
  await run({ copy: copy(), second }, 300);
  expect(keys('more')).toEqual(keys('docs'));
  expect(keys('more')).toHaveLength(2 + 190 + 1);
});

test('a target table that somebody dropped is filled again', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 3);
  sql(path('search.db'), 'DROP TABLE docs');
  await run({ copy: copy() }, 4);
  expect(keys('docs')).toEqual([1, 2, 3, 4].map((id) => `products/${id}`));
});

test('without its ledger and log an application compares every row, in a new epoch', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 2_000);
  await run({ copy: copy() }, 3);
  {
    // Captured and acknowledged, and applied nowhere: the log alone has it.
    const stuck = copy({
      project: () => {
        throw new Error('not yet');
      },
      parkedMax: 1,
    });
    await using app = await open(shop({ copy: stuck }));
    await app.write('orders', (db) => db.exec('DELETE FROM products WHERE id < 3'));
    await waitFor(() => {
      const [row] = rowsOf(path('orders.db'), 'SELECT count(*) AS n FROM _tally_changes');
      return (row as { n: number }).n < 2 ? true : undefined;
    }, 'the acknowledgement');
  }
  rmSync(path('tally'), { recursive: true });
  rmSync(path('log-orders'), { recursive: true });
  await run({ copy: copy() }, 5);
  expect(keys('docs')).toEqual(['products/2000', 'products/3', 'products/5']);
  expect(rowsOf(path('search.db'), 'SELECT min(_fence >> 50) AS epoch FROM docs')).toEqual([
    { epoch: 2 },
  ]);
});

test('a request of a rebuild brings up a flow whose plan has changed', async () => {
  seed('orders.db');
  await run({ copy: copy() }, 3);
  await using app = await open(shop({ copy: copy({ tables: ['products', 'makers'] }) }));
  expect(await ask(app, { of: 'flow', flow: 'copy', request: { kind: 'rebuild' } })).toBe(2);
  expect(keys('docs')).toHaveLength(5);
});

test('files refuse a target that another flow has filled', async () => {
  seed('orders.db');
  const stored = (name: string) =>
    tally({
      name: 'shop',
      dir: path('tally'),
      stores: {
        orders: sqlite({ file: path('orders.db') }),
        search: files({ dir: path('files') }),
      },
      flows: { [name]: copy() },
    });
  {
    await using app = await open(stored('one'));
    await fresh(app, 'search', (await app.write('orders', () => undefined)).evidence);
  }
  await using app = await open(stored('renamed'));
  const refused = await waitFor(async () =>
    (await app.status()).flows.find(({ worker }) => worker.kind === 'failed'),
  );
  expect(refused.worker).toMatchObject({ code: 'CONFIG_INVALID' });
});
