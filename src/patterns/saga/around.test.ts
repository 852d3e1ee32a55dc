import { expect, test } from 'vitest';
import { TallyError } from '../../core/errors.ts';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memoryLedger, type MemoryState } from '../../stores/memory/index.ts';
import { forgetEnded } from './retention.ts';
import {
  refused,
  saga,
  type SagaDefinition,
  SagaEngine,
  type SagaEngineOptions,
  type SagaEvent,
  type SagaOutcome,
} from './index.ts';

interface Bench {
  readonly clock: VirtualClock;
  readonly state: MemoryState;
  readonly engine: SagaEngine;
  readonly events: SagaEvent[];
  /** The outcome of a promise, with as much virtual time as it needs. */
  readonly after: <Result>(promise: Promise<Result>, ms?: number) => Promise<Result>;
  /** Another engine on the same ledger. */
  other(definitions: readonly SagaDefinition[], options?: Partial<SagaEngineOptions>): SagaEngine;
}

async function bench(
  definitions: readonly SagaDefinition[],
  options: Partial<SagaEngineOptions> = {},
): Promise<Bench> {
  const clock = virtualClock();
  const state = createMemoryState();
  const events: SagaEvent[] = [];
  let engines = 0;
  const other: Bench['other'] = (of, more = {}) =>
    new SagaEngine({
      ledger: memoryLedger({ state }),
      clock,
      random: seededRandom((engines += 1)),
      owner: `engine ${engines}`,
      isDead: () => false,
      definitions: of,
      run: true,
      observe: (event) => events.push(event),
      ...more,
    });
  const engine = other(definitions, options);
  await clock.advance(100);
  return {
    clock,
    state,
    engine,
    events,
    other,
    after: async (promise, ms = 3_600_000) => {
      let isOver = false;
      const over = (): void => void (isOver = true);
      promise.then(over, over);
      await clock.runUntil(() => isOver, ms);
      return promise;
    },
  };
}

async function outcomeOf<Input>(
  { engine, after }: Bench,
  definition: SagaDefinition<Input>,
  input: Input,
  id = 's',
): Promise<SagaOutcome> {
  const handle = await after(engine.start(definition, { id, input }));
  return after(handle.result({ within: '10h' }), 40_000_000);
}

const none = { undo: { none: 'a test' } } as const;

test('the same id is the same saga, whose steps run once', async () => {
  let runs = 0;
  const definition = saga<number>('once')
    .step('only', { do: () => (runs += 1), ...none })
    .end();
  const world = await bench([definition]);
  const [first, second] = await world.after(
    Promise.all([
      world.engine.start(definition, { id: 'a', input: 1 }),
      world.engine.start(definition, { id: 'a', input: 2 }),
    ]),
  );
  expect([first.created, second.created]).toEqual([true, false]);
  expect(await world.after(second.result())).toEqual({ status: 'completed', results: { only: 1 } });
  expect(runs).toBe(1);
});

test('an approval that comes late, twice under one id, counts once', async () => {
  const definition = saga<null>('approved')
    .signal<{ readonly by: string }, 'approval'>('approval', { timeout: '20m' })
    .retriable('act', { do: ({ results }) => results.approval.by })
    .end();
  const world = await bench([definition]);
  const handle = await world.after(world.engine.start(definition, { id: 'a', input: null }));
  await world.clock.advance(600_000);
  // Nothing of it is kept in the worker meanwhile.
  expect(world.engine.running).toBe(0);
  for (const by of ['ann', 'bob'])
    await world.after(
      world.engine.signal('a', 'approval', { payload: { by }, signalId: 'the-click' }),
    );
  expect(await world.after(handle.result())).toEqual({
    status: 'completed',
    results: { approval: { by: 'ann' }, act: 'ann' },
  });
  await expect(world.after(world.engine.signal('a', 'approval'))).rejects.toMatchObject({
    code: 'SAGA_STATE',
  });
});

