import { AsyncLocalStorage } from 'node:async_hooks';
import { must } from '../../src/core/errors.ts';
import {
  type ProcessClock,
  virtualClock,
  type VirtualClock,
} from '../../src/faults/virtual-clock.ts';
import { armPoints, type CrashPoint } from '../../src/observe/point.ts';
import {
  refused,
  type SagaDefinition,
  SagaEngine,
  type SagaEvent,
  type StepContext,
} from '../../src/patterns/saga/index.ts';
import type { Random } from '../../src/ports/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import {
  createMemoryState,
  type MemoryLedger,
  memoryLedger,
  type MemoryState,
} from '../../src/stores/memory/index.ts';
import { Participant } from './participant.ts';

/** What goes wrong at one call of a step or an undo. */
export type Fault =
  | 'none'
  /** It throws, without effect. */
  | 'error'
  /** It throws, after its effect. */
  | 'error-after'
  /** It certainly did nothing. */
  | 'refused'
  /** It heeds its signal, after its effect. */
  | 'timeout'
  /** It does not heed its signal, and takes effect long after. */
  | 'deaf'
  | 'crash-before'
  | 'crash-after'
  /** Its process is paused, for longer than a lease, between being called and taking effect. */
  | 'zombie';

/** Asked at each call; `call` counts the calls of this path, from 1. */
export type Script = (path: string, phase: 'do' | 'undo', call: number) => Fault;

/** A worker process. */
export interface Process {
  readonly name: string;
  readonly clock: ProcessClock;
  readonly ledger: MemoryLedger;
  readonly engine: SagaEngine;
  isAlive: boolean;
}

/** How long a zombie is away: longer than a lease and a look. */
const AWAY_MS = 12_000;

/** Processes with sagas, the ledger they share, and the services behind the steps, on virtual time. */
export class World {
  readonly clock: VirtualClock = virtualClock();
  readonly state: MemoryState = createMemoryState();
  readonly participant: Participant = new Participant();
  readonly events: string[] = [];
  readonly processes: Process[] = [];
  readonly #calls = new Map<string, number>();
  readonly #here = new AsyncLocalStorage<Process>();
  readonly random: Random;
  script: Script = () => 'none';
  /** Whether a process dies at this point. */
  dies: (point: CrashPoint) => boolean = () => false;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    armPoints((name) => {
      const process = this.#here.getStore();
      if (process?.isAlive !== true || !this.dies(name)) return;
      this.crash(process, name);
      throw new Error(`died at ${name}`);
    });
  }

  /** Another process, with these definitions. */
  spawn(definitions: readonly SagaDefinition[]): Process {
    const name = `p${this.processes.length}`;
    const clock = this.clock.process();
    const ledger = memoryLedger({ state: this.state });
    const shell: { process?: Process } = {};
    const within = <Result>(work: () => Result): Result =>
      this.#here.run(must(shell.process, 'the process'), work);
    const process: Process = {
      name,
      clock,
      ledger,
      isAlive: true,
      get engine(): SagaEngine {
        return engine;
      },
    };
    shell.process = process;
    const engine = within(
      () =>
        new SagaEngine({
          ledger,
          clock,
          random: seededRandom(`${name} ${this.random.next()}`),
          owner: name,
          isDead: () => false,
          definitions,
          run: true,
          observe: (event) => this.#note(name, event),
        }),
    );
    this.processes.push(process);
    return process;
  }

  /** The youngest process. */
  get spawned(): Process {
    return must(this.processes.at(-1), 'a process');
  }

  /** Runs `work` as if the process did it. */
  as<Result>(process: Process, work: (engine: SagaEngine) => Result): Result {
    return this.#here.run(process, () => work(process.engine));
  }

  crash(process: Process, why = 'killed'): void {
    if (!process.isAlive) return;
    process.isAlive = false;
    process.ledger.crash();
    process.clock.end();
    this.events.push(`${this.clock.elapsedMs} ${process.name} dies: ${why}`);
  }

  /** Pauses a process for longer than its lease. */
  pause(process: Process): void {
    process.clock.suspend();
    this.events.push(`${this.clock.elapsedMs} ${process.name} is paused`);
    this.clock.after(AWAY_MS, () => {
      if (process.isAlive) process.clock.resume();
    });
  }

  /** A step that gives the participant an amount, with whatever the script has for it. */
  async effect(context: StepContext, amount: number): Promise<string> {
    await this.#call(context.path, 'do', context.signal, () => {
      if (this.participant.apply(context.key, amount) === 'barred')
        throw refused('it was undone before it came');
    });
    return `did ${context.path}`;
  }

  async takeBack(context: StepContext, signal: AbortSignal): Promise<void> {
    await this.#call(context.path, 'undo', signal, () => this.participant.undo(context.key));
  }

  /** Whether every saga has come to an end or is parked. */
  isQuiet(): boolean {
    return [...(this.state.ledger.spaces.get('saga/record')?.values() ?? [])].every(({ value }) =>
      /"status":"(?:completed|compensated|abandoned|parked)"/.test(value),
    );
  }

  async #call(
    path: string,
    phase: 'do' | 'undo',
    signal: AbortSignal,
    effect: () => void,
  ): Promise<void> {
    const process = must(this.#here.getStore(), 'the process of a step');
    const name = `${phase} ${path}`;
    const call = (this.#calls.get(name) ?? 0) + 1;
    this.#calls.set(name, call);
    const fault = this.script(path, phase, call);
    if (fault !== 'none')
      this.events.push(`${this.clock.elapsedMs} ${process.name} ${name}: ${fault}`);
    await process.clock.sleep(1 + Math.floor(this.random.next() * 20));
    switch (fault) {
      case 'none':
        effect();
        return;
      case 'error':
        throw new Error('the service does not answer');
      case 'error-after':
        effect();
        throw new Error('the answer was lost');
      case 'refused':
        throw refused('no');
      case 'timeout':
        effect();
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        throw signal.reason as Error;
      case 'deaf':
        await process.clock.sleep(60_000);
        effect();
        return;
      case 'crash-before':
        return this.#die(process, name);
      case 'crash-after':
        effect();
        return this.#die(process, name);
      case 'zombie':
        this.pause(process);
        await process.clock.sleep(1);
        effect();
    }
  }

  #die(process: Process, why: string): Promise<never> {
    this.crash(process, why);
    return new Promise(() => undefined);
  }

  #note(name: string, event: SagaEvent): void {
    this.events.push(`${this.clock.elapsedMs} ${name} ${JSON.stringify(event)}`);
  }
}
