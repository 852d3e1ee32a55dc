import type { Value } from '../../core/row.ts';
import type { Duration, SagaDefinition } from './definition.ts';
import type { Decision } from './operations.ts';
import type { SagaOutcome } from './outcome.ts';
import type { ListOptions, SagaSummary, SagaView } from './view.ts';

/** How a saga is started. */
export interface StartSagaOptions<Input> {
  readonly input: Input;
  /** Names the saga, and makes starting it idempotent: the same id is the same saga. A new one if not given. */
  readonly id?: string;
  /** From 0 to 9, the greater first. Default 5. */
  readonly priority?: number;
}

/** A saga that was started, here or before. */
export interface SagaHandle<Results> {
  readonly id: string;
  /** False: a saga of this id was there already, and goes on. */
  readonly created: boolean;
  /** {@link Sagas.result} of it. */
  result(options?: ResultOptions): Promise<SagaOutcome<Results>>;
}

/** How long an outcome is waited for. */
export interface ResultOptions {
  /** Not given: as long as it takes. */
  readonly within?: Duration;
  readonly signal?: AbortSignal;
}

/** A signal to a saga. */
export interface SignalOptions {
  readonly payload?: Value;
  /** The same id is the same signal: sent twice it counts once. A new one if not given. */
  readonly signalId?: string;
}

/**
 * What an application sees of an engine that runs sagas. `SagaEngine` is the one that there is; another one would take the
 * same definitions, whose steps are plain functions with a key, and answer the same.
 */
export interface Sagas extends AsyncDisposable {
  start<Input, Results>(
    definition: SagaDefinition<Input, Results>,
    options: StartSagaOptions<Input>,
  ): Promise<SagaHandle<Results>>;
  result<Input, Results>(
    definition: SagaDefinition<Input, Results>,
    id: string,
    options?: ResultOptions,
  ): Promise<SagaOutcome<Results>>;
  signal(id: string, name: string, options?: SignalOptions): Promise<void>;
  cancel(id: string, reason: string): Promise<void>;
  show(id: string): Promise<SagaView>;
  list(options?: ListOptions): Promise<readonly SagaSummary[]>;
  decide(id: string, decision: Decision): Promise<void>;
  close(): Promise<void>;
}
