import { expect, test } from 'vitest';
import { EPOCH_MAX } from '../core/position.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import { takeLease } from '../runtime/lease.ts';
import { createMemoryState, memoryLedger } from '../stores/memory/index.ts';
import {
  acceptHistory,
  claimEpoch,
  descends,
  historyLost,
  presentEpoch,
  type Epoch,
} from './epochs.ts';

test('the first history of a lane is epoch 1, and stays it', async () => {
  const ledger = memoryLedger();
  expect(await presentEpoch(ledger, 'orders')).toBeUndefined();
  expect((await claimEpoch(ledger, 'orders', 'h1')).epoch).toBe(1);
  expect((await claimEpoch(ledger, 'orders', 'h1')).epoch).toBe(1);
  expect((await claimEpoch(ledger, 'stock', 'h2')).epoch).toBe(1);
});

test('another history is HISTORY_LOST until a person accepts it, and the remedy is a command', async () => {
  const ledger = memoryLedger();
  await claimEpoch(ledger, 'orders', 'h1');
  await expect(claimEpoch(ledger, 'orders', 'h2')).rejects.toMatchObject({
    code: 'HISTORY_LOST',
    message: expect.stringContaining('run tally resnapshot APP.ts orders'),
    details: { lane: 'orders', before: 'h1', now: 'h2' },
  });
  expect(await presentEpoch(ledger, 'orders')).toEqual({ epoch: 1, history: 'h1' });
  expect(await acceptHistory(ledger, 'orders', 'h2', 0)).toBe(2);
  expect((await claimEpoch(ledger, 'orders', 'h2')).epoch).toBe(2);
  await expect(claimEpoch(ledger, 'orders', 'h1')).rejects.toMatchObject({ code: 'HISTORY_LOST' });
});

test('a history that is accepted again is a new epoch all the same', async () => {
  const ledger = memoryLedger();
  expect(await acceptHistory(ledger, 'orders', 'h1', 0)).toBe(1);
  expect(await acceptHistory(ledger, 'orders', 'h1', 0)).toBe(2);
});

test('a lane that has used all its epochs is refused, and keeps what it had', async () => {
  const ledger = memoryLedger();
  const value = JSON.stringify({ epoch: EPOCH_MAX - 1, history: 'h1' });
  await ledger.commit([{ kind: 'put', space: 'epochs', key: 'orders', value }]);
  expect(await acceptHistory(ledger, 'orders', 'h2', 0)).toBe(EPOCH_MAX);
  await expect(acceptHistory(ledger, 'orders', 'h3', 0)).rejects.toMatchObject({
    code: 'POSITION_OUT_OF_RANGE',
    message: expect.stringContaining('rename the store'),
  });
  expect(await presentEpoch(ledger, 'orders')).toEqual({ epoch: EPOCH_MAX, history: 'h2' });
});

test('a worker that no longer captures the lane cannot claim its first epoch', async () => {
  const ledger = memoryLedger({ state: createMemoryState() });
  const take = (owner: string) =>
    takeLease({
      ledger,
      clock: virtualClock(),
      lease: 'capture/orders',
      owner,
      isDead: () => true,
      signal: new AbortController().signal,
    });
  const first = await take('one');
  await take('two');
  await expect(claimEpoch(ledger, 'orders', 'h1', { guard: first.guard })).rejects.toMatchObject({
    code: 'FENCED_OUT',
  });
  expect(await presentEpoch(ledger, 'orders')).toBeUndefined();
});

test('who captured in the old epoch has lost its lease with the step that began the new one', async () => {
  const clock = virtualClock();
  const ledger = memoryLedger({ state: createMemoryState() });
  const lease = {
    ledger,
    clock,
    lease: 'capture/orders',
    isDead: () => false,
    signal: new AbortController().signal,
  };
  const old = await takeLease({ ...lease, owner: 'one' });
  await acceptHistory(ledger, 'orders', 'h2', clock.nowMs());
  await expect(old.check()).rejects.toMatchObject({ code: 'FENCED_OUT' });
  await clock.advance(2);
  const next = await takeLease({ ...lease, owner: 'one' });
  expect(next.epoch).toBeGreaterThan(old.epoch);
});

test('a cause is kept with the lane it happened in', () => {
  const cause = new Error('no row');
  expect(historyLost('orders', 'why', { offset: 5 }, cause)).toMatchObject({
    code: 'HISTORY_LOST',
    details: { lane: 'orders', offset: 5 },
    cause,
  });
});

test('a history that proves to contain the one before is the next epoch, without a snapshot', async () => {
  const ledger = memoryLedger();
  await claimEpoch(ledger, 'orders', 'h1');
  const asked: Epoch[] = [];
  const continues = async (before: Epoch) => {
    asked.push(before);
    return { upTo: 40, captured: 30 };
  };
  const next = await claimEpoch(ledger, 'orders', 'h2', { continues });
  expect(asked).toEqual([{ epoch: 1, history: 'h1' }]);
  expect(next).toEqual({
    epoch: 2,
    history: 'h2',
    forks: [{ epoch: 2, parent: 1, upTo: 40, captured: 30 }],
  });
  expect(await presentEpoch(ledger, 'orders')).toEqual(next);
  expect(descends(next.forks, 2, 1)).toBe(true);
  expect(descends(next.forks, 1, 1)).toBe(true);
  expect(descends(next.forks, 1, 2)).toBe(false);
});

test('a history that cannot prove it is lost, and one that a person accepts is related to none', async () => {
  const ledger = memoryLedger();
  await claimEpoch(ledger, 'orders', 'h1');
  await claimEpoch(ledger, 'orders', 'h2', { continues: async () => ({ upTo: 40, captured: 40 }) });
  await expect(
    claimEpoch(ledger, 'orders', 'h3', { continues: async () => undefined }),
  ).rejects.toMatchObject({ code: 'HISTORY_LOST' });
  expect(await acceptHistory(ledger, 'orders', 'h3', 0)).toBe(3);
  const present = await presentEpoch(ledger, 'orders');
  expect(descends(present?.forks, 3, 2)).toBe(false);
});
