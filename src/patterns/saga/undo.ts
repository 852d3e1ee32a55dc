import { isTallyError } from '../../core/errors.ts';
import { point } from '../../observe/point.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { type Attempted, attempt } from './attempt.ts';
import { contextOf } from './context.ts';
import { parkBecauseOf, recordedError } from './failures.ts';
import type { Action } from './plan.ts';
import type { SagaRun } from './run.ts';
import { stepState } from './state.ts';
import { probe } from './step.ts';

type Undo = Extract<Action, { kind: 'undo' }>;

/** One attempt to undo a step. Parks the saga when none is left: what stands below waits for a person's decision. */
export async function runUndo(
  run: SagaRun,
  action: Undo,
  controller: AbortController,
): Promise<void> {
  const { book, host } = run;
  const { node, path } = action;
  await book.flush();
  const number = stepState(book.state, path).undoAttempts + 1;
  point('saga.before-undo');
  const attempted = await call(run, action, number, controller);
  point('saga.after-undo-before-record');
  if (run.isLost) return;
  if (attempted.kind === 'returned') {
    book.add({ kind: 'undone', path, attempt: number });
    return;
  }
  if (attempted.kind === 'stray')
    host.observe({ kind: 'stray', id: run.id, saga: book.head.saga, path });
  const error = recordedError(run, path, attempted.error);
  host.observe({
    kind: 'failed',
    id: run.id,
    saga: book.head.saga,
    path,
    during: 'undo',
    attempt: number,
    error,
  });
  const isLast =
    number >= node.undoRetry.attemptsMax || isTallyError(attempted.error, 'STEP_REFUSED');
  const waitMs = backoffMs(number, node.undoRetry, host.random);
  const retryAtMs = host.clock.nowMs() + waitMs;
  book.addRetry({ kind: 'undo-failed', path, attempt: number, error, retryAtMs });
  if (isLast) parkBecauseOf(run, path, 'undo', error);
}

async function call(
  run: SagaRun,
  action: Undo,
  number: number,
  controller: AbortController,
): Promise<Attempted> {
  const { book, host } = run;
  const { node, path, place } = action;
  const step = stepState(book.state, path);
  let { result } = step as { result: unknown };
  let outcome = step.outcome === 'done' ? ('done' as const) : ('unknown' as const);
  if (outcome === 'unknown' && node.kind === 'step') {
    const probed = await probe(run, { node, path, place }, step.attempts);
    // Nothing was done, so that there is nothing to undo.
    if (probed?.took === 'none')
      return { kind: 'returned', value: undefined, evidence: book.state.evidence };
    if (probed?.took === 'effect') [outcome, result] = ['done', probed.result];
  }
  const { undo } = node;
  return attempt({
    clock: host.clock,
    timeoutMs: node.undoTimeoutMs,
    path,
    evidence: book.state.evidence,
    controller,
    work: (signal) =>
      typeof undo === 'function'
        ? undo({
            step: contextOf(run, action, step.attempts, signal),
            outcome,
            result,
            attempt: number,
            signal,
          })
        : undefined,
  });
}
