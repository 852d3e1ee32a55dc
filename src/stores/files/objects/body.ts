import { createHash, type Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { TallyError } from '../../../core/errors.ts';
import { corruptFile, filesError, isAbsent } from '../errors.ts';
import { readTrailer, type Trailer } from './trailer.ts';

/** One chunk of a streamed body. */
const CHUNK_BYTES = 256 * 1024;
/** Read together with the trailer, in one step, so that small objects hold no file open. */
const SMALL_BYTES = 64 * 1024;

/** A half-open range of a body: `end` is the first byte that is not wanted. */
export interface ByteRange {
  readonly start: number;
  readonly end?: number;
}

/** An object that was opened: what stands behind its body, and the body. */
export interface OpenedBody {
  readonly trailer: Trailer;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Opens the file at `path` for reading; undefined if there is none, or if `wants` says no to its
 * trailer. A replaced or deleted object stays readable for who has it open. A small body is read at
 * once; a large one keeps its file open until it was read to the end or given up, and `opened`
 * holds it until then.
 */
export async function openBody(
  path: string,
  range: ByteRange | undefined,
  wants: (trailer: Trailer) => boolean,
  opened: Set<FileHandle>,
): Promise<OpenedBody | undefined> {
  checkRange(range);
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw filesError(error, path);
  }
  let keep = false;
  try {
    const { trailer, tail, tailStart } = await readTrailer(file, path, SMALL_BYTES);
    if (!wants(trailer)) return undefined;
    const start = Math.min(range?.start ?? 0, trailer.size);
    const end = Math.max(start, Math.min(range?.end ?? trailer.size, trailer.size));
    const hash = start === 0 && end === trailer.size ? createHash('sha256') : undefined;
    if (tailStart <= start) {
      const whole = tail.subarray(start - tailStart, end - tailStart);
      if (hash !== undefined) checkHash(hash.update(whole), trailer, path);
      return { trailer, body: once(whole) };
    }
    keep = true;
    opened.add(file);
    return { trailer, body: new FileBody({ file, path, trailer, start, end, hash, opened }) };
  } catch (error) {
    throw filesError(error, path);
  } finally {
    if (!keep) await file.close();
  }
}

interface FileBodyOptions {
  readonly file: FileHandle;
  readonly path: string;
  readonly trailer: Trailer;
  readonly start: number;
  readonly end: number;
  /** Given when the whole body is read: then its hash is compared. */
  readonly hash: Hash | undefined;
  readonly opened: Set<FileHandle>;
}

/** A body that is streamed from its file. Not a generator: one that was never started would not close the file. */
class FileBody implements AsyncIterableIterator<Uint8Array> {
  readonly #options: FileBodyOptions;
  #at: number;
  #open = true;

  constructor(options: FileBodyOptions) {
    this.#options = options;
    this.#at = options.start;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#open) return { done: true, value: undefined };
    try {
      const chunk = await this.#read();
      if (chunk !== undefined) return { done: false, value: chunk };
    } catch (error) {
      await this.#close();
      throw filesError(error, this.#options.path);
    }
    return this.return();
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    await this.#close();
    return { done: true, value: undefined };
  }

  async #read(): Promise<Uint8Array | undefined> {
    const { file, path, trailer, end, hash } = this.#options;
    if (this.#at >= end) {
      if (hash !== undefined) checkHash(hash, trailer, path);
      return undefined;
    }
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - this.#at));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, this.#at);
    if (bytesRead === 0) throw corruptFile(path, 'a file of an object ends before its body does');
    this.#at += bytesRead;
    const read = chunk.subarray(0, bytesRead);
    hash?.update(read);
    return read;
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#options.opened.delete(this.#options.file);
    await this.#options.file.close();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (bytes.byteLength > 0) yield bytes;
}

function checkHash(hash: Hash, trailer: Trailer, path: string): void {
  if (hash.digest('hex') === trailer.etag) return;
  throw corruptFile(path, 'the body of an object does not match its hash');
}

function checkRange(range: ByteRange | undefined): void {
  if (range === undefined) return;
  const { start, end = start } = range;
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start)
    return;
  throw new TallyError('VALUE_UNSUPPORTED', {
    what: `the range from ${start} to ${end} cannot be read`,
    where: 'object range',
    mend: 'give whole numbers, 0 <= start <= end; end is the first byte that is not wanted',
  });
}
