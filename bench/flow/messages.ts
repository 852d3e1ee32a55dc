import type { FlowStatus } from '../../src/index.ts';
import type { Target } from './app.ts';

export interface CoordinatorSettings {
  readonly dir: string;
  readonly target: Target;
}

export type CoordinatorRequest =
  /** Answer once everything up to this offset of the orders is applied. */
  { readonly kind: 'reach'; readonly head: number } | { readonly kind: 'close' };

export interface Reached {
  readonly kind: 'reached';
  readonly freshness: string;
  readonly atMs: number;
  /** The most that was resident since the process began, as the system counts it. */
  readonly peakRssBytes: number;
  readonly rssBytes: number;
  readonly heap: NodeJS.MemoryUsage;
  readonly flow: FlowStatus;
}

export type CoordinatorAnswer = { readonly kind: 'open'; readonly startedAtMs: number } | Reached;

/** Traffic of a process that does not run the flows. */
export interface WriterSettings {
  readonly dir: string;
  readonly target: Target;
  readonly firstId: number;
  readonly rows: number;
  readonly rowsPerTransaction: number;
  /** As fast as it goes if not given. */
  readonly rowsPerSecond?: number;
}

export interface Written {
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** The offset of the last commit. */
  readonly head: number;
}
