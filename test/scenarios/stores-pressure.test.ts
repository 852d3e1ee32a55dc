import { afterEach, beforeEach, expect, test } from 'vitest';
import { flow, open, put, tally, TallyError, type OpenApp } from 'tallystick';
import { segmentLog } from 'tallystick/files';
import { sqlite, type SqliteStore } from 'tallystick/sqlite';
import type { Sink } from '../../src/ports/sink.ts';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { fresh, rowsOf, sql, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();
const rejections: unknown[] = [];
const note = (reason: unknown): void => void rejections.push(reason);
beforeEach(() => process.on('unhandledRejection', note));
afterEach(() => {
  process.off('unhandledRejection', note);
  expect(rejections.splice(0)).toEqual([]);
});

/** What a target does before each batch: wait, or throw. */
interface Trouble {
  before: () => Promise<void>;
}

/** A store whose target is slow or down, as the trouble says at the moment. */
function troubled(
  definition: StoreDefinition<SqliteStore>,
  trouble: Trouble,
): StoreDefinition<SqliteStore> {
  return {
    system: definition.system,
    open: async (context) => {
      const store = await definition.open(context);
      const { sink } = store;
      const wrapped: Sink = {
        supports: sink.supports,
        generation: (name) => sink.generation(name),
        peek: (name) => sink.peek(name),
        switchTo: (...given) => sink.switchTo(...given),
        open: async (options) => {
          const session = await sink.open(options);
          const apply = session.apply.bind(session);
          return Object.assign(session, {
            apply: async (batch: Parameters<typeof apply>[0]) => {
              await trouble.before();
              return apply(batch);
            },
          });
        },
      };
      Object.defineProperty(store, 'sink', { value: wrapped });
      return store;
    },
  };
}

function shop(trouble: Trouble) {
  const copy = (to: string) =>
    flow({
      from: 'orders',
      tables: ['items'],
      to,
      into: 'items',
      batchRows: 50,
      project: (row) => put('items', [row['id'] as number], row),
    });
  return tally({
    name: 'shop',
    dir: path('tally'),
    stores: {
      orders: sqlite({ file: path('orders.db') }),
      slow: troubled(sqlite({ file: path('slow.db') }), trouble),
      quick: sqlite({ file: path('quick.db') }),
    },
    log: () => segmentLog({ dir: path('log'), segmentBytes: 16_384, bytesMax: 65_536 }),
    flows: { slow: copy('slow'), quick: copy('quick') },
  });
}

type Shop = OpenApp<ReturnType<typeof shop>['stores']>;

const none: Trouble['before'] = () => Promise.resolve();
const down = (): Promise<void> =>
  Promise.reject(new TallyError('STORE_UNREACHABLE', { what: 'the target is down' }));
const never = (): Promise<void> => new Promise(() => undefined);

/** 200 transactions, some 100 KB of log: more than it may hold. */
async function load(app: Shop): Promise<void> {
  for (let id = 1; id <= 200; id += 1) {
    await app.write('orders', (db) =>
      db.prepare('INSERT INTO items VALUES (?, ?)').run(id, 'x'.repeat(500)),
    );
    if (id % 10 === 0) await systemClock.sleep(5);
  }
}

const count = (file: string): unknown =>
  (rowsOf(path(file), 'SELECT count(*) AS n FROM items')[0] as { n: number }).n;

const flowOf = async (app: Pick<OpenApp, 'status'>, name: string) =>
  (await app.status()).flows.find((status) => status.flow === name);

const logFull = (app: Shop): Promise<true> =>
  waitFor(
    async () => ((await app.status()).lanes[0]?.state === 'log-full' ? true : undefined),
    'a full log',
  );

beforeEach(() => sql(path('orders.db'), 'CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)'));

test('a full log holds capture back, loses nothing, and serves those who are ahead as far as it allows', async () => {
  const trouble: Trouble = { before: none };
  await using app = await open(shop(trouble));
  await fresh(app, 'slow', (await app.write('orders', () => undefined)).evidence);
  const gate = Promise.withResolvers<void>();
  trouble.before = () => gate.promise;
  await load(app);
  await logFull(app);
  const ahead = await waitFor(async () => {
    const [quick, slow] = [await flowOf(app, 'quick'), await flowOf(app, 'slow')];
    return quick?.behind === 0 ? [quick.applied, slow?.applied ?? 0] : undefined;
  });
  expect(ahead[0]).toBeGreaterThan(50);
  expect(ahead[0]).toBeLessThan(200);
  expect(count('slow.db')).toBeLessThan(51);
  expect((await app.status()).lanes[0]?.log.bytes).toBeLessThanOrEqual(65_536 + 16_384);
  gate.resolve();
  trouble.before = none;
  const { evidence } = await app.write('orders', () => undefined);
  await fresh(app, 'slow', evidence);
  await fresh(app, 'quick', evidence);
  expect([count('slow.db'), count('quick.db')]).toEqual([200, 200]);
});

test('a target that is down is tried again, visibly, until it is back', async () => {
  const trouble: Trouble = { before: none };
  await using app = await open(shop(trouble));
  await fresh(app, 'slow', (await app.write('orders', () => undefined)).evidence);
  trouble.before = down;
  const { evidence } = await app.write('orders', (db) =>
    db.exec("INSERT INTO items VALUES (1, '')"),
  );
  await waitFor(async () =>
    (await flowOf(app, 'slow'))?.worker.kind === 'retrying' ? true : undefined,
  );
  await fresh(app, 'quick', evidence);
  trouble.before = none;
  await fresh(app, 'slow', evidence);
  expect((await flowOf(app, 'slow'))?.worker.kind).toBe('running');
});

test('a flow whose batch hangs does not keep the application from closing, but ends with its batch', async () => {
  const trouble: Trouble = { before: none };
  const app = await open(shop(trouble));
  await fresh(app, 'slow', (await app.write('orders', () => undefined)).evidence);
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  trouble.before = () => {
    entered.resolve();
    return gate.promise;
  };
  await app.write('orders', (db) => db.exec("INSERT INTO items VALUES (1, '')"));
  await entered.promise;
  const closing = app.close();
  gate.resolve();
  await closing;
  await using again = await open(shop({ before: none }));
  await fresh(again, 'slow', (await again.write('orders', () => undefined)).evidence);
  expect(count('slow.db')).toBe(1);
});

test.each([
  ['while the log is full', never, logFull],
  [
    'while a target is down',
    down,
    (app: Shop) =>
      waitFor(async () =>
        (await flowOf(app, 'slow'))?.worker.kind === 'retrying' ? true : undefined,
      ),
  ],
] as const)('it stops gracefully %s, and goes on where it was', async (_what, before, reached) => {
  const gate = Promise.withResolvers<void>();
  const trouble: Trouble = { before: none };
  {
    const app = await open(shop(trouble));
    await fresh(app, 'slow', (await app.write('orders', () => undefined)).evidence);
    trouble.before = () => Promise.race([gate.promise, before()]);
    await load(app);
    await reached(app);
    const startedAtMs = systemClock.monotonicMs();
    gate.resolve();
    await app.close();
    expect(systemClock.monotonicMs() - startedAtMs).toBeLessThan(2_000);
  }
  trouble.before = none;
  await using app = await open(shop(trouble));
  await fresh(app, 'slow', (await app.write('orders', () => undefined)).evidence);
  await fresh(app, 'quick', (await app.write('orders', () => undefined)).evidence);
  expect([count('slow.db'), count('quick.db')]).toEqual([200, 200]);
});

test('twenty flows from one lane keep in step, and one that fails holds up no other', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `flow${index}`);
  const app = await open(
    tally({
      name: 'many',
      dir: path('tally'),
      stores: {
        orders: sqlite({ file: path('orders.db') }),
        copies: sqlite({ file: path('copies.db') }),
        broken: sqlite({ file: path('broken.db') }),
      },
      flows: Object.fromEntries(
        names.map((name, index) => [
          name,
          flow({
            from: 'orders',
            tables: ['items'],
            to: index === 7 ? 'broken' : 'copies',
            into: name,
            parkedMax: 1,
            project: (row) => {
              if (index === 7) throw new Error('never');
              return put(name, [row['id'] as number], row);
            },
          }),
        ]),
      ),
    }),
  );
  try {
    let evidence = new Map() as Awaited<ReturnType<typeof app.write>>['evidence'];
    for (let id = 1; id <= 50; id += 1)
      ({ evidence } = await app.write('orders', (db) =>
        db.prepare('INSERT INTO items VALUES (?, ?)').run(id, 'x'),
      ));
    await fresh(app, 'copies', evidence);
    for (const [index, name] of names.entries()) {
      if (index === 7) continue;
      expect(rowsOf(path('copies.db'), `SELECT count(*) AS n FROM ${name}`), name).toEqual([
        { n: 50 },
      ]);
    }
    const failed = await waitFor(async () => {
      const worker = (await flowOf(app, 'flow7'))?.worker;
      return worker?.kind === 'failed' ? worker : undefined;
    });
    expect(failed.code).toBe('PARKED_FULL');
  } finally {
    await app.close();
  }
});

test('two lanes flow into one store, and a barrier waits for each on its own', async () => {
  sql(path('people.db'), 'CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)');
  const copy = (from: string, name: string) =>
    flow({
      from,
      tables: [name],
      to: 'both',
      into: name,
      project: (row) => put(name, [row['id'] as number], row),
    });
  await using app = await open(
    tally({
      name: 'two',
      dir: path('tally'),
      stores: {
        orders: sqlite({ file: path('orders.db') }),
        people: sqlite({ file: path('people.db') }),
        both: sqlite({ file: path('both.db') }),
      },
      flows: { items: copy('orders', 'items'), people: copy('people', 'people') },
    }),
  );
  for (let id = 1; id <= 20; id += 1) {
    const one = await app.write('orders', (db) => db.exec(`INSERT INTO items VALUES (${id}, 'x')`));
    const other = await app.write('people', (db) =>
      db.exec(`INSERT INTO people VALUES (${id}, 'x')`),
    );
    await fresh(app, 'both', new Map([...one.evidence, ...other.evidence]));
    for (const name of ['items', 'people'])
      expect(rowsOf(path('both.db'), `SELECT max(document ->> 'id') AS id FROM ${name}`)).toEqual([
        { id },
      ]);
  }
});
