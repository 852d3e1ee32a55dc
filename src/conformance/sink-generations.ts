import assert from 'node:assert/strict';
import {
  checkpointAt,
  put,
  rejects,
  shapes,
  type SinkBench,
  type SinkCase,
} from './sink-harness.ts';

const switching: SinkCase['when'] = (supports) => supports.switchOver;
const fixed: SinkCase['when'] = (supports) => !supports.switchOver;

/** Fold state, generations, reset. */
export const sinkGenerationCases: readonly SinkCase[] = [
  {
    id: 'SK-050',
    policy: 'keeps fold state with the batch, by name, and forgets what is set to null',
    when: (supports) => supports.foldState,
    run: async (bench) => {
      const session = await bench.session();
      assert.deepEqual(await session.readState(['sum', 'count']), [null, null]);
      await bench.apply(
        session,
        [put('a', 'first', { offset: 10 })],
        [
          { name: 'sum', value: '{"n":1}' },
          { name: "o'count\u{1F600}", value: '2' },
        ],
      );
      assert.deepEqual(await session.readState(["o'count\u{1F600}", 'none', 'sum']), [
        '2',
        null,
        '{"n":1}',
      ]);
      await bench.apply(session, [], [{ name: 'sum', value: null }]);
      await bench.subject.reopen();
      const again = await bench.session({ workerEpoch: 2 });
      assert.deepEqual(await again.readState(['sum', "o'count\u{1F600}"]), [null, '2']);
    },
  },
  {
    id: 'SK-050',
    policy: 'refuses fold state, which its manifest does not offer',
    when: (supports) => !supports.foldState,
    run: async (bench) => {
      const session = await bench.session();
      await rejects(session.readState(['sum']), 'CAPABILITY_MISSING');
      await rejects(
        bench.apply(session, [put('a', 'first', { offset: 10 })], [{ name: 'sum', value: '1' }]),
        'CAPABILITY_MISSING',
      );
      assert.equal(await session.checkpoint(), undefined);
      await bench.seesProducts({});
    },
  },
  {
    id: 'SK-051',
    policy: 'keeps no fold state of a batch of which a write failed',
    when: (supports) => supports.foldState,
    run: async (bench) => {
      const session = await bench.session();
      const bad = {
        ...put('bad', 'x', { offset: 10 }),
        row: { sku: 'bad', name: new Map() as unknown as string, price: 1 },
      };
      const report = await bench.apply(session, [bad], [{ name: 'sum', value: '1' }]);
      assert.equal(report.failed.length, 1);
      assert.deepEqual(await session.readState(['sum']), [null]);
    },
  },
  {
    id: 'SK-060',
    policy: 'shows no generation before the first was opened, then that one',
    run: async (bench) => {
      assert.equal(await bench.sink.generation('shop'), undefined);
      await bench.session();
      assert.equal(await bench.sink.generation('shop'), 1);
      await bench.subject.reopen();
      assert.equal(await bench.sink.generation('shop'), 1);
    },
  },
  {
    id: 'SK-061',
    policy:
      'builds a generation beside the running one; readers see it only once it is switched to',
    when: switching,
    run: switchesOver,
  },
  {
    id: 'SK-061',
    policy: 'refuses a second generation and a switch, which its manifest does not offer',
    when: fixed,
    run: async (bench) => {
      const session = await bench.session();
      await bench.apply(session, [put('a', 'first', { offset: 10 })]);
      await rejects(bench.session({ generation: 2 }), 'CAPABILITY_MISSING');
      await rejects(bench.sink.switchTo('shop', 2, shapes('products'), 1), 'CAPABILITY_MISSING');
      assert.equal(await bench.sink.generation('shop'), 1);
      await bench.seesProducts({ a: 'first' });
    },
  },
  {
    id: 'SK-062',
    policy: 'keeps versions, tombstones and state of two generations apart',
    when: switching,
    run: async (bench) => {
      const first = await bench.session();
      await bench.apply(
        first,
        [put('a', 'new', { offset: 90 }), put('b', null, { offset: 91 })],
        stateOf(bench, '1'),
      );
      const second = await bench.session({ generation: 2 });
      if (bench.supports.foldState) assert.deepEqual(await second.readState(['n']), [null]);
      await bench.apply(
        second,
        [put('a', 'old', { offset: 10 }), put('b', 'old', { offset: 11 })],
        stateOf(bench, '2'),
      );
      if (bench.supports.foldState) assert.deepEqual(await first.readState(['n']), ['1']);
      await second.reset();
      await bench.seesProducts({ a: 'new' });
      assert.notEqual(await first.checkpoint(), undefined);
    },
  },
  {
    id: 'SK-063',
    policy: 'lets no write to the generation before reach readers after the switch',
    when: switching,
    run: async (bench) => {
      const first = await bench.session();
      await bench.apply(first, [put('a', 'first', { offset: 10 })]);
      const second = await bench.session({ generation: 2 });
      await bench.apply(second, [put('a', 'rebuilt', { offset: 10 })]);
      await bench.sink.switchTo('shop', 2, shapes('products'), 1);
      // Whether it is refused or goes nowhere is the store's choice; that nobody sees it is not.
      await bench.apply(first, [put('a', 'late', { offset: 99 })]).catch(() => undefined);
      await bench.seesProducts({ a: 'rebuilt' });
      await bench.applyEach(second, [put('a', 'next', { offset: 11 }), 'applied']);
      await bench.seesProducts({ a: 'next' });
    },
  },
  {
    id: 'SK-064',
    policy: 'refuses a switch by a worker of an older epoch',
    when: switching,
    run: async (bench) => {
      await bench.session({ workerEpoch: 2 });
      await bench.session({ generation: 2, workerEpoch: 2 });
      await rejects(bench.sink.switchTo('shop', 2, shapes('products'), 1), 'FENCED_OUT');
      assert.equal(await bench.sink.generation('shop'), 1);
    },
  },
  {
    id: 'SK-065',
    policy: 'empties a generation on reset: rows, tombstones, state and checkpoint',
    run: async (bench) => {
      const session = await bench.session();
      await bench.apply(
        session,
        [put('a', 'first', { offset: 20 }), put('b', null, { offset: 21 })],
        stateOf(bench, '1'),
      );
      await session.reset();
      await bench.seesProducts({});
      assert.equal(await session.checkpoint(), undefined);
      assert.equal(await bench.sink.peek('shop'), undefined);
      if (bench.supports.foldState) assert.deepEqual(await session.readState(['n']), [null]);
      await bench.applyEach(
        session,
        [put('a', 'older', { offset: 5 }), 'applied'],
        [put('b', 'older', { offset: 6 }), 'applied'],
      );
      await bench.seesProducts({ a: 'older', b: 'older' });
    },
  },
];

