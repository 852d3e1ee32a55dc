import type { Evidence } from '../../core/evidence.ts';

/** Milliseconds, or text such as `'200ms'`, `'10s'`, `'5m'`, `'1h'`, `'7d'`. */
export type Duration = number | string;

/**
 * What may become of a step once it is done. *compensatable*: it is undone if a later one fails. *pivot*: the point
 * of no return; once it is done the saga goes forward. *retriable*: comes after the pivot and is repeated until it
 * succeeds. (Garcia-Molina and Salem, Sagas, 1987; Zhang et al., Ensuring Relaxed Atomicity, 1994.)
 */
export type StepClass = 'compensatable' | 'pivot' | 'retriable';

/** Which saga a step belongs to. */
export interface SagaIdentity {
  readonly id: string;
  /** The name of its definition. */
  readonly name: string;
  readonly version: number;
  /** When it was started, as its ledger says; for the key of an effect (`tallystick/effects`). */
  readonly startedAtMs: number;
}

/** What a step is called with. */
export interface StepContext<Input = unknown, Results = unknown, Item = unknown> {
  readonly saga: SagaIdentity;
  readonly input: Input;
  /** What the steps before returned, as it was recorded: the same after a crash as before it. */
  readonly results: Results;
  /** Of the loop that this step is in; undefined outside of loops. */
  readonly item: Item;
  /** Which round of the loop this is, from 0; 0 outside of loops. */
  readonly index: number;
  /** Where the step stands in its saga: `reserve`, `parcels/3/label`. */
  readonly path: string;
  /**
   * The idempotency key of this step of this saga: the same at every attempt, in every process, for `do`, `undo` and
   * `probe`. Give it to whatever takes effect.
   */
  readonly key: string;
  /** Which attempt this is, from 1; after a failed compensation was taken up again, from 1 again. */
  readonly attempt: number;
  /**
   * Grows each time the saga changes hands. A participant that keeps the greatest it has seen refuses a worker that
   * was paused and does not know that it was replaced.
   */
  readonly fence: number;
  /** What the steps before left behind. Reads with `app.read` inside the step wait for it by themselves. */
  readonly evidence: Evidence;
  /** Aborts when the step's time is up, when its saga is cancelled, and when its worker has lost it. */
  readonly signal: AbortSignal;
}

/** What `undo` is called with. */
export interface UndoContext<Context, Result> {
  readonly step: Context;
  /**
   * `done`: it was recorded as done. `unknown`: it was begun, and nobody knows whether it took effect: it timed out,
   * threw, or its worker died. Then `undo` must do no harm where there is nothing to undo, and must see to it that
   * an effect which arrives after it is refused.
   */
  readonly outcome: 'done' | 'unknown';
  /** What `do` returned; undefined if the outcome is unknown. */
  readonly result: Result | undefined;
  readonly attempt: number;
  readonly signal: AbortSignal;
}

/** What `probe` found out about a step whose outcome is unknown. */
export type Probed<Result> =
  { readonly took: 'effect'; readonly result: Result } | { readonly took: 'none' } | undefined;

/** How often and how fast a step is tried. */
export interface RetryPolicy {
  /** Attempts in all, the first included; Infinity: until it succeeds. */
  readonly attempts?: number;
  /** The longest wait after the first attempt. */
  readonly first?: Duration;
  /** The longest wait after any attempt. */
  readonly max?: Duration;
  /** By how much the longest wait grows with each attempt. */
  readonly factor?: number;
}

/** What every step may say. */
export interface StepOptions<Context, Result> {
  /**
   * The effect. Called at least once; give `context.key` to what it calls, so that a repetition has no further
   * effect. Throw {@link refused} to say that it certainly did not take effect and is not to be tried again.
   */
  readonly do: (context: Context) => Promise<Result> | Result;
  /** Asks whether a step of unknown outcome took effect; undefined if that cannot be told. */
  readonly probe?: (context: Context) => Promise<Probed<Result>> | Probed<Result>;
  readonly retry?: RetryPolicy;
  /** How long one attempt may take. Default 30 s. */
  readonly timeout?: Duration;
  /**
   * How many sagas of this definition's name may be in this step at the same time, over all workers. Costs a commit of
   * its own for each attempt. Its undo is not limited.
   */
  readonly concurrency?: number;
}

