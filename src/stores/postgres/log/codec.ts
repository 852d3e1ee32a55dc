import { TallyError } from '../../../core/errors.ts';
import { EPOCH_MAX, OFFSET_MAX, ORDINAL_MAX } from '../../../core/position.ts';
import type { LogRecord } from '../../../ports/log.ts';

/*
 * Records as bytes, one after the other; numbers are big-endian.
 *
 *   flags           u8
 *   payload bytes   u32
 *   [epoch u16, offset f64]   unless as of the record before
 *   [ordinal u32]             unless one more than that
 *   payload
 *
 * The first record of a part refers to none before it, so that parts may be put together in any number.
 */
const COMMIT = 1;
const SAME_POSITION = 2;
const NEXT_ORDINAL = 4;
const ASCII = 8;
/** The payload has half a surrogate pair, which has no form in UTF-8. */
const UTF16 = 16;
const RECORD_HEADER_BYTES_MAX = 19;

/** A row of the table holds this many bytes, or one record that is larger. */
export const PART_BYTES_MAX: number = 64 * 1024;
/** The server takes a gigabyte in a statement, and sends bytes as twice as many characters. */
const CALL_BYTES_MAX = 192 * 1024 * 1024;

/** Encoded records that follow one another. */
export interface Part {
  readonly bytes: Buffer;
  readonly count: number;
}

/** Records as parts. Throws POSITION_OUT_OF_RANGE and ROW_TOO_LARGE. */
export function encodeParts(records: readonly LogRecord[]): Part[] {
  const sizes = records.map((record) => payloadBytes(record));
  let total = 0;
  for (const size of sizes) total += size + RECORD_HEADER_BYTES_MAX;
  if (total > CALL_BYTES_MAX)
    throw new TallyError('ROW_TOO_LARGE', {
      what: `one append has ${total} bytes, more than ${CALL_BYTES_MAX}`,
      mend: 'append in several calls',
      details: { bytes: total, bytesMax: CALL_BYTES_MAX },
    });
  const buffer = Buffer.allocUnsafe(total);
  const parts: Part[] = [];
  let [start, at, first] = [0, 0, 0];
  for (const [index, record] of records.entries()) {
    const size = sizes[index] ?? 0;
    if (index > first && at - start + size > PART_BYTES_MAX) {
      parts.push({ bytes: buffer.subarray(start, at), count: index - first });
      start = at;
      first = index;
    }
    at = write(buffer, at, record, size, index === first ? undefined : records[index - 1]);
  }
  if (records.length > first)
    parts.push({ bytes: buffer.subarray(start, at), count: records.length - first });
  return parts;
}

/** One record by itself. */
export function encodeRecord(record: LogRecord): Buffer {
  const [part] = encodeParts([record]);
  return part?.bytes ?? Buffer.alloc(0);
}

function payloadBytes({ kind, epoch, offset, ordinal, payload }: LogRecord): number {
  const isRecord =
    isWhole(epoch, EPOCH_MAX) &&
    isWhole(offset, OFFSET_MAX) &&
    isWhole(ordinal, ORDINAL_MAX) &&
    (kind === 'change' || kind === 'commit') &&
    typeof payload === 'string';
  if (!isRecord)
    throw new TallyError('POSITION_OUT_OF_RANGE', {
      what: `a ${kind} with epoch ${epoch}, offset ${offset}, ordinal ${ordinal} is no record of a log`,
      mend: 'map the positions of the source to whole numbers within the limits, in its adapter',
      details: { epoch, offset, ordinal },
    });
  return payload.isWellFormed() ? Buffer.byteLength(payload) : payload.length * 2;
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

function write(
  buffer: Buffer,
  start: number,
  record: LogRecord,
  size: number,
  before: LogRecord | undefined,
): number {
  const { kind, epoch, offset, ordinal, payload } = record;
  const same = before !== undefined && before.epoch === epoch && before.offset === offset;
  const next = before !== undefined && before.ordinal + 1 === ordinal;
  const isUtf16 = size !== payload.length && !payload.isWellFormed();
  const isAscii = size === payload.length;
  buffer[start] =
    (kind === 'commit' ? COMMIT : 0) |
    (same ? SAME_POSITION : 0) |
    (next ? NEXT_ORDINAL : 0) |
    (isAscii ? ASCII : 0) |
    (isUtf16 ? UTF16 : 0);
  let at = buffer.writeUInt32BE(size, start + 1);
  if (!same) at = buffer.writeDoubleBE(offset, buffer.writeUInt16BE(epoch, at));
  if (!next) at = buffer.writeUInt32BE(ordinal, at);
  return at + buffer.write(payload, at, isUtf16 ? 'utf16le' : isAscii ? 'latin1' : 'utf8');
}

/** Reads records one after the other out of encoded parts. */
export class RecordReader {
  readonly #buffer: Buffer;
  #at = 0;
  #epoch = 0;
  #offset = 0;
  #ordinal = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** The bytes of the next payload. */
  get size(): number {
    return this.#buffer.readUInt32BE(this.#at + 1);
  }

  next(): LogRecord {
    const flags = this.#buffer.readUInt8(this.#at);
    const [start, end] = this.#head(flags);
    this.#at = end;
    const encoding = (flags & ASCII) !== 0 ? 'latin1' : (flags & UTF16) !== 0 ? 'utf16le' : 'utf8';
    return {
      kind: (flags & COMMIT) === 0 ? 'change' : 'commit',
      epoch: this.#epoch,
      offset: this.#offset,
      ordinal: this.#ordinal,
      payload: this.#buffer.toString(encoding, start, end),
    };
  }

  /** Goes on to the next record without making this one. */
  skip(): void {
    [, this.#at] = this.#head(this.#buffer.readUInt8(this.#at));
  }

  /** Takes up the identity; answers where the payload begins and ends. */
  #head(flags: number): readonly [number, number] {
    let at = this.#at + 5;
    if ((flags & SAME_POSITION) === 0) {
      this.#epoch = this.#buffer.readUInt16BE(at);
      this.#offset = this.#buffer.readDoubleBE(at + 2);
      at += 10;
    }
    if ((flags & NEXT_ORDINAL) === 0) {
      this.#ordinal = this.#buffer.readUInt32BE(at);
      at += 4;
    } else this.#ordinal += 1;
    return [at, at + this.size];
  }
}

/** What {@link encodeRecord} was given. */
export function decodeRecord(bytes: Buffer): LogRecord {
  return new RecordReader(bytes).next();
}
