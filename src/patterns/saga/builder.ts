import { TallyError } from '../../core/errors.ts';
import { checkDuration, checkNumber, checkOneOf, checkOptions } from '../../core/options.ts';
import { checkDefinition, checkStepName } from './check.ts';
import type {
  CompensatableOptions,
  Duration,
  RetryPolicy,
  SagaDefinition,
  SagaNode,
  SagaOptions,
  StepClass,
  StepContext,
  StepNode,
  StepOptions,
  UndoContext,
} from './definition.ts';
import { checkPolicy, checkTimeout, policyOf, UNDO_POLICY } from './policy.ts';

/** The results so far, and those of one more step. */
export type With<Results, Added> = {
  readonly [Name in keyof (Results & Added)]: (Results & Added)[Name];
};

type Named<Name extends string, Result> = { readonly [Key in Name]: Awaited<Result> };

/** A part of a saga: given what was built so far, returns it with more steps. */
type Part<Input, Results, Item> = (
  builder: SagaBuilder<Input, Results, Item>,
) => SagaBuilder<Input, unknown, Item>;

type ResultsOf<Built> = Built extends (
  ...given: never[]
) => SagaBuilder<never, infer Results, never>
  ? Results
  : never;

interface LoopOptions<Context, Element> {
  /** The data; recorded, so that it is the same after a crash. At most 10,000 items. */
  readonly over: (context: Context) => readonly Element[] | Promise<readonly Element[]>;
  /** How many rounds are under way at the same time. Default 1: one after the other. */
  readonly concurrency?: number;
}

interface SignalOptions {
  /** How long it is waited for. Not given: as long as it takes. */
  readonly timeout?: Duration;
  /** What the end of that time is: a failure (the saga is compensated), or a result of null. Default `'fail'`. */
  readonly onTimeout?: 'fail' | 'continue';
}

interface ChildOptions<Context, ChildInput, ChildResults> {
  readonly saga: SagaDefinition<ChildInput, ChildResults>;
  readonly input: (context: Context) => ChildInput | Promise<ChildInput>;
  /** Default `'compensatable'`. A retriable child that ends compensated is parked for a person. */
  readonly class?: StepClass;
  /** Takes back what a completed child did; needed if it is compensatable. */
  readonly undo?:
    ((context: UndoContext<Context, ChildResults>) => unknown) | { readonly none: string };
  readonly undoRetry?: RetryPolicy;
  readonly undoTimeout?: Duration;
}

type UndoGiven = Pick<
  ChildOptions<StepContext, never, unknown>,
  'undo' | 'undoRetry' | 'undoTimeout'
>;

const stepOptionNames = ['do', 'probe', 'retry', 'timeout', 'concurrency'] as const;
const undoOptionNames = ['undo', 'undoRetry', 'undoTimeout'] as const;

/** Rounds of one loop that may be under way at the same time. */
const LOOP_CONCURRENCY_MAX = 1_000;

/** A saga that is being defined. Each method returns a new one; {@link SagaBuilder.end} checks it. */
export class SagaBuilder<Input, Results, Item> {
  readonly #name: string;
  readonly #options: SagaOptions<Input>;
  readonly #nodes: readonly SagaNode[];

  constructor(name: string, options: SagaOptions<Input>, nodes: readonly SagaNode[]) {
    this.#name = name;
    this.#options = options;
    this.#nodes = nodes;
  }

  /** A compensatable step: its `undo` is called if a later one fails. Throws CONFIG_INVALID. */
  step<Name extends string, Result>(
    name: Name,
    options: CompensatableOptions<StepContext<Input, Results, Item>, Result>,
  ): SagaBuilder<Input, With<Results, Named<Name, Result>>, Item> {
    return this.#step(name, 'compensatable', options);
  }

  /**
   * The point of no return: once it is done the saga goes forward. If its attempts are used up while nobody knows
   * whether it took effect (no `probe`, or one that cannot tell), the saga is parked. Throws CONFIG_INVALID.
   */
  pivot<Name extends string, Result>(
    name: Name,
    options: StepOptions<StepContext<Input, Results, Item>, Result>,
  ): SagaBuilder<Input, With<Results, Named<Name, Result>>, Item> {
    return this.#step(name, 'pivot', options);
  }

  /** A step after the point of no return: repeated until it succeeds, or parked. Throws CONFIG_INVALID. */
  retriable<Name extends string, Result>(
    name: Name,
    options: StepOptions<StepContext<Input, Results, Item>, Result>,
  ): SagaBuilder<Input, With<Results, Named<Name, Result>>, Item> {
    return this.#step(name, 'retriable', options);
  }

