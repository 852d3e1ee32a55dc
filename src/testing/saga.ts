import assert from 'node:assert/strict';
import { must } from '../core/errors.ts';
import type { Value } from '../core/row.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import {
  type JournalEntry,
  refused,
  type SagaDefinition,
  SagaEngine,
  type SagaOutcome,
} from '../patterns/saga/index.ts';
import type { SagaNode, StepContext } from '../patterns/saga/definition.ts';
import { seededRandom } from '../runtime/random.ts';
import { createMemoryState, memoryLedger } from '../stores/memory/index.ts';

/** Virtual time that a story may take: a year, for sagas that wait for days. */
const STORY_MS: number = 365 * 86_400_000;
/** How long a process is there before it is looked whether anything moves. */
const STRETCH_MS = 60_000;
/** Crashes of one story; more of them are one that never ends. */
const CRASHES_MAX = 100;

/** A story about a saga: what goes wrong on the way, and what becomes of it. */
export interface SagaStory<Results> {
  /** The step at this path throws, the first `times` times (default: always). A step in a loop: `parcels/0/label`. */
  failsAt(path: string, times?: number): SagaStory<Results>;
  /** The step at this path is refused: it certainly did nothing. */
  refusesAt(path: string): SagaStory<Results>;
  /** The undo of the step at this path throws, the first `times` times (default: always). */
  undoFailsAt(path: string, times?: number): SagaStory<Results>;
  /** The process dies before the step at this path, or its undo, does anything; once. */
  crashesBefore(path: string, phase?: 'do' | 'undo'): SagaStory<Results>;
  /** The process dies when the step at this path, or its undo, has done what it does, and before that is recorded; once. */
  crashesAfter(path: string, phase?: 'do' | 'undo'): SagaStory<Results>;
  /** A signal that is sent right after the start, and lies there until the saga waits for it. */
  signals(name: string, payload?: Value): SagaStory<Results>;
  /** Somebody cancels it after this much virtual time. */
  cancelledAfter(ms: number): SagaStory<Results>;
  /** Plays the story to its end. */
  run(): Promise<PlayedSaga<Results>>;
  /** Resolves if the story ends so; rejects with node's AssertionError and what happened otherwise. */
  thenIs(status: SagaOutcome['status']): Promise<PlayedSaga<Results>>;
}

/** What a story about a saga comes to. */
export interface PlayedSaga<Results> {
  readonly outcome: SagaOutcome<Results>;
  /** What was called, in order: `do reserve`, `undo reserve`. */
  readonly calls: readonly string[];
  readonly history: readonly JournalEntry[];
  readonly crashes: number;
}

interface Happening {
  readonly path: string;
  readonly phase: 'do' | 'undo';
  readonly kind: 'fail' | 'refuse' | 'crash-before' | 'crash-after';
  times: number;
}

/**
 * Tells a story about a saga with the engine of production on virtual time and a ledger in memory: days pass in
 * milliseconds, and the process dies where you say. Works in any test runner.
 *
 * What it does not do: wait for real input and output. A step that takes real time is overtaken by the virtual clock and
 * times out; give the steps stores in memory.
 *
 * @example
 * const played = await givenSaga(placeOrder, { sku: 'a' }).crashesAfter('reserve').refusesAt('charge').thenIs('compensated');
 * expect(played.calls).toEqual(['do reserve', 'do reserve', 'do charge', 'undo reserve']);
 */
export function givenSaga<Input, Results>(
  definition: SagaDefinition<Input, Results>,
  input: Input,
): SagaStory<Results> {
  return new Story<Results>(definition, input, [], [], undefined);
}

class Story<Results> implements SagaStory<Results> {
  readonly #definition: SagaDefinition;
  readonly #input: unknown;
  readonly #happenings: readonly Happening[];
  readonly #signals: readonly { readonly name: string; readonly payload: Value }[];
  readonly #cancelAfterMs: number | undefined;

