import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TallyError } from '../../../../core/errors.ts';

/** Held in memory of one transaction in progress; more goes to its file. */
const MEMORY_BYTES = 64 * 1024;
/** Read back at once. */
const READ_BYTES = 256 * 1024;
/** The length before each message. */
const LENGTH_BYTES = 4;

interface Spool {
  readonly xid: number;
  /** Sub-transactions that were rolled back. */
  readonly aborted: Set<number>;
  pending: Buffer[];
  pendingBytes: number;
  file: FileHandle | undefined;
  fileBytes: number;
}

/**
 * Transactions that are still in progress at the server, which sends them ahead when they are large. Nothing of them
 * is true before their commit, so that their messages wait in temporary files, one for each, and memory stays bounded
 * whatever their size. What a savepoint took back is left out when they are played.
 */
export class StreamedTransactions implements AsyncDisposable {
  readonly #parent: string;
  readonly #spools = new Map<number, Spool>();
  #directory: string | undefined;
  /** The transaction whose memory is full. */
  #due: Spool | undefined;

  constructor(parent: string = tmpdir()) {
    this.#parent = parent;
  }

  /** Whether {@link flush} is to be called before the next message. */
  get isDue(): boolean {
    return this.#due !== undefined;
  }

  /** Keeps a message of the transaction `xid`. */
  add(xid: number, bytes: Buffer, start: number, end: number): void {
    const spool = this.#spoolOf(xid);
    const kept = Buffer.allocUnsafe(LENGTH_BYTES + end - start);
    kept.writeUInt32BE(end - start, 0);
    bytes.copy(kept, LENGTH_BYTES, start, end);
    spool.pending.push(kept);
    spool.pendingBytes += kept.length;
    if (spool.pendingBytes >= MEMORY_BYTES) this.#due = spool;
  }

  /** Writes what is over the bound of memory. Throws STORE_FULL if the temporary directory has no room. */
  async flush(): Promise<void> {
    const spool = this.#due;
    this.#due = undefined;
    if (spool === undefined) return;
    try {
      const { fileBytes } = spool;
      spool.file ??= await this.#create(spool.xid);
      const { bytesWritten } = await spool.file.writev(spool.pending, fileBytes);
      if (bytesWritten < spool.pendingBytes) throw new Error('the file took only a part');
      spool.fileBytes += spool.pendingBytes;
    } catch (cause) {
      throw unwritable(this.#directory ?? this.#parent, cause);
    }
    spool.pending = [];
    spool.pendingBytes = 0;
  }

  /** Rolls back the transaction, or the part of it that is `subXid`. */
  async abort(xid: number, subXid: number): Promise<void> {
    if (xid === subXid) await this.forget(xid);
    else this.#spools.get(xid)?.aborted.add(subXid);
  }

  /** Plays the messages that were not rolled back, a block at a time; `play` is called for each of a block. */
  async *replay(
    xid: number,
    play: (bytes: Buffer, start: number, end: number) => Promise<void> | undefined,
  ): AsyncGenerator<void, void, undefined> {
    const spool = this.#spools.get(xid);
    if (spool === undefined) return;
    for await (const block of blocksOf(spool)) {
      let at = 0;
      while (at < block.length) {
        const start = at + LENGTH_BYTES;
        at = start + block.readUInt32BE(at);
        // The letter, then the id of the (sub-)transaction that did it.
        if (spool.aborted.has(block.readUInt32BE(start + 1))) continue;
        const waiting = play(block, start, at);
        if (waiting !== undefined) await waiting;
      }
      yield;
    }
    await this.forget(xid);
  }

  /** Lets go of a transaction. */
  async forget(xid: number): Promise<void> {
    const spool = this.#spools.get(xid);
    if (spool === undefined) return;
    this.#spools.delete(xid);
    if (this.#due === spool) this.#due = undefined;
    await spool.file?.close();
    if (spool.file !== undefined) await rm(this.#pathOf(xid), { force: true });
  }

  #spoolOf(xid: number): Spool {
    const found = this.#spools.get(xid);
    if (found !== undefined) return found;
    const spool: Spool = {
      xid,
      aborted: new Set(),
      pending: [],
      pendingBytes: 0,
      file: undefined,
      fileBytes: 0,
    };
    this.#spools.set(xid, spool);
    return spool;
  }

  async #create(xid: number): Promise<FileHandle> {
    // Rows of the application: nobody else may read them. A directory made here has mode 0700.
    this.#directory ??= await mkdtemp(join(this.#parent, 'tallystick-stream-'));
    return open(this.#pathOf(xid), 'wx+', 0o600);
  }

  #pathOf(xid: number): string {
    return join(this.#directory ?? this.#parent, String(xid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const xid of this.#spools.keys()) await this.forget(xid);
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }
}

/** What was kept, in order, in blocks of whole messages. */
async function* blocksOf(spool: Spool): AsyncGenerator<Buffer, void, undefined> {
  const { file, fileBytes } = spool;
  let at = 0;
  let size = READ_BYTES;
  while (at < fileBytes) {
    if (file === undefined) throw cutOff(fileBytes);
    const block = Buffer.allocUnsafe(Math.min(size, fileBytes - at));
    const { bytesRead } = await file.read(block, 0, block.length, at);
    if (bytesRead < block.length) throw cutOff(fileBytes);
    const whole = wholeMessages(block);
    if (whole > 0) yield block.subarray(0, whole);
    at += whole;
    // A message larger than a block is read with a block of its own size.
    size = whole > 0 ? READ_BYTES : LENGTH_BYTES + block.readUInt32BE(0);
  }
  if (spool.pendingBytes > 0) yield Buffer.concat(spool.pending, spool.pendingBytes);
}

/** The length of the whole messages that a block starts with. */
function wholeMessages(block: Buffer): number {
  let at = 0;
  while (at + LENGTH_BYTES <= block.length) {
    const next = at + LENGTH_BYTES + block.readUInt32BE(at);
    if (next > block.length) break;
    at = next;
  }
  return at;
}

function cutOff(bytes: number): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `a temporary file of a transaction in progress has less than the ${bytes} bytes that were written to it`,
    mend: 'look for what empties the temporary directory; nothing was lost, the server sends it again',
  });
}

function unwritable(directory: string, cause: unknown): TallyError {
  return new TallyError('STORE_FULL', {
    what: 'a transaction that is still in progress could not be put aside in the temporary directory',
    where: directory,
    mend: 'make room there, or set TMPDIR to a directory that has it; the server sends the transaction again',
    cause,
  });
}
