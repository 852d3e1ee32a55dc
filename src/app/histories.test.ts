import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { flow, open, put, tally, TallyError, type FlowOptions } from '../index.ts';
import type { StoreDefinition } from '../ports/store.ts';
import type { Replica } from '../ports/replica.ts';
import {
  createMemoryState,
  memory,
  type MemoryState,
  type MemoryStore,
} from '../stores/memory/index.ts';

let dir: string;
let source: MemoryState;
let target: MemoryState;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-histories-'));
  source = createMemoryState();
  target = createMemoryState();
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const tables = { products: { key: ['sku'] } };
const titlesOptions: FlowOptions = {
  from: 'orders',
  tables: ['products'],
  to: 'search',
  into: 'documents',
  project: ({ sku = null, title = null }) => put('documents', [sku as string], { title }),
};
const titles = flow(titlesOptions);

function shop(
  search: StoreDefinition<MemoryStore> = memory({ state: target }),
  definition = titles,
) {
  return tally({
    name: 'shop',
    dir,
    stores: { orders: memory({ state: source, tables }), search },
    flows: { titles: definition },
  });
}

const fresh = { kind: 'fresh' };

test('a truncated table is read again: its rows go, and what was written after it stays', async () => {
  await using app = await open(shop());
  await app.write('orders', (tx) => {
    for (const sku of ['a', 'b', 'c']) tx.put('products', { sku, title: sku });
  });
  const { evidence } = await app.write('orders', (tx) => {
    tx.truncate('products');
    tx.put('products', { sku: 'b', title: 'again' });
  });
  const { value, freshness } = await app.read(
    'search',
    { after: evidence, within: '5s' },
    (client) => [...client.rows('documents')],
  );
  expect(freshness).toEqual(fresh);
  expect(value).toEqual([['["b"]', { title: 'again' }]]);
});

