import { isTallyError, type ErrorCode } from '../../core/errors.ts';

/** What is the sender's to mend; everything else is 500, or 503 if it may pass by itself. */
const ofSender: Partial<Readonly<Record<ErrorCode, number>>> = {
  COMMAND_INVALID: 400,
  INPUT_INVALID: 400,
  COMMAND_FORBIDDEN: 403,
  STREAM_CONFLICT: 409,
  COMMAND_KEY_REUSED: 422,
  COMMAND_REFUSED: 422,
  ROW_TOO_LARGE: 413,
};

/**
 * The HTTP status that says the same as an error: 400 for what does not fit, 403, 409 for a version that is no longer
 * there, 422 for a refusal and for a key that was used for something else
 * (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/), 503 for what may pass, 500 for the rest,
 * whose text is not for the sender.
 */
export function httpStatusOf(error: unknown): number {
  if (!isTallyError(error)) return 500;
  return ofSender[error.code] ?? (error.retryable ? 503 : 500);
}
