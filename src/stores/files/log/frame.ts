import { crc32 } from 'node:zlib';
import type { Identity } from '../../../core/position.ts';
import type { LogRecord } from '../../../ports/log.ts';

/*
 * A segment is a row of frames: one head, then one frame of records for each flush.
 *
 *   header, 40 bytes, little-endian           a record
 *    0 magic             u32                   flags                     u8
 *    4 CRC-32 of 8…39    u32                   payload bytes             u32
 *    8 body bytes        u32                   [epoch u16, offset u32+u32]  unless as before
 *   12 CRC-32 of body    u32                   [ordinal u32]                unless one more
 *   16 first log offset  u32+u32               payload
 *   24 records           u32
 *   28 kind              u32
 *   32 last commit + 1   u32+u32
 *
 * The header has its own checksum so that a scan may hop from header to header and still never
 * follow a damaged length. "Last commit" is the log offset of the last commit record up to the end
 * of the frame (0: none), so that the tail of the log is found from its last segment alone.
 */

export const FRAME_HEADER_BYTES = 40;
// 0xff and 0xfe occur nowhere in UTF-8, so no payload reads as the start of a frame.
const MAGIC = 0xfe_54_4c_ff;
const MAGIC_BYTES: Buffer = Buffer.from([0xff, 0x4c, 0x54, 0xfe]);
const HIGH = 2 ** 32;

/** What a frame holds: the head of a segment, records, or nothing (it seals a closed segment). */
export const frameKinds = { head: 1, records: 2, seal: 3 } as const;

const COMMIT = 1;
const SAME_POSITION = 2;
const NEXT_ORDINAL = 4;
const ASCII = 8;
const UTF16 = 16;
// flags + payload bytes + epoch + offset + ordinal
const RECORD_HEADER_BYTES_MAX = 19;

export interface FrameHeader {
  readonly kind: number;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
  /** The log offset of the first record. */
  readonly first: number;
  readonly count: number;
  /** The log offset of the last commit record up to the end of this frame. */
  readonly commitAt: number | undefined;
}

/** The header at `at`, or undefined if there is none that passes its checks. */
export function readFrameHeader(buffer: Buffer, at: number): FrameHeader | undefined {
  if (buffer.length < at + FRAME_HEADER_BYTES || buffer.readUInt32LE(at) !== MAGIC)
    return undefined;
  const covered = buffer.subarray(at + 8, at + FRAME_HEADER_BYTES);
  if (crc32(covered) !== buffer.readUInt32LE(at + 4)) return undefined;
  const commit = readLong(buffer, at + 32);
  return {
    bodyBytes: buffer.readUInt32LE(at + 8),
    bodyCrc: buffer.readUInt32LE(at + 12),
    first: readLong(buffer, at + 16),
    count: buffer.readUInt32LE(at + 24),
    kind: buffer.readUInt32LE(at + 28),
    commitAt: commit === 0 ? undefined : commit - 1,
  };
}

/** Whether `body` is what the header was written for. */
export function bodyMatches(header: FrameHeader, body: Buffer): boolean {
  return body.length === header.bodyBytes && crc32(body) === header.bodyCrc;
}

/** The place of the next valid frame header of records after `first`, from `from` on; -1 if none. */
export function findFrameAfter(buffer: Buffer, from: number, first: number): number {
  let at = buffer.indexOf(MAGIC_BYTES, from);
  while (at !== -1) {
    const header = readFrameHeader(buffer, at);
    if (header !== undefined && header.first >= first) return at;
    at = buffer.indexOf(MAGIC_BYTES, at + 1);
  }
  return -1;
}

/** A whole frame around a given body; for the head and the seal of a segment. */
export function encodeFrame(
  kind: number,
  first: number,
  commitAt: number | undefined,
  body: Buffer,
): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + body.length);
  body.copy(frame, FRAME_HEADER_BYTES);
  writeHeader(frame, kind, first, 0, commitAt);
  return frame;
}

interface Mark {
  readonly length: number;
  readonly count: number;
  readonly last: Identity | undefined;
  readonly commitAt: number | undefined;
  readonly commit: LogRecord | undefined;
}

/** Packs records into one frame, in a buffer that is used again for the next one. */
export class FrameWriter {
  static readonly #keptBytes = 8 * 1024 * 1024;
  #buffer: Buffer = Buffer.allocUnsafe(64 * 1024);
  #length: number = FRAME_HEADER_BYTES;
  #first = 0;
  #count = 0;
  #last: Identity | undefined;
  #commit: LogRecord | undefined;
  #commitAt: number | undefined;

