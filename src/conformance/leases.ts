import assert from 'node:assert/strict';
import type { LeaseRecord, Ledger, LedgerOperation } from '../ports/ledger.ts';
import { only, put, rejectsWith, valueAt, type LedgerSuite } from './ledger-harness.ts';

const LEASE = 'flow orders';
const TTL_MS = 1_000;

/**
 * What keeps two workers from doing the same work: a lease has one holder at a time, each change of
 * hands is a greater epoch, and a write that is guarded by an epoch dies with it. Time is the
 * caller's, so the suite needs no clock. Registers one test per promise with the given runner.
 */
export function leaseConformance(suite: LedgerSuite): void {
  const check = (name: string, run: (ledger: Ledger) => Promise<void>): void => {
    suite.test(name, async () => {
      const ledger = await suite.open();
      try {
        await run(ledger);
      } finally {
        await ledger.close();
      }
    });
  };
  holdingTests(check);
  expiryTests(check);
  handingOverTests(check);
  floorTests(check);
  guardTests(check);
  const { reopen } = suite;
  if (reopen !== undefined) reopenTest(suite, reopen);
}

type Check = (name: string, run: (ledger: Ledger) => Promise<void>) => void;

function acquire(owner: string, nowMs: number, breakOwner?: string): LedgerOperation {
  const breaking = breakOwner === undefined ? {} : { breakOwner };
  return { kind: 'acquire', lease: LEASE, owner, ttlMs: TTL_MS, nowMs, ...breaking };
}

function renew(epoch: number, nowMs: number): LedgerOperation {
  return { kind: 'renew', lease: LEASE, epoch, ttlMs: TTL_MS, nowMs };
}

function release(epoch: number): LedgerOperation {
  return { kind: 'release', lease: LEASE, epoch };
}

function guard(epoch: number): LedgerOperation {
  return { kind: 'guard', lease: LEASE, epoch };
}

async function held(ledger: Ledger): Promise<LeaseRecord | undefined> {
  const record = (await ledger.leases()).find((lease) => lease.lease === LEASE);
  return record === undefined ? undefined : { ...record };
}

function holdingTests(check: Check): void {
  check('gives a free lease and shows who holds it until when', async (ledger) => {
    assert.equal(await held(ledger), undefined);
    const epoch = await only(ledger, acquire('one', 5_000));
    assert.ok(epoch >= 1);
    assert.deepEqual(await held(ledger), { lease: LEASE, owner: 'one', epoch, expiresAtMs: 6_000 });
  });

  check('refuses the lease while another worker holds it', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    await rejectsWith('LEASE_HELD', ledger.commit([acquire('two', TTL_MS - 1)]));
    assert.deepEqual(await held(ledger), {
      lease: LEASE,
      owner: 'one',
      epoch,
      expiresAtMs: TTL_MS,
    });
  });

  check('gives a lease to exactly one of 64 workers that ask at once', async (ledger) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 64 }, (_, index) => ledger.commit([acquire(`worker ${index}`, 0)])),
    );
    const winners = outcomes.flatMap((outcome, index) =>
      outcome.status === 'fulfilled' ? [index] : [],
    );
    assert.equal(winners.length, 1);
    assert.equal((await held(ledger))?.owner, `worker ${winners[0]}`);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        await rejectsWith('LEASE_HELD', Promise.reject(outcome.reason as Error));
  });

  check('extends the holder’s own lease and keeps its epoch', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    assert.equal(await only(ledger, acquire('one', 500)), epoch);
    assert.equal((await held(ledger))?.expiresAtMs, 1_500);
    assert.equal(await only(ledger, renew(epoch, 900)), epoch);
    assert.equal((await held(ledger))?.expiresAtMs, 1_900);
    await rejectsWith('LEASE_HELD', ledger.commit([acquire('two', 1_899)]));
  });

  check('keeps leases of different names apart', async (ledger) => {
    await ledger.commit([acquire('one', 0)]);
    const other = { kind: 'acquire', lease: 'another', owner: 'two', ttlMs: 10, nowMs: 0 } as const;
    await ledger.commit([other]);
    const names = (await ledger.leases()).map((lease) => `${lease.lease}: ${lease.owner}`);
    assert.deepEqual(names, ['another: two', `${LEASE}: one`]);
  });
}

