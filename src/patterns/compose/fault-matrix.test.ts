import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { isTallyError } from '../../core/errors.ts';
import { gather } from './gather.ts';
import { guard, type Guard } from './guard.ts';
import type { Call } from './call.ts';
import { optional, required } from './part.ts';

// Every store of a page in every state that a store can be in: what the page takes, what is asked of the store,
// and what the caller sees. All on virtual time, so that the figures are exact.

const POSITIONS = ['first', 'second', 'third', 'fourth', 'required'] as const;
type Position = (typeof POSITIONS)[number];

const HEALTHY_MS = 4;
const OWN_MS = 40;
const PAGE_MS = 150;
const PAGES = 60;
const PAGE_EVERY_MS = 100;

/** What a store does with one call; it may look at the time and at how often it was called. */
type Store = (call: Call, clock: VirtualClock, calls: number) => Promise<string>;

const healthy: Store = async (_call, clock) => {
  await clock.sleep(HEALTHY_MS);
  return 'value';
};

const dead: Store = () => new Promise(() => {});

const refusing: Store = async (_call, clock) => {
  await clock.sleep(1);
  throw new Error('down');
};

const faults: Readonly<Record<string, Store>> = {
  // Slower than its own deadline, and deaf to its signal.
  slow: async (_call, clock) => {
    await clock.sleep(OWN_MS * 3);
    return 'late';
  },
  dead,
  'dead, but heeds its signal': (call) =>
    new Promise((_resolve, reject) => {
      call.signal.addEventListener('abort', () => reject(new Error('aborted')));
    }),
  erroring: refusing,
  'throwing at once': () => {
    throw new Error('no driver');
  },
  // Down for the first half, then well: the breaker has to find out.
  'half-open': (call, clock, calls) =>
    clock.elapsedMs < (PAGES * PAGE_EVERY_MS) / 2
      ? refusing(call, clock, calls)
      : healthy(call, clock, calls),
  flapping: (call, clock, calls) =>
    Math.floor(clock.elapsedMs / 300) % 2 === 0
      ? healthy(call, clock, calls)
      : refusing(call, clock, calls),
};

interface Page {
  readonly tookMs: number;
  readonly outcome: string;
}

/** Sixty pages, one each 100 ms, with one store at fault. */
async function pagesWith(
  fault: Store,
  position: Position,
): Promise<{
  pages: Page[];
  calls: number;
  healthyCalls: number;
  store: Guard;
  clock: VirtualClock;
}> {
  const clock = virtualClock();
  const random = seededRandom('matrix');
  const calls = new Map<Position, number>();
  const guards = new Map(
    POSITIONS.map((name) => [
      name,
      guard(name, {
        clock,
        random,
        within: OWN_MS,
        limit: 4,
        idempotent: true,
        breaker: { callsMin: 5, open: 500, openMax: 500 },
      }),
    ]),
  );
  const read = (name: Position) => (call: Call) => {
    const made = (calls.get(name) ?? 0) + 1;
    calls.set(name, made);
    return name === position ? fault(call, clock, made) : healthy(call, clock, made);
  };
  const from = (name: Position): { readonly from: Guard } => ({ from: guards.get(name)! });
  const one = async (): Promise<Page> => {
    const startedMs = clock.elapsedMs;
    const must = required(read('required'), from('required'));
    const page = gather(
      {
        first: optional(read('first'), 'instead', from('first')),
        second: optional(read('second'), 'instead', from('second')),
        must,
        third: optional(read('third'), 'instead', from('third')),
        fourth: optional(read('fourth'), 'instead', { ...from('fourth'), needs: { must } }),
      },
      { within: PAGE_MS, clock },
    );
    try {
      const { values, kind } = await page;
      expect(Object.values(values)).toHaveLength(5);
      return { tookMs: clock.elapsedMs - startedMs, outcome: kind };
    } catch (error) {
      if (!isTallyError(error)) throw error;
      return { tookMs: clock.elapsedMs - startedMs, outcome: error.code };
    }
  };
  const running: Promise<Page>[] = [];
  for (let page = 0; page < PAGES; page++) {
    running.push(one());
    await clock.advance(PAGE_EVERY_MS);
  }
  await clock.advance(5_000);
  const pages = await Promise.all(running);
  return {
    pages,
    calls: calls.get(position) ?? 0,
    healthyCalls: calls.get(position === 'first' ? 'second' : 'first') ?? 0,
    store: guards.get(position)!,
    clock,
  };
}

const rejections: unknown[] = [];
const note = (reason: unknown): void => void rejections.push(reason);
beforeAll(() => void process.on('unhandledRejection', note));
afterAll(() => {
  process.off('unhandledRejection', note);
  expect(rejections).toEqual([]);
});

const whole = (pages: readonly Page[]): readonly Page[] =>
  pages.filter(({ outcome }) => outcome === 'whole');

describe.each(Object.keys(faults))('a store that is %s', (name) => {
  const fault = faults[name]!;
  const isHung = name === 'slow' || name.startsWith('dead');

  test.each(POSITIONS)('as the %s of five', async (position) => {
    const { pages, calls, healthyCalls, store, clock } = await pagesWith(fault, position);
    const after = position === 'fourth' ? HEALTHY_MS : 0;
    for (const { tookMs, outcome } of pages) {
      // No page takes longer than the faulty part's own deadline, and only a required part can fail one.
      expect(tookMs).toBeLessThanOrEqual(OWN_MS + after + 0.01);
      expect(outcome).toBe(
        outcome === 'whole' ? outcome : position === 'required' ? 'PART_MISSING' : 'partial',
      );
    }
    // The others are asked once for each page, hedges apart, whatever becomes of this one.
    expect(healthyCalls).toBeGreaterThanOrEqual(PAGES);
    expect(healthyCalls).toBeLessThanOrEqual(PAGES * 1.06);
    // What hangs is felt before the breaker opens and at its probes, and not in between.
    const felt = pages.filter(({ tookMs }) => tookMs > OWN_MS - 1);
    if (isHung) expect(felt.length).toBeGreaterThanOrEqual(4);
    expect(felt.length).toBeLessThanOrEqual(isHung ? PAGES / 3 : 0);
    // It is not asked by every page, let alone twice.
    expect(calls).toBeLessThanOrEqual(
      name === 'half-open' || name === 'flapping' ? PAGES * 1.3 : PAGES / 2,
    );
    expect(store.stats().underWay).toBe(name === 'dead' ? store.stats().overdue : 0);
    expect(clock.timers).toBe(0);
    if (name === 'half-open') {
      // Well again after half of the time; the breaker has found out within two of its periods.
      expect(whole(pages.slice(PAGES / 2 + 12))).toHaveLength(PAGES / 2 - 12);
      expect(store.stats().breaker).toBe('closed');
    }
    if (name === 'flapping') expect(whole(pages).length).toBeGreaterThan(0);
  });
});

test('one store of five that hangs costs its own deadline', async () => {
  const { pages } = await pagesWith(dead, 'second');
  expect(pages[0]).toEqual({ tookMs: OWN_MS, outcome: 'partial' });
});

test('with all well a page takes what the longest path takes', async () => {
  const { pages } = await pagesWith(healthy, 'second');
  expect(new Set(pages.map(({ outcome }) => outcome))).toEqual(new Set(['whole']));
  expect(Math.max(...pages.map(({ tookMs }) => tookMs))).toBeCloseTo(2 * HEALTHY_MS, 5);
});