test('evidence of a place that the source told is what a write there would have left', async () => {
  await using app = await open(shop());
  const { evidence } = await app.write('orders', (tx) =>
    tx.put('products', { sku: 'a', title: 'a' }),
  );
  const offset = await app.stores.orders.source.head();
  expect(await app.evidenceAt('orders', offset)).toEqual(evidence);
  const later = await app.evidenceAt('orders', offset + 1);
  expect(await app.barrier('search', { after: later, within: 50 })).toMatchObject({
    kind: 'timeout',
  });
  await expect(app.evidenceAt('orders', 1.5)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a flow that ignores deletes keeps what was put through deletes, truncation and resnapshot', async () => {
  const kept = flow({ ...titlesOptions, deletes: 'ignore' });
  await using app = await open(shop(memory({ state: target }), kept));
  const { evidence: three } = await app.write('orders', (tx) => {
    for (const sku of ['a', 'b', 'c']) tx.put('products', { sku, title: sku });
  });
  expect(await app.barrier('search', { after: three, within: '5s' })).toEqual(fresh);
  await app.write('orders', (tx) => tx.delete('products', ['a']));
  await app.write('orders', (tx) => tx.truncate('products'));
  const { evidence } = await app.write('orders', (tx) =>
    tx.put('products', { sku: 'd', title: 'd' }),
  );
  const { value } = await app.read('search', { after: evidence, within: '5s' }, (client) => [
    ...client.rows('documents').keys(),
  ]);
  expect(value.toSorted()).toEqual(['["a"]', '["b"]', '["c"]', '["d"]']);
});

/** Another history that contains all of the present one, as of a promoted standby. */
function failOver(history: string): void {
  source.source.forks = [{ from: source.source.history, upTo: source.source.head }];
  source.source.history = history;
}

test('after a failover that lost nothing the flow goes on without a snapshot, and old evidence counts', async () => {
  const before = await open(shop());
  const { evidence } = await before.write('orders', (tx) =>
    tx.put('products', { sku: 'a', title: 'Lamp' }),
  );
  expect(await before.barrier('search', { after: evidence, within: '5s' })).toEqual(fresh);
  await before.close();
  failOver('promoted');
  let snapshots = 0;
  source.hook = {
    before: ({ operation }) => {
      if (operation === 'snapshot') snapshots += 1;
    },
  };
  await using app = await open(shop());
  await expect.poll(() => app.barrier('search', { after: evidence, within: '1s' })).toEqual(fresh);
  // Once the capture has taken up the new history, so does evidence.
  await expect
    .poll(async () => {
      const { evidence: later } = await app.write('orders', (tx) =>
        tx.put('products', { sku: 'b', title: 'Table' }),
      );
      return [later.get('orders')?.[0]?.epoch, await app.barrier('search', { after: later })];
    })
    .toEqual([2, fresh]);
  expect(snapshots).toBe(0);
});

test('evidence of a write that the promoted standby never had is never called fresh', async () => {
  const before = await open(shop());
  const { evidence } = await before.write('orders', (tx) =>
    tx.put('products', { sku: 'a', title: 'Lamp' }),
  );
  expect(await before.barrier('search', { after: evidence, within: '5s' })).toEqual(fresh);
  await before.close();
  failOver('promoted');
  await using app = await open(shop());
  await expect.poll(() => app.barrier('search', { after: evidence, within: '1s' })).toEqual(fresh);
  const lost = new Map([['orders', [{ epoch: 1, offset: source.source.head + 1 }]]]);
  for (let count = 0; count < 3; count += 1)
    await app.write('orders', (tx) => tx.put('products', { sku: 'b', title: `${count}` }));
  await expect
    .poll(async () => (await app.barrier('search', { after: lost, within: 0 })).kind)
    .toBe('incomparable');
});

/** A memory store whose sessions can be told that they have lost what they applied. */
function forgetful(losing: () => AbortSignal): StoreDefinition<MemoryStore> {
  const definition = memory({ state: target });
  return {
    ...definition,
    async open(context) {
      const store = await definition.open(context);
      const { sink } = store;
      return Object.assign(Object.create(store) as MemoryStore, {
        sink: {
          supports: sink.supports,
          generation: sink.generation.bind(sink),
          peek: sink.peek.bind(sink),
          switchTo: sink.switchTo.bind(sink),
          open: async (options: Parameters<typeof sink.open>[0]) =>
            Object.assign(await sink.open(options), { lost: losing() }),
        },
      });
    },
  };
}

test('a target that lost its rows while nothing came is believed no more, and is filled again', async () => {
  let losing = new AbortController();
  await using app = await open(shop(forgetful(() => losing.signal)));
  const { evidence } = await app.write('orders', (tx) =>
    tx.put('products', { sku: 'a', title: 'Lamp' }),
  );
  expect(await app.barrier('search', { after: evidence, within: '5s' })).toEqual(fresh);
  target.flows.clear();
  const lose = losing;
  losing = new AbortController();
  lose.abort(new TallyError('STORE_UNREACHABLE', { what: 'it came back empty' }));
  await expect
    .poll(async () => {
      const { value } = await app.read(
        'search',
        { after: evidence, within: '1s', otherwise: () => 0 },
        (client) => client.rows('documents').size,
      );
      return value;
    })
    .toBe(1);
});

function replica(reached: Replica['reached']): StoreDefinition<MemoryStore> {
  const definition = memory({ state: createMemoryState() });
  return {
    ...definition,
    open: async (context) =>
      Object.assign(await definition.open(context), { replica: { of: 'orders', reached } }),
  };
}

test('a read replica is waited on by its own place in the same history, not by a flow', async () => {
  const asked: unknown[] = [];
  let answer: Awaited<ReturnType<Replica['reached']>> = { kind: 'fresh' };
  const copy = replica(async (history, offset, { withinMs }) => {
    asked.push([history, offset, withinMs]);
    return answer;
  });
  const app = await open(
    tally({
      name: 'shop',
      dir,
      stores: {
        orders: memory({ state: source, tables }),
        search: memory({ state: target }),
        copy,
      },
      flows: { titles },
    }),
  );
  await using _ = app;
  const { evidence } = await app.write('orders', (tx) => tx.put('products', { sku: 'a' }));
  const after = { after: evidence, within: '2s' };
  expect(await app.barrier('copy', after)).toEqual(fresh);
  expect(asked).toEqual([[source.source.history, 1, 2_000]]);
  answer = { kind: 'timeout', seen: 0 };
  expect(await app.barrier('copy', after)).toMatchObject({
    kind: 'timeout',
    seen: [{ offsets: 1 }],
  });
  answer = { kind: 'incomparable' };
  expect((await app.barrier('copy', after)).kind).toBe('incomparable');
  const foreign = new Map([['orders', [{ epoch: 7, offset: 1 }]]]);
  expect((await app.barrier('copy', { after: foreign })).kind).toBe('incomparable');
  expect(asked).toHaveLength(3);
  const other = new Map([['elsewhere', [{ epoch: 1, offset: 1 }]]]);
  expect(await app.barrier('copy', { after: other })).toEqual({
    kind: 'unsupported',
    lanes: ['elsewhere'],
  });
});

test('a replica of a store that is not there, or that leaves no evidence, is refused', async () => {
  const copy = replica(async () => ({ kind: 'fresh' }));
  const stores = { orders: memory({ state: source, tables }), copy };
  await expect(open(tally({ name: 'shop', dir, stores }))).rejects.toMatchObject({
    code: 'CAPABILITY_MISSING',
    message: expect.stringContaining('declare a flow from orders'),
  });
  await expect(open(tally({ name: 'shop', dir, stores: { copy } }))).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
});
