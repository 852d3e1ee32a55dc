import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

describe('the system clock', () => {
  it('tells the time of the machine, and durations that never go back', () => {
    expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(1_000);
    const first = systemClock.monotonicMs();
    expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(first);
  });

  it('keeps no process alive for a timer of after', () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const cancel = systemClock.after(1e9, () => undefined);
    const now = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    cancel();
    expect(now).toBe(before);
  });
});

describe('waiting on the system clock', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('ends after the delay, not before', async () => {
    let ended = false;
    const sleeping = systemClock.sleep(100).then(() => (ended = true));
    await vi.advanceTimersByTimeAsync(99);
    expect(ended).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toBe(true);
    await sleeping;
  });

  it('ends at once for a deadline that has passed', async () => {
    const sleeping = systemClock.sleep(-5);
    await vi.advanceTimersByTimeAsync(1);
    await expect(sleeping).resolves.toBeUndefined();
  });

  it('lasts longer than a single timer of the machine can', async () => {
    const fired = vi.fn<() => void>();
    const month = 31 * 86_400_000;
    systemClock.after(month, fired);
    await vi.advanceTimersByTimeAsync(month - 1);
    expect(fired).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(fired).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends with ABORTED as soon as the signal aborts, and leaves no timer', async () => {
    const controller = new AbortController();
    const sleeping = systemClock.sleep(Infinity, controller.signal);
    const reason = new Error('shutdown');
    controller.abort(reason);
    await expect(sleeping).rejects.toMatchObject({ code: 'ABORTED', cause: reason });
    expect(vi.getTimerCount()).toBe(0);
    await expect(systemClock.sleep(5, controller.signal)).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leaves no listener on a signal that outlives it', async () => {
    const { signal } = new AbortController();
    const removed = vi.spyOn(signal, 'removeEventListener');
    const added = vi.spyOn(signal, 'addEventListener');
    const sleeping = systemClock.sleep(5, signal);
    await vi.advanceTimersByTimeAsync(5);
    await sleeping;
    expect(added).toHaveBeenCalledTimes(1);
    expect(removed.mock.calls[0]?.[1]).toBe(added.mock.calls[0]?.[1]);
  });

  it('calls back once, or never if it was cancelled', async () => {
    const kept = vi.fn<() => void>();
    const dropped = vi.fn<() => void>();
    const cancelKept = systemClock.after(10, kept);
    systemClock.after(10, dropped)();
    await vi.advanceTimersByTimeAsync(1_000);
    cancelKept();
    expect(kept).toHaveBeenCalledTimes(1);
    expect(dropped).not.toHaveBeenCalled();
  });

  it('is refused for a delay that is not a number', async () => {
    await expect(systemClock.sleep(Number.NaN)).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(() => systemClock.after(Number.NaN, () => undefined)).toThrow(
      expect.objectContaining({ code: 'INTERNAL' }),
    );
  });
});
