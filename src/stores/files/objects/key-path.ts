import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { TallyError } from '../../../core/errors.ts';

/** The longest key, as S3 has it: bytes of UTF-8. */
const KEY_BYTES_MAX = 1024;
/** Three characters for each byte at worst, and the suffix: 242, under the 255 of every file system. */
const SLICE_BYTES_MAX = 80;

/**
 * How keys become paths. The bytes of a key are cut into slices, after each `/` and after 80 bytes
 * without one; all but the last are directories, the last is the file. In the name of a slice only
 * `a-z 0-9 _ - .` stand for themselves, every other byte is `%xx`; a file ends in `.o`, a directory
 * in `.d` (its slice ended in `/`) or `.c` (it was cut). So that
 * - no name is `.` or `..`, is hidden, is a device of Windows, or is over 255 bytes;
 * - no two keys share a path where letter case or Unicode normalisation is ignored;
 * - byte order holds: no slice of a directory is a proper prefix of another slice beside it, so the
 *   keys below a directory are neighbours, and sorting the decoded slices sorts the keys (a file
 *   before the directory of the same slice, whose keys are longer).
 */

/** A key's bytes, one character for each: comparing two such strings compares the bytes. */
export type KeyBytes = string;

/** The bytes of a key. Throws VALUE_UNSUPPORTED if it is empty, too long or no well-formed text. */
export function keyBytes(key: string): KeyBytes {
  if (typeof key !== 'string' || key === '' || !key.isWellFormed())
    throw refused('a key must be a well-formed text of at least one character', key);
  const bytes = Buffer.from(key, 'utf8');
  if (bytes.length > KEY_BYTES_MAX)
    throw refused(`a key of ${bytes.length} bytes is over the ${KEY_BYTES_MAX} that fit`, key);
  return bytes.toString('latin1');
}

/** The key behind its bytes. */
export function keyOfBytes(bytes: KeyBytes): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** The path of the file of a key, below `root`. */
export function pathOfKey(root: string, bytes: KeyBytes): string {
  const slices = splitSlices(bytes);
  return join(
    root,
    ...slices.map((slice, index) =>
      index === slices.length - 1 ? `${encodeSlice(slice)}.o` : directoryName(slice),
    ),
  );
}

/** What a name in a directory stands for: undefined if this store did not make it. */
export interface Entry {
  readonly name: string;
  readonly slice: KeyBytes;
  readonly kind: 'file' | 'directory';
}

/** Reads a name in a directory of keys. */
export function readName(name: string): Entry | undefined {
  const decoded = decodeSlice(name.slice(0, -2));
  if (decoded === undefined) return undefined;
  switch (name.slice(-2)) {
    case '.o':
      return `${encodeSlice(decoded)}.o` === name
        ? { name, slice: decoded, kind: 'file' }
        : undefined;
    case '.d': {
      const slice = `${decoded}/`;
      return directoryName(slice) === name ? { name, slice, kind: 'directory' } : undefined;
    }
    case '.c':
      return directoryName(decoded) === name
        ? { name, slice: decoded, kind: 'directory' }
        : undefined;
    default:
      return undefined;
  }
}

/** Orders what stands in one directory as its keys are ordered. */
export function compareEntries(left: Entry, right: Entry): number {
  if (left.slice !== right.slice) return left.slice < right.slice ? -1 : 1;
  if (left.kind === right.kind) return 0;
  return left.kind === 'file' ? -1 : 1;
}

/** One safe name of bounded length for a text, such as the name of a flow: no two texts share one. */
export function safeName(text: string): string {
  const bytes = keyBytes(text);
  if (bytes.length <= SLICE_BYTES_MAX) return `${encodeSlice(bytes)}.n`;
  const hash = createHash('sha256').update(bytes, 'latin1').digest('hex');
  return `${encodeSlice(bytes.slice(0, SLICE_BYTES_MAX / 2))}.${hash}.h`;
}

function splitSlices(bytes: KeyBytes): string[] {
  const slices: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const slash = bytes.indexOf('/', at);
    const end = slash >= 0 && slash < at + SLICE_BYTES_MAX ? slash + 1 : at + SLICE_BYTES_MAX;
    slices.push(bytes.slice(at, end));
    at = end;
  }
  return slices;
}

function directoryName(slice: KeyBytes): string {
  return slice.endsWith('/') ? `${encodeSlice(slice.slice(0, -1))}.d` : `${encodeSlice(slice)}.c`;
}

const plain = /^[a-z0-9_-][a-z0-9_.-]*$/;
const device = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/;

function encodeSlice(slice: KeyBytes): string {
  if (plain.test(slice) && !device.test(slice)) return slice;
  const encoded = slice.replace(/^\.|[^a-z0-9_.-]/gs, escapeByte);
  return device.test(encoded) ? `${escapeByte(encoded.slice(0, 1))}${encoded.slice(1)}` : encoded;
}

function escapeByte(character: string): string {
  return `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

function decodeSlice(text: string): KeyBytes | undefined {
  if (!/^(?:[a-z0-9_.-]|%[0-9a-f]{2})*$/.test(text)) return undefined;
  return text.replace(/%([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function refused(what: string, key: unknown): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what,
    where: 'object key',
    mend: `give a text of 1 to ${KEY_BYTES_MAX} bytes in UTF-8`,
    details: { key: String(key).slice(0, 80) },
  });
}
