import { describe, expect, test } from 'vitest';
import { must, unreachable } from '../../core/errors.ts';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import type { Caches } from '../../ports/cache.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memory, type MemoryStore } from '../../stores/memory/index.ts';
import { cache, type Cache } from './index.ts';

// A small model checker. Every step of every process that others could see (a call to the shared tier, a read or a write of
// the database) waits at a gate; a schedule says which gate opens next. All schedules are run, one after the other: a run
// notes how many gates it could have chosen from at each step, and the next run takes the last choice that is left.
//
// What must hold in each of them: a read that begins after a write was acknowledged never answers what was there before it,
// and once everything is over, every process that lives answers the last acknowledged write.

const BOUND_RUNS = 60_000;

type Actor =
  | 'read'
  | 'read-elsewhere'
  | 'read-twice'
  | 'write'
  | 'delete'
  | 'tag'
  | 'set'
  | 'crash'
  | 'expire'
  | 'lease-ends';

interface Gate {
  readonly name: string;
  readonly open: () => void;
}

interface World {
  readonly clock: VirtualClock;
  readonly gates: Gate[];
  readonly stores: readonly MemoryStore[];
  readonly caches: readonly Cache<string, number>[];
  version: number;
  /** The newest version whose write was acknowledged. */
  acknowledged: number;
  readonly crashed: Set<number>;
  readonly problems: string[];
}

function gateOf(world: World, name: string): Promise<void> {
  return new Promise((resolve) => {
    world.gates.push({ name, open: resolve });
  });
}

async function worldOf({ near, lies }: Kind): Promise<World> {
  const clock = virtualClock();
  const state = createMemoryState();
  const random = seededRandom(1);
  const stores: MemoryStore[] = [];
  const caches: Cache<string, number>[] = [];
  const world: World = {
    clock,
    gates: [],
    stores,
    caches,
    version: 0,
    acknowledged: 0,
    crashed: new Set(),
    problems: [],
  };
  let isGated = false;
  for (let process = 0; process < 3; process += 1) {
    const store = await memory({ state }).open({ name: `p${process}`, clock, random });
    stores.push(store);
    caches.push(
      await cache<string, number>({
        name: 'things',
        store: lies === true ? { caches: lying(store.caches) } : store,
        ...(near ? { near: {} } : {}),
        ttl: '5s',
        jitter: 0,
        early: 0,
        clock,
        random,
        shared: { timeout: '1m' },
        tags: () => ['tag'],
        load: async () => {
          if (isGated) await gateOf(world, `p${process} reads the database`);
          const value = world.version;
          if (isGated) await gateOf(world, `p${process} has it`);
          return value;
        },
      }),
    );
  }
  await must(caches[2], 'a process').get('a');
  isGated = true;
  state.hook = { before: (unit) => gateOf(world, unit.operation) };
  return world;
}

async function readAt(world: World, process: number): Promise<void> {
  const floor = world.acknowledged;
  try {
    const value = (await must(world.caches[process], 'a process').get('a')) ?? -1;
    if (value < floor && !world.crashed.has(process))
      world.problems.push(`p${process} answered ${value} after ${floor} was acknowledged`);
  } catch {
    // A load out of time, a process that died: no answer is no stale answer.
  }
}

function start(world: World, actor: Actor): Promise<void> {
  const { clock, caches, stores, crashed } = world;
  const writer = must(caches[2], 'a process');
  const change = async (how: () => Promise<unknown>): Promise<void> => {
    await gateOf(world, 'writes the database');
    const mine = (world.version += 1);
    await how();
    world.acknowledged = Math.max(world.acknowledged, mine);
  };
  switch (actor) {
    case 'read':
      return readAt(world, 0);
    case 'read-elsewhere':
      return readAt(world, 1);
    case 'read-twice':
      return readAt(world, 1).then(() => readAt(world, 1));
    case 'write':
      return change(() => writer.write('a', () => undefined));
    case 'delete':
      return change(() => writer.delete('a'));
    case 'tag':
      return change(() => writer.invalidateTags(['tag']));
    case 'set':
      return change(() => writer.set('a', world.version));
    case 'crash':
      return gateOf(world, 'p0 is killed').then(() => {
        crashed.add(0);
        return stores[0]?.crash();
      });
    case 'expire':
      return gateOf(world, 'entries end').then(() => clock.advance(5_001));
    case 'lease-ends':
      return gateOf(world, 'leases end').then(() => clock.advance(11_001));
    default:
      return unreachable(actor);
  }
}

