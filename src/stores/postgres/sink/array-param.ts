/** A value on its way into a column: its text as PostgreSQL reads it, bytes for `bytea`, or NULL. */
export type Cell = string | Uint8Array | null;

const TEXT = 25;
const BYTEA = 17;
const INT8 = 20;
const INT4 = 23;

const HEADER_BYTES = 20;
const FIRST_BYTES = 4_096;
/** A buffer that one large batch has grown is given back afterwards. */
const KEPT_BYTES = 1024 * 1024;

/**
 * One parameter that holds a column of a whole batch, in the binary form of a PostgreSQL array: nothing in it is
 * quoted here or parsed there, and the buffer is used again for the next batch.
 */
class ArrayParam {
  protected buffer: Buffer = Buffer.allocUnsafe(FIRST_BYTES);
  protected end: number = HEADER_BYTES;
  readonly #type: number;
  #count = 0;
  #nulls = 0;

  constructor(type: number) {
    this.#type = type;
  }

  /** What has been written, in bytes. */
  get bytes(): number {
    return this.end;
  }

  /** The value to bind. It shares the buffer, and holds until {@link ArrayParam.clear}. */
  finish(): Buffer {
    const { buffer } = this;
    buffer.writeInt32BE(1, 0);
    buffer.writeInt32BE(this.#nulls, 4);
    buffer.writeInt32BE(this.#type, 8);
    buffer.writeInt32BE(this.#count, 12);
    buffer.writeInt32BE(1, 16);
    return buffer.subarray(0, this.end);
  }

  clear(): void {
    this.end = HEADER_BYTES;
    this.#count = 0;
    this.#nulls = 0;
    if (this.buffer.length > KEPT_BYTES) this.buffer = Buffer.allocUnsafe(FIRST_BYTES);
  }

  protected pushNull(): void {
    this.reserve(4);
    this.#nulls = 1;
    this.end = this.buffer.writeInt32BE(-1, this.end);
  }

  /** Makes room for an item of at most this many bytes, and counts it. */
  protected reserve(bytes: number): void {
    this.#count += 1;
    const wanted = this.end + bytes;
    if (wanted <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(wanted, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.end);
    this.buffer = larger;
  }
}

/** Texts or bytes. */
export class CellsParam extends ArrayParam {
  constructor(kind: 'text' | 'bytea') {
    super(kind === 'text' ? TEXT : BYTEA);
  }

  push(cell: Cell): void {
    if (cell === null) {
      this.pushNull();
      return;
    }
    if (typeof cell !== 'string') {
      this.reserve(4 + cell.length);
      this.end = this.buffer.writeInt32BE(cell.length, this.end);
      this.buffer.set(cell, this.end);
      this.end += cell.length;
      return;
    }
    // Three bytes for a UTF-16 unit are enough; only long texts are worth measuring first.
    this.reserve(4 + (cell.length < 1_024 ? cell.length * 3 : Buffer.byteLength(cell)));
    const length = this.buffer.write(cell, this.end + 4, 'utf8');
    this.buffer.writeInt32BE(length, this.end);
    this.end += 4 + length;
  }
}

/** Fences: 64-bit integers, given as two halves. */
export class FencesParam extends ArrayParam {
  constructor() {
    super(INT8);
  }

  push(high: number, low: number): void {
    this.reserve(12);
    let { end } = this;
    end = this.buffer.writeInt32BE(8, end);
    end = this.buffer.writeUInt32BE(high, end);
    this.end = this.buffer.writeUInt32BE(low, end);
  }
}

/** Ordinals: 32-bit integers. */
export class OrdinalsParam extends ArrayParam {
  constructor() {
    super(INT4);
  }

  push(ordinal: number): void {
    this.reserve(8);
    const end = this.buffer.writeInt32BE(4, this.end);
    this.end = this.buffer.writeInt32BE(ordinal, end);
  }
}
