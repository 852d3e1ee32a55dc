import { DatabaseSync } from 'node:sqlite';
import * as fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { virtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { observe, readTopology } from '../../topology/index.ts';
import { expectNoNPlusOne } from '../../testing/queries.ts';
import { noEvidence } from '../../core/evidence.ts';
import { runInContext } from '../../runtime/context.ts';
import { commandFingerprint, sqlFingerprint } from './fingerprint.ts';
import type { Finding } from './findings.ts';
import { guard } from './guard.ts';
import { loader } from './loader.ts';
import { requestLog } from './request-log.ts';
import { watchClient } from './watch.ts';

const here = 'request-log.test.ts';
const databases: DatabaseSync[] = [];

function watchedDatabase(): DatabaseSync {
  const client = new DatabaseSync(':memory:');
  databases.push(client);
  client.exec('CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT)');
  return watchClient({ name: 'orders', system: 'sqlite', client });
}

afterEach(() => {
  for (const database of databases.splice(0)) database.close();
});

function told(options: { readonly chainMin?: number } = {}) {
  const findings: Finding[] = [];
  const texts: string[] = [];
  const log = requestLog({
    mode: 'development',
    tell: (text, finding) => {
      texts.push(text);
      findings.push(finding);
    },
    ...options,
  });
  return { log, findings, texts };
}

test('development names the loop, and each place once', async () => {
  const database = watchedDatabase();
  const { log, findings, texts } = told();
  for (let request = 0; request < 3; request++)
    await log.run(async () => {
      for (let id = 0; id < 20; id++) {
        await Promise.resolve();
        database.prepare(`SELECT text FROM lines WHERE id = ${id}`).get();
      }
    });
  expect(findings).toMatchObject([
    {
      kind: 'n-plus-one',
      store: 'orders',
      fingerprint: 'SELECT text FROM lines WHERE id = ?',
      count: 20,
      order: 'serial',
    },
  ]);
  expect(findings[0]!.at).toContain(here);
  expect(texts[0]).toContain('20 times the same query to orders');
  expect(log.counts()).toMatchObject({ requests: 3, findings: [{ requests: 3 }] });
});

test('the same query from different places is no loop', async () => {
  const database = watchedDatabase();
  const one = database.prepare('SELECT 1');
  const { log, findings } = told();
  log.run(() => {
    one.get();
    one.get();
    one.get();
    one.get();
    one.get();
  });
  expect(findings).toEqual([]);
});

test('tells parallel ones from serial ones, on the clock of the log', async () => {
  const clock = virtualClock();
  const store = guard('search', { clock, breaker: 'off' });
  const findings: Finding[] = [];
  const log = requestLog({
    mode: 'development',
    clock,
    tell: (_text, finding) => findings.push(finding),
  });
  const read = () => store.run(() => clock.sleep(10), { name: 'hit by id' });
  const done = log.run(() => Promise.all(Array.from({ length: 6 }, read)));
  await clock.advance(100);
  await done;
  expect(findings).toMatchObject([
    { kind: 'n-plus-one', fingerprint: 'hit by id', order: 'parallel', tookMs: 10 },
  ]);
});

test('a chain of different queries is found', async () => {
  const store = guard('many', { breaker: 'off' });
  const { log, findings } = told({ chainMin: 4 });
  await log.run(async () => {
    for (const name of ['user', 'cart', 'prices', 'stock'])
      await store.run(() => Promise.resolve(), { name });
  });
  expect(findings).toMatchObject([
    { kind: 'chain', count: 4, fingerprints: ['user', 'cart', 'prices', 'stock'] },
  ]);
});

test('a guarded call whose query is watched counts once', async () => {
  const database = watchedDatabase();
  const store = guard('orders', { breaker: 'off' });
  const { log, findings } = told();
  await log.run(async () => {
    for (let id = 0; id < 9; id++)
      await store.run(() => database.prepare('SELECT ?').get(id), { name: 'one' });
  });
  expect(findings).toMatchObject([{ kind: 'n-plus-one', fingerprint: 'SELECT ?', count: 9 }]);
});

test('production looks at a share of the requests, and says nothing', async () => {
  const store = guard('orders', { breaker: 'off' });
  const log = requestLog({
    mode: 'production',
    sample: 0.1,
    random: seededRandom(3),
    tell: () => expect.unreachable(),
  });
  for (let request = 0; request < 300; request++)
    await log.run(async () => {
      for (let id = 0; id < 6; id++) await store.run(() => id, { name: 'one' });
    });
  const { requests, findings } = log.counts();
  expect(requests).toBeGreaterThan(15);
  expect(requests).toBeLessThan(60);
  expect(findings).toMatchObject([{ requests, finding: { kind: 'n-plus-one' } }]);
});

test('what a request returns or throws is passed on', async () => {
  const { log } = told();
  expect(log.run(() => 7)).toBe(7);
  await expect(log.run(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
  expect(() =>
    log.run(() => {
      throw new Error('mine');
    }),
  ).toThrow('mine');
});

test('expectNoNPlusOne fails the loop and passes the loader', async () => {
  const database = watchedDatabase();
  const one = database.prepare('SELECT id FROM lines WHERE id = ?');
  const looped = expectNoNPlusOne(() => {
    for (let id = 0; id < 5; id++) one.get(id);
  });
  await expect(looped).rejects.toThrow(/5 times the same query to orders .*request-log\.test\.ts/);
  const lines = loader<number, unknown>(guard('orders'), (ids) =>
    database
      .prepare(`SELECT id FROM lines WHERE id IN (${ids.map(() => '?').join()})`)
      .all(...ids)
      .concat(ids.map(() => ({})))
      .slice(0, ids.length),
  );
  await expectNoNPlusOne(() => runInContext(noEvidence, () => lines.loadMany([1, 2, 3, 4, 5, 6])));
});

test('expectNoNPlusOne does not pass what it cannot see', async () => {
  await expect(expectNoNPlusOne(() => 1)).rejects.toThrow('no query was seen');
});

test.each([
  [
    "SELECT * FROM a WHERE id = 5 AND name = 'O''Neil'",
    'SELECT * FROM a WHERE id = ? AND name = ?',
  ],
  ['SELECT a1 FROM t2 WHERE x IN (1, 2,3)', 'SELECT a1 FROM t2 WHERE x IN (?)'],
  ['INSERT INTO t VALUES ($1,$2), ($3,$4)', 'INSERT INTO t VALUES (?)'],
  ['SELECT 1 -- one\n  FROM /* all */ t', 'SELECT ? FROM t'],
])('the fingerprint of %s', (sql, expected) => {
  expect(sqlFingerprint(sql)).toBe(expected);
});

test.each([
  [['get', 'session:42'], 'GET session:?'],
  [['GET', 'user:6f1c0e9e-8b1f-4a35-9a3e-0f6d1a2b3c4d:cart'], 'GET user:?:cart'],
  [['MGET', 'a', 'b'], 'MGET a'],
  [['PING'], 'PING'],
  [[], ''],
])('the fingerprint of %j', (command, expected) => {
  expect(commandFingerprint(command)).toBe(expected);
});

test('any text has a fingerprint, in time that grows with it', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 500, unit: 'binary' }), (text) => {
      expect(sqlFingerprint(text).length).toBeLessThanOrEqual(500);
      expect(sqlFingerprint(`SELECT '${text.replaceAll("'", '')}'`)).toBe('SELECT ?');
    }),
    { numRuns: 50 },
  );
  const startedMs = performance.now();
  for (const hostile of ['(', '(?,', "'", '/*', '/***', '-', '1e', ' ('])
    sqlFingerprint(hostile.repeat(20_000));
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});