function stateOf(bench: SinkBench, value: string): readonly { name: string; value: string }[] {
  return bench.supports.foldState ? [{ name: 'n', value }] : [];
}

async function switchesOver(bench: SinkBench): Promise<void> {
  const first = await bench.session();
  await bench.apply(first, [
    put('a', 'first', { offset: 10 }),
    put('b', 'only in 1', { offset: 11 }),
  ]);
  const second = await bench.session({ generation: 2 });
  assert.equal(await second.checkpoint(), undefined);
  await second.apply({
    writes: [put('a', 'rebuilt', { offset: 10 })],
    state: [],
    checkpoint: checkpointAt(50, { offset: 10 }),
  });
  assert.equal(await bench.sink.generation('shop'), 1);
  await bench.seesProducts({ a: 'first', b: 'only in 1' });
  assert.deepEqual(await bench.sink.peek('shop'), checkpointAt(2, { offset: 11 }));
  await bench.apply(first, [put('a', 'still written', { offset: 12 })]);
  await bench.seesProducts({ a: 'still written', b: 'only in 1' });

  await bench.sink.switchTo('shop', 2, shapes('products'), 1);
  await bench.sink.switchTo('shop', 2, shapes('products'), 1);
  assert.equal(await bench.sink.generation('shop'), 2);
  await bench.seesProducts({ a: 'rebuilt' });
  assert.deepEqual(await bench.sink.peek('shop'), checkpointAt(50, { offset: 10 }));

  await bench.subject.reopen();
  assert.equal(await bench.sink.generation('shop'), 2);
  const again = await bench.session({ generation: 2, workerEpoch: 2 });
  assert.deepEqual(await again.checkpoint(), checkpointAt(50, { offset: 10 }));
  await bench.applyEach(again, [put('a', 'next', { offset: 11 }), 'applied']);
  await bench.seesProducts({ a: 'next' });
}
