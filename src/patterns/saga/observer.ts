import type { ErrorRecord, SagaOperation } from './journal.ts';
import type { SagaStatus } from './record.ts';

/** Something that an operator, a log or a metric may want to hear of. Without inputs and results. */
export type SagaEvent =
  | { readonly kind: 'started'; readonly id: string; readonly saga: string }
  | {
      readonly kind: 'ended';
      readonly id: string;
      readonly saga: string;
      readonly status: SagaStatus;
      readonly tookMs: number;
    }
  /** An attempt failed. */
  | {
      readonly kind: 'failed';
      readonly id: string;
      readonly saga: string;
      readonly path: string;
      readonly during: 'do' | 'undo';
      readonly attempt: number;
      readonly error: ErrorRecord;
    }
  /** It goes back. */
  | {
      readonly kind: 'compensating';
      readonly id: string;
      readonly saga: string;
      readonly error: ErrorRecord;
    }
  /** An alert: a person is needed. */
  | {
      readonly kind: 'parked';
      readonly id: string;
      readonly saga: string;
      readonly path: string;
      readonly during: 'do' | 'undo';
      readonly error: ErrorRecord;
    }
  | {
      readonly kind: 'operated';
      readonly id: string;
      readonly saga: string;
      readonly operation: SagaOperation;
      readonly by: string;
      readonly reason: string;
    }
  /** An alert: its time was up, and it is past the point of no return. */
  | { readonly kind: 'overdue'; readonly id: string; readonly saga: string }
  /** A step went on after it was told to stop; what it does now is not recorded. */
  | { readonly kind: 'stray'; readonly id: string; readonly saga: string; readonly path: string }
  /** Another worker, which is gone, had it. */
  | { readonly kind: 'taken'; readonly id: string; readonly saga: string; readonly from: string }
  /** Another worker has it now: what this one did last is not recorded. */
  | {
      readonly kind: 'lost';
      readonly id: string;
      readonly saga: string;
      readonly error: ErrorRecord;
    }
  /** An alert: this worker has no definition with which it could go on. */
  | {
      readonly kind: 'unknown-definition';
      readonly id: string;
      readonly saga: string;
      readonly version: number;
      readonly why: 'missing' | 'changed';
    };

/** Hears of what happens. What it throws is ignored. */
export type SagaObserver = (event: SagaEvent) => void;