function expiryTests(check: Check): void {
  check('gives an expired lease to another worker under a greater epoch', async (ledger) => {
    const first = await only(ledger, acquire('one', 0));
    const second = await only(ledger, acquire('two', TTL_MS));
    assert.ok(second > first, `${second} after ${first}`);
    assert.equal((await held(ledger))?.owner, 'two');
  });

  check('raises the epoch when a worker takes its own expired lease again', async (ledger) => {
    const first = await only(ledger, acquire('one', 0));
    const second = await only(ledger, acquire('one', TTL_MS));
    assert.ok(second > first, `${second} after ${first}`);
  });

  check('refuses to renew a lease that was lost', async (ledger) => {
    const first = await only(ledger, acquire('one', 0));
    await ledger.commit([acquire('two', TTL_MS)]);
    const before = await held(ledger);
    await rejectsWith('FENCED_OUT', ledger.commit([renew(first, TTL_MS)]));
    assert.deepEqual(await held(ledger), before);
  });

  check('refuses to renew a lease that never was', async (ledger) => {
    await rejectsWith('FENCED_OUT', ledger.commit([renew(1, 0)]));
    assert.equal(await held(ledger), undefined);
  });

  check('renews an expired lease that nobody took', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    assert.equal(await only(ledger, renew(epoch, 5 * TTL_MS)), epoch);
    await rejectsWith('LEASE_HELD', ledger.commit([acquire('two', 5 * TTL_MS)]));
  });
}

function handingOverTests(check: Check): void {
  check(
    'gives a released lease to the next worker at once, under a greater epoch',
    async (ledger) => {
      const first = await only(ledger, acquire('one', 0));
      assert.equal(await only(ledger, release(first)), 0);
      assert.equal(await held(ledger), undefined);
      const second = await only(ledger, acquire('two', 1));
      assert.ok(second > first, `${second} after ${first}`);
    },
  );

  check('raises the epoch when a worker takes its own released lease again', async (ledger) => {
    const first = await only(ledger, acquire('one', 0));
    await ledger.commit([release(first)]);
    const second = await only(ledger, acquire('one', 1));
    assert.ok(second > first, `${second} after ${first}`);
  });

  check('refuses a release by who no longer holds the lease', async (ledger) => {
    const first = await only(ledger, acquire('one', 0));
    await ledger.commit([acquire('two', TTL_MS)]);
    await rejectsWith('FENCED_OUT', ledger.commit([release(first)]));
    assert.equal((await held(ledger))?.owner, 'two');
  });

  check('takes over from a dead holder at once, under a greater epoch', async (ledger) => {
    const first = await only(ledger, acquire('one', 0));
    const second = await only(ledger, acquire('two', 1, 'one'));
    assert.ok(second > first, `${second} after ${first}`);
    assert.equal((await held(ledger))?.owner, 'two');
    await rejectsWith('FENCED_OUT', ledger.commit([renew(first, 2)]));
  });

  check('breaks the lease of nobody but the named holder', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    await rejectsWith('LEASE_HELD', ledger.commit([acquire('two', 1, 'three')]));
    assert.equal((await held(ledger))?.epoch, epoch);
  });
}

function floorTests(check: Check): void {
  const above = (floor: number, owner: string, nowMs: number): LedgerOperation => ({
    kind: 'acquire',
    lease: LEASE,
    owner,
    ttlMs: TTL_MS,
    nowMs,
    floor,
  });

  check('gives a lease under an epoch above the floor, and goes on from there', async (ledger) => {
    const first = await only(ledger, above(41, 'one', 0));
    assert.equal(first, 42);
    await ledger.commit([release(first)]);
    assert.equal(await only(ledger, acquire('two', 1)), 43);
  });

  check(
    'lifts the holder’s own lease above the floor, and fences its old epoch',
    async (ledger) => {
      const old = await only(ledger, acquire('one', 0));
      const lifted = await only(ledger, above(old + 9, 'one', 1));
      assert.equal(lifted, old + 10);
      await rejectsWith('FENCED_OUT', ledger.commit([guard(old), put('key', 'old')]));
      await ledger.commit([guard(lifted), put('key', 'lifted')]);
    },
  );

  check('keeps the holder’s epoch where it is above the floor already', async (ledger) => {
    const epoch = await only(ledger, above(7, 'one', 0));
    assert.equal(await only(ledger, above(7, 'one', 1)), epoch);
    assert.equal(await only(ledger, above(3, 'one', 2)), epoch);
  });

  check('gives nobody the lease of another for a floor', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    await rejectsWith('LEASE_HELD', ledger.commit([above(99, 'two', 1)]));
    assert.equal((await held(ledger))?.epoch, epoch);
  });
}

