import { gather } from '../../src/patterns/compose/gather.ts';
import { guard } from '../../src/patterns/compose/guard.ts';
import { optional, required } from '../../src/patterns/compose/part.ts';
import { alarmsOf } from '../../src/runtime/alarms.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { getEventListeners } from 'node:events';

/** What is left when many calls are over. Everything is to be 0, and memory not to have grown with the calls. */
export interface Left {
  readonly calls: number;
  readonly unhandledRejections: number;
  readonly warnings: number;
  readonly alarms: number;
  readonly listeners: number;
  readonly underWay: number;
  /** Timers that keep the process alive, beyond those from before. */
  readonly timers: number;
  /** Heap after the last tenth over heap after the first tenth, both collected, in MiB. */
  readonly grownMiB: number;
}

const SIDE_BY_SIDE = 200;

/**
 * Makes calls of every outcome on the real clock: answered at once, later, failed, timed out and deaf, aborted by the
 * caller, shed, hedged, repeated, and pages of all of them, with one signal that lives as long as all.
 */
export async function callsWithoutEnd(calls: number): Promise<Left> {
  let unhandledRejections = 0;
  let warnings = 0;
  const onRejection = (): void => void (unhandledRejections += 1);
  const onWarning = (): void => void (warnings += 1);
  process.on('unhandledRejection', onRejection);
  process.on('warning', onWarning);
  const timersBefore = timers();
  const random = seededRandom('leaks');
  const store = guard('store', { within: 5, limit: 64, waitingMax: 32, idempotent: true, random });
  const plain = guard('plain', { breaker: 'off', limit: 10_000 });
  const longLived = new AbortController();
  let done = 0;
  let firstHeap = 0;
  const one = async (): Promise<void> => {
    const dice = random.next();
    const { signal } = longLived;
    if (dice < 0.6) await plain.run(() => dice, { signal });
    else if (dice < 0.8) await store.run(() => Promise.resolve(dice), { signal });
    else if (dice < 0.9) await store.run(() => Promise.reject(new Error('down')));
    else if (dice < 0.92) await store.run(() => systemClock.sleep(10), { signal });
    else if (dice < 0.93) await store.run((call) => systemClock.sleep(50, call.signal));
    else if (dice < 0.94) {
      const own = new AbortController();
      const run = store.run((call) => systemClock.sleep(3, call.signal), { signal: own.signal });
      own.abort();
      await run;
    } else
      await gather(
        {
          user: required(() => Promise.resolve(1)),
          slow: optional(() => systemClock.sleep(3).then(() => 1), 0, { from: store, within: 1 }),
          down: optional(() => Promise.reject<number>(new Error('down')), 0, { from: store }),
        },
        { within: 20, signal },
      );
  };
  const caller = async (): Promise<void> => {
    while (done < calls) {
      done += 1;
      if (done === Math.floor(calls / 10)) firstHeap = collectedHeap();
      await one().catch(() => undefined);
      if (done % 64 === 0) await systemClock.sleep(0);
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, caller));
  // The longest that anything given up still runs.
  await systemClock.sleep(200);
  const grownMiB = Math.round(((collectedHeap() - firstHeap) / 2 ** 20) * 10) / 10;
  process.off('unhandledRejection', onRejection);
  process.off('warning', onWarning);
  return {
    calls: done,
    unhandledRejections,
    warnings,
    alarms: alarmsOf(systemClock).size,
    listeners: getEventListeners(longLived.signal, 'abort').length,
    underWay: store.stats().underWay + plain.stats().underWay,
    timers: Math.max(0, timers() - timersBefore),
    grownMiB,
  };
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}

/** Needs --expose-gc to say anything of use. */
function collectedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
