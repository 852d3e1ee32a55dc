import type { SagaDefinition } from './definition.ts';
import type { ErrorRecord, FailureReason } from './journal.ts';
import type { Head, SagaStatus } from './record.ts';
import { resultsOf } from './results.ts';
import type { SagaState } from './state.ts';

/** What became of a saga. */
export type SagaOutcome<Results = unknown> =
  | { readonly status: 'completed'; readonly results: Results }
  /** Everything that was done is undone. */
  | { readonly status: 'compensated'; readonly failure: SagaFailure }
  /** A person took it out of the way as it was. */
  | { readonly status: 'abandoned'; readonly failure: SagaFailure | undefined }
  /** It needs a person: see `tally saga show`. */
  | {
      readonly status: 'parked';
      readonly path: string;
      readonly during: 'do' | 'undo';
      readonly error: ErrorRecord;
    }
  /** It has not come to an end within the time that was given. */
  | { readonly status: 'ready' | 'running' | 'waiting' };

/** Why a saga went back. */
export interface SagaFailure {
  readonly why: FailureReason;
  /** The step that failed, if it was one. */
  readonly path?: string;
  readonly error: ErrorRecord;
}

/** What a saga's head and state say of its outcome. */
export function outcomeOf(
  head: Head,
  state: SagaState,
  definition: SagaDefinition | undefined,
): SagaOutcome {
  const status: SagaStatus = state.end ?? head.status;
  const failure = state.failure ?? {
    why: 'step' as const,
    error: { message: 'nothing is known of why' },
  };
  switch (status) {
    case 'completed':
      return {
        status,
        results: definition === undefined ? undefined : resultsOf(definition.nodes, state),
      };
    case 'compensated':
      return { status, failure };
    case 'abandoned':
      return { status, failure: state.failure };
    case 'parked': {
      const { path = '', during = 'do', error = failure.error } = state.parked ?? {};
      return { status, path, during, error };
    }
    default:
      return { status };
  }
}