test('a signal that does not come in time turns the saga back', async () => {
  const undone: string[] = [];
  const definition = saga<null>('approved')
    .step('hold', { do: () => 1, undo: ({ step }) => undone.push(step.path) })
    .signal('approval', { timeout: '20m' })
    .end();
  const world = await bench([definition]);
  const handle = await world.after(world.engine.start(definition, { id: 'a', input: null }));
  await world.clock.advance(1_300_000);
  expect(await world.after(handle.result())).toMatchObject({
    status: 'compensated',
    failure: { path: 'approval', error: { code: 'STEP_TIMEOUT' } },
  });
  expect(undone).toEqual(['hold']);
});

test('a saga that sleeps is gone on with by whichever worker is there then', async () => {
  const definition = saga<null>('sleeper')
    .sleep('night', '20m')
    .retriable('morning', { do: () => 'up' })
    .end();
  const world = await bench([definition]);
  await world.after(world.engine.start(definition, { id: 'a', input: null }));
  await world.clock.advance(10_000);
  await world.after(world.engine.close());
  const other = world.other([definition]);
  await world.clock.advance(1_300_000);
  expect(await world.after(other.result(definition, 'a'))).toMatchObject({ status: 'completed' });
});

test('a child saga gives its results to its parent; one that is compensated turns it back', async () => {
  const child = saga<{ readonly fails: boolean }>('child')
    .step('work', {
      do: ({ input }) => {
        if (input.fails) throw refused('no');
        return 7;
      },
      ...none,
    })
    .end();
  const undone: string[] = [];
  const parent = saga<boolean>('parent')
    .step('before', { do: () => 1, undo: () => undone.push('before') })
    .child('part', { saga: child, input: ({ input }) => ({ fails: input }), ...none })
    .end();
  const world = await bench([parent]);
  expect(await outcomeOf(world, parent, false, 'good')).toEqual({
    status: 'completed',
    results: { before: 1, part: { work: 7 } },
  });
  expect(await outcomeOf(world, parent, true, 'bad')).toMatchObject({
    status: 'compensated',
    failure: { path: 'part', error: { code: 'SAGA_FAILED' } },
  });
  expect(undone).toEqual(['before']);
});

test('cancelled before its pivot a saga goes back, its child with it; after it, it goes on and says so', async () => {
  const undone: string[] = [];
  const child = saga<null>('child')
    .step('hold', { do: () => 1, undo: () => undone.push('child hold') })
    .signal('never')
    .end();
  const parent = saga<null>('parent')
    .step('hold', { do: () => 1, undo: () => undone.push('hold') })
    .child('part', { saga: child, input: () => null, ...none })
    .end();
  const committed = saga<null>('committed')
    .pivot('pay', { do: () => 1 })
    .sleep('later', '5m')
    .end();
  const world = await bench([parent, committed]);
  const handle = await world.after(world.engine.start(parent, { id: 'p', input: null }));
  await world.clock.advance(5_000);
  await world.after(world.engine.cancel('p', 'by hand'));
  expect(await world.after(handle.result())).toMatchObject({
    status: 'compensated',
    failure: { why: 'cancelled' },
  });
  expect(undone).toEqual(['child hold', 'hold']);
  const late = await world.after(world.engine.start(committed, { id: 'c', input: null }));
  await world.clock.advance(1_000);
  await world.after(world.engine.cancel('c', 'too late'));
  expect(await world.after(late.result(), 10_000_000)).toMatchObject({ status: 'completed' });
  const { history } = await world.after(world.engine.show('c'));
  expect(history).toContainEqual(
    expect.objectContaining({ kind: 'cancel-refused', reason: 'too late' }),
  );
});

test('a deadline turns a saga back before its pivot, and only alerts after it', async () => {
  const before = saga<null>('before', { deadline: '1m' })
    .step('slow', { do: () => 1, ...none })
    .sleep('long', '5m')
    .end();
  const after = saga<null>('after', { deadline: '1m' })
    .pivot('pay', { do: () => 1 })
    .sleep('long', '5m')
    .end();
  const world = await bench([before, after]);
  expect(await outcomeOf(world, before, null, 'b')).toMatchObject({
    status: 'compensated',
    failure: { why: 'deadline' },
  });
  expect(await outcomeOf(world, after, null, 'a')).toMatchObject({ status: 'completed' });
  expect(world.events).toContainEqual({ kind: 'overdue', id: 'a', saga: 'after' });
});