/** What is checked; `lies`: a tier that stores what was loaded whether its lease stands or not. */
interface Kind {
  readonly near: boolean;
  readonly lies?: true;
}

/** Everything that can go on has gone on: virtual time as well, which takes a turn for each of its timers. */
async function turn(): Promise<void> {
  for (let left = 4; left > 0; left -= 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Runs one schedule: choices as far as they go, then always the first gate. Answers all choices, and how many there were. */
async function run(
  actors: readonly Actor[],
  kind: Kind,
  choices: readonly number[],
): Promise<{ taken: number[]; widths: number[]; problems: readonly string[]; trace: string[] }> {
  const world = await worldOf(kind);
  let running = actors.length;
  const crashes = actors.includes('crash');
  for (const actor of actors) void start(world, actor).finally(() => (running -= 1));
  const taken: number[] = [];
  const widths: number[] = [];
  const trace: string[] = [];
  for (let step = 0; ; step += 1) {
    await turn();
    if (world.gates.length === 0) break;
    const choice = Math.min(choices[step] ?? 0, world.gates.length - 1);
    widths.push(world.gates.length);
    taken.push(choice);
    const [gate] = world.gates.splice(choice, 1);
    trace.push(gate?.name ?? '');
    gate?.open();
  }
  if (running > 0 && !crashes) {
    // Whoever waits still, waits for time: for a lease whose holder gave up.
    await world.clock.advance(30_000);
    while (world.gates.length > 0) {
      world.gates.shift()?.open();
      await turn();
    }
    if (running > 0) world.problems.push(`${running} never ended`);
  }
  const last = [readAt(world, 1), readAt(world, 2)];
  for (let quiet = 0; quiet < 3; quiet += 1) {
    await turn();
    while (world.gates.length > 0) {
      quiet = 0;
      world.gates.shift()?.open();
      await turn();
    }
  }
  await world.clock.advance(30_000);
  await Promise.all(last);
  return { taken, widths, problems: world.problems, trace };
}

async function exhaust(actors: readonly Actor[], kind: Kind): Promise<number> {
  let choices: readonly number[] = [];
  for (let runs = 1; ; runs += 1) {
    const { taken, widths, problems, trace } = await run(actors, kind, choices);
    expect(problems, `schedule ${JSON.stringify(taken)}: ${trace.join(' → ')}`).toEqual([]);
    const at = taken.findLastIndex((choice, step) => choice + 1 < (widths[step] ?? 0));
    if (at === -1) return runs;
    if (runs >= BOUND_RUNS) throw new Error(`more than ${BOUND_RUNS} schedules`);
    choices = [...taken.slice(0, at), (taken[at] ?? 0) + 1];
  }
}

// The whole list takes minutes: TALLY_LONG=1 runs it.
const slice: readonly (readonly Actor[])[] = [
  ['read', 'write'],
  ['read', 'set'],
  ['read', 'tag', 'expire'],
  ['read', 'delete', 'expire'],
];
const whole: readonly (readonly Actor[])[] = [
  ['read', 'read-elsewhere', 'delete'],
  ['read', 'read-elsewhere', 'write', 'expire'],
  ['read', 'read-twice', 'write', 'expire'],
  ['read', 'read-elsewhere', 'delete', 'expire', 'crash'],
  ['read', 'write', 'delete', 'expire'],
  ['read', 'tag', 'write', 'expire'],
  ['read', 'read-elsewhere', 'write', 'lease-ends'],
];
const scenarios = process.env['TALLY_LONG'] === '1' ? [...slice, ...whole] : slice;

describe.each([
  { near: false, where: 'a shared tier' },
  { near: true, where: 'copies before a shared tier' },
])('$where, in every order of steps', ({ near }) => {
  test.each(scenarios.map((actors) => ({ actors, name: actors.join(', ') })))(
    'answers nothing stale after an acknowledged change: $name',
    { timeout: 600_000 },
    async ({ actors }) => {
      const runs = await exhaust(actors, { near });
      console.info(`${actors.join(', ')}: ${runs} schedules`);
      expect(runs).toBeGreaterThan(1);
    },
  );
});

function lying(caches: Caches): Caches {
  return {
    supports: caches.supports,
    async open(options) {
      const tier = await caches.open(options);
      tier.fillMany = (fills) => tier.putMany(fills);
      return tier;
    },
  };
}

test('the checker finds a tier that stores what was loaded before an invalidation', async () => {
  await expect(exhaust(['read', 'write', 'expire'], { near: false, lies: true })).rejects.toThrow(
    /^schedule /,
  );
});
