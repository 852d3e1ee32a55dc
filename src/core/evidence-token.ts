import { TallyError } from './errors.ts';
import { EPOCHS_PER_LANE_MAX, type Evidence, noEvidence } from './evidence.ts';
import { EPOCH_MAX, OFFSET_MAX, type Position } from './position.ts';

/** Most lanes in a token: far above ten stores, far below what a reader would wait for one by one. */
export const TOKEN_LANES_MAX = 64;
/** Characters of the longest token: half of what W3C baggage promises to carry. */
export const TOKEN_CHARACTERS_MAX = 4_096;
/** No more than this of hostile input ever stands in an error. */
const ECHO_CHARACTERS_MAX = 40;

const VERSION = 'v1';
// No two parts of the pattern can match the same character, so that matching is linear.
const ENTRY = /^([A-Za-z0-9_.:/-]{1,64})@(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,15})$/;

declare const brand: unique symbol;

/**
 * Evidence as text: `v1~orders@3.81734~stock@1.77`, each entry a lane, its epoch and its offset.
 * Only characters that W3C baggage, cookies and header values take as they are. Entries are
 * sorted (lane by character code, then epoch), so that equal evidence has equal text.
 */
export type EvidenceToken = string & { readonly [brand]: 'EvidenceToken' };

/**
 * The text of evidence. Throws EVIDENCE_TOO_LARGE past {@link TOKEN_LANES_MAX} lanes or
 * {@link TOKEN_CHARACTERS_MAX} characters: evidence that was cut short would claim too little.
 */
export function encodeEvidence(evidence: Evidence): EvidenceToken {
  if (evidence.size > TOKEN_LANES_MAX)
    throw tooLarge(`${evidence.size} lanes, at most ${TOKEN_LANES_MAX} can be carried`);
  let token = VERSION;
  const lanes = [...evidence].toSorted(([left], [right]) => (left < right ? -1 : 1));
  for (const [lane, positions] of lanes)
    for (const { epoch, offset } of positions) token += `~${lane}@${epoch}.${offset}`;
  if (token.length > TOKEN_CHARACTERS_MAX)
    throw tooLarge(`${token.length} characters, at most ${TOKEN_CHARACTERS_MAX} can be carried`);
  return token as EvidenceToken;
}

/**
 * Reads a token from anywhere, in time linear in its length; exactly the texts that
 * {@link encodeEvidence} writes are taken. Throws EVIDENCE_MALFORMED or EVIDENCE_TOO_LARGE, with a
 * reason, and with at most 40 characters of the input, printable ones only. Whether the positions
 * exist is not its question: see `clampEvidence`.
 */
export function decodeEvidence(token: string): Evidence {
  if (token.length > TOKEN_CHARACTERS_MAX)
    throw tooLarge(`${token.length} characters, at most ${TOKEN_CHARACTERS_MAX} are read`);
  const [version, ...entries] = token.split('~');
  if (version !== VERSION) throw malformed('it does not start with v1', token);
  if (entries.length === 0) return noEvidence;
  const evidence = new Map<string, Position[]>();
  let last: readonly [lane: string, at: Position] | undefined;
  for (const entry of entries) {
    const [lane, at] = decodeEntry(entry);
    if (last !== undefined && lane <= last[0]) {
      if (lane < last[0]) throw malformed('its lanes are not in order', entry);
      if (at.epoch <= last[1].epoch) throw malformed('its epochs are not in order', entry);
    }
    last = [lane, at];
    append(evidence, lane, at);
  }
  return evidence;
}

function decodeEntry(entry: string): readonly [lane: string, at: Position] {
  const match = ENTRY.exec(entry);
  if (match === null) throw malformed('an entry is not of the form lane@epoch.offset', entry);
  const [, lane, epochText, offsetText] = match;
  const epoch = Number(epochText);
  const offset = Number(offsetText);
  if (epoch > EPOCH_MAX || offset > OFFSET_MAX) throw malformed('a number is too large', entry);
  return [String(lane), { epoch, offset }];
}

function append(evidence: Map<string, Position[]>, lane: string, at: Position): void {
  const positions = evidence.get(lane);
  if (positions === undefined) {
    if (evidence.size === TOKEN_LANES_MAX) throw tooLarge(`more than ${TOKEN_LANES_MAX} lanes`);
    evidence.set(lane, [at]);
    return;
  }
  if (positions.length === EPOCHS_PER_LANE_MAX)
    throw tooLarge(`more than ${EPOCHS_PER_LANE_MAX} epochs of one lane`);
  positions.push(at);
}

function tooLarge(reason: string): TallyError {
  return new TallyError('EVIDENCE_TOO_LARGE', {
    what: `evidence is over its limits: ${reason}`,
    mend: 'carry evidence of the writes of one request only',
    details: { reason },
  });
}

/** Hostile text goes no further than this: cut, and nothing that a terminal or a log would act on. */
function malformed(reason: string, input: string): TallyError {
  const echo = input.slice(0, ECHO_CHARACTERS_MAX).replace(/[^\x20-\x7e]/g, '?');
  return new TallyError('EVIDENCE_MALFORMED', {
    what: `evidence cannot be read: ${reason}`,
    where: echo,
    mend: 'send evidence exactly as it was received, or none',
    details: { reason },
  });
}