  /** Starts a frame whose first record gets the log offset `first`. */
  begin(first: number, commitAt: number | undefined): void {
    if (this.#buffer.length > FrameWriter.#keptBytes) this.#buffer = Buffer.allocUnsafe(64 * 1024);
    this.#length = FRAME_HEADER_BYTES;
    this.#first = first;
    this.#count = 0;
    this.#last = undefined;
    this.#commit = undefined;
    this.#commitAt = commitAt;
  }

  get bytes(): number {
    return this.#length;
  }

  /** The log offset after the last record added. */
  get next(): number {
    return this.#first + this.#count;
  }

  get count(): number {
    return this.#count;
  }

  /** The last record added since {@link begin}. */
  get last(): Identity | undefined {
    return this.#last;
  }

  /** The last commit record added since {@link begin}. */
  get commit(): LogRecord | undefined {
    return this.#commit;
  }

  get commitAt(): number | undefined {
    return this.#commitAt;
  }

  mark(): Mark {
    return {
      length: this.#length,
      count: this.#count,
      last: this.#last,
      commit: this.#commit,
      commitAt: this.#commitAt,
    };
  }

  /** Takes back what was added since the mark. */
  rewind(mark: Mark): void {
    this.#length = mark.length;
    this.#count = mark.count;
    this.#last = mark.last;
    this.#commit = mark.commit;
    this.#commitAt = mark.commitAt;
  }

  add(record: LogRecord): void {
    const { payload } = record;
    const buffer = this.#room(RECORD_HEADER_BYTES_MAX + payload.length * 3);
    const start = this.#length;
    const last = this.#last;
    let at = start + 5;
    let flags = record.kind === 'commit' ? COMMIT : 0;
    if (last !== undefined && last.offset === record.offset && last.epoch === record.epoch) {
      flags |= SAME_POSITION;
    } else {
      at = buffer.writeUInt16LE(record.epoch, at);
      at = writeLong(buffer, record.offset, at);
    }
    if (last !== undefined && last.ordinal + 1 === record.ordinal) flags |= NEXT_ORDINAL;
    else at = buffer.writeUInt32LE(record.ordinal, at);
    let bytes = buffer.write(payload, at, 'utf8');
    if (bytes === payload.length) {
      flags |= ASCII;
    } else if (!payload.isWellFormed()) {
      // UTF-8 has no form for a lone surrogate, and the log must give back what it was given.
      bytes = buffer.write(payload, at, 'utf16le');
      flags |= UTF16;
    }
    buffer[start] = flags;
    buffer.writeUInt32LE(bytes, start + 1);
    this.#length = at + bytes;
    this.#last = record;
    if ((flags & COMMIT) !== 0) {
      this.#commit = record;
      this.#commitAt = this.#first + this.#count;
    }
    this.#count += 1;
  }

  /** The frame; valid until the next {@link begin}. */
  finish(): Buffer {
    const frame = this.#buffer.subarray(0, this.#length);
    writeHeader(frame, frameKinds.records, this.#first, this.#count, this.#commitAt);
    return frame;
  }

  #room(bytes: number): Buffer {
    if (this.#length + bytes > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    return this.#buffer;
  }
}

/** Takes records one by one out of the body of a frame whose checksum was found right. */
export class FrameDecoder {
  #body: Buffer = Buffer.alloc(0);
  #at = 0;
  #epoch = 0;
  #offset = 0;
  #ordinal = 0;
  remaining = 0;

  begin(body: Buffer, count: number): void {
    this.#body = body;
    this.#at = 0;
    this.remaining = count;
  }

  /** Payload bytes of the next record. */
  get payloadBytes(): number {
    return this.#body.readUInt32LE(this.#at + 1);
  }

  next(): LogRecord {
    const body = this.#body;
    const start = this.#at;
    const flags = body.readUInt8(start);
    const at = this.#identity(flags);
    const end = at + body.readUInt32LE(start + 1);
    this.#at = end;
    this.remaining -= 1;
    return {
      kind: (flags & COMMIT) === 0 ? 'change' : 'commit',
      epoch: this.#epoch,
      offset: this.#offset,
      ordinal: this.#ordinal,
      payload:
        (flags & ASCII) !== 0
          ? body.toString('latin1', at, end)
          : body.toString((flags & UTF16) !== 0 ? 'utf16le' : 'utf8', at, end),
    };
  }

  skip(count: number): void {
    for (let left = count; left > 0; left -= 1) {
      const start = this.#at;
      const at = this.#identity(this.#body.readUInt8(start));
      this.#at = at + this.#body.readUInt32LE(start + 1);
      this.remaining -= 1;
    }
  }

  /** Reads the identity of the record at hand; returns where its payload starts. */
  #identity(flags: number): number {
    const body = this.#body;
    let at = this.#at + 5;
    if ((flags & SAME_POSITION) === 0) {
      this.#epoch = body.readUInt16LE(at);
      this.#offset = readLong(body, at + 2);
      at += 10;
    }
    if ((flags & NEXT_ORDINAL) !== 0) {
      this.#ordinal += 1;
    } else {
      this.#ordinal = body.readUInt32LE(at);
      at += 4;
    }
    return at;
  }
}

function writeHeader(
  frame: Buffer,
  kind: number,
  first: number,
  count: number,
  commitAt: number | undefined,
): void {
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(frame.length - FRAME_HEADER_BYTES, 8);
  frame.writeUInt32LE(crc32(frame.subarray(FRAME_HEADER_BYTES)), 12);
  writeLong(frame, first, 16);
  frame.writeUInt32LE(count, 24);
  frame.writeUInt32LE(kind, 28);
  writeLong(frame, commitAt === undefined ? 0 : commitAt + 1, 32);
  frame.writeUInt32LE(crc32(frame.subarray(8, FRAME_HEADER_BYTES)), 4);
}

function writeLong(buffer: Buffer, value: number, at: number): number {
  buffer.writeUInt32LE(value % HIGH, at);
  return buffer.writeUInt32LE(Math.floor(value / HIGH), at + 4);
}

function readLong(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * HIGH;
}
