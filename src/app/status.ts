import type { Position } from '../core/position.ts';
import type { FlowState } from '../flow/generation.ts';
import type { FlowMeasures } from '../observe/meter.ts';
import type { Retained } from '../ports/source.ts';
import type { WorkerState } from '../runtime/supervisor.ts';

/** One captured store, as its worker sees it. */
export interface LaneStatus {
  readonly lane: string;
  readonly worker: WorkerState;
  readonly state: 'starting' | 'streaming' | 'log-full';
  /** Changes appended to the log since the worker started. */
  readonly captured: number;
  readonly head: Position | undefined;
  readonly log: { readonly first: number; readonly next: number; readonly bytes: number };
  /** What the source keeps for this capture and has not been told to forget; undefined while it cannot be asked. */
  readonly retained: Retained | undefined;
}

/** One boundary, as its worker sees it. */
export interface FlowStatus extends FlowMeasures {
  readonly flow: string;
  readonly from: string;
  readonly to: string;
  readonly worker: WorkerState;
  readonly state: FlowState;
  readonly through: Position | undefined;
  /** Log records that are not applied yet. */
  readonly behind: number;
}

/** All boundaries of an application, at one moment. */
export interface AppStatus {
  readonly app: string;
  readonly owner: string;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly startedAtMs: number;
  readonly lanes: readonly LaneStatus[];
  readonly flows: readonly FlowStatus[];
}

/** Where the worker leaves its status in the ledger for other processes. */
export const STATUS_SPACE = 'status';
