import type { LeaseRecord, LedgerOperation, LedgerRecord } from '../../../ports/ledger.ts';
import type { FailureMessage } from '../failures.ts';

/** Operations of one step, as the caller gave them. */
export type Step = readonly LedgerOperation[];

/** What became of one step: the results of its operations, or why it left nothing. */
export type StepOutcome = number[] | FailureMessage;

export interface ListOptions {
  readonly prefix?: string;
  readonly after?: string;
  readonly limit?: number;
}

export type Read =
  | { readonly kind: 'get'; readonly space: string; readonly key: string }
  | { readonly kind: 'list'; readonly space: string; readonly options: ListOptions }
  | { readonly kind: 'leases' };

export type ReadAnswer =
  LedgerRecord | undefined | readonly LedgerRecord[] | readonly LeaseRecord[];

/** What the ledger's thread is started with. */
export interface WorkerSetup {
  readonly file: string;
  readonly where: string;
  readonly busyTimeoutMs: number;
  readonly fileBytesMax: number | undefined;
}

/** To the ledger's thread. A request is answered in full before the next one is sent. */
export type Request =
  { readonly steps: readonly Step[]; readonly reads: readonly Read[] } | 'close';

/** From the ledger's thread. */
export type Answer =
  | { readonly kind: 'opened' }
  | { readonly kind: 'refused'; readonly reason: FailureMessage }
  | {
      readonly kind: 'answered';
      /** One outcome per step in order, or the failure of the commit that they shared. */
      readonly steps: readonly StepOutcome[] | FailureMessage;
      readonly reads: readonly (
        { readonly answer: ReadAnswer } | { readonly reason: FailureMessage }
      )[];
    };
