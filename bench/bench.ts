/** What is given to a benchmark. */
export interface BenchOptions {
  /** Short runs, to see that the benchmark works; their numbers prove nothing. */
  readonly quick: boolean;
  /** An empty directory on the disk to measure; whoever runs the benchmark removes it. */
  readonly dir: string;
}

/** One number, and the bar it has to reach if there is one. */
export interface BenchClaim {
  readonly claim: string;
  readonly bar?: number;
  readonly measured: number;
  readonly unit: string;
  readonly met?: boolean;
}

export interface BenchResult {
  readonly claims: readonly BenchClaim[];
  readonly details?: Record<string, unknown>;
}

/** A benchmark: the claims of one part, each measured against the raw thing in the same run. */
export interface Bench {
  readonly name: string;
  readonly about: string;
  run(options: BenchOptions): Promise<BenchResult>;
}
