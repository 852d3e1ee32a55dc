/*
 * Lists as the server's binary format of a one-dimensional array. The driver binds a Buffer as binary, so values of
 * any size and content go over without being quoted here and unquoted there.
 */
const HEADER_BYTES = 20;
const TEXT = 25;
const BYTEA = 17;
const INT2 = 21;
const INT4 = 23;
const INT8 = 20;
const FLOAT8 = 701;

/** For a parameter of type `text[]`; null is NULL. The texts hold no U+0000. */
export function textArray(values: readonly (string | null)[]): Buffer {
  let bytes = HEADER_BYTES;
  for (const value of values) bytes += 4 + (value === null ? 0 : Buffer.byteLength(value));
  const buffer = header(bytes, TEXT, values.length, values.includes(null));
  let at = HEADER_BYTES;
  for (const value of values) {
    if (value === null) {
      at = buffer.writeInt32BE(-1, at);
      continue;
    }
    const written = buffer.write(value, at + 4);
    buffer.writeInt32BE(written, at);
    at += 4 + written;
  }
  return buffer;
}

/** For a parameter of type `bytea[]`; an element may be given in several pieces. */
export function byteaArray(values: readonly (readonly Buffer[])[]): Buffer {
  const sizes = values.map((pieces) => pieces.reduce((sum, piece) => sum + piece.length, 0));
  const bytes = sizes.reduce((sum, size) => sum + 4 + size, HEADER_BYTES);
  const buffer = header(bytes, BYTEA, values.length, false);
  let at = HEADER_BYTES;
  for (const [index, pieces] of values.entries()) {
    at = buffer.writeInt32BE(sizes[index] ?? 0, at);
    for (const piece of pieces) at += piece.copy(buffer, at);
  }
  return buffer;
}

/** For a parameter of type `int2[]`. */
export function int2Array(values: readonly number[]): Buffer {
  return fixed(INT2, 2, values, (buffer, value, at) => buffer.writeInt16BE(value, at));
}

/** For a parameter of type `int4[]`. */
export function int4Array(values: readonly number[]): Buffer {
  return fixed(INT4, 4, values, (buffer, value, at) => buffer.writeInt32BE(value, at));
}

/** For a parameter of type `int8[]`. */
export function int8Array(values: readonly number[]): Buffer {
  return fixed(INT8, 8, values, (buffer, value, at) => buffer.writeBigInt64BE(BigInt(value), at));
}

/** For a parameter of type `float8[]`. */
export function float8Array(values: readonly number[]): Buffer {
  return fixed(FLOAT8, 8, values, (buffer, value, at) => buffer.writeDoubleBE(value, at));
}

function fixed(
  type: number,
  size: number,
  values: readonly number[],
  write: (buffer: Buffer, value: number, at: number) => number,
): Buffer {
  const buffer = header(HEADER_BYTES + values.length * (4 + size), type, values.length, false);
  let at = HEADER_BYTES;
  for (const value of values) {
    at = buffer.writeInt32BE(size, at);
    at = write(buffer, value, at);
  }
  return buffer;
}

function header(bytes: number, type: number, count: number, hasNull: boolean): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  // Dimensions, whether there is a NULL, the type of the elements, their number, the first subscript.
  for (const [index, value] of [1, hasNull ? 1 : 0, type, count, 1].entries())
    buffer.writeInt32BE(value, index * 4);
  return buffer;
}
