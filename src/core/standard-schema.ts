import { errorText, TallyError, type ErrorCode } from './errors.ts';

/**
 * A schema of any library that speaks Standard Schema, version 1 (https://standardschema.dev): Zod, Valibot, ArkType and
 * others. Described by its shape, so that no library is needed for it.
 */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaAnswer<Output> | Promise<SchemaAnswer<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

/** What a schema says of a value. */
export type SchemaAnswer<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing that is wrong with a value, and where in it. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** A message names this many issues; `details.issues` has them up to {@link ISSUES_KEPT_MAX}. */
const ISSUES_SHOWN_MAX = 3;
/** A list of ten thousand wrong entries says nothing that its first hundred do not. */
const ISSUES_KEPT_MAX = 100;

/** What the error of a refused value is made of. */
export interface Refusal {
  readonly code: ErrorCode;
  /** What was checked: `command deposit`, say. */
  readonly what: string;
  readonly where?: string;
  readonly mend: string;
}

/** Whether `value` is a schema of Standard Schema 1; libraries make them of functions too. */
export function isStandardSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const standard = (value as { readonly '~standard'?: unknown })['~standard'];
  if (typeof standard !== 'object' || standard === null) return false;
  const { version, validate } = standard as { version?: unknown; validate?: unknown };
  return version === 1 && typeof validate === 'function';
}

/**
 * `value` as the schema hands it back. Throws the refusal's code, with the issues and their paths in `details`; what a
 * schema throws itself is the cause of the same code. A promise only where the schema is asynchronous.
 */
export function checkSchema<Output>(
  schema: StandardSchema<Output>,
  value: unknown,
  refusal: () => Refusal,
): Output | Promise<Output> {
  let answer: SchemaAnswer<Output> | Promise<SchemaAnswer<Output>>;
  try {
    answer = schema['~standard'].validate(value);
  } catch (cause) {
    throw thrown(refusal(), cause);
  }
  if (!(answer instanceof Promise)) return valueOf(answer, refusal);
  return answer.then(
    (settled) => valueOf(settled, refusal),
    (cause: unknown) => {
      throw thrown(refusal(), cause);
    },
  );
}

function valueOf<Output>(answer: SchemaAnswer<Output>, refusal: () => Refusal): Output {
  if (answer.issues === undefined) return answer.value;
  const { code, what, where, mend } = refusal();
  const issues = answer.issues.slice(0, ISSUES_KEPT_MAX).map(issueOf);
  const shown = issues
    .slice(0, ISSUES_SHOWN_MAX)
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  const more = answer.issues.length - shown.length;
  throw new TallyError(code, {
    what: `${what} does not fit its schema: ${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`,
    ...(where === undefined ? {} : { where }),
    mend,
    details: { issues },
  });
}

function issueOf({ message, path = [] }: SchemaIssue): { path: string; message: string } {
  const names = path.map((step) => String(typeof step === 'object' ? step.key : step));
  return { path: names.join('.'), message: errorText(message, 200) };
}

function thrown({ code, what, where, mend }: Refusal, cause: unknown): TallyError {
  return new TallyError(code, {
    what: `the schema of ${what} threw: ${errorText(cause, 200)}`,
    ...(where === undefined ? {} : { where }),
    mend,
    cause,
  });
}
