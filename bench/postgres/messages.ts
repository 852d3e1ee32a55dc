import type { Target } from './app.ts';
import type { Spread } from './spread.ts';
import type { Usage } from './usage.ts';

/** What a worker does: reads, reads and logs, or runs a whole flow into a target. */
export type WorkerKind = 'stream' | 'capture' | 'backfill' | Target;

export interface WorkerSettings {
  readonly kind: WorkerKind;
  readonly dir: string;
  readonly url: string;
  readonly targetUrl?: string;
}

export type WorkerRequest =
  /** Answer once everything up to this offset of the orders has gone through. */
  | { readonly kind: 'reach'; readonly offset: number }
  /** Answer what the process took so far. */
  | { readonly kind: 'usage' }
  /** Of a worker that backfills: how late the stream was since this was asked last. */
  | { readonly kind: 'lag' }
  /** Of a worker that backfills: begin, and answer when it is done. */
  | { readonly kind: 'backfill' }
  | { readonly kind: 'close' };

export interface WorkerReached {
  readonly kind: 'reached';
  readonly atMs: number;
  readonly rows: number;
}

export type WorkerAnswer =
  | { readonly kind: 'lag'; readonly lagMs: Spread }
  | { readonly kind: 'filled'; readonly rows: number; readonly milliseconds: number }
  | { readonly kind: 'used'; readonly usage: Usage }
  | { readonly kind: 'open'; readonly startedAtMs: number }
  | WorkerReached;

/** Somebody who writes single rows at a steady rate, and looks at where they arrive. */
export interface TrafficSettings {
  readonly url: string;
  readonly targetUrl: string;
  readonly firstId: number;
  readonly perSecond: number;
  readonly seconds: number;
  /** At the same rate, and not counted. */
  readonly warmUpSeconds: number;
  /** Rows as keys, as entries of a stream, or not at all. */
  readonly reads: 'keys' | 'stream' | 'nothing';
}

export interface TrafficSeen {
  readonly writes: number;
  readonly perSecond: number;
  /** From sending a row to the answer that it is committed. */
  readonly commitMs: Spread;
  /** From that answer to the row in the target, as its reader is told. */
  readonly visibleMs?: Spread;
  readonly visibleSinceSentMs?: Spread;
}
