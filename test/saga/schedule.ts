import { isTallyError, TallyError } from '../../src/core/errors.ts';
import { armPoints } from '../../src/observe/point.ts';
import type { SagaView } from '../../src/patterns/saga/index.ts';
import type { Random } from '../../src/ports/clock.ts';
import { violationsOf } from './check.ts';
import { forward, orderIn, type OrderInput, undoable } from './order.ts';
import { type Fault, type Process, World } from './world.ts';

/** How one schedule went. */
export interface ScheduleOutcome {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly events: readonly string[];
  readonly ends: Readonly<Record<string, number>>;
  readonly crashes: number;
  readonly virtualMs: number;
}

/** For how long things go wrong. */
const CHAOS_MS = 40_000;
/** Within which everything has come to its end once nothing goes wrong any more. */
const CALM_MS = 3_600_000;

const faults: readonly Fault[] = [
  'error',
  'error',
  'error-after',
  'refused',
  'timeout',
  'deaf',
  'crash-before',
  'crash-after',
  'zombie',
];

/**
 * Orders in several processes, while steps fail, processes die and are paused, the ledger answers late, wrongly or not
 * at all, and people cancel and decide; then calm. Everything is drawn from the seed.
 */
export async function runSchedule(seed: number): Promise<ScheduleOutcome> {
  const world = new World(seed);
  try {
    return await playOut(world, seed);
  } finally {
    armPoints(undefined);
  }
}

async function playOut(world: World, seed: number): Promise<ScheduleOutcome> {
  const { random, clock, state } = world;
  const definition = orderIn(world);
  const chance = (of: number): boolean => random.next() < of;
  let isCalm = false;
  const mischief = random.next() * 0.25;
  world.script = (path, phase) => {
    // A refused undo or a refusal after the point of no return is for a person: seldom.
    if (isCalm || !chance(mischief)) return 'none';
    const fault = pick(random, faults);
    const isForPerson = phase === 'undo' || !(undoable as readonly string[]).includes(path);
    return fault === 'refused' && isForPerson && !chance(0.1) && path !== 'charge'
      ? 'error'
      : fault;
  };
  const deadly = random.next() * 0.01;
  world.dies = () => !isCalm && chance(deadly);
  const slow = random.next() * 20;
  const wrong = random.next() * 0.05;
  state.hook = {
    before: async (unit) => {
      if (chance(0.3)) await clock.sleep(random.next() * slow);
      if (!isCalm && unit.operation === 'commit' && chance(wrong))
        throw new TallyError(pick(random, ['STORE_UNREACHABLE', 'STORE_FULL', 'STORE_BUSY']), {
          what: 'the ledger does not answer',
        });
    },
    after: (unit) => {
      if (!isCalm && unit.operation === 'commit' && chance(wrong))
        throw new TallyError('COMMIT_UNKNOWN', { what: 'the answer was lost' });
    },
  };
  const ids: string[] = [];
  const spawn = (): void => void world.spawn([definition]);
  spawn();
  spawn();
  while (clock.elapsedMs < CHAOS_MS) {
    await clock.advance(random.next() * 1_000);
    if (alive(world).length === 0 || (alive(world).length < 3 && chance(0.2))) spawn();
    await act(world, definition, ids, chance);
  }
  isCalm = true;
  spawn();
  await calmDown(world, ids);
  return report(world, seed, ids);
}

/** One thing that somebody outside does. */
async function act(
  world: World,
  definition: ReturnType<typeof orderIn>,
  ids: string[],
  chance: (of: number) => boolean,
): Promise<void> {
  const { random } = world;
  const process = pick(random, alive(world));
  if (process === undefined) return;
  const input: OrderInput = { amount: 1 + Math.floor(random.next() * 9), parcels: 2 };
  const drawn = random.next();
  if (drawn < 0.5) {
    const id = chance(0.1) && ids.length > 0 ? pick(random, ids) : `o${ids.length}`;
    if (!ids.includes(id)) ids.push(id);
    void world
      .as(process, (engine) => engine.start(definition, { id, input }))
      .catch(() => undefined);
  } else if (drawn < 0.6 && ids.length > 0) {
    const id = pick(random, ids);
    void world.as(process, (engine) => engine.cancel(id, 'changed my mind')).catch(() => undefined);
  } else if (drawn < 0.65) world.crash(process);
  else if (drawn < 0.7) world.pause(process);
  else if (drawn < 0.73) void world.as(process, (engine) => engine.close()).catch(() => undefined);
  else if (drawn < 0.8) await decideSome(world, process, ids);
}

/** A person decides about what is parked. */
async function decideSome(world: World, process: Process, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const decision = { operation: 'retry', by: 'ann', reason: 'again' } as const;
    void world.as(process, (engine) => engine.decide(id, decision)).catch(() => undefined);
  }
}

/** Until everything has ended; what is parked is tried again. */
async function calmDown(world: World, ids: readonly string[]): Promise<void> {
  const endsAtMs = world.clock.elapsedMs + CALM_MS;
  // A paused process comes back, what was deaf takes effect.
  await world.clock.advance(120_000);
  while (world.clock.elapsedMs < endsAtMs) {
    if (hasEnded(world)) return;
    await decideSome(world, world.spawned, ids);
    await world.clock.runUntil(() => hasEnded(world), 120_000);
  }
}

function hasEnded(world: World): boolean {
  return [...(world.state.ledger.spaces.get('saga/record')?.values() ?? [])].every(({ value }) =>
    /"status":"(?:completed|compensated|abandoned)"/.test(value),
  );
}

async function report(
  world: World,
  seed: number,
  ids: readonly string[],
): Promise<ScheduleOutcome> {
  const violations: string[] = [];
  const ends: Record<string, number> = {};
  let expected = 0;
  const steps = [...undoable, ...forward];
  for (const id of ids) {
    const view = await viewOf(world, id);
    if (view === undefined) continue;
    ends[view.status] = (ends[view.status] ?? 0) + 1;
    if (!['completed', 'compensated'].includes(view.status))
      violations.push(`${id} is ${view.status} after everything was calm`);
    violations.push(...violationsOf(world, view, steps));
    if (view.status === 'completed') expected += (view.input as OrderInput).amount * steps.length;
  }
  if (world.participant.balance !== expected)
    violations.push(`the books show ${world.participant.balance}, the sagas say ${expected}`);
  for (const space of ['saga/owned', 'saga/timer', 'saga/parked']) {
    const left = [...(world.state.ledger.spaces.get(space)?.keys() ?? [])];
    if (left.length > 0) violations.push(`${space} still holds ${left.join(', ')}`);
  }
  return {
    seed,
    violations,
    events: world.events,
    ends,
    crashes: world.processes.filter(({ isAlive }) => !isAlive).length,
    virtualMs: world.clock.elapsedMs,
  };
}

async function viewOf(world: World, id: string): Promise<SagaView | undefined> {
  const asked = world
    .as(world.spawned, (engine) => engine.show(id))
    .catch((error: unknown) => {
      if (!isTallyError(error, 'SAGA_UNKNOWN')) throw error;
    });
  let view: SagaView | undefined | 'none yet' = 'none yet';
  void asked.then(
    (found) => (view = found ?? undefined),
    () => (view = undefined),
  );
  await world.clock.runUntil(() => view !== 'none yet', 10_000);
  return (await asked) ?? undefined;
}

function alive(world: World): Process[] {
  return world.processes.filter(({ isAlive }) => isAlive);
}

function pick<Item>(random: Random, from: readonly Item[]): Item {
  return from[Math.floor(random.next() * from.length)] as Item;
}
