import assert from 'node:assert/strict';
import { EPOCH_MAX, OFFSET_MAX, ORDINAL_MAX } from '../core/position.ts';
import type { WriteMode } from '../core/write.ts';
import { put, rejects, type SinkCase } from './sink-harness.ts';

const snapshotOrdinal = ORDINAL_MAX;

/** What a target refuses by version, and what its deletes leave behind. */
export const sinkFenceCases: readonly SinkCase[] = [
  {
    id: 'SK-010',
    policy: 'refuses a streamed write that is older than, or equal to, what the target holds',
    run: (bench) => refusesOlder(bench, 'stream'),
  },
  {
    id: 'SK-011',
    policy: 'refuses a snapshot row that is older than, or equal to, what the target holds',
    run: (bench) => refusesOlder(bench, 'snapshot'),
  },
  {
    id: 'SK-012',
    policy: 'lets a repair overwrite an equal version, but never a newer one',
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'first', { offset: 20, ordinal: 3 }), 'applied'],
        [put('a', 'repaired', { offset: 20, ordinal: 3 }, 'repair'), 'applied'],
        [put('a', 'stale repair', { offset: 19, ordinal: 9 }, 'repair'), 'older'],
      );
      await bench.seesProducts({ a: 'repaired' });
    },
  },
  {
    id: 'SK-013',
    policy: 'keeps the order of ordinals within one transaction',
    when: (supports) => supports.ordinalFence,
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'third', { offset: 20, ordinal: 3 }), 'applied'],
        [put('a', 'second', { offset: 20, ordinal: 2 }), 'older'],
        [put('a', 'tenth', { offset: 20, ordinal: 10 }), 'applied'],
      );
      await bench.seesProducts({ a: 'tenth' });
    },
  },
  {
    id: 'SK-013',
    policy:
      'takes one write per key of a transaction, as its manifest says, and refuses the second',
    when: (supports) => !supports.ordinalFence,
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'third', { offset: 20, ordinal: 3 }), 'applied'],
        [put('a', 'fourth', { offset: 20, ordinal: 4 }), 'older'],
        [put('a', 'next', { offset: 21, ordinal: 0 }), 'applied'],
      );
      await bench.seesProducts({ a: 'next' });
    },
  },
  {
    id: 'SK-014',
    policy: 'orders by epoch before offset, past where a double is exact and up to the last epoch',
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'of 7', { epoch: 7, offset: OFFSET_MAX - 1 }), 'applied'],
        [put('a', 'one more of 7', { epoch: 7, offset: OFFSET_MAX }), 'applied'],
        [put('a', 'of 8', { epoch: 8, offset: 1 }), 'applied'],
        [put('a', 'of 8, next', { epoch: 8, offset: 2 }), 'applied'],
        [put('a', 'of 7 again', { epoch: 7, offset: OFFSET_MAX }), 'older'],
        [put('a', 'of 8191', { epoch: EPOCH_MAX, offset: OFFSET_MAX - 1 }), 'applied'],
        [put('a', 'last', { epoch: EPOCH_MAX, offset: OFFSET_MAX }), 'applied'],
        [put('a', 'beaten', { epoch: EPOCH_MAX, offset: OFFSET_MAX - 1 }), 'older'],
      );
      await bench.seesProducts({ a: 'last' });
    },
  },
  {
    id: 'SK-015',
    policy: 'keeps the version of one key out of the way of every other key',
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'new', { offset: 90 }), 'applied'],
        [put('b', 'old', { offset: 10 }), 'applied'],
      );
      await bench.seesProducts({ a: 'new', b: 'old' });
    },
  },
  {
    id: 'SK-020',
    policy: 'leaves a tombstone that refuses an older streamed write and an older snapshot row',
    run: (bench) => tombstoneRefuses(bench, { reopen: false }),
  },
  {
    id: 'SK-021',
    policy: 'still refuses by the tombstone after it was opened again',
    run: (bench) => tombstoneRefuses(bench, { reopen: true }),
  },
  {
    id: 'SK-022',
    policy: 'leaves a tombstone for a key that it never held',
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', null, { offset: 20 }), 'applied'],
        [put('a', 'late', { offset: 15, ordinal: snapshotOrdinal }, 'snapshot'), 'older'],
      );
      await bench.seesProducts({});
    },
  },
  {
    id: 'SK-023',
    policy: 'takes a newer write over a tombstone',
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'first', { offset: 10 }), 'applied'],
        [put('a', null, { offset: 20 }), 'applied'],
        [put('a', 'born again', { offset: 21 }), 'applied'],
        [put('a', 'late', { offset: 20 }), 'older'],
      );
      await bench.seesProducts({ a: 'born again' });
    },
  },
  {
    id: 'SK-024',
    policy: 'refuses a delete that is older than the row it would delete',
    run: async (bench) => {
      const session = await bench.session();
      await bench.applyEach(
        session,
        [put('a', 'kept', { offset: 20 }), 'applied'],
        [put('a', null, { offset: 19 }), 'older'],
        [put('a', null, { offset: 20 }), 'older'],
      );
      await bench.seesProducts({ a: 'kept' });
    },
  },
  {
    id: 'SK-025',
    policy:
      'forgets tombstones that are older than the position it is told to prune before, only those',
    run: async (bench) => {
      const session = await bench.session();
      await bench.apply(session, [
        put('a', null, { offset: 10 }),
        put('b', null, { offset: 20 }),
        put('c', 'row', { offset: 5 }),
      ]);
      assert.equal(await session.prune({ epoch: 1, offset: 20 }), 1);
      await bench.applyEach(
        session,
        [put('b', 'late', { offset: 19 }), 'older'],
        [put('c', 'late', { offset: 4 }), 'older'],
        [put('a', 'old, but nobody remembers', { offset: 9 }), 'applied'],
      );
      await bench.seesProducts({ a: 'old, but nobody remembers', c: 'row' });
    },
  },
  {
    id: 'SK-026',
    policy: 'sweeps only rows of the named targets that are older than the given position',
    run: sweeps,
  },
  {
    id: 'SK-027',
    policy: 'leaves tombstones where it swept, so that an older write stays refused',
    run: async (bench) => {
      const session = await bench.session();
      await bench.apply(session, [put('a', 'unseen', { offset: 10 })]);
      assert.equal(await session.sweep(['products'], { epoch: 1, offset: 50 }), 1);
      await bench.applyEach(session, [put('a', 'late', { offset: 49 }), 'older']);
      await bench.seesProducts({});
      await bench.applyEach(session, [put('a', 'newer', { offset: 51 }), 'applied']);
      await bench.seesProducts({ a: 'newer' });
    },
  },
  {
    id: 'SK-028',
    policy: 'refuses a position that does not fit a fence, and keeps nothing of it',
    run: async (bench) => {
      const session = await bench.session();
      const beyond = put('a', 'beyond', { epoch: EPOCH_MAX + 1, offset: 1 });
      const report = await bench.apply(session, [beyond]).catch((error: unknown) => error);
      if (report instanceof Error) await rejects(Promise.reject(report), 'POSITION_OUT_OF_RANGE');
      else {
        const { failed } = report as { failed: readonly { error: { code: string } }[] };
        assert.deepEqual(
          failed.map((failure) => failure.error.code),
          ['POSITION_OUT_OF_RANGE'],
        );
      }
      await bench.seesProducts({});
    },
  },
];

