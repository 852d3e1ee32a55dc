import type { Random } from '../../ports/clock.ts';

/** How a circuit breaker decides. All of it is checked by whoever makes it. */
export interface BreakerOptions {
  /** Opens when at least this share of the window's calls failed, over 0 to 1. */
  readonly failureRate: number;
  /** And at least this many were made: one failure of two is no failing store. */
  readonly callsMin: number;
  /** How far back calls count, in milliseconds. */
  readonly windowMs: number;
  /** How long it stays open the first time; doubled each time a probe fails, up to `openMaxMs`. */
  readonly openMs: number;
  readonly openMaxMs: number;
  /** Probes that have to succeed, one after another or side by side, before it closes. */
  readonly probes: number;
}

/** `open`: no call is let through. `half-open`: a few are, to see. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Parts of the window; the oldest is forgotten as a whole. */
const SLICES = 10;

/**
 * A circuit breaker, as a decision without a clock: the caller says what time it is. After `openMs` it
 * lets one probe through, after its success two side by side, then three: all callers at once would meet a
 * store that has just come back. A probe that fails opens it again, for twice as long, with up to a
 * tenth of jitter, so that many processes do not probe together.
 *
 * A call belongs to the era in which it was let through; what it comes to in another one is not counted.
 * Otherwise: 1. a slow call begins 2. the store fails, the breaker opens, then probes 3. the slow call
 * fails at last, and shuts out a store that is well again.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  readonly #random: Random;
  readonly #succeeded = new Float64Array(SLICES);
  readonly #failed = new Float64Array(SLICES);
  /** Number of the newest slice since time began. */
  #slice = -Infinity;
  #state: BreakerState = 'closed';
  #era = 0;
  #openUntilMs = 0;
  /** How often it opened without having closed in between. */
  #opened = 0;
  #probing = 0;
  #probed = 0;

  constructor(options: BreakerOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  state(nowMs: number): BreakerState {
    return this.#state === 'open' && nowMs >= this.#openUntilMs ? 'half-open' : this.#state;
  }

  /** Milliseconds until a probe may be made; 0 unless it is open. */
  opensInMs(nowMs: number): number {
    return this.#state === 'open' ? Math.max(0, this.#openUntilMs - nowMs) : 0;
  }

  /**
   * Lets a call through, and says in which era, to be handed to {@link record}; undefined: it is not to be
   * made. Whoever is let through has to call {@link record} once.
   */
  enter(nowMs: number): number | undefined {
    if (this.#state === 'closed') return this.#era;
    if (this.#state === 'open') {
      if (nowMs < this.#openUntilMs) return undefined;
      this.#turn('half-open');
    }
    const sideBySide = Math.min(this.#probed + 1, this.#options.probes - this.#probed);
    if (this.#probing >= sideBySide) return undefined;
    this.#probing += 1;
    return this.#era;
  }

  /** What a call of `era` came to. `unknown`: it was given up for reasons that say nothing about the store. */
  record(era: number, outcome: 'succeeded' | 'failed' | 'unknown', nowMs: number): void {
    if (era !== this.#era) return;
    if (this.#state === 'half-open') {
      this.#recordProbe(outcome, nowMs);
      return;
    }
    if (outcome === 'unknown') return;
    const at = this.#sliceAt(nowMs);
    const counts = outcome === 'succeeded' ? this.#succeeded : this.#failed;
    counts[at] = (counts[at] ?? 0) + 1;
    if (outcome === 'failed' && this.#isFailing()) this.#open(nowMs);
  }

  #recordProbe(outcome: 'succeeded' | 'failed' | 'unknown', nowMs: number): void {
    this.#probing -= 1;
    if (outcome === 'failed') this.#open(nowMs);
    if (outcome !== 'succeeded') return;
    this.#probed += 1;
    if (this.#probed < this.#options.probes) return;
    this.#opened = 0;
    this.#turn('closed');
  }

  #open(nowMs: number): void {
    const { openMs, openMaxMs } = this.#options;
    const doubled = openMs * 2 ** Math.min(this.#opened, 30);
    this.#opened += 1;
    this.#openUntilMs = nowMs + Math.min(openMaxMs, doubled) * (1 + this.#random.next() / 10);
    this.#turn('open');
  }

  #turn(state: BreakerState): void {
    this.#state = state;
    this.#era += 1;
    this.#probing = 0;
    this.#probed = 0;
    this.#succeeded.fill(0);
    this.#failed.fill(0);
  }

  #isFailing(): boolean {
    let failed = 0;
    let all = 0;
    for (let at = 0; at < SLICES; at++) {
      failed += this.#failed[at] ?? 0;
      all += (this.#failed[at] ?? 0) + (this.#succeeded[at] ?? 0);
    }
    return all >= this.#options.callsMin && failed >= this.#options.failureRate * all;
  }

  #sliceAt(nowMs: number): number {
    const slice = Math.floor(nowMs / (this.#options.windowMs / SLICES));
    if (slice > this.#slice) {
      const from = Math.max(this.#slice + 1, slice - SLICES + 1);
      for (let passed = from; passed <= slice; passed++) {
        this.#succeeded[passed % SLICES] = 0;
        this.#failed[passed % SLICES] = 0;
      }
      this.#slice = slice;
    }
    return slice % SLICES;
  }
}
