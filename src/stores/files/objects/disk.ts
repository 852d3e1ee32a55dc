import { createHash } from 'node:crypto';
import { mkdir, open, rename, rmdir, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TallyError } from '../../../core/errors.ts';
import { filesError, isAbsent, systemErrorCode } from '../errors.ts';
import { removeIfPresent } from './locks.ts';
import { encodeTrailer, type Trailer, type Version } from './trailer.ts';

/** `always`: what is answered survives the loss of power. `os`: of the process only. */
export type Fsync = 'always' | 'os';

/** Written in pieces of this size, so that hashing never blocks for longer than a millisecond or two. */
const PIECE_BYTES = 1024 * 1024;
/** Directories that are known to be durable, before they are all forgotten and asked for again. */
const KNOWN_MAX = 10_000;
/** A directory that vanishes between mkdir and rename this often is not being emptied, it is broken. */
const PLACE_ATTEMPTS_MAX = 100;

/** Where a store keeps things, below its directory. All on one file system: renames are atomic. */
export interface Areas {
  readonly root: string;
  readonly objects: string;
  readonly temporary: string;
  readonly uploads: string;
  readonly locks: string;
  readonly owners: string;
  readonly flows: string;
}

/** The areas below `root`. */
export function areasOf(root: string): Areas {
  return {
    root,
    objects: join(root, 'objects'),
    temporary: join(root, 'temporary'),
    uploads: join(root, 'uploads'),
    locks: join(root, 'locks'),
    owners: join(root, 'owners'),
    flows: join(root, 'flows'),
  };
}

/** A file that is written and durable, and not yet anywhere that a reader looks. */
export interface Draft {
  readonly path: string;
  readonly trailer: Trailer;
}

/** What an object is made of. */
export interface DraftContent {
  readonly body: AsyncIterable<Uint8Array> | Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
  readonly version?: Version;
  readonly signal?: AbortSignal;
}

/** Writes files so that they appear whole or not at all, and stay. */
export class Disk {
  readonly areas: Areas;
  readonly #fsync: Fsync;
  readonly #ownerId: string;
  #drafts = 0;
  /** Directories that are durable with all above them: path to what identified them then. */
  readonly #known: Map<string, string> = new Map();
  /** A sync that is under way, and the one that all who come meanwhile share. */
  readonly #syncs: Map<string, { running: Promise<void>; next: Promise<void> | undefined }> =
    new Map();

  constructor(areas: Areas, fsync: Fsync, ownerId: string) {
    this.areas = areas;
    this.#fsync = fsync;
    this.#ownerId = ownerId;
  }

  /** A name, used once, that says whose it is. */
  temporaryName(): string {
    this.#drafts += 1;
    return `${this.#ownerId}.${this.#drafts}`;
  }

