/** The letter of a message and its length, which counts itself but not the letter. */
const HEADER_BYTES = 5;

/**
 * Cuts what a socket delivers into messages of the protocol, without copying them: a message is a part of the
 * chunk that it came in. Only one that spans chunks is put together, once all of it is there, however large.
 */
export class FrameReader {
  /** The letter of the present message, and where its content stands in {@link bytes}. */
  type = 0;
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** Bytes that wait to be read. */
  buffered = 0;
  /** How many bytes must be there before the next message can be read, as far as is known. */
  needed = 0;
  readonly #chunks: Buffer[] = [];
  /** The place in the first chunk. */
  #at = 0;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.buffered += chunk.length;
  }

  /** Moves to the next message; false if it is not there in full. */
  next(): boolean {
    const head = this.#chunks[0];
    if (head === undefined || this.buffered < HEADER_BYTES) return false;
    const at = this.#at;
    const within = head.length - at;
    const length = 1 + (within >= HEADER_BYTES ? head.readUInt32BE(at + 1) : this.#lengthAcross());
    this.needed = length;
    if (this.buffered < length) return false;
    this.buffered -= length;
    if (within >= length) {
      this.#set(head, at, length);
      this.#at = at + length;
    } else {
      this.#set(this.#gather(length), 0, length);
    }
    if (this.#at === this.#chunks[0]?.length) {
      this.#chunks.shift();
      this.#at = 0;
    }
    this.needed = 0;
    return true;
  }

  #set(bytes: Buffer, at: number, length: number): void {
    this.bytes = bytes;
    this.type = bytes[at] as number;
    this.start = at + HEADER_BYTES;
    this.end = at + length;
  }

  /** Takes `length` bytes off the chunks. */
  #gather(length: number): Buffer {
    const whole = Buffer.allocUnsafe(length);
    let filled = 0;
    let chunk = this.#chunks[0];
    while (chunk !== undefined && filled < length) {
      const count = Math.min(chunk.length - this.#at, length - filled);
      chunk.copy(whole, filled, this.#at, this.#at + count);
      filled += count;
      this.#at += count;
      if (this.#at < chunk.length) break;
      this.#chunks.shift();
      this.#at = 0;
      chunk = this.#chunks[0];
    }
    return whole;
  }

  /** The length of a message whose header spans chunks. */
  #lengthAcross(): number {
    const header = Buffer.alloc(HEADER_BYTES);
    let filled = 0;
    let at = this.#at;
    for (const chunk of this.#chunks) {
      filled += chunk.copy(header, filled, at, at + HEADER_BYTES - filled);
      at = 0;
      if (filled === HEADER_BYTES) break;
    }
    return header.readUInt32BE(1);
  }
}
