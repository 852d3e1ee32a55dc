/** Bounds of a limit that finds itself. */
export interface AdaptiveOptions {
  readonly min: number;
  readonly max: number;
  /** Where it begins. */
  readonly initial: number;
}

/** A round is over after as many calls as the limit, but not before this many. */
const ROUND_CALLS_MIN = 10;
/** Latency may be this many times the usual one before the limit sinks: noise is not congestion. */
const TOLERANCE = 1.5;
/** A round with a call that timed out or was turned away by the store. */
const DROP_FACTOR = 0.8;
/** The limit sinks to no less than this share of itself in one round. */
const GRADIENT_MIN = 0.5;
/** How much of each round's answer is taken over. */
const SMOOTHING = 0.3;
/** After the limit has sunk by this much… */
const SUNK_SHARE = 0.5;
/** …latency is to have sunk to this share of itself, else it was not our calls that made it long. */
const HELPED_SHARE = 0.9;

/**
 * How many calls a store can do at once, found from how long they take: the gradient of latency, as in
 * Netflix's concurrency-limits (Gradient2), with a multiplicative step down for calls that failed for
 * want of time. More calls under way than a store can do at once only wait in the store, which shows as
 * latency above the usual; then the limit sinks in proportion. It grows by the square root of itself in a
 * round, and only when it was in use: what was never tried proves nothing.
 *
 * What is usual is the least mean of a round: it does not follow latency up. Otherwise: 1. the store is
 * congested, each call takes twice as long 2. that becomes what is usual 3. the limit grows again, into more
 * congestion. A store that has become slower for good is told from a congested one by the limit having sunk
 * to half and latency not with it: then the new latency is taken for the usual one.
 */
export class AdaptiveLimit {
  readonly #min: number;
  readonly #max: number;
  #limit: number;
  #usualMs: number | undefined;
  #count = 0;
  #sumMs = 0;
  #inUseMax = 0;
  #dropped = false;
  /** Where the limit and latency were when the limit began to sink. */
  #sinkingFrom: { readonly limit: number; meanMs: number } | undefined;

  constructor({ min, max, initial }: AdaptiveOptions) {
    this.#min = min;
    this.#max = max;
    this.#limit = initial;
  }

  /** Whole calls. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** Counts one call; `inUse` with it, when it ended. */
  record(durationMs: number, outcome: 'done' | 'dropped', inUse: number): void {
    this.#count += 1;
    this.#sumMs += durationMs;
    if (inUse > this.#inUseMax) this.#inUseMax = inUse;
    if (outcome === 'dropped') this.#dropped = true;
    if (this.#count >= Math.max(ROUND_CALLS_MIN, this.#limit)) this.#endRound();
  }

  #endRound(): void {
    const meanMs = this.#sumMs / this.#count;
    const wanted = this.#dropped ? this.#limit * DROP_FACTOR : this.#wantedAt(meanMs);
    const next = this.#limit + (wanted - this.#limit) * (this.#dropped ? 1 : SMOOTHING);
    this.#limit = Math.min(this.#max, Math.max(this.#min, next));
    this.#count = 0;
    this.#sumMs = 0;
    this.#inUseMax = 0;
    this.#dropped = false;
  }

  #wantedAt(meanMs: number): number {
    const usualMs = this.#usualAt(meanMs);
    const gradient = Math.min(1, Math.max(GRADIENT_MIN, (TOLERANCE * usualMs) / meanMs));
    const inUse = this.#inUseMax * 2 >= this.#limit;
    return this.#limit * gradient + (inUse ? Math.sqrt(this.#limit) : 0);
  }

  #usualAt(meanMs: number): number {
    const usualMs = (this.#usualMs ??= meanMs);
    if (meanMs <= usualMs * TOLERANCE) {
      this.#sinkingFrom = undefined;
      // A store that got faster is believed at once.
      this.#usualMs = Math.min(meanMs, usualMs);
      return this.#usualMs;
    }
    const from = (this.#sinkingFrom ??= { limit: this.#limit, meanMs });
    // The first round may have begun before the store became slow.
    from.meanMs = Math.max(from.meanMs, meanMs);
    if (this.#limit > from.limit * SUNK_SHARE && this.#limit > this.#min) return usualMs;
    this.#sinkingFrom = undefined;
    if (meanMs > from.meanMs * HELPED_SHARE) this.#usualMs = meanMs;
    return this.#usualMs;
  }
}
