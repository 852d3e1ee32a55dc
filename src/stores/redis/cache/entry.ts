import { TallyError } from '../../../core/errors.ts';
import { position, type Position } from '../../../core/position.ts';
import type { CacheEntry, CacheValue } from '../../../ports/cache.ts';

const BORN_AND_TIMES = 42;
const LOAD_DIGITS = 8;
const EPOCH_DIGITS = 4;
const OFFSET_DIGITS = 16;
const FENCE_DIGITS = EPOCH_DIGITS + OFFSET_DIGITS;
const LENGTH_DIGITS = 5;
/** Characters of all tags of one entry, or of a note, in their escaped form: what their five digits hold. */
const PART_CHARACTERS_MAX = 99_999;

const STORED_FROM = 16;
const FRESH_FROM = 29;
const LOAD_FROM: number = BORN_AND_TIMES;
const FENCE_FROM: number = LOAD_FROM + LOAD_DIGITS;
const TAGS_LENGTH_FROM: number = FENCE_FROM + FENCE_DIGITS;
const NOTE_LENGTH_FROM: number = TAGS_LENGTH_FROM + LENGTH_DIGITS;
const TAGS_FROM: number = NOTE_LENGTH_FROM + LENGTH_DIGITS;

const LOAD_MS_MAX: number = 10 ** LOAD_DIGITS - 1;
const NO_FENCE: string = '-'.repeat(FENCE_DIGITS);
const NOTHING_MORE = `${NO_FENCE}0000000000`;
const NO_TAGS: readonly string[] = [];

/** Tags stand in keys and between spaces: escaped, so that one is one word. */
export const escapeTag = (tag: string): string => encodeURIComponent(tag);
export const unescapeTag = (text: string): string => decodeURIComponent(text);

/** A fence as digits of fixed width, which compare as the positions do. */
export function fenceText({ epoch, offset }: Position): string {
  position(epoch, offset);
  return String(epoch).padStart(EPOCH_DIGITS, '0') + String(offset).padStart(OFFSET_DIGITS, '0');
}

/** What stands before the payload, behind the times that the server writes: ASCII only, so that characters are bytes. */
export function entryHead({ loadMs, fence, tags, note }: CacheValue): string {
  const load = String(Math.min(LOAD_MS_MAX, Math.round(loadMs))).padStart(LOAD_DIGITS, '0');
  if (fence === undefined && tags.length === 0 && note === '') return load + NOTHING_MORE;
  const tagged = tags.map(escapeTag).join(' ');
  const noted = encodeURIComponent(note);
  return [
    load,
    fence === undefined ? NO_FENCE : fenceText(fence),
    lengthText('tags', tagged),
    lengthText('note', noted),
    tagged,
    noted,
  ].join('');
}

/** Reads an entry, at the server's time `nowMs`. */
export function readEntry(text: string | Buffer, nowMs: number): CacheEntry {
  // Nearly all entries have no fence, tags or note: one comparison tells.
  const head = typeof text === 'string' ? text : text.toString('latin1', 0, TAGS_FROM);
  const isPlain = head.startsWith(NOTHING_MORE, FENCE_FROM);
  const about = {
    freshForMs: Number(head.slice(FRESH_FROM, BORN_AND_TIMES)) - nowMs,
    ageMs: nowMs - Number(head.slice(STORED_FROM, FRESH_FROM)),
    loadMs: Number(head.slice(LOAD_FROM, FENCE_FROM)),
  };
  if (isPlain)
    return { payload: from(text, TAGS_FROM), note: '', ...about, tags: NO_TAGS, fence: undefined };
  const noteFrom = TAGS_FROM + Number(head.slice(TAGS_LENGTH_FROM, NOTE_LENGTH_FROM));
  const payloadFrom = noteFrom + Number(head.slice(NOTE_LENGTH_FROM, TAGS_FROM));
  const tags = String(text.slice(TAGS_FROM, noteFrom));
  return {
    payload: from(text, payloadFrom),
    note: decodeURIComponent(String(text.slice(noteFrom, payloadFrom))),
    ...about,
    tags: tags === '' ? NO_TAGS : tags.split(' ').map(unescapeTag),
    fence: readFence(head.slice(FENCE_FROM, TAGS_LENGTH_FROM)),
  };
}

function from(text: string | Buffer, start: number): string | Uint8Array {
  return typeof text === 'string' ? text.slice(start) : text.subarray(start);
}

function readFence(text: string): Position | undefined {
  if (text.startsWith('-')) return undefined;
  return { epoch: Number(text.slice(0, EPOCH_DIGITS)), offset: Number(text.slice(EPOCH_DIGITS)) };
}

function lengthText(what: string, text: string): string {
  if (text.length > PART_CHARACTERS_MAX)
    throw new TallyError('ROW_TOO_LARGE', {
      what: `the ${what} of an entry have ${text.length} characters, the limit is ${PART_CHARACTERS_MAX}`,
      mend: 'give it fewer',
      details: { characters: text.length, charactersMax: PART_CHARACTERS_MAX },
    });
  return String(text.length).padStart(LENGTH_DIGITS, '0');
}
