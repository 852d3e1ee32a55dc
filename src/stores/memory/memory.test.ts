import assert from 'node:assert/strict';
import { test } from 'vitest';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { systemClock } from '../../runtime/clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memory, memoryLog, type MemoryStore } from './index.ts';

const context = { name: 'orders', clock: systemClock, random: seededRandom(1) };
const tables = { products: { key: ['sku'] } };

async function opened(state = createMemoryState()): Promise<MemoryStore> {
  const store = await memory({ state, tables }).open(context);
  await store.source.prepare(['products']);
  return store;
}

test('refuses an option that it does not know', () => {
  assert.throws(
    () => memory({ tabels: tables } as never),
    (error) => isTallyError(error, 'CONFIG_UNKNOWN_OPTION'),
  );
});

test('keeps nothing of a write that was under way when it crashed', async () => {
  const state = createMemoryState();
  const store = await opened(state);
  const writing = store.source.write((tx) => tx.insert('products', { sku: 'a' }));
  store.crash();
  await assert.rejects(writing, (error) => isTallyError(error, 'STORE_CLOSED'));
  const again = await opened(state);
  assert.equal(again.client.rows('products').size, 0);
  await again.source.write((tx) => tx.insert('products', { sku: 'a' }));
  assert.equal(again.client.rows('products').size, 1);
});

test('keeps nothing of a unit that the hook stops, and all of one whose answer the hook loses', async () => {
  const state = createMemoryState();
  const store = await opened(state);
  const broken = (): never => {
    throw new TallyError('STORE_UNREACHABLE', { what: 'the connection broke' });
  };
  const insert = (sku: string): Promise<unknown> =>
    store.source.write((tx) => tx.insert('products', { sku }));
  const unreachable = (error: unknown): boolean => isTallyError(error, 'STORE_UNREACHABLE');

  state.hook = { before: broken };
  await assert.rejects(insert('stopped'), unreachable);
  state.hook = { after: broken };
  await assert.rejects(insert('unknown'), unreachable);
  state.hook = undefined;
  assert.deepEqual([...store.client.rows('products').keys()], ['["unknown"]']);
});

test('tears an append where the hook says, and tells its caller that the outcome is not known', async () => {
  const state = createMemoryState();
  const appender = await memoryLog({ state }).openAppender(1);
  const records = [0, 1, 2].map(
    (ordinal) => ({ kind: 'change', epoch: 1, offset: 1, ordinal, payload: '{}' }) as const,
  );
  state.hook = { before: ({ operation }) => (operation === 'append' ? 2 : undefined) };
  await assert.rejects(appender.append(records), (error) =>
    isTallyError(error, 'STORE_UNREACHABLE'),
  );
  assert.deepEqual(state.log.records, records.slice(0, 2));
});

test('runs concurrent transactions one after the other', async () => {
  const store = await opened();
  await store.source.write((tx) => tx.insert('products', { sku: 'a', count: 0 }));
  const increment = (): Promise<unknown> =>
    store.source.write(async (tx) => {
      const count = Number(tx.get('products', ['a'])?.['count']);
      await Promise.resolve();
      tx.update('products', ['a'], { sku: 'a', count: count + 1 });
    });
  await Promise.all(Array.from({ length: 20 }, increment));
  assert.deepEqual([...store.client.rows('products').values()], [{ sku: 'a', count: 20 }]);
});

test('leaves a bare commit where only tables that are not captured were written', async () => {
  const state = createMemoryState();
  const store = await opened(state);
  store.client.createTable('private', { key: ['id'] });
  const { offset } = await store.source.write((tx) => tx.insert('private', { id: 1 }));
  assert.deepEqual(
    state.source.transactions.map(({ entries }) => entries.map((entry) => entry.kind)),
    [['commit']],
  );
  assert.equal(offset, await store.source.head());
});
