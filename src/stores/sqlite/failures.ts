import { errorText, TallyError, type ErrorCode, type Failure } from '../../core/errors.ts';

/** An error on its way between threads: a class does not survive the copy. */
export interface FailureMessage {
  readonly code: ErrorCode;
  readonly failure: Failure;
}

/** What was thrown, as a message to the other thread. What nobody foresaw becomes INTERNAL. */
export function failureMessage(error: unknown, where: string): FailureMessage {
  if (!(error instanceof TallyError)) {
    return { code: 'INTERNAL', failure: { what: errorText(error), where } };
  }
  // The text is what, where and how to mend it already put together, up to its last full stop.
  const cause = error.cause === undefined ? {} : { cause: errorText(error.cause) };
  const failure = {
    what: error.message.replace(/\.$/, ''),
    details: { ...error.details, ...cause },
  };
  return { code: error.code, failure };
}

/** The error a caller is rejected with; each caller gets its own, with its own stack. */
export function errorFrom(message: FailureMessage): TallyError {
  const failure: Failure = message.failure;
  return new TallyError(message.code, failure);
}
