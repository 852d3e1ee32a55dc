import { AsyncLocalStorage } from 'node:async_hooks';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { currentBudget, remainingMs, withDeadline } from '../../runtime/budget.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { guard, type Guard } from './guard.ts';
import type { GuardOptions } from './guard-options.ts';

/** What a promise came to, and when. */
interface Seen {
  readonly atMs: number;
  readonly value?: unknown;
  readonly code?: string;
}

async function seen(clock: VirtualClock, promise: Promise<unknown>): Promise<Seen> {
  try {
    return { value: await promise, ...at(clock) };
  } catch (error) {
    return { ...at(clock), code: isTallyError(error) ? error.code : String(error) };
  }
}

function at(clock: VirtualClock): { readonly atMs: number } {
  return { atMs: Math.round(clock.elapsedMs * 1_000) / 1_000 };
}

function guarded(clock: VirtualClock, options: GuardOptions = {}): Guard {
  return guard('store', { clock, random: seededRandom(7), ...options });
}

async function outcomes(
  clock: VirtualClock,
  calls: readonly Promise<unknown>[],
  forMs = 60_000,
): Promise<Seen[]> {
  const all = calls.map((call) => seen(clock, call));
  await clock.advance(forMs);
  return await Promise.all(all);
}

test('passes on a value, and what is thrown, as they are', async () => {
  const clock = virtualClock();
  const calls = guarded(clock);
  const error = new Error('no such row');
  await expect(calls.run(() => 7)).resolves.toBe(7);
  await expect(calls.run(async () => 'late')).resolves.toBe('late');
  await expect(calls.run(() => Promise.reject(error))).rejects.toBe(error);
  await expect(
    calls.run(() => {
      throw error;
    }),
  ).rejects.toBe(error);
});

test('stops waiting in time, aborts the work, and keeps its place until the work ends', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { within: '50ms', limit: 1, waitingMax: 0 });
  let aborted = 0;
  const hangs = calls.run(({ signal }) => {
    signal.addEventListener('abort', () => (aborted = clock.elapsedMs));
    return clock.sleep(200);
  });
  const first = seen(clock, hangs);
  await clock.advance(60);
  expect(await first).toEqual({ atMs: 50, code: 'DEADLINE_EXCEEDED' });
  expect(aborted).toBe(50);
  expect(calls.stats()).toMatchObject({ underWay: 1, overdue: 1, timedOut: 1 });
  expect(
    await seen(
      clock,
      calls.run(() => 1),
    ),
  ).toEqual({ atMs: 60, code: 'OVERLOADED' });
  await clock.advance(200);
  expect(calls.stats()).toMatchObject({ underWay: 0, overdue: 0 });
  await expect(calls.run(() => 1)).resolves.toBe(1);
});

test('a limit of 2 is 2, whatever times out', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { within: '50ms', limit: 2, breaker: 'off' });
  let underWay = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    underWay += 1;
    most = Math.max(most, underWay);
    await clock.sleep(500);
    underWay -= 1;
  };
  const all: Promise<Seen>[] = [];
  for (let call = 0; call < 50; call++) {
    all.push(seen(clock, calls.run(work)));
    await clock.advance(20);
  }
  await clock.advance(60_000);
  await Promise.all(all);
  expect(most).toBe(2);
});

test('who waits for a place is turned away at its deadline', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { within: '50ms', limit: 1 });
  const [, second] = await outcomes(clock, [
    calls.run(() => clock.sleep(200)),
    calls.run(() => clock.sleep(1)),
  ]);
  expect(second).toEqual({ atMs: 50, code: 'OVERLOADED' });
  expect(calls.stats().waiting).toBe(0);
});

test('the budget of the caller is passed down and never grows', async () => {
  const clock = virtualClock();
  const outer = guarded(clock, { within: '100ms' });
  const inner = guarded(clock, { within: '80ms' });
  const left: (number | undefined)[] = [];
  const run = outer.run(async () => {
    left.push(remainingMs());
    await clock.sleep(60);
    return inner.run(async ({ remainingMs: ownMs }) => {
      left.push(ownMs, remainingMs());
      await clock.sleep(1_000);
    });
  });
  expect(await outcomes(clock, [run])).toEqual([{ atMs: 100, code: 'DEADLINE_EXCEEDED' }]);
  expect(left).toEqual([100, 40, 40]);
  expect(currentBudget()).toBeUndefined();
});

