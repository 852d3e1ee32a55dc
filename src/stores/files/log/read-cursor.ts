import { open, type FileHandle } from 'node:fs/promises';
import { must } from '../../../core/errors.ts';
import type { LogRecord } from '../../../ports/log.ts';
import { corrupt } from './failures.ts';
import { FileWindow } from './file-window.ts';
import {
  bodyMatches,
  FRAME_HEADER_BYTES,
  FrameDecoder,
  frameKinds,
  readFrameHeader,
  type FrameHeader,
} from './frame.ts';
import type { Segment } from './segment-files.ts';
import type { SegmentList } from './segment-list.ts';

const READ_AHEAD_BYTES = 1024 * 1024;
/** A search looks at headers only, and most of what lies between them is skipped. */
const SEARCH_AHEAD_BYTES = 64 * 1024;

/** One reader's place in the log: the open segment, and the frame it is in the middle of. */
export class ReadCursor {
  readonly #list: SegmentList;
  readonly #decoder: FrameDecoder = new FrameDecoder();
  #segment: Segment | undefined;
  #handle: FileHandle | undefined;
  #window: FileWindow | undefined;
  #position = 0;
  #next: number;

  /** A place that is not looked up before the first {@link read}. */
  constructor(list: SegmentList, from: number) {
    this.#list = list;
    this.#next = from;
  }

  /** The log offset of the next record. */
  get next(): number {
    return this.#next;
  }

  /** Records from here up to the bounds, at least one if there is one. Throws STORE_CORRUPT. */
  async read(recordsMax: number, bytesMax: number): Promise<LogRecord[]> {
    const decoder = this.#decoder;
    const records: LogRecord[] = [];
    let bytes = 0;
    while (records.length < recordsMax && this.#next < this.#list.next) {
      if (decoder.remaining === 0) await this.#openFrame();
      while (decoder.remaining > 0 && records.length < recordsMax) {
        bytes += decoder.payloadBytes;
        if (bytes > bytesMax && records.length > 0) return records;
        records.push(decoder.next());
        this.#next += 1;
      }
    }
    return records;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    this.#segment = undefined;
    this.#decoder.remaining = 0;
    await handle?.close();
  }

  /** Opens the frame that holds the next record, and passes over the records before it. */
  async #openFrame(): Promise<void> {
    const segment = must(this.#list.find(this.#next), 'the segment of a record');
    if (this.#segment?.path !== segment.path) await this.#openSegment(segment);
    this.#segment = segment;
    for (;;) {
      const header = await this.#header(segment, READ_AHEAD_BYTES);
      const body = await this.#body(segment, header);
      const offset = this.#next;
      if (header.first > offset || (header.count > 0 && header.first + header.count <= offset))
        throw corrupt(segment.path, this.#position, 'the records of a frame are out of order');
      this.#position += FRAME_HEADER_BYTES + header.bodyBytes;
      if (header.count === 0) continue;
      this.#decoder.begin(body, header.count);
      this.#decoder.skip(offset - header.first);
      return;
    }
  }

  /** Opens a segment, and walks over the headers of the frames before the next record. */
  async #openSegment(segment: Segment): Promise<void> {
    await this.close();
    this.#handle = await open(segment.path, 'r');
    this.#window = new FileWindow(this.#handle);
    this.#position = 0;
    const head = await this.#header(segment, SEARCH_AHEAD_BYTES);
    if (head.kind !== frameKinds.head || head.first !== segment.first)
      throw corrupt(segment.path, 0, 'a segment does not start with its head');
    await this.#body(segment, head);
    this.#position = FRAME_HEADER_BYTES + head.bodyBytes;
    let offset = segment.first;
    while (offset < this.#next) {
      const header = await this.#header(segment, SEARCH_AHEAD_BYTES);
      if (header.first !== offset)
        throw corrupt(segment.path, this.#position, 'the records of a frame are out of order');
      if (offset + header.count > this.#next) break;
      offset += header.count;
      this.#position += FRAME_HEADER_BYTES + header.bodyBytes;
    }
  }

  async #header(segment: Segment, aheadBytes: number): Promise<FrameHeader> {
    const bytes = await this.#bytes(segment, this.#position, FRAME_HEADER_BYTES, aheadBytes);
    const header = readFrameHeader(bytes, 0);
    if (header === undefined)
      throw corrupt(segment.path, this.#position, 'a frame header fails its checksum');
    return header;
  }

  async #body(segment: Segment, header: FrameHeader): Promise<Buffer> {
    const at = this.#position + FRAME_HEADER_BYTES;
    const body = await this.#bytes(segment, at, header.bodyBytes, READ_AHEAD_BYTES);
    if (!bodyMatches(header, body))
      throw corrupt(segment.path, this.#position, 'a frame fails its checksum');
    return body;
  }

  /**
   * Bytes of the segment, never past what is durable: read ahead, the flush that is being written
   * would be kept in the window half-written, and later be taken for damage.
   */
  #bytes(
    segment: Segment,
    position: number,
    length: number,
    aheadBytes: number,
  ): Buffer | Promise<Buffer> {
    const window = must(this.#window, 'the window of an open segment');
    return (
      window.peek(position, length) ?? window.load(position, length, segment.bytes, aheadBytes)
    );
  }
}