test('of one key only so many run at the same time, whatever worker has them', async () => {
  let [running, most] = [0, 0];
  let clock: VirtualClock | undefined;
  const definition = saga<string>('one-by-one', { concurrency: { key: (who) => who, max: 1 } })
    .step('work', {
      do: async () => {
        most = Math.max(most, (running += 1));
        await clock?.sleep(100);
        running -= 1;
      },
      ...none,
    })
    .end();
  const world = await bench([definition]);
  ({ clock } = world);
  const other = world.other([definition]);
  await world.clock.advance(1_000);
  const handles = await world.after(
    Promise.all(
      [0, 1, 2, 3].map((number) =>
        (number % 2 === 0 ? world.engine : other).start(definition, {
          id: `s${number}`,
          input: 'ann',
        }),
      ),
    ),
  );
  await world.after(Promise.all(handles.map((handle) => handle.result())));
  expect(most).toBe(1);
});

test('of a step only so many are under way at the same time, over all workers; the others wait', async () => {
  let [running, most] = [0, 0];
  let clock: VirtualClock | undefined;
  const definition = saga<number>('narrow')
    .step('work', {
      concurrency: 2,
      do: async () => {
        most = Math.max(most, (running += 1));
        await clock?.sleep(100);
        running -= 1;
      },
      ...none,
    })
    .end();
  const world = await bench([definition]);
  ({ clock } = world);
  const other = world.other([definition]);
  await world.clock.advance(1_000);
  const handles = await world.after(
    Promise.all(
      [0, 1, 2, 3, 4, 5].map((input) =>
        (input % 2 === 0 ? world.engine : other).start(definition, { input }),
      ),
    ),
  );
  await world.after(Promise.all(handles.map((handle) => handle.result())));
  expect(most).toBe(2);
  expect(world.state.ledger.spaces.get('saga/place')?.size).toBe(0);
});

test('a place in a step that a dead worker left is free once its saga is in other hands', async () => {
  const started: string[] = [];
  const never = Promise.withResolvers<null>();
  const definition = saga<boolean>('narrow')
    .step('work', {
      concurrency: 1,
      do: async ({ saga: { id }, input, fence }) => {
        started.push(`${id} ${fence}`);
        return input && fence === 1 ? await never.promise : null;
      },
      ...none,
    })
    .end();
  const world = await bench([definition]);
  const doomed = memoryLedger({ state: world.state });
  const dead = world.other([definition], { ledger: doomed });
  await world.clock.advance(100);
  await world.after(dead.start(definition, { id: 'held', input: true }));
  await world.clock.advance(100);
  const waiting = await world.after(world.engine.start(definition, { id: 'next', input: false }));
  await world.clock.advance(1_000);
  expect(started).toEqual(['held 1']);
  doomed.crash();
  expect(await world.after(waiting.result())).toMatchObject({ status: 'completed' });
  expect(await world.after(world.engine.result(definition, 'held'))).toMatchObject({
    status: 'completed',
  });
  expect(started.toSorted()).toEqual(['held 1', 'held 2', 'next 1']);
  expect(world.state.ledger.spaces.get('saga/place')?.size).toBe(0);
});

test('a saga that waits for a place in a step can be cancelled, and leaves the line', async () => {
  let clock: VirtualClock | undefined;
  const definition = saga<null>('narrow')
    .step('work', { concurrency: 1, do: () => clock?.sleep(20_000), ...none })
    .end();
  const world = await bench([definition]);
  ({ clock } = world);
  const start = (id: string) => world.after(world.engine.start(definition, { id, input: null }));
  const [first, second, third] = [await start('a'), await start('b'), await start('c')];
  await world.clock.advance(1_000);
  await world.after(world.engine.cancel('b', 'too long'));
  expect(await world.after(second.result({ within: '2s' }))).toMatchObject({
    status: 'compensated',
  });
  for (const handle of [first, third])
    expect(await world.after(handle.result())).toMatchObject({ status: 'completed' });
});