function guardTests(check: Check): void {
  check('commits a write guarded by the epoch that holds the lease', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    const result = await ledger.commit([guard(epoch), put('key', 'value')]);
    assert.equal(result[0], 0);
    assert.equal(await valueAt(ledger, 'key'), 'value');
  });

  check('fences the write of a worker that lost its lease without knowing', async (ledger) => {
    const zombie = await only(ledger, acquire('one', 0));
    const epoch = await only(ledger, acquire('two', TTL_MS));
    await ledger.commit([guard(epoch), put('key', 'two')]);
    await rejectsWith('FENCED_OUT', ledger.commit([guard(zombie), put('key', 'zombie')]));
    await rejectsWith('FENCED_OUT', ledger.commit([put('key', 'zombie'), guard(zombie)]));
    assert.equal(await valueAt(ledger, 'key'), 'two');
  });

  check('fences what is sent together with the change of hands', async (ledger) => {
    const zombie = await only(ledger, acquire('one', 0));
    const [taken, late] = await Promise.allSettled([
      ledger.commit([acquire('two', 1, 'one')]),
      ledger.commit([guard(zombie), put('key', 'zombie')]),
    ]);
    assert.equal(taken.status, 'fulfilled');
    assert.equal(late.status, 'rejected');
    assert.equal(await valueAt(ledger, 'key'), undefined);
  });

  check('fences an epoch that is not yet, and a lease that is free', async (ledger) => {
    await rejectsWith('FENCED_OUT', ledger.commit([guard(1), put('key', 'x')]));
    const epoch = await only(ledger, acquire('one', 0));
    await rejectsWith('FENCED_OUT', ledger.commit([guard(epoch + 1), put('key', 'x')]));
    await ledger.commit([release(epoch)]);
    await rejectsWith('FENCED_OUT', ledger.commit([guard(epoch), put('key', 'x')]));
    assert.equal(await valueAt(ledger, 'key'), undefined);
  });

  check('lets the holder write until the lease changes hands, expired or not', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    await rejectsWith('LEASE_HELD', ledger.commit([acquire('two', TTL_MS - 1)]));
    await ledger.commit([guard(epoch), put('key', 'value')]);
    assert.equal(await valueAt(ledger, 'key'), 'value');
  });

  check('takes a lease and writes the first record under it in one step', async (ledger) => {
    const epoch = await only(ledger, acquire('one', 0));
    await rejectsWith('LEASE_HELD', ledger.commit([put('key', 'two'), acquire('two', 1)]));
    assert.equal(await valueAt(ledger, 'key'), undefined);
    const result = await ledger.commit([release(epoch), acquire('two', 1), put('key', 'two')]);
    assert.equal((await held(ledger))?.epoch, result[1]);
    assert.equal(await valueAt(ledger, 'key'), 'two');
  });
}

function reopenTest(suite: LedgerSuite, reopen: NonNullable<LedgerSuite['reopen']>): void {
  suite.test('goes on counting the epochs of a released lease when opened again', async () => {
    const before = await suite.open();
    const first = await only(before, acquire('one', 0));
    await before.commit([release(first)]);
    await before.close();
    const after = await reopen(before);
    try {
      const second = await only(after, acquire('one', 0));
      assert.ok(second > first, `${second} after ${first}`);
      await rejectsWith('FENCED_OUT', after.commit([guard(first), put('key', 'zombie')]));
    } finally {
      await after.close();
    }
  });
}
