import { afterEach, describe, expect, test } from 'vitest';
import { startNeo, startProxy } from '../../../servers/index.ts';
import { hasNeo4j, neo4jUrl } from '../../../test/support/neo4j.ts';
import { freshPrefix } from '../../../test/support/prefix.ts';
import type { Row } from '../../core/row.ts';
import type { Write } from '../../core/write.ts';
import type { SinkReport, SinkSession } from '../../ports/sink.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { neo4j, node, relationship, type NeoOptions, type NeoStore } from './index.ts';

const context = { name: 'graph', clock: systemClock, random: systemRandom };
const open: NeoStore[] = [];

afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});

interface Graph {
  readonly store: NeoStore;
  readonly session: SinkSession;
  /** Applies one row, or its deletion, at an offset. */
  put(target: string, key: string, row: Row | null, offset: number): Promise<SinkReport>;
  /** The answers to a query in Cypher, in which C, P and B stand for our labels and our type. */
  ask(text: string): Promise<readonly Row[]>;
}

/** Customers and products, and what who has bought. */
async function openGraph(options: Partial<NeoOptions> = {}): Promise<Graph> {
  const prefix = freshPrefix();
  const targets = {
    customers: node({ label: `${prefix}C` }),
    products: node({ label: `${prefix}P` }),
    bought: relationship({
      type: `${prefix}B`,
      from: { target: 'customers', key: ['customer'] },
      to: { target: 'products', key: ['product'] },
    }),
  };
  const store = await neo4j({ url: neo4jUrl(), prefix, targets, ...options }).open(context);
  open.push(store);
  const session = await store.sink.open({
    flow: 'shop',
    generation: 1,
    targets: Object.keys(targets).map((target) => ({ target })),
    workerEpoch: 1,
  });
  let log = 0;
  return {
    store,
    session,
    put: (target, key, row, offset) => {
      const at = { epoch: 1, offset, ordinal: 0 };
      const write: Write = { target, key: [key], row, mode: 'stream', ...at };
      log += 1;
      const checkpoint = { log, last: at, through: at, backfill: undefined };
      return session.apply({ writes: [write], state: [], checkpoint });
    },
    ask: async (text) => {
      const named = text.replaceAll(/:([CPB])\b/g, (_, name: string) => `:\`${prefix}${name}\``);
      const { records } = await store.client.executeQuery(named);
      return records.map((record) => record.toObject());
    },
  };
}

const ann = { id: 'ann', name: 'Ann' };
const tea = { id: 'tea', price: 4 };
const sale = { id: 's1', customer: 'ann', product: 'tea', count: 2 };

