import { expect, test } from 'vitest';
import { TallyError } from '../core/errors.ts';
import { virtualClock, type VirtualClock } from '../faults/virtual-clock.ts';
import {
  createMemoryState,
  memoryLedger,
  type MemoryLedger,
  type MemoryState,
} from '../stores/memory/index.ts';
import {
  LEASE_TTL_MS,
  takeLease,
  workUnderLease,
  type HeldLease,
  type LeaseOptions,
} from './lease.ts';

interface Table {
  readonly clock: VirtualClock;
  readonly state: MemoryState;
  readonly ledger: MemoryLedger;
  readonly take: (owner: string, options?: Partial<LeaseOptions>) => Promise<HeldLease>;
}

function table(): Table {
  const clock = virtualClock();
  const state = createMemoryState();
  const ledger = memoryLedger({ state });
  const take: Table['take'] = (owner, options) =>
    takeLease({
      ledger,
      clock,
      lease: 'flow/a',
      owner,
      isDead: () => false,
      signal: new AbortController().signal,
      ...options,
    });
  return { clock, state, ledger, take };
}

/** From now on the ledger answers every commit so. */
function failing(state: MemoryState, answer: () => Promise<void> | void): void {
  state.hook = { before: ({ operation }) => (operation === 'commit' ? answer() : undefined) };
}

function busy(): never {
  throw new TallyError('STORE_BUSY', { what: 'locked' });
}

test('a lease is refused while another worker holds it, and free once it is released', async () => {
  const { take } = table();
  const first = await take('one');
  await expect(take('two')).rejects.toMatchObject({ code: 'LEASE_HELD' });
  await first.release();
  const second = await take('two');
  expect(second.epoch).toBeGreaterThan(first.epoch);
});

test('a lease is renewed for as long as it is held', async () => {
  const { clock, take } = table();
  const held = await take('one');
  await clock.advance(20 * LEASE_TTL_MS);
  expect(held.signal.aborted).toBe(false);
  await expect(take('two')).rejects.toMatchObject({ code: 'LEASE_HELD' });
});

test('a lease that was released is not renewed, and leaves no timer', async () => {
  const { clock, take } = table();
  const held = await take('one');
  await held.release();
  await held.release();
  expect(clock.timers).toBe(0);
});

test('a release while a renewal is under way leaves no timer', async () => {
  const { clock, state, take } = table();
  const held = await take('one');
  const gate = Promise.withResolvers<void>();
  failing(state, () => gate.promise);
  await clock.advance(LEASE_TTL_MS / 2);
  const released = held.release();
  gate.resolve();
  await released;
  await clock.advance(1);
  expect(clock.timers).toBe(0);
});

test('a holder that is known to be dead loses its lease at once', async () => {
  const { take } = table();
  const dead = await take('one');
  const next = await take('two', { isDead: (owner) => owner === 'one' });
  expect(next.epoch).toBeGreaterThan(dead.epoch);
});

test('a worker whose lease was taken hears of it at its next renewal', async () => {
  const { clock, take } = table();
  const held = await take('one');
  await take('two', { isDead: () => true });
  expect(held.signal.aborted).toBe(false);
  await clock.advance(LEASE_TTL_MS / 3 + 1);
  expect(held.signal.reason).toMatchObject({ code: 'FENCED_OUT' });
  await expect(held.check()).rejects.toMatchObject({ code: 'FENCED_OUT' });
});

test('renewals that fail for a while lose nothing', async () => {
  const { clock, state, take } = table();
  const held = await take('one');
  failing(state, busy);
  await clock.advance(LEASE_TTL_MS * 0.9);
  state.hook = undefined;
  await clock.advance(5 * LEASE_TTL_MS);
  expect(held.signal.aborted).toBe(false);
});

test('a lease that could not be renewed is lost when its term is over, not later', async () => {
  const { clock, state, take } = table();
  const held = await take('one');
  failing(state, busy);
  await clock.advance(LEASE_TTL_MS - 1);
  expect(held.signal.aborted).toBe(false);
  await clock.advance(1);
  expect(held.signal.reason).toMatchObject({ code: 'FENCED_OUT', cause: { code: 'STORE_BUSY' } });
  expect(clock.timers).toBe(0);
});

