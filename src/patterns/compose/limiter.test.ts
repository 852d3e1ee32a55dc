import { expect, test } from 'vitest';
import { AdaptiveLimit } from './adaptive-limit.ts';
import { Limiter, type Waiter } from './limiter.ts';
import type { Priority } from '../../runtime/budget.ts';

function waiter(priority: Priority, told: string[], name: string): Waiter {
  return {
    priority,
    enter: () => told.push(`${name} enters`),
    shed: () => told.push(`${name} is shed`),
  };
}

test('no more than the limit, and who waits comes in before who comes later', () => {
  const limiter = new Limiter(2, 10);
  const told: string[] = [];
  expect([limiter.tryEnter('normal'), limiter.tryEnter('normal')]).toEqual([true, true]);
  expect(limiter.tryEnter('critical')).toBe(false);
  limiter.wait(waiter('normal', told, 'first'));
  expect(limiter.tryEnter('normal')).toBe(false);
  limiter.free();
  expect(told).toEqual(['first enters']);
  expect(limiter.inUse).toBe(2);
});

test('those who matter more come in first; those who matter least are shed first', () => {
  const limiter = new Limiter(1, 2);
  const told: string[] = [];
  limiter.tryEnter('normal');
  limiter.wait(waiter('background', told, 'report'));
  limiter.wait(waiter('normal', told, 'page'));
  expect(limiter.wait(waiter('background', told, 'other'))).toBe('full');
  expect(limiter.wait(waiter('critical', told, 'checkout'))).toBe('waits');
  expect(limiter.wait(waiter('critical', told, 'payment'))).toBe('waits');
  expect(limiter.wait(waiter('critical', told, 'refund'))).toBe('full');
  expect(told).toEqual(['report is shed', 'page is shed']);
  limiter.free();
  limiter.free();
  expect(told.slice(2)).toEqual(['checkout enters', 'payment enters']);
});

test('background work leaves a fifth of the places to the rest', () => {
  const limiter = new Limiter(10, 0);
  const entered = Array.from({ length: 10 }, () => limiter.tryEnter('background'));
  expect(entered.filter(Boolean)).toHaveLength(8);
  expect([limiter.tryEnter('normal'), limiter.tryEnter('critical')]).toEqual([true, true]);
  expect(new Limiter(1, 0).tryEnter('background')).toBe(true);
});

test('who has left is not let in', () => {
  const limiter = new Limiter(1, 2);
  const told: string[] = [];
  limiter.tryEnter('normal');
  const gone = waiter('normal', told, 'gone');
  limiter.wait(gone);
  limiter.wait(waiter('normal', told, 'stays'));
  limiter.leave(gone);
  limiter.leave(gone);
  limiter.free();
  expect(told).toEqual(['stays enters']);
  expect(limiter.waiting).toBe(0);
});

/** A store that does `capacity` calls at once, each in 10 ms; more than that share it. */
function roundTripMs(underWay: number, capacity: number): number {
  return 10 * Math.max(1, underWay / capacity);
}

function settled(limit: AdaptiveLimit, capacity: number, calls: number): number {
  for (let call = 0; call < calls; call++)
    limit.record(roundTripMs(limit.limit, capacity), 'done', limit.limit);
  return limit.limit;
}

test('the limit finds what the store can do at once, from below and from above', () => {
  const growing = settled(new AdaptiveLimit({ min: 4, max: 500, initial: 4 }), 40, 20_000);
  expect(growing).toBeGreaterThanOrEqual(36);
  expect(growing).toBeLessThanOrEqual(100);
  const limit = new AdaptiveLimit({ min: 4, max: 500, initial: 32 });
  settled(limit, 200, 20_000);
  const before = limit.limit;
  // Most of the store is lost.
  expect(settled(limit, 20, 20_000)).toBeLessThan(before / 4);
});

test('a store that has become slower for good is not taken for a congested one', () => {
  const limit = new AdaptiveLimit({ min: 4, max: 60, initial: 60 });
  for (let call = 0; call < 2_000; call++) limit.record(10, 'done', limit.limit);
  for (let call = 0; call < 5_000; call++) limit.record(40, 'done', limit.limit);
  expect(limit.limit).toBe(60);
});

test('calls that run out of time take it down to its lower bound, good ones up again', () => {
  const limit = new AdaptiveLimit({ min: 4, max: 100, initial: 50 });
  for (let call = 0; call < 1_000; call++) limit.record(100, 'dropped', limit.limit);
  expect(limit.limit).toBe(4);
  expect(settled(limit, 40, 5_000)).toBeGreaterThan(20);
});

test('a limit that is not in use does not grow', () => {
  const limit = new AdaptiveLimit({ min: 4, max: 100, initial: 20 });
  for (let call = 0; call < 5_000; call++) limit.record(10, 'done', 3);
  expect(limit.limit).toBe(20);
});