test('of sagas that wait for room the greater priority starts first, then who waits the longest', async () => {
  const order: string[] = [];
  let clock: VirtualClock | undefined;
  const definition = saga<null>('queued')
    .step('work', {
      do: async ({ saga: { id } }) => {
        order.push(id);
        await clock?.sleep(1_000);
      },
      ...none,
    })
    .end();
  const world = await bench([definition], { runningMax: 1 });
  ({ clock } = world);
  const handles = [];
  for (const [id, priority] of [
    ['first', 0],
    ['low', 1],
    ['normal-1', 5],
    ['normal-2', 5],
    ['high', 9],
  ] as const) {
    handles.push(await world.after(world.engine.start(definition, { id, input: null, priority })));
    await world.clock.advance(1);
  }
  expect(world.engine.running).toBe(1);
  // As long as greater ones come, a lower one waits: there is no ageing.
  await world.clock.advance(2_300);
  handles.push(
    await world.after(world.engine.start(definition, { id: 'later', input: null, priority: 8 })),
  );
  for (const handle of handles) await world.after(handle.result());
  expect(order).toEqual(['first', 'high', 'normal-1', 'later', 'normal-2', 'low']);
});

test('a worker has no more sagas in its hands than it may, however many wait', async () => {
  let [running, most] = [0, 0];
  let clock: VirtualClock | undefined;
  const definition = saga<null>('many')
    .step('work', {
      do: async () => {
        most = Math.max(most, (running += 1));
        await clock?.sleep(50);
        running -= 1;
      },
      ...none,
    })
    .end();
  const world = await bench([definition], { runningMax: 3 });
  ({ clock } = world);
  const handles = await world.after(
    Promise.all(
      Array.from({ length: 40 }, (_, number) =>
        world.engine.start(definition, { id: `s${number}`, input: null }),
      ),
    ),
  );
  await world.after(Promise.all(handles.map((handle) => handle.result())));
  expect(most).toBe(3);
});

