/**
 * Every failure that a caller can decide about, one code per decision. Each code has a heading in
 * docs/errors.md with the same name; a test keeps the two in step.
 */
export const errorCodes = {
  CONFIG_INVALID: { retryable: false, summary: 'The configuration cannot be used as it is' },
  CONFIG_UNKNOWN_OPTION: { retryable: false, summary: 'An option has a name that is not known' },
  TABLE_UNKNOWN: { retryable: false, summary: 'A table named in the configuration does not exist' },
  TABLE_UNSUPPORTED: { retryable: false, summary: 'A table cannot be captured as it is' },
  CAPABILITY_MISSING: { retryable: false, summary: 'A store does not offer what the plan needs' },
  DRIVER_MISSING: { retryable: false, summary: 'The driver of a store is not installed' },
  STORE_UNREACHABLE: { retryable: true, summary: 'A store cannot be opened or reached' },
  STORE_BUSY: { retryable: true, summary: 'A store is locked by somebody else' },
  STORE_FULL: { retryable: true, summary: 'The disk, or the quota, under a store is full' },
  STORE_CORRUPT: { retryable: false, summary: 'What a store returned does not pass its checks' },
  STORE_CLOSED: { retryable: false, summary: 'The store was used after it was closed' },
  COMMIT_UNKNOWN: { retryable: true, summary: 'The connection ended during COMMIT' },
  EVIDENCE_MALFORMED: { retryable: false, summary: 'Evidence from outside cannot be read' },
  EVIDENCE_TOO_LARGE: { retryable: false, summary: 'Evidence is over its limits' },
  POSITION_OUT_OF_RANGE: { retryable: false, summary: 'A position does not fit a fence' },
  HISTORY_LOST: { retryable: false, summary: 'The source no longer holds what comes next' },
  LOG_FULL: { retryable: true, summary: 'The log is at its bound and may not drop' },
  LOG_TRUNCATED: { retryable: false, summary: 'The log no longer holds the requested offset' },
  ROW_TOO_LARGE: { retryable: false, summary: 'A row or document is over its limit' },
  VALUE_UNSUPPORTED: { retryable: false, summary: 'A value has a type that cannot be carried' },
  PROJECTION_FAILED: { retryable: false, summary: 'A projection threw for a change' },
  PROJECTION_INVALID: { retryable: false, summary: 'A projection returned what is not a write' },
  WRITE_REFUSED: { retryable: false, summary: 'The target refused a single write' },
  PARKED_FULL: { retryable: false, summary: 'A flow has parked as many changes as it may' },
  LEASE_HELD: { retryable: true, summary: 'Another worker holds the lease' },
  FENCED_OUT: { retryable: false, summary: 'A newer worker has taken over' },
  LEDGER_CONFLICT: { retryable: true, summary: 'A ledger record was changed by somebody else' },
  CONDITION_FAILED: { retryable: true, summary: 'A conditional write lost its race' },
  STREAM_CONFLICT: { retryable: true, summary: 'A stream is not at the version expected' },
  EVENT_ID_REUSED: { retryable: false, summary: 'An event id names another event already' },
  EFFECT_REFUSED: { retryable: false, summary: 'An effect was undone, or cannot be told any more' },
  LOCK_HELD: { retryable: true, summary: 'Another saga holds a semantic lock' },
  BARRIER_TIMEOUT: { retryable: true, summary: 'Evidence was not reached within the limit' },
  BARRIER_BLOCKED: { retryable: false, summary: 'Evidence cannot be reached: its work is parked' },
  BARRIER_INCOMPARABLE: { retryable: false, summary: 'Evidence is of another history' },
  EVENT_UNKNOWN: { retryable: false, summary: 'An event has a type or version that nothing knows' },
  EVENT_INVALID: { retryable: false, summary: 'An event does not fit what is declared of it' },
  COMMAND_INVALID: { retryable: false, summary: 'A command does not fit what is declared of it' },
  COMMAND_REFUSED: { retryable: false, summary: 'A decider refused a command' },
  COMMAND_FORBIDDEN: { retryable: false, summary: 'Whoever sent a command may not' },
  COMMAND_KEY_REUSED: { retryable: false, summary: 'A key was used for another command' },
  QUERY_UNANSWERED: { retryable: true, summary: 'No read model can answer a query' },
  DEADLINE_EXCEEDED: { retryable: true, summary: 'The time for a piece of work ran out' },
  CIRCUIT_OPEN: { retryable: true, summary: 'A store is not called for now: it has been failing' },
  OVERLOADED: { retryable: true, summary: 'A call was turned away: too many are under way' },
  PART_MISSING: {
    retryable: true,
    summary: 'A part that a page cannot do without is not to be had',
  },
  BATCH_INVALID: { retryable: false, summary: 'A batch function did not answer for its keys' },
  JOIN_TOO_LARGE: { retryable: false, summary: 'A join asks for more than a request may' },
  LOAD_FAILED: { retryable: true, summary: 'A load of this key failed a moment ago' },
  PORT_IN_USE: { retryable: true, summary: 'An address to listen on is taken' },
  INPUT_INVALID: { retryable: false, summary: 'A line or file of input cannot be read' },
  SAGA_UNKNOWN: { retryable: false, summary: 'There is no saga of this id' },
  SAGA_STATE: { retryable: false, summary: 'A saga is not in a state in which this can be done' },
  SAGA_RESULT_INVALID: { retryable: false, summary: 'A value of a saga cannot be recorded' },
  SAGA_FAILED: { retryable: false, summary: 'A child saga did not complete' },
  STEP_REFUSED: { retryable: false, summary: 'A step certainly did not take effect' },
  STEP_TIMEOUT: { retryable: true, summary: 'A step, or a saga, took longer than it may' },
  ABORTED: { retryable: false, summary: 'The caller gave up' },
  INTERNAL: { retryable: false, summary: 'A state that should be impossible; a bug' },
} as const;