test('a client of a system that is not known is refused, a known one is wrapped once', () => {
  expect(() => watchClient({ name: 'x', system: 'abacus', client: {} })).toThrow(
    expect.objectContaining({ code: 'CAPABILITY_MISSING' }),
  );
  expect(() => watchClient({ name: 'x', system: 'redis', client: {} })).toThrow(
    expect.objectContaining({ code: 'CAPABILITY_MISSING' }),
  );
  const database = watchedDatabase();
  const wrapped: unknown = Reflect.get(database, 'prepare');
  watchClient({ name: 'orders', system: 'sqlite', client: database });
  expect(Reflect.get(database, 'prepare')).toBe(wrapped);
});

test.each([
  [{}, 'CONFIG_INVALID'],
  [{ mode: 'dev' }, 'CONFIG_INVALID'],
  [{ mode: 'production', sample: 2 }, 'CONFIG_INVALID'],
  [{ mode: 'production', nPlusOneMin: 1 }, 'CONFIG_INVALID'],
  [{ mode: 'production', verbose: true }, 'CONFIG_UNKNOWN_OPTION'],
])('refuses %j with %s', (options, code) => {
  expect(() => requestLog(options as never)).toThrow(expect.objectContaining({ code }));
});

test('writes what was asked down as tally check reads it: values left out, one trace a request', async () => {
  const database = watchedDatabase();
  const lines: string[] = [];
  const log = requestLog({
    mode: 'development',
    tell: () => undefined,
    record: { service: 'shop', write: (line) => lines.push(line) },
  });
  for (let request = 0; request < 2; request++)
    await log.run(async () => {
      for (let id = 0; id < 6; id++) {
        await Promise.resolve();
        database.prepare(`SELECT text FROM lines WHERE id = ${id}`).get();
      }
    });
  expect(lines).toHaveLength(12);
  const traces = lines.map((line) => (JSON.parse(line) as { readonly trace: string }).trace);
  expect(new Set(traces).size).toBe(2);
  const { topology } = readTopology(
    'stores: { orders: sqlite }\nservices: [{ name: shop, storage: { primary: orders } }]\n',
    'topology.yaml',
  );
  if (topology === undefined) throw new Error('the topology cannot be read');
  const { findings } = observe(topology, {
    queryLog: { text: lines.join('\n'), file: 'queries.jsonl' },
  });
  expect(findings.map(({ id }) => id)).toEqual(['n-plus-one']);
});

test('refuses a record with a misspelt field', () => {
  const record = { service: 'shop', wirte: () => undefined };
  expect(() => requestLog({ mode: 'development', record: record as never })).toThrowError(
    expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }),
  );
});