test('a worker without room still hears that a saga of its own is cancelled by another process', async () => {
  const definition = saga<null>('long')
    .step('work', {
      timeout: '1h',
      do: ({ signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
        ),
      ...none,
    })
    .end();
  const world = await bench([definition], { runningMax: 1 });
  const handle = await world.after(world.engine.start(definition, { id: 'a', input: null }));
  const asker = world.other([definition], { run: false });
  await world.after(asker.cancel('a', 'by hand'));
  expect(await world.after(handle.result({ within: '5s' }))).toMatchObject({
    status: 'compensated',
  });
});

test('a choice and a loop are decided once, and decided the same after another worker took over', async () => {
  const asked: string[] = [];
  const definition = saga<number>('shape')
    .choice('way', {
      on: ({ input }) => {
        asked.push('way');
        return input > 1 ? 'express' : 'normal';
      },
      branches: {
        express: (branch) => branch.step('fly', { do: () => 'flown', ...none }),
        normal: (branch) => branch.step('drive', { do: () => 'driven', ...none }),
      },
    })
    .loop(
      'parcels',
      {
        over: () => {
          asked.push('parcels');
          return ['a', 'b'];
        },
      },
      (body) => body.step('label', { do: ({ item, index }) => `${item}${index}`, ...none }),
    )
    .sleep('pause', '5m')
    .end();
  const world = await bench([definition]);
  await world.after(world.engine.start(definition, { id: 'a', input: 2 }));
  await world.clock.advance(10_000);
  await world.after(world.engine.close());
  const other = world.other([definition]);
  expect(await world.after(other.result(definition, 'a'), 10_000_000)).toEqual({
    status: 'completed',
    results: {
      way: { express: { fly: 'flown' } },
      parcels: [{ label: 'a0' }, { label: 'b1' }],
    },
  });
  expect(asked).toEqual(['way', 'parcels']);
});

test('a schedule starts its saga once for each moment, with any number of workers', async () => {
  const started: number[] = [];
  const often = saga<number>('often')
    .step('work', { do: ({ input }) => started.push(input), ...none })
    .end();
  const schedules = { often: { saga: often, every: '2m', input: (atMs: number) => atMs as never } };
  const world = await bench([], { schedules });
  world.other([], { schedules });
  await world.clock.advance(3 * 120_000);
  expect(started.length).toBe(4);
  expect(new Set(started).size).toBe(4);
});

test('a schedule by the clock starts its saga at the hour of its time zone, once for all workers', async () => {
  const started: string[] = [];
  const nightly = saga<number>('nightly')
    .step('work', { do: ({ input }) => started.push(new Date(input).toISOString()), ...none })
    .end();
  const schedules = {
    nightly: {
      saga: nightly,
      cron: '20 23 * * *',
      timeZone: 'Europe/Berlin',
      input: (atMs: number) => atMs as never,
    },
  };
  const world = await bench([], { schedules });
  world.other([], { schedules });
  await world.clock.advance(600_000);
  // Virtual time begins at 22:13 UTC: what the day before missed is made up for.
  expect(started).toEqual(['2023-11-13T22:20:00.000Z', '2023-11-14T22:20:00.000Z']);
});

test('an undo that throws for ever parks the saga; a person takes it up again, and the rest is undone', async () => {
  let isBroken = true;
  const undone: string[] = [];
  const definition = saga<null>('stuck')
    .step('first', { do: () => 1, undo: () => undone.push('first') })
    .step('second', {
      do: () => 1,
      undo: () => {
        if (isBroken) throw new Error('still broken');
        undone.push('second');
      },
    })
    .pivot('third', {
      do: () => {
        throw refused('no');
      },
    })
    .end();
  const world = await bench([definition]);
  expect(await outcomeOf(world, definition, null)).toMatchObject({
    status: 'parked',
    path: 'second',
    during: 'undo',
    error: { message: 'still broken' },
  });
  expect(undone).toEqual([]);
  expect(world.events).toContainEqual(expect.objectContaining({ kind: 'parked', path: 'second' }));
  expect(await world.after(world.engine.list({ status: 'parked' }))).toMatchObject([{ id: 's' }]);
  isBroken = false;
  await world.after(
    world.engine.decide('s', { operation: 'retry', by: 'ann', reason: 'the service is back' }),
  );
  expect(await world.after(world.engine.result(definition, 's'))).toMatchObject({
    status: 'compensated',
  });
  expect(undone).toEqual(['second', 'first']);
});

test('a pivot of which nobody knows is marked by a person: done it goes forward, not done it goes back', async () => {
  const undone: string[] = [];
  const definition = saga<null>('doubt')
    .step('hold', { do: () => 1, undo: () => undone.push('hold') })
    .pivot('pay', {
      do: (): string => {
        throw new Error('the line went dead');
      },
      retry: { attempts: 2 },
    })
    .retriable('tell', { do: ({ results }) => `paid ${results.pay}` })
    .end();
  const world = await bench([definition]);
  const decision = { operation: 'mark', by: 'ann', reason: 'asked the bank' } as const;
  for (const [id, took] of [
    ['yes', 'effect'],
    ['no', 'none'],
  ] as const) {
    expect(await outcomeOf(world, definition, null, id)).toMatchObject({ status: 'parked' });
    await world.after(world.engine.decide(id, { ...decision, took, result: 'r-1' }));
  }
  expect(await world.after(world.engine.result(definition, 'yes'))).toMatchObject({
    status: 'completed',
    results: { pay: 'r-1', tell: 'paid r-1' },
  });
  expect(await world.after(world.engine.result(definition, 'no'))).toMatchObject({
    status: 'compensated',
  });
  expect(undone).toEqual(['hold']);
});

test.each([
  ['not serialisable', (): unknown => new Date(0)],
  ['too large', (): unknown => 'x'.repeat(300_000)],
])('a result that is %s turns the saga back, with its own step undone', async (_what, give) => {
  const undone: unknown[] = [];
  const definition = saga<null>('big')
    .step('give', { do: give, undo: ({ outcome, result }) => undone.push([outcome, result]) })
    .end();
  const world = await bench([definition]);
  expect(await outcomeOf(world, definition, null)).toMatchObject({
    status: 'compensated',
    failure: { error: { code: 'SAGA_RESULT_INVALID' } },
  });
  expect(undone).toEqual([['unknown', undefined]]);
});

test('a definition that was changed or removed leaves its sagas as they are, named, until it is back', async () => {
  const original = saga<null>('shape')
    .sleep('wait', '10m')
    .retriable('end', { do: () => 1 })
    .end();
  const changed = saga<null>('shape')
    .sleep('wait', '10m')
    .retriable('other', { do: () => 1 })
    .end();
  const world = await bench([original]);
  await world.after(world.engine.start(original, { id: 'a', input: null }));
  await world.clock.advance(10_000);
  await world.after(world.engine.close());
  const wrong = world.other([changed]);
  await world.clock.advance(700_000);
  await world.after(wrong.close());
  const gone = world.other([]);
  await world.clock.advance(10_000);
  await world.after(gone.close());
  expect(world.events.filter(({ kind }) => kind === 'unknown-definition')).toEqual([
    { kind: 'unknown-definition', id: 'a', saga: 'shape', version: 1, why: 'changed' },
    { kind: 'unknown-definition', id: 'a', saga: 'shape', version: 1, why: 'missing' },
  ]);
  const next = saga<null>('shape', { version: 2 })
    .retriable('other', { do: () => 1 })
    .end();
  const right = world.other([original, next]);
  expect(await world.after(right.result(original, 'a'))).toMatchObject({ status: 'completed' });
});

test('a step that ignores its signal is left behind, and what it returns later is not recorded', async () => {
  let clock: VirtualClock | undefined;
  let calls = 0;
  const definition = saga<null>('deaf')
    .step('call', {
      timeout: '1s',
      do: async () => {
        const call = (calls += 1);
        if (call === 1) await clock?.sleep(60_000);
        return call;
      },
      ...none,
    })
    .end();
  const world = await bench([definition]);
  ({ clock } = world);
  expect(await outcomeOf(world, definition, null)).toEqual({
    status: 'completed',
    results: { call: 2 },
  });
  expect(world.events).toContainEqual({ kind: 'stray', id: 's', saga: 'deaf', path: 'call' });
  await world.clock.advance(120_000);
  const { history } = await world.after(world.engine.show('s'));
  expect(history.filter(({ kind }) => kind === 'done')).toHaveLength(1);
});

test('while the ledger is full a saga waits, and nothing that was done is done again', async () => {
  let isFull = false;
  let runs = 0;
  const definition = saga<null>('full')
    .step('one', {
      do: () => {
        isFull = true;
        return (runs += 1);
      },
      ...none,
    })
    .step('two', { do: () => (runs += 1), ...none })
    .end();
  const world = await bench([definition]);
  world.state.hook = {
    before: ({ operation }) => {
      if (isFull && operation === 'commit')
        throw new TallyError('STORE_FULL', { what: 'the disk is full' });
    },
  };
  const handle = await world.after(world.engine.start(definition, { id: 'a', input: null }));
  // Less than a lease: what cannot be renewed is lost, and taken up again.
  await world.clock.advance(2_000);
  expect(runs).toBe(1);
  isFull = false;
  const outcome = world.after(handle.result());
  world.state.hook = undefined;
  expect(await outcome).toMatchObject({ status: 'completed', results: { one: 1, two: 2 } });
  expect(runs).toBe(2);
});

test('while the ledger is full for longer than a lease, nothing starts, nothing is lost, and no result is doubled', async () => {
  let isFull = false;
  const runs: string[] = [];
  const definition = saga<null>('full')
    .step('one', {
      do: ({ attempt }) => {
        isFull ||= runs.length === 0;
        runs.push(`one ${attempt}`);
        return 1;
      },
      ...none,
    })
    .step('two', { do: () => runs.push('two'), ...none })
    .end();
  const world = await bench([definition]);
  world.state.hook = {
    before: ({ operation }) => {
      if (isFull && operation === 'commit')
        throw new TallyError('STORE_FULL', { what: 'the disk is full' });
    },
  };
  await world.after(world.engine.start(definition, { id: 'a', input: null }));
  await world.clock.advance(60_000);
  await expect(
    world.after(world.engine.start(definition, { id: 'b', input: null })),
  ).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(runs).toEqual(['one 1']);
  isFull = false;
  expect(await world.after(world.engine.result(definition, 'a'))).toMatchObject({
    status: 'completed',
  });
  // What the first attempt returned could not be kept: it is called again, under the same key, and recorded once.
  expect(runs).toEqual(['one 1', 'one 2', 'two']);
  const { history } = await world.after(world.engine.show('a'));
  expect(history.filter((entry) => entry.kind === 'done' && entry.path === 'one')).toHaveLength(1);
  await expect(world.after(world.engine.show('b'))).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' });
});

test('a clock that jumps back by a year delays what is timed by it, and loses and doubles nothing', async () => {
  const runs: string[] = [];
  let backMs = 0;
  const definition = saga<null>('back')
    .sleep('night', '10m')
    .retriable('end', { do: () => runs.push('end') })
    .end();
  const world = await bench([definition]);
  await world.after(world.engine.close());
  const clock = { ...clockOf(world.clock), nowMs: () => world.clock.nowMs() - backMs };
  const engine = world.other([definition], { clock });
  await world.clock.advance(1_000);
  await world.after(engine.start(definition, { id: 'a', input: null }));
  await world.clock.advance(1_000);
  backMs = 365 * 86_400_000;
  await world.clock.advance(3_600_000);
  expect((await world.after(engine.show('a'))).status).toBe('waiting');
  // A lease is renewed by the wall clock, and judged by the monotonic one: nobody looks dead, and new sagas go on.
  const handle = await world.after(
    engine.start(
      saga<null>('other')
        .retriable('act', { do: () => 1 })
        .end(),
      { input: null },
    ),
  );
  expect(await world.after(handle.result())).toMatchObject({ status: 'completed' });
  backMs = 0;
  expect(await world.after(engine.result(definition, 'a'))).toMatchObject({ status: 'completed' });
  expect(runs).toEqual(['end']);
  expect(world.events.filter(({ kind }) => kind === 'taken')).toEqual([]);
});

test('a clock that jumps by a year makes nobody look dead, and fires what is due by it', async () => {
  const definition = saga<null>('jump')
    .sleep('night', '1d')
    .retriable('end', { do: () => 1 })
    .end();
  const world = await bench([definition]);
  await world.after(world.engine.start(definition, { id: 'a', input: null }));
  await world.clock.advance(1_000);
  const yearMs = 365 * 86_400_000;
  const jumped = { ...clockOf(world.clock), nowMs: () => world.clock.nowMs() + yearMs };
  const other = world.other([definition], { clock: jumped });
  expect(await world.after(other.result(definition, 'a'))).toMatchObject({ status: 'completed' });
  expect(world.events.filter(({ kind }) => kind === 'taken')).toEqual([]);
});

test('what is redacted is neither in the ledger nor in what later steps see', async () => {
  const definition = saga<{ readonly card: string }>('secret', {
    redact: (value, { kind }) => (kind === 'input' ? { card: '…4242' } : value),
  })
    .step('pay', { do: ({ input }) => input.card, ...none })
    .end();
  const world = await bench([definition]);
  expect(await outcomeOf(world, definition, { card: '4242 4242 4242 4242' })).toMatchObject({
    results: { pay: '…4242' },
  });
  const records = [...(world.state.ledger.spaces.get('saga/record')?.values() ?? [])];
  expect(JSON.stringify(records)).not.toContain('4242 4242');
});

test('an ended saga is forgotten after its retention, with all that belongs to it', async () => {
  const definition = saga<null>('brief', { retention: '1h' })
    .loop('many', { over: () => Array.from({ length: 300 }, (_, index) => index) }, (body) =>
      body.step('work', { do: () => 'x'.repeat(100), ...none }),
    )
    .end();
  const world = await bench([definition]);
  expect(await outcomeOf(world, definition, null)).toMatchObject({ status: 'completed' });
  const { spaces } = world.state.ledger;
  expect(spaces.get('saga/page')?.size).toBeGreaterThan(1);
  await world.after(world.engine.close());
  expect(await forgetEnded(memoryLedger({ state: world.state }), world.clock.nowMs())).toBe(0);
  await forgetEnded(memoryLedger({ state: world.state }), world.clock.nowMs() + 3_600_000);
  for (const [name, records] of spaces)
    if (name.startsWith('saga/')) expect([name, records.size]).toEqual([name, 0]);
});

function clockOf(clock: VirtualClock) {
  return {
    nowMs: () => clock.nowMs(),
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms: number, signal?: AbortSignal) => clock.sleep(ms, signal),
    after: (ms: number, callback: () => void) => clock.after(ms, callback),
  };
}
