import assert from 'node:assert/strict';
import { TallyError } from '../core/errors.ts';
import { armPoints, type CrashPoint } from '../observe/point.ts';
import type { Row } from '../core/row.ts';
import type { SinkSession } from '../ports/sink.ts';
import { rejectsFenced } from './harness.ts';
import {
  checkpointAt,
  failedOnce,
  put,
  rejects,
  shapes,
  write,
  type SinkBench,
  type SinkCase,
} from './sink-harness.ts';

/** Checkpoints, failed writes, workers that were replaced, crashes in the middle. */
export const sinkCheckpointCases: readonly SinkCase[] = [
  {
    id: 'SK-030',
    policy: 'stores the checkpoint with the batch, whole, and shows it to others',
    run: async (bench) => {
      const session = await bench.session();
      assert.equal(await session.checkpoint(), undefined);
      assert.equal(await bench.sink.peek('shop'), undefined);
      const last = { epoch: 3, offset: 2 ** 50 - 2, ordinal: 17 };
      const checkpoint = {
        log: 4711,
        last,
        through: { epoch: 3, offset: 2 ** 50 - 3 },
        backfill: {
          state: 'running',
          // A key may be of any scalar type, and a backfill must find its place again by it.
          tables: {
            products: ['k', 2],
            lines: [2n ** 60n, new Uint8Array([0, 255]), true, null],
            orders: 'done',
          },
          epoch: 3,
          atMin: 7,
          atMax: 9,
        },
      } as const;
      await session.apply({ writes: [put('a', 'first', last)], state: [], checkpoint });
      assert.deepEqual(await session.checkpoint(), checkpoint);
      assert.deepEqual(await bench.sink.peek('shop'), checkpoint);
      assert.equal(await bench.sink.peek('another'), undefined);
    },
  },
  {
    id: 'SK-031',
    policy: 'still holds data and checkpoint after it was opened again',
    run: async (bench) => {
      await bench.apply(await bench.session(), [put('a', 'first', { offset: 10 })]);
      await bench.subject.reopen();
      const session = await bench.session({ workerEpoch: 2 });
      assert.deepEqual(await session.checkpoint(), checkpointAt(1, { offset: 10 }));
      assert.deepEqual(await bench.sink.peek('shop'), checkpointAt(1, { offset: 10 }));
      await bench.seesProducts({ a: 'first' });
    },
  },
  {
    id: 'SK-032',
    policy: 'moves the checkpoint for a batch without writes',
    run: async (bench) => {
      const session = await bench.session();
      const checkpoint = checkpointAt(9, { offset: 33 });
      const report = await session.apply({ writes: [], state: [], checkpoint });
      assert.deepEqual({ ...report }, { applied: 0, older: 0, failed: [] });
      assert.deepEqual(await session.checkpoint(), checkpoint);
    },
  },
  {
    id: 'SK-033',
    policy: 'takes a batch again without a second effect, and reports all of it as older',
    run: async (bench) => {
      const session = await bench.session();
      const batch = {
        writes: [put('a', 'first', { offset: 10 }), put('b', null, { offset: 10, ordinal: 1 })],
        state: [],
        checkpoint: checkpointAt(2, { offset: 10, ordinal: 1 }),
      };
      assert.deepEqual({ ...(await session.apply(batch)) }, { applied: 2, older: 0, failed: [] });
      assert.deepEqual({ ...(await session.apply(batch)) }, { applied: 0, older: 2, failed: [] });
      await bench.seesProducts({ a: 'first' });
    },
  },
  {
    id: 'SK-034',
    policy:
      'reports a row over its limit by index as ROW_TOO_LARGE and leaves the checkpoint where it was',
    run: (bench) => failedWrite(bench, 'ROW_TOO_LARGE', oversized(bench)),
  },
  {
    id: 'SK-035',
    policy:
      'reports a value it cannot carry by index as VALUE_UNSUPPORTED and leaves the checkpoint where it was',
    run: (bench) =>
      failedWrite(bench, 'VALUE_UNSUPPORTED', {
        sku: 'bad',
        name: new Map() as unknown as string,
        price: 1,
      }),
  },
  {
    id: 'SK-036',
    policy:
      'refuses every step of a worker once a newer one has opened the flow, and keeps nothing of it',
    run: async (bench) => {
      const zombie = await bench.session({ workerEpoch: 1 });
      await bench.apply(zombie, [put('a', 'first', { offset: 10 })]);
      const heir = await bench.session({ workerEpoch: 2 });
      await rejects(bench.apply(zombie, [put('a', 'zombie', { offset: 99 })]), 'FENCED_OUT');
      await rejects(zombie.sweep(['products'], { epoch: 1, offset: 99 }), 'FENCED_OUT');
      await rejects(zombie.prune({ epoch: 1, offset: 99 }), 'FENCED_OUT');
      await rejects(zombie.reset(), 'FENCED_OUT');
      await bench.seesProducts({ a: 'first' });
      assert.deepEqual(await heir.checkpoint(), checkpointAt(1, { offset: 10 }));
      await bench.applyEach(heir, [put('a', 'heir', { offset: 11 }), 'applied']);
    },
  },
  {
    id: 'SK-037',
    policy: 'refuses a worker of an older epoch that opens late, also after it was opened again',
    run: async (bench) => {
      await bench.session({ workerEpoch: 5 });
      await bench.subject.reopen();
      const late = async (): Promise<unknown> => {
        const session = await bench.session({ workerEpoch: 4 });
        return bench.apply(session, [put('a', 'zombie', { offset: 10 })]);
      };
      await rejectsFenced(late(), 5);
      await bench.session({ workerEpoch: 5 });
      await bench.seesProducts({});
    },
  },
  {
    id: 'SK-038',
    policy: 'keeps flows apart: checkpoint, workers and reset of one leave the other alone',
    run: async (bench) => {
      const shop = await bench.session({ workerEpoch: 1 });
      const other = await bench.session({
        flow: 'other',
        targets: shapes('orders'),
        workerEpoch: 9,
      });
      const order = { shop: 's', number: 1, total: 5 };
      await bench.apply(shop, [put('a', 'first', { offset: 10 })]);
      await bench.apply(other, [write('orders', ['s', 1], order, { offset: 77 })]);
      await other.reset();
      assert.deepEqual(await shop.checkpoint(), checkpointAt(1, { offset: 10 }));
      assert.equal(await other.checkpoint(), undefined);
      await bench.seesProducts({ a: 'first' });
      await bench.sees('orders', []);
    },
  },
  {
    id: 'SK-039',
    policy: 'refuses a step after its session was closed',
    run: async (bench) => {
      const session = await bench.session();
      await session.close();
      await session.close();
      await rejects(bench.apply(session, [put('a', 'late', { offset: 10 })]), 'STORE_CLOSED');
      await bench.seesProducts({});
    },
  },
  ...(
    [
      'sink.before-apply',
      'sink.mid-apply',
      'sink.after-apply-before-checkpoint',
      'sink.after-checkpoint-before-commit',
      'sink.after-commit',
    ] as const
  ).map((name, index): SinkCase => ({
    id: `SK-04${index}`,
    policy: `never holds a checkpoint ahead of its data after a crash at ${name}, and heals on replay`,
    run: (bench) => crashesAt(bench, name),
  })),
];

