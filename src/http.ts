import { type ErrorCode, isTallyError, TallyError } from './core/errors.ts';
import { type Evidence, noEvidence } from './core/evidence.ts';
import { decodeEvidence, encodeEvidence } from './core/evidence-token.ts';
import { checkOptions, fieldPath } from './core/options.ts';
import { textOfHeader, type IncomingHeaders } from './http-headers.ts';
import { evidenceToPassOn, runInContext } from './runtime/context.ts';

export type { IncomingHeaders } from './http-headers.ts';
export {
  deadlineFetch,
  deadlineHeaders,
  deadlineMiddleware,
  deadlineRefusals,
  readDeadline,
  withRequestDeadline,
  type DeadlineOptions,
} from './http-deadline.ts';

/**
 * Evidence across HTTP, as one member of the W3C `baggage` header
 * (https://www.w3.org/TR/baggage/): `tally-evidence=v1~orders@3.81734`.
 *
 * What comes in bounds only the reads of that request. It may be false, so it is kept apart from
 * the evidence of own writes, is never stored, and is passed on only as far as known heads bear it
 * out. What goes out tells its receiver how far the stores' histories are: send it to services of
 * your own.
 */
const MEMBER = 'tally-evidence';

/** What W3C baggage asks every participant to carry, and so the most that is sent or read. */
export const BAGGAGE_BYTES_MAX: number = 8_192;
/** Members of one baggage header, ours included. */
export const BAGGAGE_MEMBERS_MAX: number = 180;

/** Why evidence from outside was not used. */
export type EvidenceRefusal = Extract<ErrorCode, 'EVIDENCE_MALFORMED' | 'EVIDENCE_TOO_LARGE'>;

/** What {@link readEvidence} found. */
export interface InboundEvidence {
  /** Empty if there was none, or if it was refused. */
  readonly evidence: Evidence;
  /** Set if there was evidence that could not be used. */
  readonly refused?: EvidenceRefusal;
}

/** What both directions may know of the application's lanes. */
export interface EvidenceOptions {
  /**
   * The furthest known position of each lane and epoch. Coming in, lanes that are not in it are
   * left out; offsets are kept, since the head known here may itself be behind. Going out, inbound
   * evidence is cut down to it; without it none of the inbound evidence is passed on.
   */
  readonly heads?: () => Evidence;
}

/** How often evidence from outside was refused since the process started, by reason. */
export const evidenceRefusals: Readonly<Record<EvidenceRefusal, number>> = {
  EVIDENCE_MALFORMED: 0,
  EVIDENCE_TOO_LARGE: 0,
};

/**
 * Reads the evidence in a request's `baggage` header. Never throws for what a client sent:
 * malformed, doubled or oversized evidence gives none, its refusal is counted in
 * {@link evidenceRefusals} and named in `refused`. Other members are not looked at, and a header
 * without our member is never refused.
 */
export function readEvidence(
  headers: IncomingHeaders,
  options: EvidenceOptions = {},
): InboundEvidence {
  try {
    const evidence = evidenceIn(textOfHeader(headers, 'baggage'));
    return {
      evidence: options.heads === undefined ? evidence : ofKnownLanes(evidence, options.heads()),
    };
  } catch (error) {
    if (!isTallyError(error) || !isRefusal(error.code)) throw error;
    (evidenceRefusals as Record<EvidenceRefusal, number>)[error.code] += 1;
    return { evidence: noEvidence, refused: error.code };
  }
}

/**
 * The `baggage` header that carries `evidence`: the members of `existingBaggage` as they are, an
 * older member of ours replaced. Undefined if there is nothing to send. Throws EVIDENCE_TOO_LARGE if
 * the header would be over the limits of W3C baggage; neither evidence nor the members of others
 * are ever cut.
 */
export function writeEvidence(
  evidence: Evidence,
  existingBaggage?: string | readonly string[] | null,
): string | undefined {
  const existing =
    typeof existingBaggage === 'string' ? [existingBaggage] : (existingBaggage ?? []);
  const members = membersOf(existing.join(',')).filter((member) => keyOf(member) !== MEMBER);
  if (evidence.size > 0) members.push(`${MEMBER}=${encodeEvidence(evidence)}`);
  if (members.length === 0) return undefined;
  const header = members.join(',');
  if (evidence.size > 0 && overLimits(header, members.length)) throw tooLarge();
  return header;
}

/**
 * Runs `work` in a context of its own with the evidence of `request`. For node:http handlers, and
 * for Hono: `app.use((c, next) => withRequestEvidence(c.req.raw, next))`.
 */
export function withRequestEvidence<Result>(
  request: { readonly headers: IncomingHeaders },
  work: () => Result,
  options: EvidenceOptions = {},
): Result {
  return runInContext(readEvidence(request.headers, options).evidence, work);
}

