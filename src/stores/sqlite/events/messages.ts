import type { AppendTexts } from '../../../ports/append.ts';
import type { FailureMessage } from '../failures.ts';
import type { AppendOutcome } from './engine.ts';

/** To the thread of appends. A flush is answered before the next one is sent. */
export interface Flush {
  readonly requests: readonly AppendTexts[];
  readonly nowMs: number;
}

/** From the thread of appends: one outcome for each request, or the failure of all of them. */
export type Answer =
  | { readonly kind: 'answered'; readonly outcomes: readonly AppendOutcome[] | FailureMessage }
  /** The file cannot be opened; the thread has nothing more to say. */
  | { readonly kind: 'refused'; readonly reason: FailureMessage };
