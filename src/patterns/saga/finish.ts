import { point } from '../../observe/point.ts';
import type { SagaEnd } from './journal.ts';
import type { RunOutcome, SagaRun } from './run.ts';
import { ENDED, OWNED, PARKED, READY, readyKey, SLOTS, timedKey, TIMERS } from './spaces.ts';

/** All steps are done. */
export function complete(run: SagaRun): Promise<RunOutcome> {
  return end(run, 'completed');
}

/** All that was done is undone. */
export function compensated(run: SagaRun): Promise<RunOutcome> {
  return end(run, 'compensated');
}

async function end(run: SagaRun, how: SagaEnd): Promise<RunOutcome> {
  const { book, host, definition } = run;
  const { head } = book;
  const nowMs = host.clock.nowMs();
  book.add({ kind: 'ended', end: how });
  leave(run);
  head.status = how;
  const forgetKey = timedKey(nowMs + definition.retentionMs, run.id);
  book.also({ kind: 'put', space: ENDED, key: forgetKey, value: run.id });
  if (head.slot !== null) book.also({ kind: 'delete', space: SLOTS, key: head.slot });
  head.slot = null;
  if (head.parent !== undefined) {
    const key = readyKey(head.priority, nowMs, head.parent.id, run.id);
    book.also({ kind: 'put', space: READY, key, value: head.parent.id });
  }
  await book.flush();
  point('saga.after-end');
  host.observe({
    kind: 'ended',
    id: run.id,
    saga: head.saga,
    status: how,
    tookMs: nowMs - head.startedAtMs,
  });
  return 'ended';
}

/** A person is needed: it lies where it can be found, in nobody's hands. */
export async function park(run: SagaRun): Promise<RunOutcome> {
  const { book, host } = run;
  const { head, state } = book;
  leave(run);
  head.status = 'parked';
  book.also({ kind: 'put', space: PARKED, key: run.id, value: head.saga });
  await book.flush();
  point('saga.after-park');
  if (state.parked !== undefined) {
    const { path, during, error } = state.parked;
    host.observe({ kind: 'parked', id: run.id, saga: head.saga, path, during, error });
  }
  return 'parked';
}

/** It waits for what comes later: nobody has it until then. */
export async function suspend(run: SagaRun, dueAtMs: number): Promise<RunOutcome> {
  const { book } = run;
  leave(run);
  book.head.status = 'waiting';
  if (dueAtMs !== Infinity) {
    const key = timedKey(dueAtMs, run.id);
    book.head.timerKey = key;
    book.also({ kind: 'put', space: TIMERS, key, value: run.id });
  }
  await book.flush();
  point('saga.after-suspend');
  return 'waiting';
}

/** This worker stops: another one, or the next, goes on. */
export async function release(run: SagaRun): Promise<RunOutcome> {
  const { book, host } = run;
  leave(run);
  book.head.status = 'ready';
  const key = readyKey(book.head.priority, host.clock.nowMs(), run.id);
  book.also({ kind: 'put', space: READY, key, value: run.id });
  await book.flush();
  return 'released';
}

function leave(run: SagaRun): void {
  const { head } = run.book;
  if (head.owner !== null)
    run.book.also({ kind: 'delete', space: OWNED, key: `${head.owner}/${run.id}` });
  head.owner = null;
}