/** A step that can be undone. */
export interface CompensatableOptions<Context, Result> extends StepOptions<Context, Result> {
  /** Takes the effect back, or `{ none: 'why there is nothing to take back' }`. */
  readonly undo: ((context: UndoContext<Context, Result>) => unknown) | { readonly none: string };
  readonly undoRetry?: RetryPolicy;
  /** How long one attempt to undo may take. Default 30 s. */
  readonly undoTimeout?: Duration;
}

/** A policy with nothing left open. */
export interface Policy {
  readonly attemptsMax: number;
  readonly firstMs: number;
  readonly maxMs: number;
  readonly factor: number;
}

export interface StepNode {
  readonly kind: 'step';
  readonly name: string;
  readonly class: StepClass;
  readonly do: (context: StepContext) => unknown;
  /** `undefined`: a pivot or a retriable step. */
  readonly undo: ((context: UndoContext<StepContext, unknown>) => unknown) | 'none' | undefined;
  readonly probe: ((context: StepContext) => unknown) | undefined;
  readonly retry: Policy;
  readonly undoRetry: Policy;
  readonly timeoutMs: number;
  readonly undoTimeoutMs: number;
  readonly concurrency: number;
}

export interface ParallelNode {
  readonly kind: 'parallel';
  readonly name: string;
  readonly branches: Readonly<Record<string, readonly SagaNode[]>>;
}

export interface ChoiceNode {
  readonly kind: 'choice';
  readonly name: string;
  readonly on: (context: StepContext) => unknown;
  readonly branches: Readonly<Record<string, readonly SagaNode[]>>;
}

export interface LoopNode {
  readonly kind: 'loop';
  readonly name: string;
  readonly over: (context: StepContext) => unknown;
  readonly concurrency: number;
  readonly body: readonly SagaNode[];
}

export interface SleepNode {
  readonly kind: 'sleep';
  readonly name: string;
  readonly forMs: (context: StepContext) => unknown;
}

export interface SignalNode {
  readonly kind: 'signal';
  readonly name: string;
  /** Undefined: it waits as long as it takes. */
  readonly timeoutMs: number | undefined;
  readonly onTimeout: 'fail' | 'continue';
}

export interface ChildNode {
  readonly kind: 'child';
  readonly name: string;
  readonly class: StepClass;
  readonly saga: SagaDefinition;
  readonly input: (context: StepContext) => unknown;
  readonly undo: ((context: UndoContext<StepContext, unknown>) => unknown) | 'none' | undefined;
  readonly undoRetry: Policy;
  readonly undoTimeoutMs: number;
}

export type SagaNode =
  StepNode | ParallelNode | ChoiceNode | LoopNode | SleepNode | SignalNode | ChildNode;

/** What of a value is to be recorded, and as what. */
export type Redact = (
  value: unknown,
  about: { readonly kind: 'input' | 'result' | 'signal' | 'error'; readonly path: string },
) => unknown;

/** What `saga(name, options)` may be told. */
export interface SagaOptions<Input> {
  /** Sagas that run finish on the version they began with. Default 1. */
  readonly version?: number;
  /** Throws, or returns what is to be taken instead, before a saga is started. */
  readonly input?: (input: Input) => Input;
  /** By when the point of no return must be passed, from the start; then the saga is compensated. */
  readonly deadline?: Duration;
  /** What is recorded instead of a value; later steps see what was recorded. */
  readonly redact?: Redact;
  /** Bytes that an input, a result or a signal may have as recorded. Default 256 KiB. */
  readonly resultBytesMax?: number;
  /** How many sagas of the same key may run at the same time, over all workers. */
  readonly concurrency?: { readonly key: (input: Input) => string; readonly max: number };
  /** How long an ended saga is kept. Default 30 days. */
  readonly retention?: Duration;
}

declare const types: unique symbol;

/** A checked definition: what {@link saga} ends in. Nothing runs yet. */
export interface SagaDefinition<Input = never, Results = unknown> {
  readonly name: string;
  readonly version: number;
  /** A hash of the structure: names, kinds, classes and their order. Not of the code in the steps. */
  readonly fingerprint: string;
  readonly nodes: readonly SagaNode[];
  readonly checkInput: (input: unknown) => unknown;
  readonly deadlineMs: number | undefined;
  readonly redact: Redact | undefined;
  readonly resultBytesMax: number;
  readonly concurrency:
    { readonly key: (input: unknown) => string; readonly max: number } | undefined;
  readonly retentionMs: number;
  /** For the compiler only. */
  readonly [types]?: { readonly input: (input: Input) => void; readonly results: Results };
}
