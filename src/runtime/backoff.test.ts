import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TallyError } from '../core/errors.ts';
import type { Clock, Random } from '../ports/clock.ts';
import { BACKOFF_DEFAULT, backoffMs, retry, type RetryOptions } from './backoff.ts';
import { systemClock } from './clock.ts';
import { seededRandom } from './random.ts';

const most: Random = { next: () => 1 - 2 ** -53, id: () => '' };
const busy = (): TallyError => new TallyError('STORE_BUSY', { what: 'busy' });

/** A clock on which every sleep is over at once; keeps what was slept. */
function instantClock(): { clock: Clock; slept: number[] } {
  const slept: number[] = [];
  const sleep = (delayMs: number, signal?: AbortSignal): Promise<void> => {
    slept.push(delayMs);
    return systemClock.sleep(0, signal);
  };
  return { clock: { ...systemClock, sleep }, slept };
}

function options(changes: Partial<RetryOptions> = {}): RetryOptions {
  const { clock } = instantClock();
  return { attemptsMax: 3, backoff: BACKOFF_DEFAULT, clock, random: seededRandom(1), ...changes };
}

describe('the backoff', () => {
  it('grows by its factor to its maximum', () => {
    const backoff = { firstMs: 10, maxMs: 100, factor: 3 };
    const waits = [1, 2, 3, 4, 5_000].map((attempt) =>
      Math.round(backoffMs(attempt, backoff, most)),
    );
    expect(waits).toStrictEqual([10, 30, 90, 100, 100]);
  });

  it('is drawn from the whole range, and never outside of it', () => {
    const limits = fc.record({
      firstMs: fc.nat(1_000),
      maxMs: fc.nat(100_000),
      factor: fc.double({ min: 1, max: 1e9, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        limits,
        fc.nat(),
        (attempt, backoff, seed) => {
          const wait = backoffMs(attempt, backoff, seededRandom(seed));
          expect(wait >= 0 && wait <= backoff.maxMs).toBe(true);
        },
      ),
    );
    const random = seededRandom('jitter');
    const waits = Array.from({ length: 200 }, () => backoffMs(1, BACKOFF_DEFAULT, random));
    expect(Math.min(...waits)).toBeLessThan(10);
    expect(Math.max(...waits)).toBeGreaterThan(40);
  });
});

describe('retrying', () => {
  it('gives the result of the attempt that succeeds, and waits before each further one', async () => {
    const { clock, slept } = instantClock();
    const work = (attempt: number): string => {
      if (attempt < 3) throw busy();
      return `attempt ${attempt}`;
    };
    await expect(retry(work, options({ clock }))).resolves.toBe('attempt 3');
    expect(slept).toHaveLength(2);
  });

  it('throws the last error as it came when the attempts are used up', async () => {
    const errors = [busy(), busy(), busy()];
    const work = (attempt: number): Promise<never> => Promise.reject(errors[attempt - 1]);
    await expect(retry(work, options())).rejects.toBe(errors[2]);
  });

  it('throws at once what is not retryable, or what the caller does not want retried', async () => {
    let attempts = 0;
    const failing = (error: unknown) => () => {
      attempts++;
      throw error;
    };
    await expect(retry(failing(new Error('odd')), options())).rejects.toThrow('odd');
    const fencedOut = new TallyError('FENCED_OUT', { what: 'x' });
    await expect(retry(failing(fencedOut), options())).rejects.toBe(fencedOut);
    const none = options({ retryIf: () => false });
    await expect(retry(failing(busy()), none)).rejects.toMatchObject({ code: 'STORE_BUSY' });
    expect(attempts).toBe(3);
  });

  it('goes on without end if so asked, until the signal aborts, and keeps the last error', async () => {
    const controller = new AbortController();
    const work = (attempt: number): never => {
      if (attempt === 20) controller.abort('enough');
      throw busy();
    };
    const { signal } = controller;
    await expect(retry(work, options({ attemptsMax: Infinity, signal }))).rejects.toMatchObject({
      code: 'ABORTED',
      cause: 'enough',
      details: { attempts: 20, lastError: 'busy.' },
    });
  });

  it('does not begin if the signal has aborted', async () => {
    const signal = AbortSignal.abort('early');
    await expect(retry(() => 1, options({ signal }))).rejects.toMatchObject({
      code: 'ABORTED',
      details: { attempts: 0 },
    });
  });

  it('hands on an error of the clock itself', async () => {
    const broken = { ...systemClock, sleep: () => Promise.reject(new Error('clock')) };
    const work = (): never => {
      throw busy();
    };
    await expect(retry(work, options({ clock: broken }))).rejects.toThrow('clock');
  });

  it.each<[string, Partial<RetryOptions>]>([
    ['attemptsMax', { attemptsMax: 0 }],
    ['attemptsMax', { attemptsMax: Number.NaN }],
    ['backoff.firstMs', { backoff: { ...BACKOFF_DEFAULT, firstMs: -1 } }],
    ['backoff.maxMs', { backoff: { ...BACKOFF_DEFAULT, maxMs: Infinity } }],
    ['backoff.factor', { backoff: { ...BACKOFF_DEFAULT, factor: 0.5 } }],
  ])('refuses a senseless %s', async (path, changes) => {
    await expect(retry(() => 1, options(changes))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { path },
    });
  });
});