/**
 * Middleware for Express and Connect; in Fastify call it from an `onRequest` hook with `done` as
 * `next`. Place it after what parses bodies: some parsers call back outside the context. Throws
 * CONFIG_UNKNOWN_OPTION and CONFIG_INVALID when it is made.
 */
export function evidenceMiddleware(
  options: EvidenceOptions = {},
): (
  request: { readonly headers: IncomingHeaders },
  response: unknown,
  next: (error?: unknown) => unknown,
) => void {
  checkEvidenceOptions(options, ['heads'], 'evidenceMiddleware');
  return (request, _response, next) => {
    withRequestEvidence(request, () => void next(), options);
  };
}

/**
 * Headers that pass the present context's evidence on to another service, with the members of
 * `existingBaggage`; an empty object if there is nothing to pass on. Throws EVIDENCE_TOO_LARGE.
 */
export function evidenceHeaders(
  options: EvidenceOptions = {},
  existingBaggage?: string | readonly string[] | null,
): { readonly baggage?: string } {
  const baggage = writeEvidence(evidenceToPassOn(options.heads?.()), existingBaggage);
  return baggage === undefined ? {} : { baggage };
}

/**
 * A `fetch` that adds {@link evidenceHeaders} to each request made within a context. Use it for
 * services of your own only. Rejects with EVIDENCE_TOO_LARGE before anything is sent; throws
 * CONFIG_UNKNOWN_OPTION and CONFIG_INVALID when it is made.
 */
export function evidenceFetch(
  options: EvidenceOptions & { readonly fetch?: typeof globalThis.fetch } = {},
): typeof globalThis.fetch {
  checkEvidenceOptions(options, ['heads', 'fetch'], 'evidenceFetch');
  const send = options.fetch ?? globalThis.fetch;
  return async (input, init) => {
    const given = init?.headers ?? (input instanceof Request ? input.headers : undefined);
    const headers = new Headers(given);
    const { baggage } = evidenceHeaders(options, headers.get('baggage'));
    if (baggage === undefined) return send(input, init);
    headers.set('baggage', baggage);
    return send(input, { ...init, headers });
  };
}

function evidenceIn(header: string): Evidence {
  // Baggage that is none of our business is not refused, whatever its size.
  if (!header.includes(MEMBER)) return noEvidence;
  const members = membersOf(header);
  const ours = members.filter((member) => keyOf(member) === MEMBER);
  const [member] = ours;
  if (member === undefined) return noEvidence;
  if (overLimits(header, members.length)) throw tooLarge();
  if (ours.length > 1) throw malformed('it is there more than once');
  // Properties, after the first semicolon, have no meaning here.
  const [pair = ''] = member.split(';', 1);
  return decodeEvidence(decodePercent(pair.slice(pair.indexOf('=') + 1).trim()));
}

/** All options here are functions. */
function checkEvidenceOptions(options: object, known: readonly string[], path: string): void {
  checkOptions(options, known, path);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || typeof value === 'function') continue;
    const where = fieldPath(path, name);
    throw new TallyError('CONFIG_INVALID', {
      what: `${name} is not a function`,
      where,
      mend: `give a function, or leave ${name} out`,
      details: { path: where },
    });
  }
}

/** Tokens need no percent-encoding, but whoever passes baggage on may have encoded them: once. */
function decodePercent(value: string): string {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    throw malformed('its percent-encoding is broken');
  }
}

/** Only lanes that the application has; a lane of somebody else cannot be waited for here. */
function ofKnownLanes(evidence: Evidence, heads: Evidence): Evidence {
  return new Map([...evidence].filter(([lane]) => heads.has(lane)));
}

function membersOf(header: string): string[] {
  return header
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '');
}

function keyOf(member: string): string {
  const [pair = ''] = member.split(';', 1);
  const [key = ''] = pair.split('=', 1);
  return key.trim();
}

function overLimits(header: string, members: number): boolean {
  return members > BAGGAGE_MEMBERS_MAX || Buffer.byteLength(header, 'utf8') > BAGGAGE_BYTES_MAX;
}

function isRefusal(code: ErrorCode): code is EvidenceRefusal {
  return code === 'EVIDENCE_MALFORMED' || code === 'EVIDENCE_TOO_LARGE';
}

function malformed(reason: string): TallyError {
  return new TallyError('EVIDENCE_MALFORMED', {
    what: `evidence in the baggage header cannot be read: ${reason}`,
    mend: 'send evidence exactly as it was received, or none',
    details: { reason },
  });
}

function tooLarge(): TallyError {
  return new TallyError('EVIDENCE_TOO_LARGE', {
    what: `a baggage header with evidence is over ${BAGGAGE_MEMBERS_MAX} members or ${BAGGAGE_BYTES_MAX} bytes`,
    mend: 'carry evidence of the writes of one request only, and less other baggage',
    details: { bytesMax: BAGGAGE_BYTES_MAX, membersMax: BAGGAGE_MEMBERS_MAX },
  });
}
