import { AsyncLocalStorage } from 'node:async_hooks';
import { encodeKey } from '../core/codec.ts';
import { TallyError } from '../core/errors.ts';
import type { Key } from '../core/row.ts';
import { armPoints } from '../observe/point.ts';
import type { Random } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import { seededRandom } from '../runtime/random.ts';
import {
  createMemoryState,
  memory,
  memoryLedger,
  type MemoryStore,
  type MemoryUnit,
} from '../stores/memory/index.ts';
import { writeFailure, type Mutation } from './faulty-ports.ts';
import { Invariants, Violation, type States } from './invariants.ts';
import { Model, type ModelChange, type TableName } from './model.ts';
import type { Incarnation } from './incarnation.ts';
import { virtualClock, type VirtualClock } from './virtual-clock.ts';
import { calm, type Weather } from './weather.ts';

/** Thrown where a simulated process dies: nothing that catches it can do any more harm. */
export class SimulatedCrash extends Error {
  constructor(where: string) {
    super(`crashed at ${where}`);
    this.name = 'SimulatedCrash';
  }
}

/** Which process the running code belongs to; none: the application, or the person who operates it. */
export const running: AsyncLocalStorage<Incarnation> = new AsyncLocalStorage();

const EVENTS_KEPT = 80;

export interface WorldOptions {
  readonly seed: number;
  readonly mutation?: Mutation;
  readonly verbose?: (line: string) => void;
}

/** Everything that exists in one schedule: the durable states, virtual time, chance, and the processes. */
export class World {
  readonly clock: VirtualClock = virtualClock();
  readonly random: Random;
  readonly states: States;
  readonly model: Model = new Model();
  readonly invariants: Invariants;
  readonly mutation: Mutation | undefined;
  /** How often each kind of fault and each crash point was hit. */
  readonly hits: Map<string, number> = new Map();
  readonly incarnations: Incarnation[] = [];
  /** The application's own connection, which does not die with the coordinator. */
  readonly ledger: Ledger;
  /** Items whose projection throws, and lines whose fold does. */
  readonly poison: Set<string> = new Set();
  /** Rows that their target refuses: target, then canonical key. */
  readonly refused: Set<string> = new Set();
  weather: Weather = calm;
  logBytesMax: number = Infinity;
  violation: Error | undefined;
  readonly #applying = new AsyncLocalStorage<{ flow: string; workerEpoch: number }>();
  readonly #sinkEpochs = new Map<string, number>();
  readonly #events: string[] = [];
  readonly #verbose: ((line: string) => void) | undefined;
  #application: Promise<MemoryStore> | undefined;
  #writing: readonly ModelChange[] = [];

