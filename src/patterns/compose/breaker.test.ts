import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Breaker, type BreakerOptions } from './breaker.ts';

const options: BreakerOptions = {
  failureRate: 0.5,
  callsMin: 4,
  windowMs: 1_000,
  openMs: 100,
  openMaxMs: 400,
  probes: 3,
};
const noJitter = { next: () => 0, id: () => 'none' };

function failing(breaker: Breaker, count: number, nowMs: number): void {
  for (let call = 0; call < count; call++) {
    const era = breaker.enter(nowMs);
    if (era !== undefined) breaker.record(era, 'failed', nowMs);
  }
}

test('opens at the rate, not before enough calls were made', () => {
  const breaker = new Breaker(options, noJitter);
  failing(breaker, 3, 0);
  expect(breaker.state(0)).toBe('closed');
  failing(breaker, 1, 0);
  expect(breaker.state(0)).toBe('open');
  expect(breaker.enter(99)).toBeUndefined();
  expect(breaker.opensInMs(40)).toBe(60);
});

test('forgets what is older than its window', () => {
  const breaker = new Breaker(options, noJitter);
  failing(breaker, 3, 0);
  failing(breaker, 3, 1_100);
  expect(breaker.state(1_100)).toBe('closed');
});

test('lets one probe through, then two side by side, and closes after the third', () => {
  const breaker = new Breaker(options, noJitter);
  failing(breaker, 4, 0);
  const first = breaker.enter(100);
  expect(first).toBeDefined();
  expect(breaker.enter(100)).toBeUndefined();
  breaker.record(first!, 'succeeded', 110);
  const second = breaker.enter(110);
  const third = breaker.enter(110);
  expect([second, third]).not.toContain(undefined);
  expect(breaker.enter(110)).toBeUndefined();
  breaker.record(second!, 'succeeded', 120);
  expect(breaker.state(120)).toBe('half-open');
  breaker.record(third!, 'succeeded', 120);
  expect(breaker.state(120)).toBe('closed');
});

test('a probe that fails opens it for twice as long, up to its bound', () => {
  const breaker = new Breaker(options, noJitter);
  failing(breaker, 4, 0);
  let nowMs = 0;
  for (const openMs of [200, 400, 400]) {
    nowMs += breaker.opensInMs(nowMs);
    failing(breaker, 1, nowMs);
    expect(breaker.opensInMs(nowMs)).toBe(openMs);
  }
});

test('a probe that was given up for no fault of the store leaves its place to the next', () => {
  const breaker = new Breaker(options, noJitter);
  failing(breaker, 4, 0);
  breaker.record(breaker.enter(100)!, 'unknown', 100);
  expect(breaker.enter(100)).toBeDefined();
});

test('what comes of a call from before it opened is not counted after it', () => {
  const breaker = new Breaker({ ...options, probes: 1 }, noJitter);
  const slow = breaker.enter(0)!;
  failing(breaker, 4, 0);
  breaker.record(breaker.enter(100)!, 'succeeded', 100);
  expect(breaker.state(100)).toBe('closed');
  for (let late = 0; late < 10; late++) breaker.record(slow, 'failed', 100);
  expect(breaker.state(100)).toBe('closed');
});

type Mode =
  | { readonly kind: 'closed' }
  | { readonly kind: 'open'; readonly untilMs: number }
  | { readonly kind: 'half-open' };

/** The same promise written down another way: a list of everything that happened, looked through each time. */
class Model {
  readonly #ended: { readonly slice: number; readonly failed: boolean }[] = [];
  #mode: Mode = { kind: 'closed' };
  #era = 0;
  #openings = 0;
  #probing = 0;
  #good = 0;

  enter(nowMs: number): number | undefined {
    if (this.#mode.kind === 'open' && nowMs >= this.#mode.untilMs)
      this.#become({ kind: 'half-open' });
    switch (this.#mode.kind) {
      case 'closed':
        return this.#era;
      case 'open':
        return undefined;
      default:
        if (this.#probing > this.#good || this.#probing + this.#good >= options.probes)
          return undefined;
        this.#probing += 1;
        return this.#era;
    }
  }

  record(era: number, outcome: 'succeeded' | 'failed' | 'unknown', nowMs: number): void {
    if (era !== this.#era) return;
    if (this.#mode.kind === 'half-open') {
      this.#probing -= 1;
      if (outcome === 'succeeded') this.#good += 1;
      if (outcome === 'failed') this.#open(nowMs);
      else if (this.#good === options.probes) {
        this.#openings = 0;
        this.#become({ kind: 'closed' });
      }
    } else if (outcome !== 'unknown') {
      const slice = Math.floor(nowMs / 100);
      this.#ended.push({ slice, failed: outcome === 'failed' });
      const recent = this.#ended.filter((one) => one.slice > slice - 10);
      const failures = recent.filter(({ failed }) => failed).length;
      if (outcome === 'failed' && recent.length >= 4 && failures / recent.length >= 0.5)
        this.#open(nowMs);
    }
  }

  state(nowMs: number): string {
    if (this.#mode.kind !== 'open') return this.#mode.kind;
    return nowMs >= this.#mode.untilMs ? 'half-open' : 'open';
  }

  #open(nowMs: number): void {
    this.#become({ kind: 'open', untilMs: nowMs + Math.min(400, 100 * 2 ** this.#openings) });
    this.#openings += 1;
  }

  #become(mode: Mode): void {
    this.#mode = mode;
    this.#era += 1;
    this.#probing = 0;
    this.#good = 0;
    this.#ended.length = 0;
  }
}

test('whatever happens in whatever order, it decides as the model does', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 450 }) }),
    fc.constant({ kind: 'enter' as const }),
    fc.record({
      kind: fc.constant('end' as const),
      which: fc.nat(9),
      outcome: fc.constantFrom('succeeded' as const, 'failed' as const, 'unknown' as const),
    }),
  );
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 200, size: 'max' }), (steps) => {
      const breaker = new Breaker(options, noJitter);
      const model = new Model();
      const underWay: (readonly [number, number])[] = [];
      let nowMs = 0;
      for (const one of steps) {
        if (one.kind === 'wait') nowMs += one.ms;
        if (one.kind === 'enter') {
          const entered = breaker.enter(nowMs);
          const expected = model.enter(nowMs);
          expect(entered === undefined).toBe(expected === undefined);
          if (entered !== undefined && expected !== undefined) underWay.push([entered, expected]);
        }
        if (one.kind === 'end') {
          const [ended] = underWay.splice(one.which % Math.max(1, underWay.length), 1);
          if (ended === undefined) continue;
          breaker.record(ended[0], one.outcome, nowMs);
          model.record(ended[1], one.outcome, nowMs);
        }
        expect(breaker.state(nowMs)).toBe(model.state(nowMs));
        seen.add(model.state(nowMs));
      }
    }),
    { numRuns: 500 },
  );
  expect(seen).toEqual(new Set(['closed', 'open', 'half-open']));
});
