import { afterEach, describe, expect, test } from 'vitest';
import { armPoints, crashPoints, type CrashPoint } from '../../src/observe/point.ts';
import type { SagaView } from '../../src/patterns/saga/index.ts';
import { violationsOf } from './check.ts';
import { forward, orderIn, undoable } from './order.ts';
import { type Fault, type Script, World } from './world.ts';

afterEach(() => armPoints(undefined));

const steps = [...undoable, ...forward];
const faults: readonly Fault[] = [
  'error',
  'error-after',
  'timeout',
  'deaf',
  'crash-before',
  'crash-after',
  'zombie',
];
/** Longer than every retry, lease, pause and cool-down of one order together. */
const LIMIT_MS = 600_000;

/** One order in two processes, of which the first begins it and the second is there to take over. */
async function run(script: Script, dies: World['dies'] = () => false): Promise<[World, SagaView]> {
  const world = new World(1);
  const definition = orderIn(world);
  world.script = script;
  const first = world.spawn([definition]);
  await world.clock.advance(100);
  world.spawn([definition]);
  await world.clock.advance(1_000);
  world.dies = dies;
  await world
    .as(first, (engine) => engine.start(definition, { id: 'o', input: { amount: 10, parcels: 2 } }))
    .catch(() => undefined);
  await world.clock.runUntil(() => world.isQuiet(), LIMIT_MS);
  // What was deaf or a zombie comes to its end, and finds that it is too late.
  await world.clock.advance(120_000);
  world.dies = () => false;
  const asked = world.spawn([definition]);
  const view = world.as(asked, (engine) => engine.show('o'));
  // Whether there is such a saga is for the caller; meanwhile nobody waits for the answer.
  view.catch(() => undefined);
  await world.clock.advance(10);
  return [world, await view];
}

/** The fault at the first call of one step; everything else goes well. */
function once(path: string, phase: 'do' | 'undo', fault: Fault): Script {
  return (at, of, call) => (at === path && of === phase && call === 1 ? fault : 'none');
}

function expectEnd(world: World, view: SagaView, status: SagaView['status']): void {
  const story = world.events.join('\n');
  expect(violationsOf(world, view, steps), story).toEqual([]);
  expect(view.status, `${story}\n${JSON.stringify(view.history, undefined, 1)}`).toBe(status);
  expect(world.participant.balance, story).toBe(status === 'completed' ? 10 * steps.length : 0);
}

describe('an order whose every step goes well is completed whatever one call suffers', () => {
  test.each(steps.flatMap((path) => faults.map((fault) => [path, fault] as const)))(
    '%s: %s',
    async (path, fault) => {
      const [world, view] = await run(once(path, 'do', fault));
      expectEnd(world, view, 'completed');
    },
  );
});

describe('an order whose pivot is refused is compensated whatever one call suffers', () => {
  const cases = undoable.flatMap((path) =>
    (['do', 'undo'] as const).flatMap((phase) =>
      faults.map((fault) => [phase, path, fault] as const),
    ),
  );
  test.each(cases)('%s %s: %s', async (phase, path, fault) => {
    const faulty = once(path, phase, fault);
    const [world, view] = await run((at, of, call) =>
      at === 'charge' && of === 'do' ? 'refused' : faulty(at, of, call),
    );
    expectEnd(world, view, 'compensated');
  });
});

describe('a step that never succeeds', () => {
  test.each(undoable)('%s: what was done is undone, the last first', async (path) => {
    const [world, view] = await run((at) => (at === path ? 'error' : 'none'));
    // Its undo fails for ever too: the order is parked, and what stands below waits.
    expect(violationsOf(world, view, steps)).toEqual([]);
    expect(view.outcome).toMatchObject({ status: 'parked', path, during: 'undo' });
  });

  test('after an unknown outcome a pivot that took effect is found by its probe', async () => {
    const [world, view] = await run((at) => (at === 'charge' ? 'error-after' : 'none'));
    expectEnd(world, view, 'completed');
  });

  test('a pivot of which nobody knows is parked, and nothing is undone', async () => {
    const [world, view] = await run((at) => (at === 'charge' ? 'error' : 'none'));
    expect(view.outcome).toMatchObject({ status: 'parked', path: 'charge', during: 'do' });
    expect(world.participant.balance).toBe(10 * undoable.length);
  });
});

describe('a process that dies at any point of the engine is taken over from', () => {
  const points = crashPoints.filter((name) => /^(?:saga|ledger)\./.test(name));
  const cases = points.flatMap((name) => [1, 2, 4, 7].map((count) => [name, count] as const));
  test.each(cases)('%s, reached the %i. time', async (name: CrashPoint, count) => {
    for (const refusal of [false, true]) {
      let reached = 0;
      const [world, view] = await run(
        (at, of) => (refusal && at === 'charge' && of === 'do' ? 'refused' : 'none'),
        (here) => here === name && (reached += 1) === count,
      ).catch((error: unknown) => {
        // It died before the order was recorded.
        expect(String(error)).toContain('there is no saga');
        return [undefined, undefined] as const;
      });
      if (world !== undefined) expectEnd(world, view, refusal ? 'compensated' : 'completed');
      armPoints(undefined);
    }
  });
});
