import { AsyncLocalStorage } from 'node:async_hooks';
import { TallyError } from '../core/errors.ts';
import type { Clock } from '../ports/clock.ts';

/** When virtual time begins, in milliseconds since 1970: any fixed instant will do. */
const STARTS_AT_MS = 1_700_000_000_000;

interface Timer {
  readonly atMs: number;
  /** Timers of one instant fire in the order in which they were set. */
  readonly order: number;
  readonly fire: () => void;
}

/** A clock whose time stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Milliseconds since virtual time began. */
  readonly elapsedMs: number;
  /** Timers that are set. */
  readonly timers: number;
  /**
   * Lets everything that is ready run, then goes to the next timer, again and again, until `done`
   * answers true; false if virtual time passed `limitMs` from now, or no timer was left, before that.
   */
  runUntil(done: () => boolean, limitMs: number): Promise<boolean>;
  /** Goes on by `forMs`, firing what comes due on the way. */
  advance(forMs: number): Promise<void>;
  /** The same time as one process sees it, which may be suspended and may die. */
  process(): ProcessClock;
}

/** The clock of one simulated process. */
export interface ProcessClock extends Clock {
  /** From now on nothing fires; what comes due waits for `resume`. Time itself goes on. */
  suspend(): void;
  resume(): void;
  /** From now on nothing of this process ever fires. */
  end(): void;
}

/**
 * Virtual time: timers fire one at a time and in order, and only when everything that could run has
 * run. Without input or output of the real world, a run is then the same every time.
 */
export function virtualClock(): VirtualClock {
  return new TimeLine();
}

class TimeLine implements VirtualClock {
  /** In the order in which they fire, the next one last. */
  readonly #timers: Timer[] = [];
  #elapsedMs = 0;
  #order = 0;

  get elapsedMs(): number {
    return this.#elapsedMs;
  }

  get timers(): number {
    return this.#timers.length;
  }

  nowMs(): number {
    return STARTS_AT_MS + Math.floor(this.#elapsedMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  after(delayMs: number, callback: () => void): () => void {
    // A callback belongs to whoever set it, as with the timers of Node.
    const within = AsyncLocalStorage.snapshot();
    const timer: Timer = {
      atMs: this.#elapsedMs + Math.max(0, delayMs),
      order: (this.#order += 1),
      fire: () => within(callback),
    };
    let index = this.#timers.length;
    while (index > 0 && isAfter(timer, this.#timers[index - 1])) index -= 1;
    this.#timers.splice(index, 0, timer);
    return () => {
      const place = this.#timers.indexOf(timer);
      if (place !== -1) this.#timers.splice(place, 1);
    };
  }

  async runUntil(done: () => boolean, limitMs: number): Promise<boolean> {
    const endsAtMs = this.#elapsedMs + limitMs;
    for (;;) {
      await settled();
      if (done()) return true;
      const next = this.#timers.at(-1);
      if (next === undefined || next.atMs > endsAtMs) {
        this.#elapsedMs = Math.max(this.#elapsedMs, endsAtMs);
        return false;
      }
      this.#timers.pop();
      this.#elapsedMs = next.atMs;
      next.fire();
    }
  }

  async advance(forMs: number): Promise<void> {
    await this.runUntil(() => false, forMs);
  }

  process(): ProcessClock {
    return new ProcessTime(this);
  }
}

class ProcessTime implements ProcessClock {
  readonly #time: TimeLine;
  readonly #due: (() => void)[] = [];
  #state: 'running' | 'suspended' | 'ended' = 'running';

  constructor(time: TimeLine) {
    this.#time = time;
  }

  nowMs(): number {
    return this.#time.nowMs();
  }

  monotonicMs(): number {
    return this.#time.monotonicMs();
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  after(delayMs: number, callback: () => void): () => void {
    let cancelled = false;
    const cancel = this.#time.after(delayMs, () => {
      if (this.#state === 'running') callback();
      else if (this.#state === 'suspended')
        this.#due.push(() => {
          if (!cancelled) callback();
        });
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }

  suspend(): void {
    if (this.#state === 'running') this.#state = 'suspended';
  }

  resume(): void {
    if (this.#state !== 'suspended') return;
    this.#state = 'running';
    for (const callback of this.#due.splice(0)) this.after(0, callback);
  }

  end(): void {
    this.#state = 'ended';
  }
}

function isAfter(timer: Timer, other: Timer | undefined): boolean {
  return (
    other !== undefined &&
    (timer.atMs > other.atMs || (timer.atMs === other.atMs && timer.order > other.order))
  );
}

function sleepOn(clock: Clock, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel();
      reject(new TallyError('ABORTED', { what: 'the caller gave up', cause: signal?.reason }));
    };
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

/** One turn of the event loop: by then every promise that could go on has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
