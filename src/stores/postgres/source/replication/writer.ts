import { constants, isUtf8 } from 'node:buffer';
import { TallyError } from '../../../../core/errors.ts';

const BYTES_FIRST = 4 * 1024;
/** A buffer that one huge row has made larger than this is let go of after it. */
const BYTES_KEPT_MAX = 1024 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What follows the backslash for the characters that JSON.stringify escapes in two. */
const shortEscapes: Readonly<Record<number, number>> = {
  0x08: 0x62,
  0x09: 0x74,
  0x0a: 0x6e,
  0x0c: 0x66,
  0x0d: 0x72,
  0x22: 0x22,
  0x5c: 0x5c,
};

/**
 * A growing buffer in which one canonical text is put together from the bytes of the wire, then made a string at
 * once: one pass and one string for a row, whatever its columns.
 */
export class CanonicalWriter {
  bytes: Buffer = Buffer.allocUnsafe(BYTES_FIRST);
  length = 0;
  /** Whether all bytes so far are ASCII: then the string is a copy, without decoding. */
  #ascii = true;
  /** Whether the server vouches for its texts (any server encoding but SQL_ASCII). */
  readonly #validated: boolean;

  constructor(options: { readonly validated: boolean }) {
    this.#validated = options.validated;
  }

  /** Room for `count` more bytes. Throws ROW_TOO_LARGE past what a string can hold. */
  reserve(count: number): void {
    const wanted = this.length + count;
    if (wanted <= this.bytes.length) return;
    if (wanted > constants.MAX_STRING_LENGTH) throw tooLarge(wanted);
    const larger = Buffer.allocUnsafe(Math.max(wanted, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  /** Appends one byte of ASCII. */
  byte(code: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = code;
  }

  /** Appends bytes that are ASCII and need no escape. */
  copy(from: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    const into = this.bytes;
    let at = this.length;
    for (let index = start; index < end; index++) into[at++] = from[index] as number;
    this.length = at;
  }

  /** Appends bytes of UTF-8 as they are. */
  wide(from: Uint8Array): void {
    this.copy(from, 0, from.length);
    this.#ascii = false;
  }

  /** Appends text that is ASCII. */
  ascii(text: string): void {
    this.reserve(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }

  /** Appends any text. */
  utf8(text: string): void {
    const count = Buffer.byteLength(text);
    this.reserve(count);
    if (count !== text.length) this.#ascii = false;
    this.length += this.bytes.write(text, this.length, 'utf8');
  }

  /** Appends bytes of UTF-8 as a JSON text, quotes included; false, and nothing is appended, if they are not UTF-8. */
  text(from: Uint8Array, start: number, end: number): boolean {
    // Six bytes for each at worst (\u001f); the callers bound the length.
    this.reserve(2 + 6 * (end - start));
    const into = this.bytes;
    const begin = this.length;
    let at = begin;
    let seen = 0;
    into[at++] = QUOTE;
    for (let index = start; index < end; index++) {
      const code = from[index] as number;
      if (code >= 0x20 && code !== QUOTE && code !== BACKSLASH) {
        seen |= code;
        into[at++] = code;
        continue;
      }
      into[at++] = BACKSLASH;
      const short = shortEscapes[code];
      if (short !== undefined) {
        into[at++] = short;
        continue;
      }
      at += into.write(`u00${code < 0x10 ? '0' : '1'}${(code & 15).toString(16)}`, at, 'latin1');
    }
    if (seen >= 0x80 && !this.#valid(from, start, end)) return false;
    into[at++] = QUOTE;
    this.length = at;
    return true;
  }

  /** Takes over bytes that were written behind `length`; false, and nothing is taken, if they are not UTF-8. */
  accept(count: number): boolean {
    const { bytes, length } = this;
    if (this.#ascii) {
      let seen = 0;
      for (let index = length; index < length + count; index++) seen |= bytes[index] as number;
      if (seen < 0x80) {
        this.length += count;
        return true;
      }
    }
    if (!this.#valid(bytes, length, length + count)) return false;
    this.length += count;
    return true;
  }

  /** The text, and an empty writer. */
  take(): string {
    const text = this.bytes.toString(this.#ascii ? 'latin1' : 'utf8', 0, this.length);
    this.clear();
    return text;
  }

  clear(): void {
    this.length = 0;
    this.#ascii = true;
    if (this.bytes.length > BYTES_KEPT_MAX) this.bytes = Buffer.allocUnsafe(BYTES_FIRST);
  }

  #valid(from: Uint8Array, start: number, end: number): boolean {
    if (!this.#validated && !isUtf8(from.subarray(start, end))) return false;
    this.#ascii = false;
    return true;
  }
}

function tooLarge(bytes: number): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what: `a row needs ${bytes} bytes of text, more than a string can hold`,
    mend: 'keep large content in an object store and its address in the row',
    details: { bytes, bytesMax: constants.MAX_STRING_LENGTH },
  });
}