  constructor(
    definition: SagaDefinition,
    input: unknown,
    happenings: readonly Happening[],
    signals: readonly { readonly name: string; readonly payload: Value }[],
    cancelAfterMs: number | undefined,
  ) {
    this.#definition = definition;
    this.#input = input;
    this.#happenings = happenings;
    this.#signals = signals;
    this.#cancelAfterMs = cancelAfterMs;
  }

  failsAt(path: string, times = Infinity): SagaStory<Results> {
    return this.#with({ path, phase: 'do', kind: 'fail', times });
  }

  refusesAt(path: string): SagaStory<Results> {
    return this.#with({ path, phase: 'do', kind: 'refuse', times: Infinity });
  }

  undoFailsAt(path: string, times = Infinity): SagaStory<Results> {
    return this.#with({ path, phase: 'undo', kind: 'fail', times });
  }

  crashesBefore(path: string, phase: 'do' | 'undo' = 'do'): SagaStory<Results> {
    return this.#with({ path, phase, kind: 'crash-before', times: 1 });
  }

  crashesAfter(path: string, phase: 'do' | 'undo' = 'do'): SagaStory<Results> {
    return this.#with({ path, phase, kind: 'crash-after', times: 1 });
  }

  signals(name: string, payload: Value = null): SagaStory<Results> {
    const signals = [...this.#signals, { name, payload }];
    return new Story(this.#definition, this.#input, this.#happenings, signals, this.#cancelAfterMs);
  }

  cancelledAfter(ms: number): SagaStory<Results> {
    return new Story(this.#definition, this.#input, this.#happenings, this.#signals, ms);
  }

  async thenIs(status: SagaOutcome['status']): Promise<PlayedSaga<Results>> {
    const played = await this.run();
    const { outcome, calls, history } = played;
    assert.equal(
      outcome.status,
      status,
      `the saga is ${outcome.status}, not ${status}\ncalls: ${calls.join(', ')}\nlast: ${JSON.stringify(history.at(-1))}`,
    );
    return played;
  }

  run(): Promise<PlayedSaga<Results>> {
    const stage = new Stage(
      this.#definition,
      this.#happenings.map((happening) => ({ ...happening })),
    );
    return stage.play<Results>(this.#input, this.#signals, this.#cancelAfterMs);
  }

  #with(happening: Happening): SagaStory<Results> {
    const happenings = [...this.#happenings, happening];
    return new Story(this.#definition, this.#input, happenings, this.#signals, this.#cancelAfterMs);
  }
}

/** Where a story is played: one process after the other on the same ledger. */
class Stage {
  readonly #definition: SagaDefinition;
  readonly #happenings: readonly Happening[];
  readonly #clock = virtualClock();
  readonly #state = createMemoryState();
  readonly #calls: string[] = [];
  #crashes = 0;
  #die = (): void => undefined;
  #engine: SagaEngine | undefined;

  constructor(definition: SagaDefinition, happenings: readonly Happening[]) {
    this.#definition = { ...definition, nodes: this.#wrap(definition.nodes) };
    this.#happenings = happenings;
  }

  async play<Results>(
    input: unknown,
    signals: readonly { readonly name: string; readonly payload: Value }[],
    cancelAfterMs: number | undefined,
  ): Promise<PlayedSaga<Results>> {
    await this.#open();
    const id = 'story';
    const definition = this.#definition as SagaDefinition<unknown>;
    // A process that dies while it answers leaves the saga: it was started all the same.
    void this.#now()
      .start(definition, { id, input })
      .catch(() => undefined);
    await this.#clock.advance(0);
    for (const { name, payload } of signals)
      void this.#now()
        .signal(id, name, { payload })
        .catch(() => undefined);
    if (cancelAfterMs !== undefined) {
      await this.#clock.advance(cancelAfterMs);
      void this.#now()
        .cancel(id, 'the story says so')
        .catch(() => undefined);
    }
    await this.#untilOver(id);
    const view = await this.#answer(this.#now().show(id));
    const outcome = await this.#answer(this.#now().result(definition, id, { within: 0 }));
    await this.#answer(this.#now().close());
    return {
      outcome: outcome as SagaOutcome<Results>,
      calls: this.#calls,
      history: view.history,
      crashes: this.#crashes,
    };
  }

  /** Plays on; what waits for days is slept through with no process there, which would look about twice a second. */
  async #untilOver(id: string): Promise<void> {
    const endsAtMs = this.#clock.nowMs() + STORY_MS;
    while (!this.#isOver(id) && this.#clock.nowMs() < endsAtMs) {
      await this.#clock.runUntil(() => this.#isOver(id), STRETCH_MS);
      const due = [...(this.#state.ledger.spaces.get('saga/timer')?.keys() ?? [])].at(0);
      const waitMs = Number(due?.split('/', 1)[0] ?? 0) - this.#clock.nowMs();
      if (this.#now().running > 0 || waitMs < STRETCH_MS) continue;
      await this.#answer(this.#now().close());
      await this.#clock.advance(waitMs);
      await this.#open();
    }
  }

  async #open(): Promise<void> {
    const clock = this.#clock.process();
    const ledger = memoryLedger({ state: this.#state });
    this.#engine = new SagaEngine({
      ledger,
      clock,
      random: seededRandom(this.#crashes),
      owner: `life ${this.#crashes}`,
      isDead: (owner) => owner !== `life ${this.#crashes}`,
      definitions: [this.#definition],
      run: true,
    });
    this.#die = () => {
      this.#die = () => undefined;
      ledger.crash();
      clock.end();
      this.#crashes += 1;
      if (this.#crashes < CRASHES_MAX) void this.#open();
    };
    await this.#clock.advance(1);
  }

  #now(): SagaEngine {
    return must(this.#engine, 'the engine of a story');
  }

  /** An answer, with as much virtual time as it needs. */
  async #answer<Result>(promise: Promise<Result>): Promise<Result> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    promise.then(over, over);
    await this.#clock.runUntil(() => isOver, STORY_MS);
    return promise;
  }

  #isOver(id: string): boolean {
    const record = this.#state.ledger.spaces.get('saga/record')?.get(id);
    const isEnded = /"status":"(?:completed|compensated|abandoned|parked)"/.test(
      record?.value.split('\n', 1)[0] ?? '',
    );
    return isEnded && this.#now().running === 0;
  }

  #wrap(nodes: readonly SagaNode[]): readonly SagaNode[] {
    return nodes.map((node): SagaNode => {
      switch (node.kind) {
        case 'step': {
          const { do: work, undo } = node;
          return {
            ...node,
            do: (context) => this.#happen('do', context, () => work(context)),
            undo:
              typeof undo === 'function'
                ? (context) => this.#happen('undo', context.step, () => undo(context))
                : undo,
          };
        }
        case 'parallel':
        case 'choice': {
          const branches = Object.entries(node.branches).map(([name, part]) => [
            name,
            this.#wrap(part),
          ]);
          return {
            ...node,
            branches: Object.fromEntries(branches) as Record<string, readonly SagaNode[]>,
          };
        }
        case 'loop':
          return { ...node, body: this.#wrap(node.body) };
        default:
          return node;
      }
    });
  }

  async #happen(
    phase: 'do' | 'undo',
    { path }: StepContext,
    work: () => unknown,
  ): Promise<unknown> {
    this.#calls.push(`${phase} ${path}`);
    if (this.#takes(phase, path, 'crash-before')) return this.#gone();
    if (this.#takes(phase, path, 'fail')) throw new Error(`the story has ${phase} ${path} fail`);
    if (this.#takes(phase, path, 'refuse')) throw refused(`the story has ${path} refused`);
    const result = await work();
    if (this.#takes(phase, path, 'crash-after')) return this.#gone();
    return result;
  }

  #takes(phase: 'do' | 'undo', path: string, kind: Happening['kind']): boolean {
    const happening = this.#happenings.find(
      (one) => one.phase === phase && one.path === path && one.kind === kind && one.times > 0,
    );
    if (happening === undefined) return false;
    happening.times -= 1;
    return true;
  }

  #gone(): Promise<never> {
    this.#die();
    return new Promise(() => undefined);
  }
}
