import { Histogram } from '../../observe/histogram.ts';

/** Calls of one half of the window: enough that the 95th of a hundred stands on twenty-five calls. */
const HALF_CALLS = 512;
/** A half is over after this long as well: what was true half a minute ago may not be true now. */
const HALF_MS = 15_000;
/** The percentile is worked out again after this many calls: it walks over all the buckets. */
const RENEW_CALLS = 32;

/** How long calls of one store take now: one running percentile of about the last thousand. */
export class Latency {
  readonly #proportion: number;
  readonly #callsMin: number;
  #present = new Histogram();
  #before = new Histogram();
  #startedAtMs = 0;
  #untilRenewed = 0;
  #value: number | undefined;

  /** `callsMin`: with fewer calls nothing is said. */
  constructor(proportion: number, callsMin: number) {
    this.#proportion = proportion;
    this.#callsMin = callsMin;
  }

  /**
   * Counts a call. One that was given up counts with the time it had taken by then: left out, the slow ones
   * would be missing, and the percentile would sink with each that is cut short.
   */
  record(durationMs: number, nowMs: number): void {
    if (this.#present.count >= HALF_CALLS || nowMs - this.#startedAtMs > HALF_MS) this.#turn(nowMs);
    this.#present.record(durationMs);
    this.#untilRenewed -= 1;
  }

  /** The percentile, in milliseconds; undefined while too few calls were counted. */
  get(): number | undefined {
    if (this.#untilRenewed > 0) return this.#value;
    const both = new Histogram();
    both.add(this.#before);
    both.add(this.#present);
    const enough = both.count >= this.#callsMin;
    this.#value = enough ? both.at(this.#proportion) : undefined;
    this.#untilRenewed = enough ? RENEW_CALLS : 1;
    return this.#value;
  }

  #turn(nowMs: number): void {
    [this.#present, this.#before] = [this.#before, this.#present];
    this.#present.clear();
    this.#startedAtMs = nowMs;
  }
}