test('a renewal that hangs does not keep the lease past its term', async () => {
  const { clock, state, take } = table();
  const held = await take('one');
  const gate = Promise.withResolvers<void>();
  failing(state, () => gate.promise);
  await clock.advance(LEASE_TTL_MS);
  expect(held.signal.aborted).toBe(true);
  gate.resolve();
  await clock.advance(LEASE_TTL_MS);
  expect(clock.timers).toBe(0);
});

test('the term counts from before the ledger was asked: the ledger counts it from then', async () => {
  const { clock, state, take } = table();
  const gate = Promise.withResolvers<void>();
  failing(state, () => gate.promise);
  const taking = take('one');
  await clock.advance(LEASE_TTL_MS - 100);
  gate.resolve();
  const held = await taking;
  failing(state, busy);
  await clock.advance(100);
  expect(held.signal.aborted).toBe(true);
});

test('the signal of the caller ends the work too, without losing the lease', async () => {
  const { take } = table();
  const stop = new AbortController();
  const held = await take('one', { signal: stop.signal });
  stop.abort();
  expect(held.signal.aborted).toBe(true);
  await held.check();
});

test('a ledger that cannot be asked says nothing about the lease', async () => {
  const { state, take } = table();
  const held = await take('one');
  failing(state, busy);
  await expect(held.check()).resolves.toBeUndefined();
});

test('what a lease guards is refused once the lease has changed hands', async () => {
  const { ledger, take } = table();
  const held = await take('one');
  await take('two', { isDead: () => true });
  await expect(
    ledger.commit([held.guard, { kind: 'put', space: 's', key: 'k', value: 'v' }]),
  ).rejects.toMatchObject({ code: 'FENCED_OUT' });
  expect(await ledger.get('s', 'k')).toBeUndefined();
});

/** Works as a flow does: the target remembers the greatest epoch that ever opened it. */
function worker(
  { clock, ledger }: Table,
  remembered: { epoch: number },
  owner: string,
): Promise<void> {
  const options = {
    ledger,
    clock,
    lease: 'flow/a',
    owner,
    isDead: () => false,
    signal: new AbortController().signal,
  };
  return workUnderLease(options, async (lease) => {
    try {
      if (lease.epoch < remembered.epoch)
        throw new TallyError('FENCED_OUT', {
          what: 'a newer one',
          details: { holder: remembered.epoch },
        });
      remembered.epoch = lease.epoch;
    } catch (error) {
      await lease.check();
      throw error;
    } finally {
      await lease.release();
    }
  });
}

test('a lease is taken above an epoch that the target remembers of a ledger that is gone', async () => {
  const remembered = { epoch: 41 };
  const found = table();
  await worker(found, remembered, 'one');
  expect(remembered.epoch).toBe(42);
  expect((await found.take('two')).epoch).toBe(43);
});

test('a worker whose lease went to a live one does not outbid it', async () => {
  const found = table();
  const options = {
    ledger: found.ledger,
    clock: found.clock,
    lease: 'flow/a',
    owner: 'zombie',
    isDead: () => false,
    signal: new AbortController().signal,
  };
  const tried: number[] = [];
  const outcome = workUnderLease(options, async (lease) => {
    tried.push(lease.epoch);
    const live = await found.take('live', { isDead: () => true, floor: 20 });
    throw new TallyError('FENCED_OUT', { what: 'a newer one', details: { holder: live.epoch } });
  });
  await expect(outcome).rejects.toMatchObject({ code: 'LEASE_HELD' });
  expect(tried).toEqual([1]);
});

test('a worker that is outbid again and again gives up after a few tries', async () => {
  const { clock, ledger } = table();
  const options = {
    ledger,
    clock,
    lease: 'flow/a',
    owner: 'one',
    isDead: () => false,
    signal: new AbortController().signal,
  };
  const tried: number[] = [];
  const outcome = workUnderLease(options, async (lease) => {
    tried.push(lease.epoch);
    await lease.release();
    throw new TallyError('FENCED_OUT', {
      what: 'a newer one',
      details: { holder: lease.epoch + 1 },
    });
  });
  await expect(outcome).rejects.toMatchObject({ code: 'FENCED_OUT' });
  expect(tried).toEqual([1, 3, 5, 7, 9]);
});
