import type { Clock, Random } from '../../ports/clock.ts';
import type { Alarms } from '../../runtime/alarms.ts';
import type { Backoff } from '../../runtime/backoff.ts';
import type { Allowance } from './allowance.ts';
import type { Breaker } from './breaker.ts';
import type { Latency } from './latency.ts';
import type { Limiter } from './limiter.ts';
import type { Fullness } from './reason.ts';

/** What a guard has counted since it was made. */
export interface GuardCounts {
  calls: number;
  succeeded: number;
  /** The store, or the code that asks it, threw, and no other attempt made it. */
  failed: number;
  timedOut: number;
  /** Turned away because too many were under way. */
  shed: number;
  /** Turned away because the breaker was open. */
  refused: number;
  retries: number;
  hedges: number;
  hedgesWon: number;
}

/** The parts of one guard, as its runs and attempts use them. */
export class Core {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly alarms: Alarms;
  readonly limiter: Limiter;
  /** Undefined: the guard has none. */
  readonly breaker: Breaker | undefined;
  /** By it a second attempt is made; undefined: the guard does not hedge. */
  readonly hedges: Allowance | undefined;
  readonly hedgeMinMs: number;
  readonly retries: Allowance | undefined;
  /** Attempts in all. */
  readonly retryMax: number;
  readonly backoff: Backoff;
  readonly latency: Latency;
  readonly countsAgainst: (error: unknown) => boolean;
  readonly retryIf: (error: unknown) => boolean;
  readonly stats: GuardCounts = {
    calls: 0,
    succeeded: 0,
    failed: 0,
    timedOut: 0,
    shed: 0,
    refused: 0,
    retries: 0,
    hedges: 0,
    hedgesWon: 0,
  };
  /** Attempts that were given up and have not ended. */
  overdue = 0;

  constructor(parts: CoreParts) {
    this.name = parts.name;
    this.clock = parts.clock;
    this.random = parts.random;
    this.alarms = parts.alarms;
    this.limiter = parts.limiter;
    this.breaker = parts.breaker;
    this.hedges = parts.hedges;
    this.hedgeMinMs = parts.hedgeMinMs;
    this.retries = parts.retries;
    this.retryMax = parts.retryMax;
    this.backoff = parts.backoff;
    this.latency = parts.latency;
    this.countsAgainst = parts.countsAgainst;
    this.retryIf = parts.retryIf;
  }

  recordLatency(durationMs: number, nowMs: number): void {
    this.latency.record(durationMs, nowMs);
  }

  fullness(): Fullness {
    const { limit, inUse, waiting } = this.limiter;
    return { limit, inUse, waiting, overdue: this.overdue };
  }
}

export type CoreParts = Pick<
  Core,
  | 'name'
  | 'clock'
  | 'random'
  | 'alarms'
  | 'limiter'
  | 'breaker'
  | 'hedges'
  | 'hedgeMinMs'
  | 'retries'
  | 'retryMax'
  | 'backoff'
  | 'latency'
  | 'countsAgainst'
  | 'retryIf'
>;
