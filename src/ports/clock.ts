/** Time as the coordinator sees it; the simulator replaces it. */
export interface Clock {
  /** Milliseconds since 1970, for records that people read. Never an input to order. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start that never go back, with fractions, for durations. */
  monotonicMs(): number;
  /** Resolves after `delayMs`, or rejects with ABORTED as soon as `signal` aborts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once after `delayMs`; the returned function cancels it. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Randomness as the coordinator sees it; seeded in the simulator. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** A new identifier (UUID form). */
  id(): string;
}