/** One text of exactly as many bytes as no row of the target may have. */
function oversized(bench: SinkBench): Row {
  return { sku: 'bad', name: 'x'.repeat(bench.supports.rowBytesMax), price: 1 };
}

async function failedWrite(
  bench: SinkBench,
  code: 'ROW_TOO_LARGE' | 'VALUE_UNSUPPORTED',
  row: Row,
): Promise<void> {
  const session = await bench.session();
  await bench.apply(session, [put('a', 'first', { offset: 10 })]);
  const good = [put('a', 'second', { offset: 20 }), put('b', 'new', { offset: 20, ordinal: 2 })];
  const bad = write('products', ['bad'], row, { offset: 20, ordinal: 1 });
  const checkpoint = checkpointAt(4, { offset: 20, ordinal: 2 });
  const [first, second] = good;
  assert.ok(first && second);
  failedOnce(await session.apply({ writes: [first, bad, second], state: [], checkpoint }), 1, code);
  assert.deepEqual(await session.checkpoint(), checkpointAt(1, { offset: 10 }));
  const report = await session.apply({ writes: good, state: [], checkpoint });
  assert.deepEqual(report.failed, []);
  assert.equal(report.applied + report.older, 2);
  assert.deepEqual(await session.checkpoint(), checkpoint);
  await bench.seesProducts({ a: 'second', b: 'new' });
}

/**
 * Ends an apply at a crash point by throwing there, drops the connection and looks at what is left.
 * A sink that never passes the point applies the batch, which must then be whole as well.
 */
async function crashesAt(bench: SinkBench, name: CrashPoint): Promise<void> {
  await bench.apply(await bench.session(), [put('a', 'first', { offset: 10 })]);
  const batch = {
    writes: [
      put('a', 'second', { offset: 20 }),
      put('b', 'new', { offset: 20, ordinal: 1 }),
      put('c', 'new', { offset: 21 }),
    ],
    state: bench.supports.foldState ? [{ name: 'count', value: '3' }] : [],
    checkpoint: checkpointAt(4, { offset: 21 }),
  };
  await applyDying(await bench.session(), batch, name);
  await bench.subject.reopen();
  const session = await bench.session({ workerEpoch: 2 });
  const held = await session.checkpoint();
  const names = [...(await bench.subject.read('products')).values()].map((row) => row['name']);
  const whole = names.filter((value) => value !== 'first').length === 3;
  if (held?.log === 4)
    assert.ok(whole, `the checkpoint is ahead of the data: ${JSON.stringify(names)}`);
  else assert.equal(held?.log, 1, 'the checkpoint is neither the old nor the new one');
  if (bench.supports.effect === 'transactional' && held?.log === 1)
    assert.deepEqual(names, ['first'], 'a part of the batch is there without its checkpoint');
  if (bench.supports.foldState)
    assert.deepEqual(await session.readState(['count']), [held?.log === 4 ? '3' : null]);
  const report = await session.apply(batch);
  assert.deepEqual([report.applied + report.older, report.failed], [3, []]);
  await bench.seesProducts({ a: 'second', b: 'new', c: 'new' });
  assert.deepEqual(await session.checkpoint(), batch.checkpoint);
}

async function applyDying(
  session: SinkSession,
  batch: Parameters<SinkSession['apply']>[0],
  name: CrashPoint,
): Promise<void> {
  const death = new TallyError('STORE_UNREACHABLE', { what: `the worker died at ${name}` });
  let dead = false;
  armPoints((at) => {
    // Once dead, nothing after the point may reach the store, as in a process that is gone.
    if (at === name) dead = true;
    if (dead) throw death;
  });
  try {
    await session.apply(batch);
    assert.ok(!dead, `the sink passed ${name} and swallowed what was thrown there`);
  } catch (error) {
    if (!dead) throw error;
  } finally {
    armPoints(undefined);
  }
}