async function refusesOlder(bench: Parameters<SinkCase['run']>[0], mode: WriteMode): Promise<void> {
  const session = await bench.session();
  const ordinal = mode === 'snapshot' ? snapshotOrdinal : 0;
  await bench.applyEach(
    session,
    [put('a', 'held', { offset: 20, ordinal }), 'applied'],
    [put('a', 'equal', { offset: 20, ordinal }, mode), 'older'],
    [put('a', 'older', { offset: 19, ordinal }, mode), 'older'],
    [put('a', 'of an older epoch', { epoch: 0, offset: 900, ordinal }, mode), 'older'],
  );
  await bench.seesProducts({ a: 'held' });
  await bench.applyEach(session, [put('a', 'newer', { offset: 21, ordinal }, mode), 'applied']);
  await bench.seesProducts({ a: 'newer' });
}

async function tombstoneRefuses(
  bench: Parameters<SinkCase['run']>[0],
  how: { readonly reopen: boolean },
): Promise<void> {
  const before = await bench.session();
  await bench.applyEach(
    before,
    [put('a', 'first', { offset: 10 }), 'applied'],
    [put('a', null, { offset: 20 }), 'applied'],
  );
  await bench.seesProducts({});
  if (how.reopen) await bench.subject.reopen();
  const after = how.reopen ? await bench.session({ workerEpoch: 2 }) : before;
  await bench.applyEach(
    after,
    [put('a', 'late stream', { offset: 19 }), 'older'],
    [put('a', 'late snapshot', { offset: 15, ordinal: snapshotOrdinal }, 'snapshot'), 'older'],
    [put('a', 'late repair', { offset: 18, ordinal: snapshotOrdinal }, 'repair'), 'older'],
    [put('a', null, { offset: 20 }), 'older'],
  );
  await bench.seesProducts({});
}

async function sweeps(bench: Parameters<SinkCase['run']>[0]): Promise<void> {
  const session = await bench.session();
  const other = await bench.session({
    flow: 'other',
    targets: [{ target: 'orders', key: ['shop', 'number'] }],
  });
  const order = { shop: 's', number: 1, total: 5 };
  await bench.apply(other, [
    {
      target: 'orders',
      key: ['s', 1],
      row: order,
      mode: 'stream',
      epoch: 1,
      offset: 10,
      ordinal: 0,
    },
  ]);
  await bench.apply(session, [
    put('old', 'unseen', { offset: 10 }),
    put('of an older epoch', 'unseen', { epoch: 0, offset: 900 }),
    put('at', 'seen', { offset: 50, ordinal: snapshotOrdinal }, 'snapshot'),
    put('new', 'streamed', { offset: 60 }),
    put('gone', null, { offset: 12 }),
  ]);
  assert.equal(await session.sweep(['products'], { epoch: 1, offset: 50 }), 2);
  await bench.seesProducts({ at: 'seen', new: 'streamed' });
  await bench.sees('orders', [[['s', 1], order]]);
  assert.equal(await session.sweep(['products'], { epoch: 1, offset: 50 }), 0);
}
