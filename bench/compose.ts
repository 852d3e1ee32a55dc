import { virtualClock } from '../src/faults/virtual-clock.ts';
import { gather } from '../src/patterns/compose/gather.ts';
import { guard, type Guard } from '../src/patterns/compose/guard.ts';
import type { Call } from '../src/patterns/compose/call.ts';
import { optional, type Part } from '../src/patterns/compose/part.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { seededRandom } from '../src/runtime/random.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { fetchedPeers, type Peers } from './compose/peers.ts';

const BAR_WRAPPER_US = 2;
const BAR_PAGE_P99_MS = 9;
const BAR_EXTRA_PERCENT = 5;
const BAR_HANGING_OFF_MS = 5;

/** What a guard costs, what it keeps, and what it saves a page. */
export const composeBench: Bench = {
  name: 'compose',
  about: 'the cost of a guarded call, what a limit of 2 is under timeouts, pages of five stores',
  run,
};

async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const peers = await fetchedPeers();
  const wrapper = await wrapperCosts(peers, quick);
  const truth = await limitTruth(peers);
  const pages = quick ? 500 : 20_000;
  const plain = await pagesOfFive(pages, 'off');
  const hedged = await pagesOfFive(pages, 'on');
  const hanging = await hangingPage(quick ? 3 : 30);
  return {
    claims: [
      bar('breaker + limit + deadline + fallback per call', BAR_WRAPPER_US, wrapper.guard, 'µs'),
      plainly('the same with its signal asked for', wrapper.guardSignal, 'µs'),
      ...peerClaims(wrapper),
      bar('limit 2, most at once under timeouts', 2, truth.guard, 'calls'),
      ...(truth.opossum === undefined
        ? []
        : [plainly('opossum, capacity 2', truth.opossum, 'calls')]),
      ...(truth.cockatiel === undefined
        ? []
        : [plainly('cockatiel, wrap(bulkhead, timeout)', truth.cockatiel, 'calls')]),
      plainly('five-store page p99, deadline only (simulated)', plain.p99, 'ms'),
      bar('five-store page p99, hedged (simulated)', BAR_PAGE_P99_MS, hedged.p99, 'ms'),
      bar('extra calls for it', BAR_EXTRA_PERCENT, hedged.extraPercent, '%'),
      plainly('pages with a part missing, deadline only', plain.partialPercent, '%'),
      plainly('pages with a part missing, hedged', hedged.partialPercent, '%'),
      bar('one of five hangs: off its own deadline', BAR_HANGING_OFF_MS, hanging, 'ms'),
    ],
    details: { wrapper, truth, plain, hedged, pages },
  };
}

function bar(claim: string, limit: number, measured: number, unit: string): BenchClaim {
  return { claim, bar: limit, measured, unit, met: measured <= limit };
}

function plainly(claim: string, measured: number, unit: string): BenchClaim {
  return { claim, measured, unit };
}

interface Wrapper {
  readonly bare: number;
  readonly guard: number;
  readonly guardSignal: number;
  readonly opossum?: number;
  readonly cockatiel?: number;
}

function peerClaims({ opossum, cockatiel, bare }: Wrapper): BenchClaim[] {
  return [
    plainly('a bare await', bare, 'µs'),
    ...(opossum === undefined ? [] : [plainly('opossum: the same', opossum, 'µs')]),
    ...(cockatiel === undefined ? [] : [plainly('cockatiel: the same', cockatiel, 'µs')]),
  ];
}

/** Microseconds a call, the best of several rounds taken in turns. */
async function wrapperCosts(peers: Peers, quick: boolean): Promise<Wrapper> {
  const calls = quick ? 2_000 : 100_000;
  const work = async (): Promise<number> => 1;
  const store = guard('wrapped', { within: '100ms', limit: 64 });
  const withFallback = async (call: Promise<number>): Promise<number> => {
    try {
      return await call;
    } catch {
      return 0;
    }
  };
  const candidates: Record<string, () => Promise<unknown>> = {
    bare: work,
    guard: () => withFallback(store.run(work)),
    guardSignal: () => withFallback(store.run(({ signal }) => (signal.aborted ? 0 : work()))),
    ...peers.wrappers(work),
  };
  const best: Record<string, number> = {};
  for (let round = 0; round < (quick ? 2 : 7); round++)
    for (const [name, call] of Object.entries(candidates)) {
      const startedMs = performance.now();
      for (let done = 0; done < calls; done++) await call();
      const us = ((performance.now() - startedMs) * 1_000) / calls;
      best[name] = Math.min(best[name] ?? Infinity, Math.round(us * 100) / 100);
    }
  return best as unknown as Wrapper;
}

