import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { TallyError } from '../../../core/errors.ts';
import type { Identity } from '../../../core/position.ts';
import type { ObjectInfo } from '../../../ports/objects.ts';
import { corruptFile, isAbsent } from '../errors.ts';
import { keyOfBytes, type KeyBytes } from './key-path.ts';

/**
 * One file holds an object with its metadata: the body, then a trailer (JSON, its length in four
 * bytes, eight bytes of magic). One rename therefore changes both at once; a sidecar would need two,
 * with a crash in between that pairs a new body with old metadata. A trailer rather than a header,
 * because size and hash are known only once the body has been streamed.
 */
const MAGIC = Buffer.from('tallyob1', 'latin1');
const FOOTER_BYTES = 4 + MAGIC.length;
/** Nearly every trailer is smaller: then one read brings it. */
const TAIL_BYTES = 2_048;
/** S3 allows 2 KiB; this bounds what one `head` may cost. */
const METADATA_BYTES_MAX = 16 * 1024;
/** Metadata, and a sink's key of at most a few KiB: anything longer is damage. */
const TRAILER_BYTES_MAX = 1024 * 1024;

/** Which write of a flow made an object; `deleted` makes the object a tombstone. */
export interface Version extends Identity {
  readonly flow: string;
  readonly target: string;
  /** The canonical text of the row's key. */
  readonly key: string;
  readonly deleted?: true;
}

/** What stands behind the body. */
export interface Trailer {
  readonly size: number;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly version?: Version;
}

/** The trailer as bytes. */
export function encodeTrailer(trailer: Trailer): Buffer {
  const text = Buffer.from(JSON.stringify(trailer), 'utf8');
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.writeUInt32LE(text.length, 0);
  MAGIC.copy(footer, 4);
  return Buffer.concat([text, footer]);
}

/** The trailer of an open file, and the file's last bytes that were read for it. Throws STORE_CORRUPT. */
export async function readTrailer(
  handle: FileHandle,
  path: string,
  tailBytes: number = TAIL_BYTES,
): Promise<{ readonly trailer: Trailer; readonly tail: Buffer; readonly tailStart: number }> {
  const { size: fileBytes } = await handle.stat();
  if (fileBytes < FOOTER_BYTES) throw corruptFile(path, 'a file of an object is cut short');
  let tail = await readEnd(handle, fileBytes, Math.min(tailBytes, fileBytes), path);
  if (!tail.subarray(-MAGIC.length).equals(MAGIC))
    throw corruptFile(path, 'a file among the objects is not one of this store, or is cut short');
  const textBytes = tail.readUInt32LE(tail.length - FOOTER_BYTES);
  const trailerBytes = textBytes + FOOTER_BYTES;
  if (trailerBytes > fileBytes || textBytes > TRAILER_BYTES_MAX)
    throw corruptFile(path, 'the trailer of an object is damaged');
  if (trailerBytes > tail.length) tail = await readEnd(handle, fileBytes, trailerBytes, path);
  const text = tail
    .subarray(tail.length - trailerBytes, tail.length - FOOTER_BYTES)
    .toString('utf8');
  let trailer: Trailer;
  try {
    trailer = JSON.parse(text) as Trailer;
  } catch (cause) {
    throw corruptFile(path, 'the trailer of an object is damaged', cause);
  }
  if (trailer.size !== fileBytes - trailerBytes)
    throw corruptFile(path, 'the size of an object is not what its trailer says');
  return { trailer, tail, tailStart: fileBytes - tail.length };
}

/** The trailer of the file at `path`; undefined if there is none. Throws STORE_CORRUPT. */
export async function readTrailerAt(path: string): Promise<Trailer | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
  try {
    return (await readTrailer(handle, path)).trailer;
  } finally {
    await handle.close();
  }
}

/** Refuses metadata that is not text by name, or too much of it. Throws VALUE_UNSUPPORTED. */
export function checkMetadata(metadata: Readonly<Record<string, string>>): void {
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== 'string')
      throw unsupported(`metadata ${JSON.stringify(name)} is not a text`, 'give texts only');
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes > METADATA_BYTES_MAX)
    throw unsupported(
      `metadata of ${bytes} bytes is over the limit of ${METADATA_BYTES_MAX}`,
      'keep long content in the body',
    );
}

/** The trailer as users see it. */
export function infoOf(bytes: KeyBytes, { size, etag, metadata }: Trailer): ObjectInfo {
  return { key: keyOfBytes(bytes), size, etag, metadata };
}

async function readEnd(
  handle: FileHandle,
  fileBytes: number,
  count: number,
  path: string,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(count);
  const { bytesRead } = await handle.read(buffer, 0, count, fileBytes - count);
  if (bytesRead !== count) throw corruptFile(path, 'a file of an object is cut short');
  return buffer;
}

function unsupported(what: string, mend: string): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', { what, where: 'object metadata', mend });
}
