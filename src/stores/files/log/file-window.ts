import type { FileHandle } from 'node:fs/promises';

/** A view of a file that reads ahead, so that walking over many small frames asks the disk rarely. */
export class FileWindow {
  readonly #handle: FileHandle;
  #buffer: Buffer = Buffer.alloc(0);
  #own: Buffer | undefined;
  #start = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** The bytes if they are at hand; they stay valid until the next {@link load}. */
  peek(position: number, length: number): Buffer | undefined {
    const at = position - this.#start;
    return at >= 0 && at + length <= this.#buffer.length
      ? this.#buffer.subarray(at, at + length)
      : undefined;
  }

  /**
   * Reads `length` bytes at `position`, and up to `aheadBytes` on the way, none at or after
   * `limit`. The answer is shorter if the file or the limit ends before.
   */
  async load(position: number, length: number, limit: number, aheadBytes: number): Promise<Buffer> {
    const wanted = Math.max(0, Math.min(Math.max(length, aheadBytes), limit - position));
    const target = this.#room(wanted, aheadBytes);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await this.#handle.read(
        target,
        filled,
        wanted - filled,
        position + filled,
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    this.#buffer = target.subarray(0, filled);
    this.#start = position;
    return this.#buffer.subarray(0, Math.min(length, filled));
  }

  /** A frame larger than the window gets a buffer that is not kept. */
  #room(bytes: number, aheadBytes: number): Buffer {
    if (bytes > aheadBytes) return Buffer.allocUnsafe(bytes);
    if (this.#own === undefined || this.#own.length < bytes)
      this.#own = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(aheadBytes, bytes * 2)));
    return this.#own;
  }
}