interface Truth {
  readonly guard: number;
  readonly opossum?: number;
  readonly cockatiel?: number;
}

/** A call each 20 ms, of 500 ms that heed no signal, a timeout of 50: how many are really under way at most. */
async function limitTruth(peers: Peers): Promise<Truth> {
  const measure = async (
    call: (work: () => Promise<void>) => Promise<unknown>,
  ): Promise<number> => {
    let underWay = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      underWay += 1;
      most = Math.max(most, underWay);
      await systemClock.sleep(500);
      underWay -= 1;
    };
    for (let made = 0; made < 50; made++) {
      call(work).catch(() => undefined);
      await systemClock.sleep(20);
    }
    await systemClock.sleep(600);
    return most;
  };
  const store = guard('two', { within: 50, limit: 2, breaker: 'off' });
  const truth: Record<string, number> = { guard: await measure((work) => store.run(work)) };
  for (const [name, call] of Object.entries(peers.limitTwo())) truth[name] = await measure(call);
  return truth as unknown as Truth;
}

interface Pages {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly extraPercent: number;
  readonly partialPercent: number;
}

/**
 * Pages of five stores on virtual time: median 2 ms, p95 5 ms (log-normal), one call in a hundred twenty times as slow,
 * one in a thousand that never answers; a deadline of 50 ms. The code is what runs in production; only time is not.
 */
async function pagesOfFive(pages: number, hedge: 'on' | 'off'): Promise<Pages> {
  const clock = virtualClock();
  const random = seededRandom('pages');
  const names = ['user', 'cart', 'history', 'offers', 'stock'];
  const guards = names.map((name) =>
    guard(name, {
      clock,
      random,
      within: 50,
      limit: 64,
      idempotent: true,
      retry: 'off',
      ...(hedge === 'on' ? {} : { hedge: 'off' }),
    }),
  );
  const gaussian = (): number =>
    Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const read = async ({ signal }: Call): Promise<number> => {
    const luck = random.next();
    const ms =
      luck < 0.001 ? 3_600_000 : 2 * Math.exp(0.557 * gaussian()) * (luck < 0.011 ? 20 : 1);
    await clock.sleep(ms, signal);
    return 1;
  };
  const part = (store: Guard): Part<number> => optional(read, 0, { from: store });
  const times: number[] = [];
  let partial = 0;
  for (let page = 0; page < pages; page++) {
    const [user, cart, history, offers, stock] = guards as [Guard, Guard, Guard, Guard, Guard];
    const gathered = gather(
      {
        user: part(user),
        cart: part(cart),
        history: part(history),
        offers: part(offers),
        stock: part(stock),
      },
      { within: 50, clock },
    );
    let over = false;
    void gathered.then(() => (over = true));
    await clock.runUntil(() => over, 1_000);
    const { tookMs, kind } = await gathered;
    times.push(tookMs);
    if (kind === 'partial') partial += 1;
  }
  const sorted = times.toSorted((left, right) => left - right);
  const at = (share: number): number =>
    Math.round((sorted[Math.floor((sorted.length - 1) * share)] ?? 0) * 100) / 100;
  const hedges = guards.reduce((sum, store) => sum + store.stats().hedges, 0);
  const percent = (share: number): number => Math.round(share * 100_000) / 1_000;
  return {
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    extraPercent: percent(hedges / (5 * pages)),
    partialPercent: percent(partial / pages),
  };
}

/** On real time: how far from the hanging part's own deadline of 40 ms the page ends, at the worst. */
async function hangingPage(pages: number): Promise<number> {
  const well = guard('well');
  let worst = 0;
  for (let page = 0; page < pages; page++) {
    const hung = guard('hung', { within: 40 });
    const quickly = optional(() => systemClock.sleep(2).then(() => 1), 0, { from: well });
    const { tookMs } = await gather(
      {
        first: quickly,
        second: optional(() => systemClock.sleep(3).then(() => 1), 0, { from: well }),
        hung: optional(() => new Promise<number>(() => undefined), 0, { from: hung }),
        fourth: optional(() => systemClock.sleep(4).then(() => 1), 0, { from: well }),
        fifth: optional(() => systemClock.sleep(5).then(() => 1), 0, { from: well }),
      },
      { within: 150 },
    );
    worst = Math.max(worst, Math.abs(tookMs - 40));
  }
  return Math.round(worst * 100) / 100;
}
