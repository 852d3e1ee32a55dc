/** Buckets per doubling: neighbouring bounds are 9 % apart, which is the error of a percentile. */
const BUCKETS_PER_DOUBLING = 8;
/** From 1 µs to about 12 days, in milliseconds. */
const LOWEST_MS = 0.001;
const BUCKETS = 40 * BUCKETS_PER_DOUBLING;

/** What a histogram says, in milliseconds. Null where nothing was recorded. */
export interface Percentiles {
  readonly count: number;
  readonly p50: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** Durations in logarithmic buckets: constant memory, percentiles within 9 %. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #max = 0;

  record(durationMs: number): void {
    const doublings = Math.log2(Math.max(durationMs, LOWEST_MS) / LOWEST_MS);
    const bucket = Math.min(BUCKETS - 1, Math.floor(doublings * BUCKETS_PER_DOUBLING));
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count += 1;
    this.#max = Math.max(this.#max, durationMs);
  }

  get count(): number {
    return this.#count;
  }

  /** Forgets everything. */
  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#max = 0;
  }

  /** Adds what another histogram holds. */
  add(other: Histogram): void {
    for (const [bucket, count] of other.#counts.entries())
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
    this.#count += other.#count;
    this.#max = Math.max(this.#max, other.#max);
  }

  percentiles(): Percentiles {
    if (this.#count === 0) return { count: 0, p50: null, p99: null, max: null };
    return {
      count: this.#count,
      p50: this.at(0.5),
      p99: this.at(0.99),
      max: round(this.#max),
    };
  }

  /** What this share of the durations does not exceed; 0 if nothing was recorded. */
  at(proportion: number): number {
    let left = Math.ceil(this.#count * proportion);
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0)
        return round(Math.min(this.#max, LOWEST_MS * 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING)));
    }
    return round(this.#max);
  }
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