  /** Branches that run at the same time, and are compensated at the same time. */
  parallel<
    Name extends string,
    Branches extends Readonly<Record<string, Part<Input, Results, Item>>>,
  >(
    name: Name,
    branches: Branches,
  ): SagaBuilder<
    Input,
    With<
      Results,
      Named<Name, { readonly [Branch in keyof Branches]: ResultsOf<Branches[Branch]> }>
    >,
    Item
  > {
    return this.#with({ kind: 'parallel', name, branches: this.#parts(branches, name) });
  }

  /** One of several branches, by what `on` answers; the answer is recorded. */
  choice<
    Name extends string,
    Branches extends Readonly<Record<string, Part<Input, Results, Item>>>,
  >(
    name: Name,
    options: {
      readonly on: (
        context: StepContext<Input, Results, Item>,
      ) => (keyof Branches & string) | Promise<keyof Branches & string>;
      readonly branches: Branches;
    },
  ): SagaBuilder<
    Input,
    With<
      Results,
      Named<Name, { readonly [Branch in keyof Branches]?: ResultsOf<Branches[Branch]> }>
    >,
    Item
  > {
    const path = `saga ${this.#name}.${name}`;
    checkOptions(options, ['on', 'branches'], path);
    const on = options.on as (context: StepContext) => unknown;
    checkFunction(on, `${path}.on`);
    return this.#with({ kind: 'choice', name, on, branches: this.#parts(options.branches, name) });
  }

  /** A body of steps for each item of the data; the result is the list of what the rounds returned. */
  loop<Name extends string, Element, Round>(
    name: Name,
    options: LoopOptions<StepContext<Input, Results, Item>, Element>,
    body: (builder: SagaBuilder<Input, Results, Element>) => SagaBuilder<Input, Round, Element>,
  ): SagaBuilder<Input, With<Results, Named<Name, readonly Round[]>>, Item> {
    const path = `saga ${this.#name}.${name}`;
    checkOptions(options, ['over', 'concurrency'], path);
    const { concurrency = 1 } = options;
    checkNumber(concurrency, `${path}.concurrency`, {
      min: 1,
      max: LOOP_CONCURRENCY_MAX,
      integer: true,
    });
    const over = options.over as (context: StepContext) => unknown;
    checkFunction(over, `${path}.over`);
    const inner = body(new SagaBuilder<Input, Results, Element>(this.#name, this.#options, []));
    return this.#with({ kind: 'loop', name, over, concurrency, body: inner.#nodes });
  }

  /** Waits, for days if need be; the worker keeps nothing in memory meanwhile. */
  sleep(
    name: string,
    duration: Duration | ((context: StepContext<Input, Results, Item>) => Duration),
  ): SagaBuilder<Input, Results, Item> {
    const path = `saga ${this.#name}.${name}`;
    const given = typeof duration === 'function' ? undefined : checkDuration(duration, path);
    const forMs = (context: StepContext): unknown =>
      given ??
      checkDuration(
        (duration as (context: StepContext) => unknown)(context),
        `${path}, its answer`,
      );
    return this.#with({ kind: 'sleep', name, forMs });
  }

  /** Waits for a signal of this name: an approval, a webhook, a person. Its payload is the result. */
  signal<Payload, Name extends string = string>(
    name: Name,
    options: SignalOptions = {},
  ): SagaBuilder<Input, With<Results, Named<Name, Payload>>, Item> {
    const path = `saga ${this.#name}.${name}`;
    checkOptions(options, ['timeout', 'onTimeout'], path);
    const timeoutMs =
      options.timeout === undefined ? undefined : checkDuration(options.timeout, `${path}.timeout`);
    const onTimeout = checkOneOf(options.onTimeout ?? 'fail', `${path}.onTimeout`, [
      'fail',
      'continue',
    ]);
    return this.#with({ kind: 'signal', name, timeoutMs, onTimeout });
  }

  /** Another saga as a step of this one: started with an id of its own, waited for, cancelled with it. */
  child<Name extends string, ChildInput, ChildResults>(
    name: Name,
    options: ChildOptions<StepContext<Input, Results, Item>, ChildInput, ChildResults>,
  ): SagaBuilder<Input, With<Results, Named<Name, ChildResults>>, Item> {
    const path = `saga ${this.#name}.${name}`;
    checkOptions(options, ['saga', 'input', 'class', ...undoOptionNames], path);
    const kind = checkOneOf(options.class ?? 'compensatable', `${path}.class`, [
      'compensatable',
      'pivot',
      'retriable',
    ]);
    checkFunction(options.input, `${path}.input`);
    return this.#with({
      kind: 'child',
      name,
      class: kind,
      saga: options.saga,
      input: options.input as (context: StepContext) => unknown,
      ...undoOf(options as UndoGiven, kind, path),
    });
  }

