import { DEPTH_MAX } from '../../../core/codec.ts';
import type { Value } from '../../../core/row.ts';

/** Levels left to the row, and to the lists of an array of documents. */
export const JSON_DEPTH_MAX: number = DEPTH_MAX - 10;

/** Whether a number may be in the text whose exact value JSON.parse does not give. */
const PERHAPS_INEXACT = /\d{16}|\d[eE]/;

type Reviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;
const parse = JSON.parse as (text: string, reviver?: Reviver) => Value;

/**
 * The value of a `json` or `jsonb` text: integers past 2^53 as BigInt; a number that no double comes near
 * (`1e400`) as its text; a document deeper than {@link JSON_DEPTH_MAX} levels as its text.
 */
export function parseJson(text: string): Value {
  if (text.length > 2 * JSON_DEPTH_MAX && depthOf(text) > JSON_DEPTH_MAX) return text;
  return PERHAPS_INEXACT.test(text) ? parse(text, exact) : parse(text);
}

const exact: Reviver = (_name, value, { source }) => {
  if (typeof value !== 'number' || source === undefined) return value;
  if (/^-?\d+$/.test(source)) return Number.isSafeInteger(value) ? value : BigInt(source);
  return Number.isFinite(value) ? value : source;
};

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x22) quoted = !quoted;
    else if (quoted) index += code === 0x5c ? 1 : 0;
    else if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x7d || code === 0x5d) depth--;
  }
  return deepest;
}

/**
 * Copies a JSON text without the white space between its tokens and returns the length, if that is the canonical
 * text of its value; -1 if it has to be parsed: a member or text that starts with `$`, an escape that could hide
 * one, a number that may not be exact, minus zero, too many levels. `into` has room for all of it.
 */
export function copyPlainJson(
  from: Uint8Array,
  start: number,
  end: number,
  into: Uint8Array,
  at: number,
): number {
  let to = at;
  let depth = 0;
  let digits = 0;
  for (let index = start; index < end; index++) {
    const byte = from[index] as number;
    if (byte === 0x22) {
      digits = 0;
      if (from[index + 1] === 0x24) return -1;
      into[to++] = byte;
      let inside = from[++index] as number;
      while (inside !== 0x22) {
        into[to++] = inside;
        if (inside === 0x5c) {
          inside = from[++index] as number;
          if (inside === 0x75) return -1;
          into[to++] = inside;
        }
        inside = from[++index] as number;
      }
      into[to++] = inside;
      continue;
    }
    if (byte <= 0x20) continue;
    into[to++] = byte;
    if (byte >= 0x30 && byte <= 0x39) {
      if (++digits === 16) return -1;
      if (byte === 0x30 && from[index - 1] === 0x2d && index > start) return -1;
      continue;
    }
    if (digits > 0 && (byte === 0x65 || byte === 0x45)) return -1;
    digits = 0;
    if (byte === 0x7b || byte === 0x5b) {
      if (++depth > JSON_DEPTH_MAX) return -1;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return to - at;
}
