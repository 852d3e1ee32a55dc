import type { Value } from '../../core/row.ts';
import type { StepContext } from './definition.ts';
import type { Action } from './plan.ts';
import { resultsBefore } from './results.ts';
import type { SagaRun } from './run.ts';

/** What a step, an undo or a decision is called with. */
export function contextOf(
  { book }: SagaRun,
  { place, path }: Pick<Action, 'place' | 'path'>,
  attempt: number,
  signal: AbortSignal,
): StepContext {
  const { head, state } = book;
  return {
    saga: {
      id: head.id,
      name: head.saga,
      version: head.version,
      startedAtMs: head.startedAtMs,
    },
    input: state.input,
    results: resultsBefore(place, state),
    item: place.item,
    index: place.index,
    path,
    key: `${head.id}/${path}`,
    attempt,
    fence: head.epoch,
    evidence: state.evidence,
    signal,
  };
}

/** What is recorded of a value: what the saga's `redact` makes of it. */
export function recorded(
  { definition }: SagaRun,
  kind: 'result' | 'signal',
  path: string,
  value: unknown,
): Value | undefined {
  return (definition.redact === undefined ? value : definition.redact(value, { kind, path })) as
    Value | undefined;
}
