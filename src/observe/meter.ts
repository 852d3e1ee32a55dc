import { Histogram, type Percentiles } from './histogram.ts';

/** What a boundary has done since its worker started. All times in milliseconds. */
export interface FlowMeasures {
  /** Writes that the target took. */
  readonly applied: number;
  /** Writes that the target refused because it had the same or a newer version. */
  readonly older: number;
  /** Changes of the flow's tables that were seen. */
  readonly changes: number;
  readonly parked: number;
  /** From the commit at the source to being applied in full at the target. */
  readonly lagMs: Percentiles;
  /** The same, of about the last ten seconds. */
  readonly recentLagMs: Percentiles;
  /** Changes per second, of about the last ten seconds. */
  readonly ratePerSecond: number;
}

/** Counts one boundary. The caller says what time it is. */
export class FlowMeter {
  #applied = 0;
  #older = 0;
  #changes = 0;
  parked = 0;
  readonly #lag = new Histogram();
  #window = new Window(0);
  #previous = new Window(0);

  record(
    nowMs: number,
    report: {
      readonly applied: number;
      readonly older: number;
      readonly changes: number;
      readonly committedAtMs: readonly number[];
    },
  ): void {
    this.#turn(nowMs);
    this.#applied += report.applied;
    this.#older += report.older;
    this.#changes += report.changes;
    this.#window.changes += report.changes;
    for (const committedAtMs of report.committedAtMs) {
      const lagMs = Math.max(0, nowMs - committedAtMs);
      this.#lag.record(lagMs);
      this.#window.lag.record(lagMs);
    }
  }

  measures(nowMs: number): FlowMeasures {
    this.#turn(nowMs);
    const recent = new Histogram();
    recent.add(this.#previous.lag);
    recent.add(this.#window.lag);
    const fromMs =
      this.#previous.startedAtMs === 0 ? this.#window.startedAtMs : this.#previous.startedAtMs;
    const seconds = Math.max(0.1, (nowMs - fromMs) / 1000);
    return {
      applied: this.#applied,
      older: this.#older,
      changes: this.#changes,
      parked: this.parked,
      lagMs: this.#lag.percentiles(),
      recentLagMs: recent.percentiles(),
      ratePerSecond: Math.round((this.#previous.changes + this.#window.changes) / seconds),
    };
  }

  #turn(nowMs: number): void {
    if (this.#window.startedAtMs === 0) this.#window = new Window(nowMs);
    if (nowMs - this.#window.startedAtMs < WINDOW_MS) return;
    const stale = nowMs - this.#window.startedAtMs >= 2 * WINDOW_MS;
    this.#previous = stale ? new Window(nowMs) : this.#window;
    this.#window = new Window(nowMs);
  }
}

const WINDOW_MS = 5_000;

class Window {
  readonly startedAtMs: number;
  readonly lag = new Histogram();
  changes = 0;

  constructor(startedAtMs: number) {
    this.startedAtMs = startedAtMs;
  }
}