describe.skipIf(!hasNeo4j)('a graph in Neo4j', () => {
  test('holds rows as nodes with a label, and as relationships between them', async () => {
    await using graph = await opened();
    await graph.put('customers', 'ann', ann, 1);
    await graph.put('products', 'tea', tea, 2);
    await graph.put('bought', 's1', sale, 3);
    expect(
      await graph.ask(
        'MATCH (c:C)-[b:B]->(p:P) RETURN c.name AS who, b.count AS count, p.price AS price',
      ),
    ).toEqual([{ who: 'Ann', count: 2n, price: 4n }]);
  });

  test('takes a relationship before its nodes: they are empty until their rows come', async () => {
    await using graph = await opened();
    await graph.put('bought', 's1', sale, 1);
    expect(await graph.ask('MATCH (c:C)-[:B]->(p:P) RETURN c.name AS who')).toEqual([
      { who: null },
    ]);
    expect(await graph.store.scan.count('customers')).toBe(0);
    await graph.put('customers', 'ann', ann, 2);
    expect(await graph.ask('MATCH (c:C)-[:B]->(p:P) RETURN c.name AS who')).toEqual([
      { who: 'Ann' },
    ]);
    expect(await graph.store.scan.count('customers')).toBe(1);
  });

  test('keeps an empty node for the relationships of a row that is gone, and no longer than them', async () => {
    await using graph = await opened();
    await graph.put('customers', 'ann', ann, 1);
    await graph.put('bought', 's1', sale, 2);
    await graph.put('customers', 'ann', null, 3);
    expect(await graph.ask('MATCH (c:C) RETURN c.name AS name')).toEqual([{ name: null }]);
    // The deleted row stays deleted: its tombstone refuses what is older.
    expect(await graph.put('customers', 'ann', ann, 2)).toMatchObject({ applied: 0, older: 1 });
    await graph.put('bought', 's1', null, 4);
    expect(await graph.ask('MATCH (n) WHERE n:C OR n:P RETURN n._key AS key')).toEqual([]);
  });

  test('moves a relationship whose ends change, and leaves no empty node where it was', async () => {
    await using graph = await opened();
    await graph.put('bought', 's1', sale, 1);
    await graph.put('bought', 's1', { ...sale, product: 'coffee' }, 2);
    expect(await graph.ask('MATCH (c:C)-[:B]->(p:P) RETURN c._key AS who, p._key AS what')).toEqual(
      [{ who: 'ann', what: 'coffee' }],
    );
    expect(await graph.ask('MATCH (p:P) RETURN p._key AS what')).toEqual([{ what: 'coffee' }]);
    // An older version brings back neither the relationship nor its end.
    expect(await graph.put('bought', 's1', sale, 1)).toMatchObject({ applied: 0, older: 1 });
    expect(await graph.ask('MATCH (p:P) RETURN p._key AS what')).toEqual([{ what: 'coffee' }]);
  });

  test('refuses a relationship without an end by index, and keeps nothing of its batch', async () => {
    await using graph = await opened();
    const { failed } = await graph.put('bought', 's1', { ...sale, product: null }, 1);
    expect(failed).toMatchObject([{ index: 0, error: { code: 'WRITE_REFUSED' } }]);
    expect(await graph.session.checkpoint()).toBeUndefined();
  });

  test('shows values as Cypher has them, and reads every one back as it was', async () => {
    await using graph = await opened();
    const row = {
      id: 'ann',
      whole: 3,
      fraction: 1.5,
      big: 2n ** 40n,
      huge: 2n ** 70n,
      yes: true,
      none: null,
      list: ['a', 'b'],
      mixed: ['a', 1],
      object: { a: 1 },
      nan: Number.NaN,
      '': 'no name',
      _fence: 'not ours',
    };
    await graph.put('customers', 'ann', row, 1);
    const [seen] = await graph.ask(
      'MATCH (n:C) RETURN n.whole AS whole, n.fraction AS fraction, n.big AS big, n.huge AS huge, n.list AS list, n.mixed AS mixed, n.object AS object',
    );
    expect(seen).toEqual({
      whole: 3n,
      fraction: 1.5,
      big: 2n ** 40n,
      huge: String(2n ** 70n),
      list: ['a', 'b'],
      mixed: '["a",1]',
      object: '{"a":1}',
    });
    for await (const page of graph.store.scan.scan('customers', { rowsMax: 10 }))
      expect(page).toEqual([{ key: ['ann'], row }]);
  });

  test('reports what a constraint of the label refuses by index; the rest goes in without it', async () => {
    await using graph = await opened();
    await graph.ask('CREATE CONSTRAINT IF NOT EXISTS FOR (n:C) REQUIRE n.mail IS UNIQUE');
    const at = { epoch: 1, offset: 1 };
    const writes = ['a', 'b', 'c'].map((id, ordinal): Write => {
      const row = { id, mail: id === 'c' ? 'mail of a' : `mail of ${id}` };
      return { target: 'customers', key: [id], row, mode: 'stream', ...at, ordinal };
    });
    const last = { ...at, ordinal: 3 };
    const checkpoint = { log: 3, last, through: at, backfill: undefined };
    const { failed } = await graph.session.apply({ writes, state: [], checkpoint });
    expect(failed).toMatchObject([{ index: 2, error: { code: 'WRITE_REFUSED' } }]);
    expect(await graph.store.scan.count('customers')).toBe(0);
    const rest = writes.slice(0, 2);
    expect(await graph.session.apply({ writes: rest, state: [], checkpoint })).toMatchObject({
      applied: 2,
      failed: [],
    });
  });

  test('refuses a key that no index takes, and a row over the limit, by index', async () => {
    await using graph = await opened({ rowBytesMax: 1_000 });
    const long = await graph.put('customers', 'x'.repeat(8_000), ann, 1);
    expect(long.failed).toMatchObject([{ index: 0, error: { code: 'WRITE_REFUSED' } }]);
    const large = await graph.put('customers', 'ann', { id: 'ann', text: 'x'.repeat(2_000) }, 1);
    expect(large.failed).toMatchObject([{ index: 0, error: { code: 'ROW_TOO_LARGE' } }]);
  });

  test('takes labels with any character for what they are', async () => {
    const label = `${freshPrefix()}a\`b\\u0060 DETACH DELETE`;
    await using graph = await opened({ targets: { customers: node({ label }) } });
    await graph.put('customers', 'ann', ann, 1);
    const { records } = await graph.store.client.executeQuery(
      'MATCH (n) WHERE $label IN labels(n) RETURN n.name AS name',
      { label },
    );
    expect(records.map((record) => record.get('name') as unknown)).toEqual(['Ann']);
  });

  test('refuses a target that another flow has filled', async () => {
    await using graph = await opened();
    const opening = graph.store.sink.open({
      flow: 'other',
      generation: 1,
      targets: [{ target: 'customers' }],
      workerEpoch: 1,
    });
    await expect(opening).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { flow: 'shop' },
    });
  });

  test('that was emptied by hand is filled anew: its session ends', async () => {
    await using graph = await opened();
    await graph.put('customers', 'ann', ann, 1);
    await graph.ask('MATCH (f:_TallyFlow) DETACH DELETE f');
    await expect(graph.put('customers', 'ann', ann, 2)).rejects.toMatchObject({
      code: 'FENCED_OUT',
    });
  });

  test('says how it is', async () => {
    await using graph = await opened();
    const { system, version, measures } = await graph.store.vitals();
    expect([system, version]).toEqual(['neo4j', expect.stringMatching(/^5\./)]);
    expect(measures.map(({ name }) => name)).toContain('tombstones');
  });
});

