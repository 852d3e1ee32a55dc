import { encodeEvidence } from '../../core/evidence-token.ts';
import { isTallyError } from '../../core/errors.ts';
import { coversEvidence, type Evidence } from '../../core/evidence.ts';
import { point } from '../../observe/point.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { attempt } from './attempt.ts';
import { contextOf, recorded } from './context.ts';
import type { Probed } from './definition.ts';
import { failBecauseOf, parkBecauseOf, recordedError } from './failures.ts';
import type { ErrorRecord } from './journal.ts';
import type { Place } from './places.ts';
import type { Action } from './plan.ts';
import type { SagaRun } from './run.ts';
import { PLACES } from './spaces.ts';
import { stepState } from './state.ts';

type Do = Extract<Action, { kind: 'do' }>;

/** Where the journal is about to say more than the next action needs: bytes beside the value itself. */
const ENTRY_BYTES = 4_096;

/** One attempt of a step: everything before it is made durable, then it is called, then what it did is recorded. */
export async function runStep(
  run: SagaRun,
  action: Do,
  controller: AbortController,
): Promise<void> {
  const place = await enter(run, action, controller.signal);
  if (place === undefined) return;
  try {
    await perform(run, action, controller);
    if (place.key === undefined || run.isLost) return;
    // In one step with what was recorded: a place is free exactly when its step is known to be over.
    run.book.also({ kind: 'delete', space: PLACES, key: place.key });
    await run.book.flush();
  } finally {
    place.leave();
  }
}

/** A place in the step; undefined if it was told to stop while it waited. */
async function enter(
  { book, host }: SagaRun,
  { node, path }: Do,
  signal: AbortSignal,
): Promise<Place | undefined> {
  const { id, saga, epoch } = book.head;
  try {
    return await host.enter({
      saga,
      step: node.name,
      max: node.concurrency,
      id,
      path,
      epoch,
      signal,
    });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

async function perform(run: SagaRun, action: Do, controller: AbortController): Promise<void> {
  const { book, host } = run;
  const { node, path } = action;
  await book.flush();
  if (controller.signal.aborted || book.state.direction === 'back') return;
  const number = stepState(book.state, path).attempts + 1;
  point('saga.before-do');
  const attempted = await attempt({
    clock: host.clock,
    timeoutMs: node.timeoutMs,
    path,
    evidence: book.state.evidence,
    controller,
    work: (signal) => node.do(contextOf(run, action, number, signal)),
  });
  point('saga.after-do-before-record');
  if (run.isLost) return;
  if (attempted.kind === 'returned') {
    const error = recordDone(run, action, number, attempted.value, attempted.evidence);
    if (error !== undefined) await noMore(run, action, number, error);
    return;
  }
  if (attempted.kind === 'stray')
    host.observe({ kind: 'stray', id: run.id, saga: book.head.saga, path });
  await recordFailed(run, action, number, attempted.error);
}

/** Records what a step returned. Returns the error if that cannot be recorded: the step has taken effect all the same. */
function recordDone(
  run: SagaRun,
  { node, path }: Do,
  number: number,
  value: unknown,
  evidence: Evidence,
): ErrorRecord | undefined {
  const { book, definition } = run;
  try {
    const result = recorded(run, 'result', path, value);
    const isNew = coversEvidence(book.state.evidence, evidence) !== 'covered';
    book.add(
      {
        kind: 'done',
        path,
        attempt: number,
        ...(result === undefined ? {} : { result }),
        ...(isNew ? { evidence: encodeEvidence(evidence) } : {}),
        ...(node.class === 'compensatable' ? {} : { commits: true }),
      },
      definition.resultBytesMax + ENTRY_BYTES,
    );
    return undefined;
  } catch (error) {
    return recordedError(run, path, error);
  }
}

async function recordFailed(
  run: SagaRun,
  action: Do,
  number: number,
  failure: unknown,
): Promise<void> {
  const { book, host } = run;
  const { node, path } = action;
  const error = recordedError(run, path, failure);
  host.observe({
    kind: 'failed',
    id: run.id,
    saga: book.head.saga,
    path,
    during: 'do',
    attempt: number,
    error,
  });
  const commits = node.class === 'retriable' ? ({ commits: true } as const) : {};
  const isRefused = isTallyError(failure, 'STEP_REFUSED');
  // What is refused now may have been done by an attempt before, of which nobody heard: the last piece was reserved, the
  // answer was lost, and now there is none left.
  if (isRefused && stepState(book.state, path).outcome === 'unknown') {
    await noMore(run, action, number, error);
    return;
  }
  if (isRefused) {
    book.add({ kind: 'failed', path, attempt: number, error, next: 'refused', ...commits });
    if (node.class === 'retriable') parkBecauseOf(run, path, 'do', error);
    else failBecauseOf(run, path, error);
    return;
  }
  if (number < node.retry.attemptsMax && book.state.direction === 'forward') {
    const waitMs = backoffMs(number, node.retry, host.random);
    const retryAtMs = host.clock.nowMs() + waitMs;
    book.addRetry({
      kind: 'failed',
      path,
      attempt: number,
      error,
      next: 'retry',
      retryAtMs,
      ...commits,
    });
    return;
  }
  await noMore(run, action, number, error);
}

/** No attempt is left, and it is open whether the last one took effect: it is asked, if that can be. */
async function noMore(run: SagaRun, action: Do, number: number, error: ErrorRecord): Promise<void> {
  const { book } = run;
  const { node, path } = action;
  const probed = await probe(run, action, number);
  if (run.isLost) return;
  if (probed?.took === 'effect') {
    const invalid = recordDone(run, action, number, probed.result, book.state.evidence);
    if (invalid === undefined) return;
  }
  const commits = node.class === 'retriable' ? ({ commits: true } as const) : {};
  const next = probed?.took === 'none' ? 'refused' : 'unknown';
  book.add({ kind: 'failed', path, attempt: number, error, next, ...commits });
  const isStuck = node.class === 'retriable' || (node.class === 'pivot' && next === 'unknown');
  if (isStuck) parkBecauseOf(run, path, 'do', error);
  else failBecauseOf(run, path, error);
}

/** Asks whether a step of unknown outcome took effect. A probe that fails cannot tell. */
export async function probe(
  run: SagaRun,
  { node, path, place }: Pick<Do, 'node' | 'path' | 'place'>,
  number: number,
): Promise<Probed<unknown>> {
  const { book, host } = run;
  const ask = node.probe;
  if (ask === undefined) return undefined;
  const attempted = await attempt({
    clock: host.clock,
    timeoutMs: node.timeoutMs,
    path,
    evidence: book.state.evidence,
    controller: new AbortController(),
    work: (signal) => ask(contextOf(run, { place, path }, number, signal)),
  });
  return attempted.kind === 'returned' ? (attempted.value as Probed<unknown>) : undefined;
}
