import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { flow, open, put, tally } from '../index.ts';
import { createMemoryState, memory } from '../stores/memory/index.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-app-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const products = { key: ['sku'] };

function shop(source = createMemoryState(), target = createMemoryState()) {
  return tally({
    name: 'shop',
    dir,
    stores: {
      orders: memory({ state: source, tables: { products } }),
      search: memory({ state: target }),
    },
    flows: {
      productSearch: flow({
        from: 'orders',
        tables: ['products'],
        to: 'search',
        into: 'documents',
        project: (row) => put('documents', [row['sku'] as string], { title: row['title'] ?? null }),
      }),
    },
  });
}

test('a write reaches the other store, and its evidence can be waited for', async () => {
  await using app = await open(shop());
  const written = await app.write('orders', (tx) => {
    tx.insert('products', { sku: 'a', title: 'Lamp' });
    return 7;
  });
  expect(written.value).toBe(7);
  const read = await app.read('search', { after: written.evidence, within: '5s' }, (client) =>
    client.rows('documents'),
  );
  expect(read.freshness).toEqual({ kind: 'fresh' });
  expect([...read.value.values()]).toEqual([{ title: 'Lamp' }]);
});
