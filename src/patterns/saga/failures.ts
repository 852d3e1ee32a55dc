import { type ErrorRecord, errorRecord } from './journal.ts';
import type { SagaRun } from './run.ts';

/** An error as it is recorded: its text as the saga's `redact` leaves it. */
export function recordedError({ definition }: SagaRun, path: string, error: unknown): ErrorRecord {
  const record = errorRecord(error);
  if (definition.redact === undefined) return record;
  const message = String(definition.redact(record.message, { kind: 'error', path }));
  return { ...record, message: message.toWellFormed() };
}

/** From here on the saga goes back, because of this step. */
export function failBecauseOf(run: SagaRun, path: string, error: ErrorRecord): void {
  const { book, host } = run;
  if (book.state.direction === 'back') return;
  book.add({ kind: 'failing', why: 'step', path, error });
  host.observe({ kind: 'compensating', id: run.id, saga: book.head.saga, error });
}

/** The saga cannot go on by itself: a person is needed. */
export function parkBecauseOf(
  run: SagaRun,
  path: string,
  during: 'do' | 'undo',
  error: ErrorRecord,
): void {
  // One thing at a time is for a person to decide; another one that failed meanwhile will fail again.
  if (run.book.state.parked !== undefined) return;
  run.book.add({ kind: 'parked', path, during, error });
}