  /** Writes an object to a temporary file. On failure nothing is left. Throws STORE_FULL, STORE_UNREACHABLE, ABORTED. */
  async draft(content: DraftContent): Promise<Draft> {
    return this.#write(async (file) => {
      const hash = createHash('sha256');
      let size = 0;
      const trailer = (): Trailer => ({
        size,
        etag: hash.digest('hex'),
        metadata: content.metadata,
        ...(content.version === undefined ? {} : { version: content.version }),
      });
      if (content.body instanceof Uint8Array && content.body.byteLength <= PIECE_BYTES) {
        hash.update(content.body);
        size = content.body.byteLength;
        const whole = trailer();
        await writeAll(file, Buffer.concat([content.body, encodeTrailer(whole)]));
        return whole;
      }
      for await (const chunk of pieces(content.body)) {
        if (content.signal?.aborted === true) throw aborted(content.signal);
        hash.update(chunk);
        size += chunk.byteLength;
        await writeAll(file, chunk);
      }
      const whole = trailer();
      await writeAll(file, encodeTrailer(whole));
      return whole;
    });
  }

  /** Writes a small file of state to a temporary file. */
  async draftText(text: string): Promise<string> {
    const { path } = await this.#write((file) => writeAll(file, Buffer.from(text, 'utf8')));
    return path;
  }

  /** Moves a draft to where it is seen, making directories as needed. Not durable until `sync` of its directory. */
  async place(from: string, to: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await rename(from, to);
        return;
      } catch (error) {
        // Absent is the directory: never made, or removed as empty by a delete just now.
        if (!isAbsent(error) || attempt === PLACE_ATTEMPTS_MAX) throw filesError(error, to);
      }
      await this.makeDirectory(dirname(to));
    }
  }

  /** Makes an empty file, if it is not there. */
  async note(path: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await (await open(path, 'a')).close();
        return;
      } catch (error) {
        if (!isAbsent(error) || attempt === PLACE_ATTEMPTS_MAX) throw filesError(error, path);
      }
      await this.makeDirectory(dirname(path));
    }
  }

  /** Moves a file within directories that exist. */
  async move(from: string, to: string): Promise<void> {
    await mapped(rename(from, to), to);
  }

  /** Makes a directory and those above it. */
  async makeDirectory(path: string): Promise<void> {
    try {
      await mkdir(path, { recursive: true });
    } catch (error) {
      // Another process removed one above as empty between two steps of mkdir.
      if (!isAbsent(error)) throw filesError(error, path);
    }
  }

  /** Removes a file and those of the directories above it, up to `root`, that are empty then. */
  async remove(path: string, root: string): Promise<boolean> {
    try {
      if (!(await removeIfPresent(path))) return false;
    } catch (error) {
      throw filesError(error, path);
    }
    let at = dirname(path);
    for (; at !== root && (await removeIfEmpty(at)); at = dirname(at));
    await this.sync(at);
    return true;
  }

  /** Makes the names in a directory durable, and the directory itself up to the root. */
  async sync(directory: string): Promise<void> {
    if (this.#fsync === 'os') return;
    const under = this.#syncs.get(directory);
    if (under === undefined) {
      const running = this.#syncChain(directory).finally(() => this.#syncs.delete(directory));
      this.#syncs.set(directory, { running, next: undefined });
      return running;
    }
    // The one under way may have begun before our rename: wait for it, then share one more.
    under.next ??= under.running.catch(() => undefined).then(() => this.sync(directory));
    return under.next;
  }

  async #syncChain(directory: string): Promise<void> {
    let identity: string;
    try {
      identity = await syncDirectory(directory);
    } catch (error) {
      // Removed as empty since: then there is no name in it that could be lost.
      if (isAbsent(error)) return;
      throw filesError(error, directory);
    }
    if (directory === this.areas.root || this.#known.get(directory) === identity) return;
    await this.sync(dirname(directory));
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(directory, identity);
  }

  async #write<Result>(
    write: (file: FileHandle) => Promise<Result>,
  ): Promise<{ readonly path: string; readonly trailer: Result }> {
    const path = join(this.areas.temporary, this.temporaryName());
    try {
      const file = await mapped(open(path, 'wx'), path);
      try {
        const trailer = await write(file);
        if (this.#fsync === 'always') await mapped(file.datasync(), path);
        return { path, trailer };
      } finally {
        await mapped(file.close(), path);
      }
    } catch (error) {
      await this.discard(path);
      throw error;
    }
  }

  /** Removes a temporary file. What cannot be removed now is swept later. */
  async discard(path: string): Promise<void> {
    await removeIfPresent(path).catch(() => false);
  }
}

/** The ABORTED error for a signal that has aborted; its reason is the cause. */
export function aborted(signal: AbortSignal): TallyError {
  return new TallyError('ABORTED', { what: 'the caller gave up', cause: signal.reason });
}

async function* pieces(
  body: AsyncIterable<Uint8Array> | Uint8Array,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = body instanceof Uint8Array ? [body] : body;
  for await (const chunk of chunks) {
    if (!(chunk instanceof Uint8Array)) throw notBytes(chunk);
    for (let at = 0; at < chunk.byteLength; at += PIECE_BYTES)
      yield chunk.subarray(at, at + PIECE_BYTES);
  }
}

/** Errors of the file system alone are mapped: what a body's own stream throws stays as it is. */
async function mapped<Result>(step: Promise<Result>, where: string): Promise<Result> {
  try {
    return await step;
  } catch (error) {
    throw filesError(error, where);
  }
}

/** A write may be partial: just before the disk is full, or past a size limit. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) {
    const { bytesWritten } = await mapped(file.write(bytes, at), 'temporary file');
    at += bytesWritten;
  }
}

/** Syncs a directory and returns what identifies it, in case another takes its place. */
async function syncDirectory(path: string): Promise<string> {
  // Windows opens no directory as a file; NTFS keeps its names in a journal of its own.
  if (process.platform === 'win32') return path;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
    const { ino, birthtimeNs } = await directory.stat({ bigint: true });
    return `${ino}:${birthtimeNs}`;
  } finally {
    await directory.close();
  }
}

async function removeIfEmpty(path: string): Promise<boolean> {
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false;
  }
}

function notBytes(chunk: unknown): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a body yielded a ${typeof chunk}, not bytes`,
    where: 'object body',
    mend: 'yield Uint8Array (a Buffer is one)',
  });
}
