import { TallyError } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';
import { attempt } from './attempt.ts';
import { contextOf } from './context.ts';
import { failBecauseOf, parkBecauseOf, recordedError } from './failures.ts';
import type { Action } from './plan.ts';
import type { SagaRun } from './run.ts';

/** Items of one loop: each of its rounds is in the journal. */
const ITEMS_MAX = 10_000;
/** Which branch, and which items, is decided from what is there already. */
const DECISION_TIMEOUT_MS = 30_000;

/** Asks which branch to take, and records the answer. */
export function runChoice(
  run: SagaRun,
  action: Extract<Action, { kind: 'choose' }>,
  controller: AbortController,
): Promise<void> {
  const { node, path } = action;
  return decide(run, action, node.on, controller, (branch) => {
    if (typeof branch !== 'string' || !Object.hasOwn(node.branches, branch))
      throw unfit(path, `chose ${JSON.stringify(branch)}, which is no branch of it`);
    run.book.add({ kind: 'chosen', path, branch });
  });
}

/** Asks for the items of a loop, and records them. */
export function runItems(
  run: SagaRun,
  action: Extract<Action, { kind: 'items' }>,
  controller: AbortController,
): Promise<void> {
  const { node, path } = action;
  return decide(run, action, node.over, controller, (items) => {
    if (!Array.isArray(items) || items.length > ITEMS_MAX)
      throw unfit(path, `gave no list of at most ${ITEMS_MAX} items`);
    run.book.add({ kind: 'items', path, items: items as Value[] }, run.definition.resultBytesMax);
  });
}

async function decide(
  run: SagaRun,
  action: Action,
  ask: (context: ReturnType<typeof contextOf>) => unknown,
  controller: AbortController,
  record: (answer: unknown) => void,
): Promise<void> {
  const { book, host } = run;
  const { path } = action;
  const attempted = await attempt({
    clock: host.clock,
    timeoutMs: DECISION_TIMEOUT_MS,
    path,
    evidence: book.state.evidence,
    controller,
    work: (signal) => ask(contextOf(run, action, 1, signal)),
  });
  if (run.isLost || book.state.direction === 'back') return;
  let error: unknown;
  if (attempted.kind === 'returned') {
    try {
      record(attempted.value);
      return;
    } catch (failure) {
      error = failure;
    }
  } else error = attempted.error;
  const kept = recordedError(run, path, error);
  if (book.state.committed) parkBecauseOf(run, path, 'do', kept);
  else failBecauseOf(run, path, kept);
}

function unfit(path: string, what: string): TallyError {
  return new TallyError('SAGA_RESULT_INVALID', {
    what: `${path} ${what}`,
    mend: 'correct the function in the definition',
  });
}
