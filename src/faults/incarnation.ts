// oxlint-disable no-restricted-imports -- the simulator runs the whole application: what it finds is in the code that ships
import { tally } from '../app/definition.ts';
import { open } from '../app/open.ts';
import type { OpenApp } from '../app/open-app.ts';
import { leaveRequest, type AppRequest } from '../app/requests.ts';
// oxlint-enable no-restricted-imports
import type { Change } from '../core/change.ts';
import { errorText } from '../core/errors.ts';
import type { Row } from '../core/row.ts';
import { flow, put, remove, type FlowDefinition, type FoldState } from '../flow/definition.ts';
import type { SinkSupports } from '../ports/sink.ts';
import type { StoreContext } from '../ports/store.ts';
import { seededRandom } from '../runtime/random.ts';
import { memory, memoryLedger, memoryLog, type MemoryStore } from '../stores/memory/index.ts';
import { faultyLedger, faultyLog, faultySink, faultySource } from './faulty-ports.ts';
import type { States } from './invariants.ts';
import type { ProcessClock } from './virtual-clock.ts';
import { running, SimulatedCrash, type World } from './world.ts';

/** How the flows of a schedule are made. */
export interface Plan {
  readonly batchRows: number;
  readonly effect: SinkSupports['effect'];
}

/** One process of the coordinator, from its start to its end. */
export class Incarnation {
  readonly owner: string;
  readonly clock: ProcessClock;
  readonly #world: World;
  readonly #plan: Plan;
  readonly #run: boolean;
  readonly #opened: { crash(): void }[] = [];
  #dead = false;
  #suspended: PromiseWithResolvers<void> | undefined;
  app: OpenApp | undefined;

  constructor(world: World, plan: Plan, options: { readonly run: boolean }) {
    this.#world = world;
    this.#plan = plan;
    this.#run = options.run;
    this.owner = `${options.run ? 'worker' : 'reader'}-${world.incarnations.length + 1}`;
    this.clock = world.clock.process();
    world.incarnations.push(this);
  }

  get dead(): boolean {
    return this.#dead;
  }

  get suspended(): boolean {
    return this.#suspended !== undefined;
  }

