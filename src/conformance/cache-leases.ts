import assert from 'node:assert/strict';
import {
  always,
  ask,
  due,
  fill,
  found,
  heldLease,
  lease,
  look,
  rejects,
  value,
  type CacheCase,
} from './cache-harness.ts';

/** Who may load, and how those who may not are woken. */
export const cacheLeaseCases: readonly CacheCase[] = [
  {
    id: 'CA-020',
    policy: 'grants one lease on a missing key, and tells everybody else that it is held',
    run: async (subject, tier) => {
      const other = await subject.open();
      const askers = Array.from({ length: 20 }, (_, index) =>
        ask(index % 2 === 0 ? tier : other, 'a'),
      );
      const answers = await Promise.all(askers);
      const granted = answers.filter(({ lease: { kind } }) => kind === 'granted');
      const held = answers.filter(({ lease: { kind } }) => kind === 'held');
      assert.deepEqual([granted.length, held.length], [1, 19]);
    },
  },
  {
    id: 'CA-021',
    policy: 'grants no lease to who only looks, nor on what is fresh',
    run: async (_subject, tier) => {
      assert.deepEqual(await ask(tier, 'a', look), { entry: undefined, lease: { kind: 'none' } });
      const token = await lease(tier, 'a');
      assert.equal(await fill(tier, token, value('a', 'first')), 'stored');
      const answer = await ask(tier, 'a');
      assert.equal(answer.entry?.payload, 'first');
      assert.deepEqual(answer.lease, { kind: 'none' });
    },
  },
  {
    id: 'CA-022',
    policy:
      'grants a lease on what is fresh to who needs a newer one, and keeps it for readers meanwhile',
    run: async (subject, tier) => {
      await tier.putMany([value('a', 'old')]);
      const token = await lease(tier, 'a', always);
      const other = await subject.open();
      assert.equal(await found(other, 'a'), 'old');
      assert.equal((await ask(other, 'a', always)).lease.kind, 'held');
      assert.equal((await ask(other, 'a', due)).lease.kind, 'none');
      assert.equal(await fill(tier, token, value('a', 'new')), 'stored');
      assert.equal(await found(other, 'a'), 'new');
    },
  },
  {
    id: 'CA-023',
    policy: 'grants the lease early, to one, when what is left is less than the load takes',
    run: async (subject, tier) => {
      await tier.putMany([value('a', 'old', { freshMs: 80_000, keepMs: 80_000, loadMs: 1_000 })]);
      const early = { lease: 'due', early: 1_000 } as const;
      assert.equal((await ask(tier, 'a', { lease: 'due', early: 1 })).lease.kind, 'none');
      const answer = await ask(tier, 'a', early);
      assert.equal(answer.entry?.payload, 'old');
      assert.equal(answer.lease.kind, 'granted');
      const other = await subject.open();
      const second = await ask(other, 'a', early);
      assert.equal(second.entry?.payload, 'old');
      assert.deepEqual(second.lease, { kind: 'none' });
    },
  },
  {
    id: 'CA-024',
    policy: 'ends the lease when it is filled, released or its time is over; never takes it twice',
    run: async (subject, tier) => {
      const first = await lease(tier, 'a');
      assert.equal(await fill(tier, first, value('a', 'first')), 'stored');
      assert.equal(await fill(tier, first, value('a', 'again')), 'voided');
      const released = await lease(tier, 'b');
      await tier.release('b', released);
      assert.equal(await fill(tier, released, value('b', 'late')), 'voided');
      const brief = await subject.open({ leaseMs: 2 * subject.stepMs });
      const expired = await lease(brief, 'c');
      await subject.advance(3 * subject.stepMs);
      const next = await lease(tier, 'c');
      assert.equal(await fill(brief, expired, value('c', 'late')), 'voided');
      await brief.release('c', expired);
      assert.equal(await fill(tier, next, value('c', 'right')), 'stored');
      assert.equal(await found(tier, 'c'), 'right');
    },
  },
  {
    id: 'CA-025',
    policy: 'takes a lease of another key for none',
    run: async (_subject, tier) => {
      const token = await lease(tier, 'a');
      await lease(tier, 'b');
      assert.equal(await fill(tier, token, value('b', 'wrong')), 'voided');
      assert.equal(await fill(tier, 'made up', value('b', 'wrong')), 'voided');
      assert.equal(await found(tier, 'b'), undefined);
    },
  },
  {
    id: 'CA-026',
    policy: 'wakes who waits when the lease is filled, released, set over or invalidated',
    run: async (subject, tier) => {
      const other = await subject.open();
      const ends: Readonly<Record<string, (token: string) => Promise<unknown>>> = {
        filled: (token) => fill(tier, token, value('filled', 'x')),
        released: (token) => tier.release('released', token),
        set: () => tier.putMany([value('set', 'x')]),
        invalidated: () => tier.invalidate(['invalidated']),
      };
      for (const [key, end] of Object.entries(ends)) {
        const token = await lease(tier, key);
        const held = await heldLease(other, key);
        const waiters = [other.settled(key, held), other.settled(key, held)];
        await end(token);
        await Promise.all(waiters);
      }
    },
  },
  {
    id: 'CA-027',
    policy: 'does not wait for a lease that is over, and gives up when told to',
    run: async (subject, tier) => {
      const token = await lease(tier, 'a');
      await tier.release('a', token);
      await tier.settled('a', token);
      await lease(tier, 'a');
      await tier.settled('a', token);
      const other = await subject.open();
      const held = await heldLease(other, 'a');
      const controller = new AbortController();
      const waiting = other.settled('a', held, controller.signal);
      controller.abort();
      await rejects(() => waiting, 'ABORTED');
      await rejects(() => other.settled('a', held, controller.signal), 'ABORTED');
    },
  },
  {
    id: 'CA-028',
    policy: 'tells everybody of a load that failed, and grants nothing until its time is over',
    run: async (subject, tier) => {
      const forMs = 3 * subject.stepMs;
      const token = await lease(tier, 'a');
      await tier.release('a', token, { reason: 'no route to the database', forMs });
      const other = await subject.open();
      for (const one of [tier, other]) {
        const { lease: answer } = await ask(one, 'a');
        assert.equal(answer.kind, 'failed');
        if (answer.kind !== 'failed') return;
        assert.equal(answer.reason, 'no route to the database');
        assert.ok(answer.forMs > 0 && answer.forMs <= forMs, `for ${answer.forMs} ms`);
      }
      await subject.advance(forMs + subject.stepMs);
      await lease(other, 'a');
      // A late word of a lease that is over changes nothing.
      await tier.release('a', token, { reason: 'late', forMs: 60_000 });
      assert.equal((await ask(tier, 'a')).lease.kind, 'held');
    },
  },
  {
    id: 'CA-029',
    policy: 'gives the lease of a holder that closed or was killed to one of those who wait',
    run: async (subject, tier) => {
      for (const end of ['close', 'kill'] as const) {
        const holder = await subject.open();
        await lease(holder, end);
        const held = await heldLease(tier, end);
        const waiting = [tier.settled(end, held), tier.settled(end, held)];
        await (end === 'close' ? holder.close() : subject.kill(holder));
        // Where time is the subject's own, the wait until a death is noticed has to pass.
        await subject.advance(tier.supports.deathNoticedMs);
        await Promise.all(waiting);
        const answers = await Promise.all([ask(tier, end), ask(tier, end)]);
        const kinds = answers.map(({ lease: { kind } }) => kind).toSorted();
        assert.deepEqual(kinds, ['granted', 'held']);
      }
    },
  },
  {
    id: 'CA-030',
    policy: 'lets nobody who waits for one key wake for another',
    run: async (subject, tier) => {
      const [a, b] = [await lease(tier, 'a'), await lease(tier, 'b')];
      const other = await subject.open();
      const held = await heldLease(other, 'a');
      await heldLease(other, 'b');
      let isOver = false;
      const waiting = other.settled('a', held).then(() => (isOver = true));
      await fill(tier, b, value('b', 'x'));
      await subject.advance(subject.stepMs);
      assert.equal(isOver, false);
      await fill(tier, a, value('a', 'x'));
      await waiting;
    },
  },
];