describe.skipIf(!hasNeo4j)('a Neo4j that fails', () => {
  test(
    'killed in a batch and started again, it holds rows and checkpoint of one moment',
    { timeout: 240_000 },
    async () => {
      await using server = await startNeo();
      await using graph = await opened({ url: server.url });
      await graph.put('customers', 'ann', ann, 1);
      const under = Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => index).map((index) =>
          graph.put('products', `p${index}`, { id: `p${index}` }, index + 2),
        ),
      );
      await server.kill();
      for (const outcome of await under)
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({
            code: expect.stringMatching(/^STORE_(?:UNREACHABLE|BUSY)$/) as string,
          });
      await server.restart();
      const count = await graph.store.scan.count('products');
      const checkpoint = await graph.session.checkpoint();
      expect(checkpoint?.log ?? 0).toBeGreaterThanOrEqual(1);
      expect(count).toBeLessThanOrEqual(20);
      expect(await graph.put('products', 'after', { id: 'after' }, 100)).toMatchObject({
        applied: 1,
      });
    },
  );

  test('cut off in a batch, it says that it cannot be reached, and goes on afterwards', async () => {
    const { port } = new URL(neo4jUrl());
    await using proxy = await startProxy(Number(port));
    await using graph = await opened({ url: `bolt://127.0.0.1:${proxy.port}` });
    await graph.put('customers', 'ann', ann, 1);
    await proxy.cut();
    await expect(graph.put('customers', 'bob', { id: 'bob' }, 2)).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    });
    await proxy.heal();
    expect(await graph.put('customers', 'bob', { id: 'bob' }, 2)).toMatchObject({ applied: 1 });
  });

  test('that is not there, or is no Neo4j, is unreachable, and no address is repeated', async () => {
    const definition = neo4j({ url: 'bolt://127.0.0.1:1' });
    await expect(definition.open(context)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    for (const url of ['http://host', 'bolt://user:secret@host:7687', 'bolt://host/db']) {
      expect(() => neo4j({ url })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
      expect(() => neo4j({ url })).not.toThrow(/secret/);
    }
  });

  test('with a target that is none is refused before anything is opened', () => {
    const refusing = (targets: NeoOptions['targets']) => () =>
      neo4j({ url: 'bolt://host', targets: targets ?? {} });
    const code = expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error;
    const end = { target: 'customer', key: ['id'] };
    expect(refusing({ customers: node(), b: relationship({ from: end, to: end }) })).toThrow(
      /did you mean customers/,
    );
    expect(refusing({ a: node({ label: 'L' }), b: node({ label: 'L' }) })).toThrow(code);
    expect(() => node({ label: '_TallyFlow' })).toThrow(code);
    expect(() => relationship({ from: { target: 'a', key: [] }, to: end })).toThrow(code);
  });
});

/** A graph that is closed with the block. */
async function opened(options: Partial<NeoOptions> = {}): Promise<Graph & AsyncDisposable> {
  const graph = await openGraph(options);
  return { ...graph, [Symbol.asyncDispose]: () => graph.session.close() };
}
