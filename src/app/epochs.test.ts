import { expect, test } from 'vitest';
import { flow, open, put, tally } from '../index.ts';
import { createMemoryState, memory, memoryLedger, memoryLog } from '../stores/memory/index.ts';
import { systemClock } from '../runtime/clock.ts';
import { systemRandom } from '../runtime/random.ts';
import { answerTo, leaveRequest } from './requests.ts';

test('an application outlives more epochs of a lane than evidence may hold', async () => {
  const coordinator = createMemoryState();
  const app = tally({
    name: 'shop',
    stores: {
      orders: memory({ tables: { products: { key: ['sku'] } } }),
      search: memory(),
    },
    ledger: { system: 'memory', open: async () => memoryLedger({ state: coordinator }) },
    log: () => ({ open: async () => memoryLog({ state: coordinator }) }),
    flows: {
      titles: flow({
        from: 'orders',
        tables: ['products'],
        to: 'search',
        into: 'documents',
        project: (row) => put('documents', [row['sku'] as string], row),
      }),
    },
  });
  await using running = await open(app);
  for (let epoch = 1; epoch <= 7; epoch += 1) {
    const { evidence } = await running.write('orders', (tx) =>
      tx.put('products', { sku: 'a', epoch }),
    );
    expect(evidence.get('orders')).toMatchObject([{ epoch }]);
    expect(await running.barrier('search', { after: evidence, within: '10s' })).toEqual({
      kind: 'fresh',
    });
    expect(running.heads().get('orders')?.at(-1)?.epoch).toBe(epoch);
    const id = await leaveRequest(running.ledger, systemRandom, {
      of: 'lane',
      lane: 'orders',
      request: 'resnapshot',
    });
    expect(await answerTo(running.ledger, systemClock, id, 10_000)).toBe(epoch + 1);
  }
});
