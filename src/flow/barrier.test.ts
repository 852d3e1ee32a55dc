import { expect, test } from 'vitest';
import type { Evidence } from '../core/evidence.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import { barrier, type BarrierOptions, type Freshness } from './barrier.ts';
import { ProgressBoard } from './progress.ts';

const flows = [{ name: 'f', lane: 'orders' }];

function evidence(lane: string, ...positions: readonly (readonly [number, number])[]): Evidence {
  return new Map([[lane, positions.map(([epoch, offset]) => ({ epoch, offset }))]]);
}

function table() {
  const clock = virtualClock();
  const board = new ProgressBoard();
  const publish = (
    offset: number,
    { epoch = 1, parked = [] as readonly string[], flow = 'f', lane = 'orders' } = {},
  ): void =>
    board.publish(flow, {
      lane,
      through: { epoch, offset },
      throughAtMs: undefined,
      parkedUnits: parked,
    });
  const ask = (options: Partial<BarrierOptions> = {}): Promise<Freshness> =>
    barrier({
      after: evidence('orders', [1, 10]),
      flows,
      board,
      clock,
      withinMs: 1_000,
      ...options,
    });
  return { clock, publish, ask };
}

test('evidence that is covered is fresh at once, and sets no timer', async () => {
  const { clock, publish, ask } = table();
  publish(10);
  expect(await ask()).toEqual({ kind: 'fresh' });
  expect(clock.timers).toBe(0);
});

test('no evidence asks for nothing; evidence that no flow carries is unsupported', async () => {
  const { ask } = table();
  expect(await ask({ after: new Map() })).toEqual({ kind: 'fresh' });
  expect(await ask({ after: evidence('stock', [1, 1]) })).toEqual({
    kind: 'unsupported',
    lanes: ['stock'],
  });
  expect(await ask({ flows: [] })).toEqual({ kind: 'unsupported', lanes: ['orders'] });
});

test('who does not wait is told how far behind it is', async () => {
  const { publish, ask } = table();
  expect(await ask({ withinMs: 0 })).toEqual({
    kind: 'stale',
    by: [
      {
        flow: 'f',
        lane: 'orders',
        need: { epoch: 1, offset: 10 },
        seen: undefined,
        offsets: undefined,
      },
    ],
  });
  publish(4);
  expect(await ask({ withinMs: 0 })).toMatchObject({ kind: 'stale', by: [{ offsets: 6 }] });
});

test('who waits is woken by the publication that reaches it, without the clock', async () => {
  const { clock, publish, ask } = table();
  const waiting = ask();
  publish(9);
  publish(10);
  expect(await waiting).toEqual({ kind: 'fresh' });
  expect(clock.elapsedMs).toBe(0);
  expect(clock.timers).toBe(0);
});

test('when the limit passes it says what was seen and how long it waited', async () => {
  const { clock, publish, ask } = table();
  const waiting = ask({ withinMs: 200 });
  publish(7);
  await clock.advance(199);
  publish(8);
  await clock.advance(1);
  expect(await waiting).toEqual({
    kind: 'timeout',
    waitedMs: 200,
    seen: [
      {
        flow: 'f',
        lane: 'orders',
        need: { epoch: 1, offset: 10 },
        seen: { epoch: 1, offset: 8 },
        offsets: 2,
      },
    ],
  });
});

test('who gives up is answered at once, with what was seen until then', async () => {
  const { clock, publish, ask } = table();
  publish(3);
  const stop = new AbortController();
  const waiting = ask({ signal: stop.signal });
  stop.abort();
  expect(await waiting).toMatchObject({ kind: 'timeout', seen: [{ offsets: 7 }] });
  expect(await ask({ signal: stop.signal })).toMatchObject({ kind: 'timeout' });
  expect(clock.timers).toBe(0);
});

test('an earlier epoch is incomparable at once; a later one may still come', async () => {
  const { clock, publish, ask } = table();
  publish(99, { epoch: 2 });
  expect(await ask()).toMatchObject({ kind: 'incomparable', by: [{ flow: 'f' }] });
  const later = ask({ after: evidence('orders', [3, 1]) });
  publish(1, { epoch: 3 });
  expect(await later).toEqual({ kind: 'fresh' });
  const never = ask({ after: evidence('orders', [4, 1]) });
  await clock.advance(1_000);
  expect((await never).kind).toBe('timeout');
});

test('evidence with an epoch that passed is incomparable, whatever else it has', async () => {
  const { publish, ask } = table();
  publish(5, { epoch: 2 });
  expect((await ask({ after: evidence('orders', [1, 1], [2, 5]) })).kind).toBe('incomparable');
});

test('who waits when a new epoch begins hears that what it waits for will not come', async () => {
  const { publish, ask } = table();
  publish(1);
  const waiting = ask();
  publish(0, { epoch: 2 });
  expect((await waiting).kind).toBe('incomparable');
});

test('parked work blocks a barrier that names no keys, and only the keys it names', async () => {
  const { publish, ask } = table();
  publish(10, { parked: ['source products ["a"]'] });
  expect(await ask()).toEqual({ kind: 'blocked', parked: ['source products ["a"]'] });
  expect(await ask({ units: ['source products ["a"]', 'source products ["b"]'] })).toEqual({
    kind: 'blocked',
    parked: ['source products ["a"]'],
  });
  expect(await ask({ units: ['source products ["b"]'] })).toEqual({ kind: 'fresh' });
  expect(await ask({ units: [] })).toEqual({ kind: 'fresh' });
});

test('who waits is told at once when what it waits for is parked', async () => {
  const { clock, publish, ask } = table();
  publish(3);
  const waiting = ask({ units: ['u'] });
  const other = ask({ units: ['v'] });
  publish(4, { parked: ['u'] });
  expect(await waiting).toEqual({ kind: 'blocked', parked: ['u'] });
  publish(10, { parked: ['u'] });
  expect(await other).toEqual({ kind: 'fresh' });
  expect(clock.elapsedMs).toBe(0);
});

test('every flow into the store must have it, from each lane that it carries', async () => {
  const { publish, ask } = table();
  const both = [...flows, { name: 'g', lane: 'orders' }, { name: 'h', lane: 'stock' }];
  const after: Evidence = new Map([...evidence('orders', [1, 10]), ...evidence('stock', [1, 2])]);
  const waiting = ask({ flows: both, after });
  publish(10);
  publish(2, { flow: 'h', lane: 'stock' });
  expect(await ask({ flows: both, after, withinMs: 0 })).toMatchObject({
    kind: 'stale',
    by: [{ flow: 'g' }],
  });
  publish(11, { flow: 'g' });
  expect(await waiting).toEqual({ kind: 'fresh' });
});