test('a caller who comes with too little time says nothing about the store', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { within: '100ms', breaker: { callsMin: 2 } });
  for (let call = 0; call < 10; call++) {
    const hurried = withDeadline(1, () => calls.run(() => clock.sleep(20)), { clock });
    const result = seen(clock, hurried);
    await clock.advance(30);
    expect((await result).code).toBe('DEADLINE_EXCEEDED');
  }
  expect(calls.stats().breaker).toBe('closed');
  await outcomes(clock, [calls.run(() => clock.sleep(500)), calls.run(() => clock.sleep(500))]);
  expect(calls.stats().refused).toBe(0);
  expect(calls.stats().timedOut).toBe(12);
});

test('an open breaker turns callers away at once, even if what hangs holds every place', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { within: '50ms', limit: 4, breaker: { callsMin: 4 } });
  const hung = Array.from({ length: 4 }, () =>
    seen(
      clock,
      calls.run(() => new Promise(() => {})),
    ),
  );
  await clock.advance(51);
  await Promise.all(hung);
  expect(
    await seen(
      clock,
      calls.run(() => 1),
    ),
  ).toEqual({ atMs: 51, code: 'CIRCUIT_OPEN' });
});

test('the mistakes of callers do not open the breaker', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { breaker: { callsMin: 2 } });
  const mistake = new TallyError('CONFIG_INVALID', { what: 'a mistake' });
  for (let call = 0; call < 50; call++)
    await expect(calls.run(() => Promise.reject(mistake))).rejects.toBe(mistake);
  expect(calls.stats().breaker).toBe('closed');
});

test('a failed call is repeated only if it may be made twice, and within its time', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { retry: { attemptsMax: 3 } });
  const attempts: number[] = [];
  const flaky = ({ attempt }: { readonly attempt: number }): string => {
    attempts.push(attempt);
    if (attempt < 3) throw new Error('lost');
    return 'there';
  };
  expect(await outcomes(clock, [calls.run(flaky)])).toMatchObject([{ code: 'Error: lost' }]);
  expect(await outcomes(clock, [calls.run(flaky, { idempotent: true })])).toMatchObject([
    { value: 'there' },
  ]);
  expect(attempts).toEqual([1, 1, 2, 3]);
  const final = new TallyError('STORE_CORRUPT', { what: 'broken' });
  await expect(calls.run(() => Promise.reject(final), { idempotent: true })).rejects.toBe(final);
});

test('repeats are a share of the calls: an outage is not doubled by everybody', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { breaker: 'off', retry: { share: 0.1 } });
  let made = 0;
  const all = Array.from({ length: 200 }, () =>
    calls.run(
      () => {
        made += 1;
        throw new Error('down');
      },
      { idempotent: true },
    ),
  );
  await outcomes(clock, all);
  // Ten that were saved up, and a tenth of the calls.
  expect(made).toBeLessThanOrEqual(200 + 10 + 20);
  expect(made).toBeGreaterThan(200);
});

test('the abort of the caller ends its call, and leaves no listener', async () => {
  const clock = virtualClock();
  const calls = guarded(clock);
  const controller = new AbortController();
  const { signal } = controller;
  let heard = false;
  const run = seen(
    clock,
    calls.run(
      (call) => {
        call.signal.addEventListener('abort', () => (heard = true));
        return clock.sleep(500);
      },
      { signal },
    ),
  );
  await clock.advance(10);
  controller.abort(new Error('gone'));
  expect(await run).toEqual({ atMs: 10, code: 'ABORTED' });
  expect(heard).toBe(true);
  expect(
    await seen(
      clock,
      calls.run(() => 1, { signal }),
    ),
  ).toMatchObject({ code: 'ABORTED' });
});

test('what runs later runs in the context of its own caller', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { limit: 1, idempotent: true, retry: { attemptsMax: 2 } });
  const who = new AsyncLocalStorage<string>();
  const seenBy: (string | undefined)[] = [];
  const first = who.run('first', () => calls.run(() => clock.sleep(20)));
  const second = who.run('second', () =>
    calls.run(async ({ attempt }) => {
      seenBy.push(who.getStore());
      if (attempt === 1) throw new Error('again');
    }),
  );
  await outcomes(clock, [first, second]);
  expect(seenBy).toEqual(['second', 'second']);
});

/** Calls of 2 to 9 ms, one after another. */
async function learn(clock: VirtualClock, calls: Guard): Promise<void> {
  for (let call = 0; call < 40; call++)
    await outcomes(
      clock,
      [calls.run(() => clock.sleep(2 + (call % 8)), { idempotent: false })],
      10,
    );
}