  /** The definition, checked. Throws CONFIG_INVALID naming the step that cannot stand where it does. */
  end(): SagaDefinition<Input, Results> {
    return checkDefinition(this.#name, this.#options, this.#nodes);
  }

  #step<More>(name: string, kind: StepClass, options: object): SagaBuilder<Input, More, Item> {
    const path = `saga ${this.#name}.${name}`;
    const undoNames = kind === 'compensatable' ? undoOptionNames : [];
    checkOptions(options, [...stepOptionNames, ...undoNames], path);
    const given = options as CompensatableOptions<StepContext, unknown>;
    checkFunction(given.do, `${path}.do`);
    if (given.probe !== undefined) checkFunction(given.probe, `${path}.probe`);
    const { concurrency = Infinity } = given;
    if (concurrency !== Infinity)
      checkNumber(concurrency, `${path}.concurrency`, { min: 1, integer: true });
    const node: StepNode = {
      kind: 'step',
      name,
      class: kind,
      do: given.do,
      probe: given.probe,
      retry: checkPolicy(given.retry, policyOf(kind), `${path}.retry`),
      timeoutMs: checkTimeout(given.timeout, `${path}.timeout`),
      concurrency,
      ...undoOf(given, kind, path),
    };
    return this.#with(node);
  }

  #parts(given: object, name: string): Readonly<Record<string, readonly SagaNode[]>> {
    const parts: Record<string, readonly SagaNode[]> = {};
    for (const [branch, part] of Object.entries(given)) {
      checkStepName(branch, `saga ${this.#name}.${name}`);
      const inner = (part as Part<Input, Results, Item>)(
        new SagaBuilder(this.#name, this.#options, []),
      );
      parts[branch] = inner.#nodes;
    }
    return parts;
  }

  #with<More>(node: SagaNode): SagaBuilder<Input, More, Item> {
    checkStepName(node.name, `saga ${this.#name}`);
    return new SagaBuilder<Input, More, Item>(this.#name, this.#options, [...this.#nodes, node]);
  }
}

/**
 * Begins the definition of a saga: steps over several stores that end done in full, or taken back, or parked where a
 * person sees it. `Input` is what it is started with. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION.
 *
 * @example
 * const placeOrder = saga<Order>('place-order')
 *   .step('reserve', { do: ({ input, key }) => reserve(input, key), undo: ({ step }) => release(step.key) })
 *   .pivot('charge', { do: ({ input, key }) => charge(input, key) })
 *   .retriable('confirm', { do: ({ input, key }) => confirm(input, key) })
 *   .end();
 */
export function saga<Input>(
  name: string,
  options: SagaOptions<Input> = {},
): SagaBuilder<Input, object, undefined> {
  return new SagaBuilder(name, options, []);
}

function undoOf(
  given: UndoGiven,
  kind: StepClass,
  path: string,
): Pick<StepNode, 'undo' | 'undoRetry' | 'undoTimeoutMs'> {
  const undoRetry = checkPolicy(given.undoRetry, UNDO_POLICY, `${path}.undoRetry`);
  const undoTimeoutMs = checkTimeout(given.undoTimeout, `${path}.undoTimeout`);
  if (kind !== 'compensatable') {
    if (given.undo === undefined) return { undo: undefined, undoRetry, undoTimeoutMs };
    throw unfit(`${path}.undo`, `stands on a ${kind} step`, 'leave it out, or make it a step');
  }
  const { undo } = given;
  if (typeof undo === 'function') return { undo, undoRetry, undoTimeoutMs };
  if (typeof undo === 'object' && typeof undo.none === 'string' && undo.none.trim() !== '')
    return { undo: 'none', undoRetry, undoTimeoutMs };
  throw unfit(
    `${path}.undo`,
    'is missing',
    "give a function, or { none: 'why there is nothing to take back' }",
  );
}

function checkFunction(given: unknown, path: string): void {
  if (typeof given !== 'function') throw unfit(path, 'is no function', 'give one');
}

function unfit(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
