import { TallyError, unreachable } from '../../core/errors.ts';
import { isEnd } from './record.ts';
import type { Value } from '../../core/row.ts';
import { contextOf, recorded } from './context.ts';
import { failBecauseOf, parkBecauseOf, recordedError } from './failures.ts';
import type { ErrorRecord } from './journal.ts';
import type { Action } from './plan.ts';
import type { SagaRun } from './run.ts';
import { stepState } from './state.ts';

/**
 * Whether an action can begin now, or when to look again (milliseconds since 1970; Infinity: when something comes), or
 * that what was waited for has come and is recorded.
 */
export async function look(run: SagaRun, action: Action): Promise<'now' | 'recorded' | number> {
  switch (action.kind) {
    case 'do':
      return notBefore(run, stepState(run.book.state, action.path).retryAtMs);
    case 'undo':
      return notBefore(run, stepState(run.book.state, action.path).undoRetryAtMs);
    case 'choose':
    case 'items':
      return 'now';
    case 'sleep':
      return lookAtSleep(run, action);
    case 'signal':
      return lookAtSignal(run, action);
    case 'child':
      return lookAtChild(run, action);
    default:
      return unreachable(action);
  }
}

function notBefore(run: SagaRun, atMs: number | undefined): 'now' | number {
  return atMs === undefined || atMs <= run.host.clock.nowMs() ? 'now' : atMs;
}

function lookAtSleep(
  run: SagaRun,
  action: Extract<Action, { kind: 'sleep' }>,
): 'recorded' | number {
  const { book, host } = run;
  const { path, node } = action;
  const step = stepState(book.state, path);
  const nowMs = host.clock.nowMs();
  if (step.dueAtMs === undefined) {
    try {
      const forMs = Number(node.forMs(contextOf(run, action, 1, new AbortController().signal)));
      book.add({ kind: 'waiting', path, dueAtMs: Math.ceil(nowMs + forMs) });
    } catch (error) {
      stuck(run, path, recordedError(run, path, error));
    }
    return 'recorded';
  }
  if (step.dueAtMs > nowMs) return step.dueAtMs;
  book.add({ kind: 'done', path, attempt: 1 });
  return 'recorded';
}

function lookAtSignal(
  run: SagaRun,
  action: Extract<Action, { kind: 'signal' }>,
): 'recorded' | number {
  const { book, host } = run;
  const { path, node } = action;
  const step = stepState(book.state, path);
  const mail = run.signal(node.name);
  if (mail !== undefined) {
    const result = recorded(run, 'signal', path, mail.payload) ?? null;
    const signalId = `${node.name}/${mail.signalId}`;
    book.add({ kind: 'done', path, attempt: 1, result, signalId });
    run.takeOut(mail);
    return 'recorded';
  }
  const nowMs = host.clock.nowMs();
  if (node.timeoutMs === undefined) return Infinity;
  if (step.dueAtMs === undefined) {
    book.add({ kind: 'waiting', path, dueAtMs: Math.ceil(nowMs + node.timeoutMs) });
    return 'recorded';
  }
  if (step.dueAtMs > nowMs) return step.dueAtMs;
  if (node.onTimeout === 'continue') book.add({ kind: 'done', path, attempt: 1, result: null });
  else
    failBecauseOf(run, path, {
      code: 'STEP_TIMEOUT',
      message: `no signal ${node.name} came within ${node.timeoutMs} ms`,
    });
  return 'recorded';
}

/** Starts the child, or looks how it stands. A saga that goes back cancels it, and waits for its end all the same. */
async function lookAtChild(
  run: SagaRun,
  action: Extract<Action, { kind: 'child' }>,
): Promise<'recorded' | number> {
  const { book, host } = run;
  const { path, node } = action;
  const step = stepState(book.state, path);
  const isBack = book.state.direction === 'back';
  const id = step.childId ?? `${run.id}~${path.replaceAll('/', '~')}`;
  if (step.childId === undefined) {
    book.add({ kind: 'waiting', path, childId: id });
    // Known to be begun before it is: else nobody would cancel it.
    await book.flush();
  }
  let child;
  try {
    const input = await node.input(contextOf(run, action, 1, new AbortController().signal));
    child = await host.startChild(node.saga, id, input, { id: run.id, path });
  } catch (error) {
    if (error instanceof TallyError && error.retryable) return host.clock.nowMs() + CHILD_RETRY_MS;
    stuck(run, path, recordedError(run, path, error));
    return 'recorded';
  }
  const { status } = child.head;
  if (!isEnd(status)) {
    if (isBack) await host.cancelChild(id, 'its parent goes back');
    return Infinity;
  }
  if (status === 'completed') {
    const commits = node.class === 'compensatable' ? {} : ({ commits: true } as const);
    const result = child.results as Value;
    book.add({ kind: 'done', path, attempt: 1, result, ...commits });
    return 'recorded';
  }
  const error = { code: 'SAGA_FAILED', message: `child saga ${id} ended ${status}` };
  const next = status === 'compensated' ? 'refused' : 'unknown';
  book.add({ kind: 'failed', path, attempt: 1, error, next });
  if (!isBack) stuck(run, path, error);
  return 'recorded';
}

/** How soon a child that could not be started is started again. */
const CHILD_RETRY_MS = 1_000;

function stuck(run: SagaRun, path: string, error: ErrorRecord): void {
  if (run.book.state.committed) parkBecauseOf(run, path, 'do', error);
  else failBecauseOf(run, path, error);
}