  constructor(options: WorldOptions) {
    this.random = seededRandom(options.seed);
    this.mutation = options.mutation;
    this.#verbose = options.verbose;
    this.states = {
      orders: createMemoryState(),
      search: createMemoryState(),
      views: createMemoryState(),
      log: createMemoryState(),
      ledger: createMemoryState(),
    };
    this.invariants = new Invariants(this.states, this.model);
    this.ledger = memoryLedger({ state: this.states.ledger });
    for (const [name, state] of Object.entries(this.states))
      state.hook = {
        before: (unit: MemoryUnit) => this.#before(name as keyof States, unit),
        after: (unit: MemoryUnit) => this.#after(name as keyof States, unit),
      };
    // Also a torn append wakes who reads: what it left behind is seen before anything else happens to it.
    this.states.log.wakers.add(() => this.#guarded(() => this.invariants.afterLog()));
    armPoints((name) => {
      const who = running.getStore();
      if (who === undefined) return;
      if (who.dead) throw new SimulatedCrash(name);
      const { crashAtPoint, dreaded } = this.weather;
      if (this.chance(name === dreaded ? 0.5 : crashAtPoint)) {
        this.hit(`point ${name}`);
        who.crash(name);
        throw new SimulatedCrash(name);
      }
    });
  }

  chance(probability: number): boolean {
    return probability > 0 && this.random.next() < probability;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.random.next() * (high - low + 1));
  }

  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.between(0, items.length - 1)];
  }

  hit(what: string): void {
    this.hits.set(what, (this.hits.get(what) ?? 0) + 1);
  }

  event(line: string): void {
    const stamped = `${this.clock.elapsedMs.toFixed(1).padStart(9)} ${line}`;
    this.#verbose?.(stamped);
    this.#events.push(stamped);
    if (this.#events.length > EVENTS_KEPT) this.#events.shift();
  }

  get events(): readonly string[] {
    return this.#events;
  }

  /** Notes what was broken first; the schedule ends there. */
  broke(error: Error): void {
    if (this.violation === undefined) this.event(`VIOLATED ${error.message}`);
    this.violation ??= error;
  }

  /** The application's own connection to its store; the tables are there from the first time on. */
  application(): Promise<MemoryStore> {
    this.#application ??= memory({
      state: this.states.orders,
      tables: { items: { key: ['id'] }, lines: { key: ['id'] } },
    }).open({ name: 'orders', clock: this.clock, random: seededRandom('application') });
    return this.#application;
  }

  /** Runs a transaction of the application, which knows nothing of the coordinator; the number of its commit. */
  async write(
    changes: readonly ModelChange[],
  ): Promise<{ readonly offset: number; readonly commit: number }> {
    const { source } = await this.application();
    const { offset } = await source.write((tx) => {
      for (const { table, key, after } of changes) {
        if (after === null) tx.delete(table, JSON.parse(key) as Key);
        else tx.put(table, JSON.parse(after) as never);
      }
      this.#writing = changes;
    });
    return { offset, commit: this.model.commits };
  }

  /** Removes all rows of a table at once. */
  async truncate(
    table: TableName,
  ): Promise<{ readonly offset: number; readonly changes: readonly ModelChange[] }> {
    const { source } = await this.application();
    let changes: readonly ModelChange[] = [];
    const { offset } = await source.write((tx) => {
      changes = Array.from(this.model.table(table).keys(), (key) => ({ table, key, after: null }));
      tx.truncate(table);
      this.#writing = changes;
    });
    return { offset, changes };
  }

  /** What a sink asks. */
  refusal(target: string, key: Key): TallyError | undefined {
    if (this.refused.has(`${target} ${encodeKey(key)}`)) {
      this.hit('write refused');
      return writeFailure('refused');
    }
    if (!this.chance(this.weather.writeBusy)) return undefined;
    this.hit('write busy');
    return writeFailure('busy');
  }

  opened(flow: string, workerEpoch: number): void {
    this.#sinkEpochs.set(flow, Math.max(this.newest(flow), workerEpoch));
  }

  newest(flow: string): number {
    return this.#sinkEpochs.get(flow) ?? 0;
  }

  applying<Result>(
    flow: string,
    workerEpoch: number,
    work: () => Promise<Result>,
  ): Promise<Result> {
    return this.#applying.run({ flow, workerEpoch }, work);
  }

  /** A step of a batch has happened: it must not be of a worker that was taken over from. */
  #notOfZombie(): void {
    const step = this.#applying.getStore();
    if (step === undefined || this.newest(step.flow) <= step.workerEpoch) return;
    throw new Violation(
      'what a worker writes that was taken over from is refused',
      `flow ${step.flow}: epoch ${step.workerEpoch} wrote after ${this.newest(step.flow)} had opened it`,
    );
  }

  async #before(store: keyof States, unit: MemoryUnit): Promise<void | number> {
    const who = running.getStore();
    if (who === undefined) return;
    await who.awake();
    const { weather } = this;
    const call = `${store}.${unit.operation}`;
    if (this.chance(weather.crash)) {
      this.hit(`crash before ${call}`);
      who.crash(`before ${call}`);
      throw new SimulatedCrash(call);
    }
    if (this.chance(weather.suspend)) {
      this.hit('suspended in a call');
      who.suspend(this.between(1_000, 18_000));
      await who.awake();
    }
    if (this.chance(weather.delay)) await who.clock.sleep(this.#delayMs());
    if (this.chance(weather.failBefore)) {
      this.hit(`failed before ${call}`);
      this.event(`${who.owner} ${call} fails before`);
      throw unreachableStore(store);
    }
    if (store !== 'log' || unit.operation !== 'append') return;
    if (this.states.log.log.bytes > this.logBytesMax) {
      this.hit('log full');
      throw new TallyError('LOG_FULL', { what: 'the simulated log is at its bound' });
    }
    if (unit.size > 0 && this.chance(weather.torn)) {
      this.hit('torn append');
      const kept = this.between(0, unit.size - 1);
      this.event(`${who.owner} ${call} is torn after ${kept} of ${unit.size}`);
      return kept;
    }
  }

  async #after(store: keyof States, unit: MemoryUnit): Promise<void> {
    this.#look(store, unit);
    const who = running.getStore();
    if (who === undefined) return;
    if (unit.size > 0) this.event(`${who.owner} ${store}.${unit.operation} of ${unit.size}`);
    const { weather } = this;
    const call = `${store}.${unit.operation}`;
    if (this.chance(weather.crash)) {
      this.hit(`crash after ${call}`);
      who.crash(`after ${call}`);
      throw new SimulatedCrash(call);
    }
    if (this.chance(weather.delay)) await who.clock.sleep(this.#delayMs());
    if (unit.size > 0 && this.chance(weather.failAfter)) {
      this.hit(`failed after ${call}`);
      this.event(`${who.owner} ${call} fails after`);
      throw unreachableStore(store);
    }
  }

  /** Checks what a step can have broken. */
  #look(store: keyof States, { port, operation, size }: MemoryUnit): void {
    this.#guarded(() => {
      if (store === 'orders' && operation === 'commit' && size > 0) {
        const { history, head } = this.states.orders.source;
        this.model.commit(history, head, this.#writing);
        this.#writing = [];
      }
      if (size === 0) return;
      if (store === 'ledger') this.invariants.afterLedger();
      if (operation === 'acknowledge') this.invariants.afterAcknowledge();
      if (port !== 'sink') return;
      if (operation === 'apply' || operation === 'write') this.#notOfZombie();
      if (store === 'search' || store === 'views') this.invariants.afterSink(store);
    });
  }

  #guarded(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.broke(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #delayMs(): number {
    const kind = this.random.next();
    if (kind < 0.7) return this.between(0, 4);
    return kind < 0.97 ? this.between(5, 120) : this.between(200, 4_000);
  }
}

function unreachableStore(store: string): TallyError {
  return new TallyError('STORE_UNREACHABLE', { what: 'a simulated failure', where: store });
}
