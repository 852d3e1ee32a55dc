import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { virtualClock } from '../faults/virtual-clock.ts';
import { Alarms, alarmsOf, type Alarm } from './alarms.ts';

function alarm(atMs: number, ring: () => void): Alarm {
  return { atMs, place: -1, ring };
}

test('rings at its time, in the order of the times, and leaves no timer behind', async () => {
  const clock = virtualClock();
  const alarms = new Alarms(clock);
  const rung: string[] = [];
  for (const atMs of [30, 10, 20, 10])
    alarms.set(alarm(atMs, () => rung.push(`${atMs}@${clock.elapsedMs}`)));
  await clock.advance(100);
  expect(rung).toEqual(['10@10', '10@10', '20@20', '30@30']);
  expect(clock.timers).toBe(0);
});

test('a cancelled alarm never rings, and a thousand of them share one timer', async () => {
  const clock = virtualClock();
  const alarms = new Alarms(clock);
  const set = Array.from({ length: 1_000 }, () => alarm(50, () => expect.unreachable()));
  for (const one of set) alarms.set(one);
  expect(clock.timers).toBe(1);
  for (const one of set) alarms.cancel(one);
  for (const one of set) alarms.cancel(one);
  expect(alarms.size).toBe(0);
  await clock.advance(60);
  expect(clock.timers).toBe(0);
});

test('an alarm that rings may set another, and one that throws does not silence the rest', async () => {
  const clock = virtualClock();
  const alarms = new Alarms(clock);
  const rung: number[] = [];
  alarms.set(alarm(10, () => alarms.set(alarm(15, () => rung.push(clock.elapsedMs)))));
  alarms.set(
    alarm(20, () => {
      throw new Error('rang');
    }),
  );
  alarms.set(alarm(20, () => rung.push(clock.elapsedMs)));
  await expect(clock.advance(100)).rejects.toThrow('rang');
  await clock.advance(100);
  expect(rung).toEqual([15, 20]);
});

test('one list for each clock', () => {
  const clock = virtualClock();
  expect(alarmsOf(clock)).toBe(alarmsOf(clock));
  expect(alarmsOf(clock)).not.toBe(alarmsOf(virtualClock()));
});

test('whatever is set and cancelled, exactly the rest rings, each at its time', async () => {
  const action = fc.record({ atMs: fc.integer({ min: 0, max: 50 }), cancel: fc.nat(20) });
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
      const clock = virtualClock();
      const alarms = new Alarms(clock);
      const set: Alarm[] = [];
      const rung: number[] = [];
      const gone = new Set<number>();
      for (const [index, { atMs, cancel }] of actions.entries()) {
        const one = alarm(atMs, () => {
          expect(clock.elapsedMs).toBe(atMs);
          rung.push(index);
        });
        set.push(one);
        alarms.set(one);
        const other = set[cancel];
        if (other === undefined) continue;
        alarms.cancel(other);
        gone.add(cancel);
      }
      await clock.advance(60);
      expect(rung.toSorted((left, right) => left - right)).toEqual(
        actions.map((_, index) => index).filter((index) => !gone.has(index)),
      );
      expect(clock.timers).toBe(0);
    }),
    { numRuns: 100 },
  );
});
