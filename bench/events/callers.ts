import type { EventStore, NewEvent } from '../../src/ports/events.ts';
import { median } from '../flow.ts';

/** About 200 bytes of data, as an order or a booking has. */
export function sample(n: number): NewEvent {
  return {
    type: 'Deposited',
    data: { account: n % 1_000, amount: n, currency: 'EUR', note: 'x'.repeat(140) },
  };
}

/** What callers who wait for their own answers reached. */
export interface Reached {
  readonly perSecond: number;
  readonly p50Ms: number;
}

/** Callers, each waiting for its own answer before it asks again. */
export async function callers(
  count: number,
  durationMs: number,
  call: (n: number) => Promise<unknown>,
): Promise<Reached> {
  const tookMs: number[] = [];
  const startedMs = performance.now();
  let n = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - startedMs < durationMs) {
      const beforeMs = performance.now();
      await call((n += 1));
      tookMs.push(performance.now() - beforeMs);
    }
  };
  await Promise.all(Array.from({ length: count }, caller));
  const tookSeconds = (performance.now() - startedMs) / 1_000;
  return { perSecond: tookMs.length / tookSeconds, p50Ms: median(tookMs) };
}

/** Events in many streams, appended in large steps: for what is read. */
export async function fill(events: EventStore, count: number): Promise<void> {
  const step = 2_000;
  for (let from = 0; from < count; from += step)
    await Promise.all(
      Array.from({ length: 10 }, (_, part) =>
        events.append(
          `account-${(from / step) % 50}-${part}`,
          Array.from({ length: step / 10 }, (_e, index) => sample(from + part * 200 + index)),
        ),
      ),
    );
}

/** Runs a step, and answers its seconds. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return (performance.now() - startedMs) / 1_000;
}
