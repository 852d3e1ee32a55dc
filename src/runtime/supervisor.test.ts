import { expect, test } from 'vitest';
import { TallyError, type ErrorCode } from '../core/errors.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import type { Random } from '../ports/clock.ts';
import { supervise, type WorkerState } from './supervisor.ts';

/** The longest waits: the jitter draws from 0 to the backoff. */
const longest: Random = { next: () => 1, id: () => 'id' };

type Run = (signal: AbortSignal) => Promise<void>;

function fails(code: ErrorCode): Run {
  return () => Promise.reject(new TallyError(code, { what: 'it went wrong' }));
}

function supervised(run: Run) {
  const clock = virtualClock();
  const stop = new AbortController();
  const states: WorkerState[] = [];
  const startsAtMs: number[] = [];
  const done = supervise({
    run: (signal) => {
      startsAtMs.push(clock.elapsedMs);
      return run(signal);
    },
    clock,
    random: longest,
    signal: stop.signal,
    onState: (state) => states.push(state),
  });
  return { clock, stop, states, startsAtMs, done };
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
}

test('a failure that may pass is tried again after growing waits, visibly', async () => {
  const { clock, states, startsAtMs } = supervised(fails('STORE_UNREACHABLE'));
  await clock.advance(400);
  expect(startsAtMs).toEqual([0, 50, 150, 350]);
  expect(states.filter(({ kind }) => kind === 'retrying').slice(0, 3)).toEqual(
    [50, 100, 200].map((retryInMs, index) => ({
      kind: 'retrying',
      code: 'STORE_UNREACHABLE',
      message: 'it went wrong.',
      attempt: index + 1,
      retryInMs,
    })),
  );
});

test('the waits stop growing at ten seconds', async () => {
  const { clock, startsAtMs } = supervised(fails('STORE_BUSY'));
  await clock.advance(120_000);
  const waits = startsAtMs.slice(1).map((at, index) => at - (startsAtMs[index] ?? 0));
  expect(Math.max(...waits)).toBe(10_000);
  expect(waits.length).toBeGreaterThan(12);
});

test('anything a driver throws is tried again as INTERNAL', async () => {
  const { clock, states } = supervised(() => Promise.reject(new Error('socket hang up')));
  await clock.advance(1);
  expect(states.at(-1)).toMatchObject({
    kind: 'retrying',
    code: 'INTERNAL',
    message: 'socket hang up',
  });
});

test('a failure that waiting does not mend ends the worker, with its code', async () => {
  const { states, done, clock, startsAtMs } = supervised(fails('HISTORY_LOST'));
  await done;
  await clock.advance(60_000);
  expect(startsAtMs).toHaveLength(1);
  expect(states.at(-1)).toEqual({
    kind: 'failed',
    code: 'HISTORY_LOST',
    message: 'it went wrong.',
  });
});

test.each(['LEASE_HELD', 'FENCED_OUT'] as const)(
  'a worker that meets %s stands by, looks again regularly, and takes over',
  async (code) => {
    let held = true;
    const { clock, states, startsAtMs } = supervised((signal) =>
      held ? fails(code)(signal) : untilAborted(signal),
    );
    await clock.advance(7_500);
    expect(states.at(-1)).toMatchObject({ kind: 'standby' });
    expect(startsAtMs).toHaveLength(11);
    held = false;
    await clock.advance(750);
    expect(states.at(-1)).toEqual({ kind: 'running' });
  },
);

test('standing by is no failure: the first one after it is met with the first wait', async () => {
  let code: ErrorCode = 'LEASE_HELD';
  const { clock, states } = supervised((signal) => fails(code)(signal));
  await clock.advance(30_000);
  code = 'STORE_BUSY';
  await clock.runUntil(() => states.at(-1)?.kind === 'retrying', 1_000);
  expect(states.at(-1)).toMatchObject({ kind: 'retrying', attempt: 1, retryInMs: 50 });
});

test('a worker that ran well for half a minute starts counting its failures anew', async () => {
  let healthyMs = 0;
  const { clock, states } = supervised(async (signal) => {
    if (healthyMs > 0) await clock.sleep(healthyMs, signal);
    healthyMs = 0;
    throw new TallyError('STORE_BUSY', { what: 'locked' });
  });
  await clock.advance(2_000);
  expect(states.at(-1)).toMatchObject({ kind: 'retrying', attempt: 6 });
  healthyMs = 31_000;
  await clock.advance(33_000);
  const first = states.findLastIndex((state) => state.kind === 'retrying' && state.attempt === 1);
  expect(first).toBeGreaterThan(6);
});

test('a worker that is told to stop ends, and says so', async () => {
  const { stop, states, done } = supervised(untilAborted);
  stop.abort();
  await done;
  expect(states).toEqual([{ kind: 'running' }, { kind: 'stopped' }]);
});

test('a failure while stopping is no failure', async () => {
  const { stop, states, done } = supervised(async (signal) => {
    await untilAborted(signal);
    throw new TallyError('STORE_CLOSED', { what: 'closed' });
  });
  stop.abort();
  await done;
  expect(states.at(-1)).toEqual({ kind: 'stopped' });
});

test('a wait between two tries ends at once when the worker is told to stop', async () => {
  const { clock, stop, states, done } = supervised(fails('STORE_BUSY'));
  await clock.advance(20_000);
  stop.abort();
  await done;
  expect(states.at(-1)).toEqual({ kind: 'stopped' });
});

test('a run that ends by itself is started again: only the signal ends a worker', async () => {
  const { clock, startsAtMs } = supervised(() => Promise.resolve());
  await clock.advance(60);
  expect(startsAtMs.length).toBeGreaterThan(1);
});
