import { decodeValue, encodeValue } from '../../core/codec.ts';
import { type Evidence, noEvidence } from '../../core/evidence.ts';
import { decodeEvidence, encodeEvidence } from '../../core/evidence-token.ts';
import type { Value as PlainValue } from '../../core/row.ts';
import type { CacheEntry } from '../../ports/cache.ts';

/** How values become text or bytes for the shared tier. */
export interface Serialiser<Value> {
  readonly payload: 'text' | 'bytes';
  /** Throws for what it cannot carry: the value is then answered and not kept. */
  encode(value: Value): string | Uint8Array;
  decode(payload: string | Uint8Array): Value;
}

/** Canonical JSON text: what JSON holds, and BigInt, bytes, NaN, infinities. Throws VALUE_UNSUPPORTED for anything else. */
export const plainJson: Serialiser<PlainValue> = {
  payload: 'text',
  encode: encodeValue,
  decode: (payload) => decodeValue(String(payload)),
};

/** Texts as they are, anything else as its canonical text. */
export function keyTextOf(key: unknown): string {
  return typeof key === 'string' ? key : encodeValue(key as PlainValue);
}

/** What is noted beside a payload: that there is no value, and what evidence the entry contains. */
export interface Note {
  readonly isAbsent: boolean;
  readonly asOf: Evidence;
}

const PLAIN: Note = { isAbsent: false, asOf: noEvidence };
const ABSENT: Note = { isAbsent: true, asOf: noEvidence };

/** Most entries have nothing to note: an empty text. Throws EVIDENCE_TOO_LARGE. */
export function writeNote({ isAbsent, asOf }: Note): string {
  const evidence = asOf.size === 0 ? '' : encodeEvidence(asOf);
  return isAbsent ? `-${evidence}` : evidence;
}

/** Throws EVIDENCE_MALFORMED: somebody else wrote this entry. */
export function readNote({ note }: CacheEntry): Note {
  if (note === '') return PLAIN;
  if (note === '-') return ABSENT;
  const isAbsent = note.startsWith('-');
  return { isAbsent, asOf: decodeEvidence(isAbsent ? note.slice(1) : note) };
}
