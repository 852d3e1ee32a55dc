import { decodeValue, encodeValue } from '../../core/codec.ts';
import { errorText, isTallyError, TallyError } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';

/** An error as it is kept: a text and, where there is one, a code. */
export interface ErrorRecord {
  readonly code?: string;
  readonly message: string;
}

/** How a saga ended. */
export type SagaEnd = 'completed' | 'compensated' | 'abandoned';

/** Why a saga went back. */
export type FailureReason = 'step' | 'cancelled' | 'deadline';

/** What a person can tell a parked saga to do. */
export type SagaOperation = 'retry' | 'skip' | 'mark' | 'abandon';

/**
 * One thing that happened to a saga. The journal is these, in order, and nothing else: what a saga is now is what
 * they add up to (`state.ts`). Written before whatever comes after it takes effect.
 */
export type JournalEntry = { readonly atMs: number } & (
  | { readonly kind: 'started'; readonly input?: Value; readonly evidence?: string }
  /** Another worker went on with it. `interrupted`: the steps that may have been under way. */
  | {
      readonly kind: 'taken';
      readonly worker: string;
      readonly epoch: number;
      readonly interrupted: readonly string[];
      readonly commits?: true;
    }
  /** A step returned, a timer fired, a signal came, a child completed. `commits`: there is no way back from here. */
  | {
      readonly kind: 'done';
      readonly path: string;
      readonly attempt: number;
      readonly result?: Value;
      readonly evidence?: string;
      readonly signalId?: string;
      readonly commits?: true;
    }
  | {
      readonly kind: 'failed';
      readonly path: string;
      readonly attempt: number;
      readonly error: ErrorRecord;
      /** `retry`: again, not before `retryAtMs`. `refused`: certainly without effect. `unknown`: nobody knows, and no attempt is left. */
      readonly next: 'retry' | 'refused' | 'unknown';
      readonly retryAtMs?: number;
      readonly commits?: true;
    }
  | { readonly kind: 'chosen'; readonly path: string; readonly branch: string }
  | { readonly kind: 'items'; readonly path: string; readonly items: readonly Value[] }
  | {
      readonly kind: 'waiting';
      readonly path: string;
      readonly dueAtMs?: number;
      readonly childId?: string;
    }
  /** From here on it goes back. */
  | {
      readonly kind: 'failing';
      readonly why: FailureReason;
      readonly path?: string;
      readonly error: ErrorRecord;
    }
  /** Somebody wanted to cancel it after the point of no return. */
  | { readonly kind: 'cancel-refused'; readonly reason: string }
  | { readonly kind: 'undone'; readonly path: string; readonly attempt: number }
  | {
      readonly kind: 'undo-failed';
      readonly path: string;
      readonly attempt: number;
      readonly error: ErrorRecord;
      readonly retryAtMs: number;
    }
  | {
      readonly kind: 'parked';
      readonly path: string;
      readonly during: 'do' | 'undo';
      readonly error: ErrorRecord;
    }
  /** A person decided. Who, what and why: the audit line. */
  | {
      readonly kind: 'operated';
      readonly operation: SagaOperation;
      readonly path: string;
      readonly by: string;
      readonly reason: string;
      readonly took?: 'effect' | 'none';
      readonly result?: Value;
    }
  | { readonly kind: 'ended'; readonly end: SagaEnd }
);

/** An entry before it has its time. */
export type NewEntry = JournalEntry extends infer Entry
  ? Entry extends JournalEntry
    ? Omit<Entry, 'atMs'>
    : never
  : never;

/** One line of text. Throws SAGA_RESULT_INVALID if it holds a value that cannot be kept, or is over its bound. */
export function encodeEntry(entry: JournalEntry, bytesMax: number = Infinity): string {
  const of = 'path' in entry && entry.path !== undefined ? `step ${entry.path}` : 'a saga';
  let line: string;
  try {
    line = encodeValue(entry as unknown as Value);
  } catch (cause) {
    throw new TallyError('SAGA_RESULT_INVALID', {
      what: `what ${of} gave cannot be recorded: ${errorText(cause, 200)}`,
      mend: 'give plain values: text, numbers, BigInt, bytes, lists and objects of them; a Date as text',
      cause,
    });
  }
  // Three bytes at most for each UTF-16 unit: a short one needs no counting.
  if (line.length * 3 <= bytesMax || Buffer.byteLength(line) <= bytesMax) return line;
  throw new TallyError('SAGA_RESULT_INVALID', {
    what: `what ${of} gave has ${Buffer.byteLength(line)} bytes as recorded; the limit is ${bytesMax}`,
    mend: 'keep large content in a store and give its key, or raise resultBytesMax',
    details: { bytesMax },
  });
}

/** Reads a line of {@link encodeEntry}. */
export function decodeEntry(line: string): JournalEntry {
  return decodeValue(line) as unknown as JournalEntry;
}

/** What is kept of anything that was thrown. */
export function errorRecord(error: unknown): ErrorRecord {
  const message = errorText(error).toWellFormed();
  if (isTallyError(error)) return { code: error.code, message };
  if (error instanceof Error && error.name !== 'Error' && typeof error.name === 'string')
    return { code: error.name.slice(0, 100).toWellFormed(), message };
  return { message };
}
