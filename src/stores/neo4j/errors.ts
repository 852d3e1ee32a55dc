import { errorText, isTallyError, TallyError } from '../../core/errors.ts';

/** The code that the server gives an error, e.g. `Neo.ClientError.Schema.ConstraintValidationFailed`. */
export function codeOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
}

/** Codes of the driver itself: the connection was lost, or there never was one. */
const UNREACHABLE = ['ServiceUnavailable', 'SessionExpired', 'N/A'];

/** Whether the error is about one statement and not about the connection or the server: others would have gone through. */
export function isOfWrite(error: unknown): boolean {
  const code = codeOf(error);
  return (
    /^Neo\.ClientError\.(?:Schema\.ConstraintValidationFailed|Statement\.)/.test(code) &&
    // Whoever may not, may not write anything.
    !/AccessMode|NotSystemDatabase/.test(code)
  );
}

/** What the driver threw, as an error a person can act on. */
export function neoError(error: unknown, where: string): unknown {
  if (isTallyError(error)) return error;
  const code = codeOf(error);
  const what = errorText(error, 300);
  const details = { neo4j: code };
  if (UNREACHABLE.includes(code) || code === '')
    return new TallyError('STORE_UNREACHABLE', {
      what: `Neo4j cannot be reached, or the connection to it broke: ${what}`,
      where,
      mend: 'check that the server runs, and the address; bolt+s:// if it wants TLS',
      details,
      cause: error,
    });
  if (code.startsWith('Neo.ClientError.Security.'))
    return new TallyError('STORE_UNREACHABLE', {
      what: `Neo4j does not let us in: ${what}`,
      where,
      mend: 'check user and password; the user needs to read, to write, and to create constraints',
      details,
      cause: error,
    });
  if (code.startsWith('Neo.ClientError.Database.DatabaseNotFound'))
    return new TallyError('CONFIG_INVALID', {
      what: `there is no such database: ${what}`,
      where,
      mend: 'name one that SHOW DATABASES lists, or none for the default one',
      details,
      cause: error,
    });
  if (/OutOfDisk|DiskFull|NoSpaceLeft/.test(code) || /no space left/i.test(what))
    return new TallyError('STORE_FULL', {
      what: `Neo4j has no room left: ${what}`,
      where,
      mend: 'give its volume more room',
      details,
      cause: error,
    });
  if (code.startsWith('Neo.TransientError.') || code.startsWith('Neo.DatabaseError.'))
    return new TallyError('STORE_BUSY', {
      what: `Neo4j could not do it now: ${what}`,
      where,
      mend: 'it is tried again; if it stays, look into the log of the server',
      details,
      cause: error,
    });
  return error;
}

/** The store, or a session of it, was used after it was closed. */
export function closedError(where: string): TallyError {
  return new TallyError('STORE_CLOSED', {
    what: 'it was used after it was closed',
    where,
    mend: 'open the store again',
  });
}

/** WRITE_REFUSED: this write, and no other, cannot be applied. */
export function refused(
  what: string,
  details: Readonly<Record<string, unknown>> = {},
  mend = 'change the projection, or the declaration of the target',
): TallyError {
  return new TallyError('WRITE_REFUSED', { what, mend, details });
}

/** What one write failed with. */
export function writeFailure(error: unknown, target: string): TallyError {
  if (error instanceof TallyError) return error;
  return new TallyError('WRITE_REFUSED', {
    what: `Neo4j refused the write: ${errorText(error, 300)}`,
    where: `target ${target}`,
    mend: 'change the projection, or the constraints of the label',
    details: { target, neo4j: codeOf(error) },
    cause: error,
  });
}

/** FENCED_OUT: a newer worker has opened the flow. */
export function fencedOut(flow: string, workerEpoch: number, newer: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `a worker of epoch ${workerEpoch} was replaced by one of epoch ${newer}`,
    where: `flow ${flow}`,
    mend: 'nothing; the newer worker goes on',
    details: { flow, workerEpoch, holder: newer },
  });
}

/** FENCED_OUT: what this session wrote under is no longer in the database. */
export function goneGeneration(flow: string, generation: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `generation ${generation} is not there: somebody removed it, or it was never opened`,
    where: `flow ${flow}`,
    mend: 'nothing; the flow is opened anew and fills its targets',
    details: { flow, generation },
  });
}