  /** Opens the application; one that cannot be opened counts as a process that ended. */
  async start(): Promise<void> {
    const world = this.#world;
    world.event(`${this.owner} starts`);
    const random = seededRandom(`${this.owner} ${world.random.id()}`);
    const opening = running.run(this, () =>
      open(this.#declared(), {
        clock: this.clock,
        random,
        owner: this.owner,
        isDead: (owner) => world.incarnations.some((other) => other.owner === owner && other.dead),
        run: this.#run,
      }),
    );
    try {
      this.app = await opening;
    } catch (error) {
      world.event(`${this.owner} cannot start: ${errorText(error, 120)}`);
      this.crash('start');
    }
  }

  /** Ends the process as SIGKILL does. */
  crash(where: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#world.event(`${this.owner} crashes at ${where}`);
    this.clock.end();
    for (const opened of this.#opened) opened.crash();
    this.#suspended?.resolve();
  }

  /** Ends the process as SIGTERM does; whether it ended by itself. */
  async stop(): Promise<void> {
    const { app } = this;
    if (app === undefined) return;
    this.#world.event(`${this.owner} stops`);
    await running.run(this, () => app.close());
    this.#world.event(`${this.owner} has stopped`);
    this.#dead = true;
    this.clock.end();
  }

  /** Suspends it, as a long pause of the machine does; it goes on afterwards as if nothing had happened. */
  suspend(forMs: number): void {
    if (this.#dead || this.#suspended !== undefined) return;
    this.#world.event(`${this.owner} is suspended for ${forMs} ms`);
    const suspended = Promise.withResolvers<void>();
    this.#suspended = suspended;
    this.clock.suspend();
    this.#world.clock.after(forMs, () => {
      if (this.#dead) return;
      this.#world.event(`${this.owner} goes on`);
      this.#suspended = undefined;
      this.clock.resume();
      suspended.resolve();
    });
  }

  /** Resolves while it runs; throws if it is dead. */
  async awake(): Promise<void> {
    while (this.#suspended !== undefined && !this.#dead) await this.#suspended.promise;
    if (this.#dead) throw new SimulatedCrash('a call of a dead process');
  }

  #declared() {
    const { states, mutation } = this.#world;
    return tally({
      name: 'simulated',
      stores: {
        orders: this.#store('orders'),
        search: this.#store('search'),
        views: this.#store('views'),
      },
      flows: this.#flows(),
      ledger: {
        system: 'memory',
        open: async () => {
          await Promise.resolve();
          return faultyLedger(this.#keep(memoryLedger({ state: states.ledger })), mutation);
        },
      },
      log: () => ({
        open: async () => {
          await Promise.resolve();
          return faultyLog(this.#keep(memoryLog({ state: states.log })), mutation);
        },
      }),
    });
  }

  #store(name: keyof States) {
    const { states, mutation } = this.#world;
    const definition = memory({
      state: states[name],
      ...(name === 'search' ? { sink: { effect: this.#plan.effect } } : {}),
    });
    return {
      system: 'memory',
      open: async (context: StoreContext): Promise<MemoryStore> => {
        const store = this.#keep(await definition.open(context));
        return {
          ...store,
          source: faultySource(store.source, mutation) as MemoryStore['source'],
          sink: faultySink(store.sink, this.#world, mutation) as MemoryStore['sink'],
        };
      },
    };
  }

  #keep<Opened extends { crash(): void }>(opened: Opened): Opened {
    this.#opened.push(opened);
    if (this.#dead) opened.crash();
    return opened;
  }

  #flows(): Readonly<Record<string, FlowDefinition>> {
    const { batchRows } = this.#plan;
    const { poison } = this.#world;
    const item = (row: Row): string => {
      const id = row['id'] as string;
      if (poison.has(id)) throw new Error(`${id} is poison`);
      return id;
    };
    const from = { from: 'orders', batchRows, attemptsMax: 3 } as const;
    return {
      documents: flow({
        ...from,
        tables: ['items'],
        to: 'search',
        into: 'documents',
        project: (row) => {
          const id = item(row);
          return put('documents', [id], { id, title: row['title'] ?? null, v: row['v'] ?? null });
        },
      }),
      tags: flow({
        ...from,
        tables: ['items'],
        to: 'search',
        into: 'tags',
        project: (row) => {
          const id = item(row);
          return (row['tags'] as readonly string[]).map((tag) =>
            put('tags', [tag, id], { v: row['v'] ?? null }),
          );
        },
      }),
      totals: flow({
        ...from,
        tables: ['lines'],
        to: 'views',
        into: 'totals',
        fold: {
          reads: (change) => groupsOf(change),
          apply: async (change, state) => {
            const id = (change.after ?? change.before)?.['id'] as string;
            if (poison.has(id)) throw new Error(`${id} is poison`);
            if (change.before !== null) await add(state, change.before, -1);
            if (change.after !== null) await add(state, change.after, 1);
            return Promise.all(groupsOf(change).map(async (group) => totalOf(state, group)));
          },
        },
      }),
    };
  }
}

interface Total {
  readonly count: number;
  readonly sum: number;
}

function groupsOf(change: Change): readonly string[] {
  const groups = [change.before, change.after].flatMap((row) =>
    row === null ? [] : [row['group'] as string],
  );
  return [...new Set(groups)];
}

async function add(state: FoldState, row: Row, times: 1 | -1): Promise<void> {
  const group = row['group'] as string;
  const { count, sum } = ((await state.get(group)) ?? { count: 0, sum: 0 }) as unknown as Total;
  const next = { count: count + times, sum: sum + times * Number(row['amount']) };
  if (next.count === 0 && next.sum === 0) state.delete(group);
  else state.set(group, next);
}

async function totalOf(state: FoldState, group: string) {
  const total = (await state.get(group)) as unknown as Total | undefined;
  return total === undefined ? remove('totals', [group]) : put('totals', [group], { ...total });
}

/** Asks the workers for something, as the command line does. */
export async function request(world: World, asked: AppRequest): Promise<void> {
  world.event(`a person asks: ${JSON.stringify(asked)}`);
  await leaveRequest(world.ledger, world.random, asked);
}