test('a slow call is asked again beside itself, the faster one counts, the other is aborted', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { idempotent: true, within: '500ms', hedge: { share: 1 } });
  await learn(clock, calls);
  const { usualMs } = calls.stats();
  const aborted: number[] = [];
  const startedMs = clock.elapsedMs;
  const slow = calls.run(async ({ attempt, signal }) => {
    signal.addEventListener('abort', () => aborted.push(attempt));
    await clock.sleep(attempt === 1 ? 300 : 5);
    return attempt;
  });
  const [result] = await outcomes(clock, [slow]);
  expect(result).toMatchObject({ value: 2 });
  expect(result!.atMs - startedMs).toBeCloseTo(usualMs! + 5, 1);
  expect(aborted).toEqual([1]);
  expect(calls.stats()).toMatchObject({ hedges: 1, hedgesWon: 1, underWay: 0 });
});

test('hedges decide as the model does, and stay within their share', async () => {
  const latencyMs = fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 2, max: 9 }) },
    // Not at the deadline itself, where either may come first.
    { weight: 1, arbitrary: fc.integer({ min: 40, max: 400 }).map((ms) => ms + 0.37) },
  );
  const call = fc.tuple(latencyMs, latencyMs);
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 60, maxLength: 120 }), async (all) => {
      const clock = virtualClock();
      const share = 0.1;
      const calls = guarded(clock, {
        idempotent: true,
        within: '200ms',
        hedge: { share },
        breaker: 'off',
        limit: 8,
      });
      let saved = 0;
      let hedges = 0;
      for (const [firstMs, secondMs] of all) {
        const { usualMs } = calls.stats();
        saved = Math.min(10, saved + share);
        // The model: what one call must come to, from the percentile and the allowance before it.
        const inTime = usualMs !== null && usualMs < 200;
        const beside = inTime && firstMs >= Math.max(1, usualMs) && saved > 1 - 1e-6;
        if (beside) {
          saved -= 1;
          hedges += 1;
        }
        const endsMs = beside ? Math.min(firstMs, usualMs + secondMs) : firstMs;
        const startedMs = clock.elapsedMs;
        const run = seen(
          clock,
          calls.run(({ attempt }) => clock.sleep(attempt === 1 ? firstMs : secondMs)),
        );
        await clock.advance(1_000);
        const result = await run;
        expect(result.atMs - startedMs).toBeCloseTo(Math.min(200, endsMs), 1);
        expect(result.code).toBe(endsMs < 200 ? undefined : 'DEADLINE_EXCEEDED');
        expect(calls.stats().hedges).toBe(hedges);
      }
      expect(hedges).toBeLessThanOrEqual(all.length * share + 1);
      expect(calls.stats().underWay).toBe(0);
    }),
    { numRuns: 15 },
  );
});

test('does not hedge what is slow for everybody, nor what waits for places', async () => {
  const clock = virtualClock();
  const calls = guarded(clock, { idempotent: true, limit: 2, hedge: { share: 1 }, within: '30s' });
  await learn(clock, calls);
  await outcomes(
    clock,
    Array.from({ length: 20 }, () => calls.run(() => clock.sleep(100))),
  );
  expect(calls.stats().hedges).toBe(0);
});

test.each([
  [{ within: 0 }, 'CONFIG_INVALID'],
  [{ limit: 0 }, 'CONFIG_INVALID'],
  [{ limit: { min: 5, max: 2 } }, 'CONFIG_INVALID'],
  [{ limit: { initial: 1_000 } }, 'CONFIG_INVALID'],
  [{ waitingMax: -1 }, 'CONFIG_INVALID'],
  [{ breaker: { failureRate: 50 } }, 'CONFIG_INVALID'],
  [{ breaker: { open: '5s', openMax: '1s' } }, 'CONFIG_INVALID'],
  [{ hedge: { percentile: 95 } }, 'CONFIG_INVALID'],
  [{ retry: { attemptsMax: 0 } }, 'CONFIG_INVALID'],
  [{ timeout: 5 }, 'CONFIG_UNKNOWN_OPTION'],
  [{ breaker: { threshold: 5 } }, 'CONFIG_UNKNOWN_OPTION'],
] as const)('refuses %j with %s', (options, code) => {
  expect(() => guard('store', options as GuardOptions)).toThrow(expect.objectContaining({ code }));
});

test('refuses options of a call that mean nothing', async () => {
  const calls = guard('store');
  await expect(calls.run(() => 1, { timeout: 5 } as never)).rejects.toMatchObject({
    code: 'CONFIG_UNKNOWN_OPTION',
  });
  await expect(calls.run(() => 1, { priority: 'urgent' as never })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
});