/** The stable name of a failure. Match on this, never on the message. */
export type ErrorCode = keyof typeof errorCodes;

/** What a {@link TallyError} is made of. The message reads: what happened, where, how to mend it. */
export interface Failure {
  /** What happened, one clause, no full stop. */
  readonly what: string;
  /** Where: the store, table, file, option path. */
  readonly where?: string;
  /** How to mend it, one sentence without its full stop. */
  readonly mend?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** Where this failure is not what its code mostly is: a COMMIT_UNKNOWN of a caller who would write twice. */
  readonly retryable?: boolean;
}

/** The one error class of Tallystick; `code` tells the failures apart. */
export class TallyError extends Error {
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, failure: Failure) {
    const where = failure.where === undefined ? '' : ` (${failure.where})`;
    const mend = failure.mend === undefined ? '' : ` To mend it: ${failure.mend}.`;
    super(
      `${failure.what}${where}.${mend}`,
      failure.cause === undefined ? undefined : { cause: failure.cause },
    );
    this.name = 'TallyError';
    this.code = code;
    this.retryable = failure.retryable ?? errorCodes[code].retryable;
    this.details = failure.details ?? {};
  }
}

/** Whether `error` is a {@link TallyError}, of one of the given codes if any are given. */
export function isTallyError(error: unknown, ...codes: readonly ErrorCode[]): error is TallyError {
  return error instanceof TallyError && (codes.length === 0 || codes.includes(error.code));
}

/** The text of anything that was thrown, bounded, for records and screens. */
export function errorText(error: unknown, charactersMax = 2_000): string {
  const text = textOf(error);
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax)}…`;
}

/** Anything can be thrown; an object without a prototype, or with a bad toString, has no text. */
function textOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'something without a text was thrown';
  }
}

/** Marks a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new TallyError('INTERNAL', { what: `unexpected value ${errorText(value, 100)}` });
}

/** `value`, or an INTERNAL error if it is undefined; for what an invariant promises. */
export function must<Value>(value: Value | undefined | null, what: string): Value {
  if (value === undefined || value === null)
    throw new TallyError('INTERNAL', { what: `${what} is missing` });
  return value;
}
