import { open } from 'node:fs/promises';
import type { LogRecord } from '../../../ports/log.ts';
import { corrupt } from './failures.ts';
import { FileWindow } from './file-window.ts';
import {
  bodyMatches,
  findFrameAfter,
  FRAME_HEADER_BYTES,
  FrameDecoder,
  frameKinds,
  readFrameHeader,
  type FrameHeader,
} from './frame.ts';
import { identityOf, parseHead, type SegmentHead, type SegmentName } from './segment-files.ts';

const SCAN_AHEAD_BYTES = 256 * 1024;

/** Where the log ends, and with what. */
export interface TailScan extends SegmentHead {
  readonly next: number;
  readonly fileBytes: number;
  /** The end of the last whole frame; what is after it is a torn write, or room for more. */
  readonly bytes: number;
}

interface Place {
  readonly at: number;
  readonly header: FrameHeader;
}

/**
 * Finds the end of the log in its last segment, without changing the file, and makes what it found
 * durable: an appender that died after write and before sync may leave frames that only memory
 * holds, and whoever goes on after them must not find them gone.
 *
 * A frame that does not pass its checks is a torn write only if it is the very last thing there. A
 * flush starts after the one before it was synced, so anything after a bad frame proves that the
 * bad frame was once whole and acknowledged: that is damage, STORE_CORRUPT, and nothing is cut.
 *
 * The size is taken first and nothing past it is looked at, so the scan ends however fast an
 * appender in another process may be writing.
 */
export async function scanTail(segment: SegmentName): Promise<TailScan> {
  const handle = await open(segment.path, 'r');
  try {
    const { size } = await handle.stat();
    const scan = new SegmentScan(segment, new FileWindow(handle), size);
    const tail = await scan.run();
    await handle.datasync();
    return tail;
  } finally {
    await handle.close();
  }
}

/** The last frame that holds a record, and the last that holds a commit. */
interface Places {
  readonly last?: Place;
  readonly commit?: Place;
}

class SegmentScan {
  readonly #segment: SegmentName;
  readonly #window: FileWindow;
  readonly #size: number;
  readonly #decoder: FrameDecoder = new FrameDecoder();
  /** Where the walk is: a place in the file, and the log offset that comes there. */
  #end = 0;
  #next: number;
  /** The last frame of the walk, what was found up to it, and what up to the one before. */
  #final: Place | undefined;
  #places: Places = {};
  #before: Places = {};

  constructor(segment: SegmentName, window: FileWindow, size: number) {
    this.#segment = segment;
    this.#next = segment.first;
    this.#window = window;
    this.#size = size;
  }

  async run(): Promise<TailScan> {
    const headHeader = await this.#header(0);
    if (headHeader?.kind !== frameKinds.head || headHeader.first !== this.#segment.first)
      throw corrupt(this.#segment.path, 0, 'a segment does not start with its head');
    const head = parseHead(await this.#body({ at: 0, header: headHeader }));

    this.#end = FRAME_HEADER_BYTES + headHeader.bodyBytes;
    do await this.#walk();
    while (!(await this.#endsHere()));
    return {
      next: this.#next,
      bytes: this.#end,
      fileBytes: this.#size,
      ...(await this.#ending(head, this.#places)),
    };
  }

  /** Goes from header to header, as far as they follow one another. */
  async #walk(): Promise<void> {
    for (;;) {
      const header = await this.#header(this.#end);
      if (header === undefined || !this.#follows(header)) return;
      const place = { at: this.#end, header };
      this.#final = place;
      this.#before = this.#places;
      if (header.count > 0) this.#places = { ...this.#places, last: place };
      if (header.commitAt !== undefined && header.commitAt >= header.first)
        this.#places = { ...this.#places, commit: place };
      this.#next += header.count;
      this.#end += FRAME_HEADER_BYTES + header.bodyBytes;
    }
  }

  /**
   * Decides whether the log ends where the walk did. False if there is more by now. Throws
   * STORE_CORRUPT if something is there that only a frame after a good one can be.
   *
   * What stands at two places was not read at one moment, and an appender may be at work: a frame
   * that was bad when it was read may be followed by one that was written since. Whatever is seen
   * after a frame proves that the frame is whole *by now*, so it is read once more: damage stays.
   */
  async #endsHere(): Promise<boolean> {
    const final = this.#final;
    if (final !== undefined && !(await this.#isWhole(final))) {
      if (!(await this.#isZeroFrom(this.#end))) {
        await this.#bodyNow(final);
        return false;
      }
      this.#places = this.#before;
      this.#next = final.header.first;
      this.#end = final.at;
      return true;
    }
    if (this.#end >= this.#size || !(await this.#isFollowed())) return true;
    const now = await this.#window.load(
      this.#end,
      FRAME_HEADER_BYTES,
      this.#size,
      SCAN_AHEAD_BYTES,
    );
    const header = readFrameHeader(now, 0);
    if (header === undefined || !this.#follows(header))
      throw corrupt(this.#segment.path, this.#end, 'a frame followed by others fails its checksum');
    return false;
  }

  /** Whether a header belongs where the walk is, with its whole frame in the file. */
  #follows(header: FrameHeader): boolean {
    const end = this.#end + FRAME_HEADER_BYTES + header.bodyBytes;
    return header.first === this.#next && end <= this.#size;
  }

  async #ending(head: SegmentHead, { last, commit }: Places): Promise<SegmentHead> {
    const lastRecord = last === undefined ? undefined : await this.#record(last, Infinity);
    const commitAt = commit?.header.commitAt ?? head.commitAt;
    return {
      last: lastRecord === undefined ? head.last : identityOf(lastRecord),
      commitAt,
      commit: commit === undefined ? head.commit : await this.#record(commit, commitAt ?? 0),
    };
  }

  /** The record at a log offset in a frame, or its last. Throws STORE_CORRUPT. */
  async #record(place: Place, offset: number): Promise<LogRecord> {
    const { first, count } = place.header;
    this.#decoder.begin(await this.#body(place), count);
    this.#decoder.skip(Math.min(count - 1, offset - first));
    return this.#decoder.next();
  }

  /** Whether a whole header of a later frame stands anywhere after the end of the walk. */
  async #isFollowed(): Promise<boolean> {
    const length = this.#size - this.#end;
    const rest = await this.#window.load(this.#end, length, this.#size, SCAN_AHEAD_BYTES);
    // A header that is whole but of another place was never torn: tearing does not move frames.
    const found = findFrameAfter(rest, 0, this.#next);
    const torn = found === 0 && readFrameHeader(rest, 0)?.first === this.#next;
    return (torn ? findFrameAfter(rest, FRAME_HEADER_BYTES, this.#next + 1) : found) !== -1;
  }

  /** Whether there is nothing from `at` on but the room that was made for later frames. */
  async #isZeroFrom(at: number): Promise<boolean> {
    const rest = await this.#window.load(at, this.#size - at, this.#size, SCAN_AHEAD_BYTES);
    return rest.every((byte) => byte === 0);
  }

  async #isWhole({ at, header }: Place): Promise<boolean> {
    return bodyMatches(header, await this.#bytes(at + FRAME_HEADER_BYTES, header.bodyBytes));
  }

  async #body(place: Place): Promise<Buffer> {
    const body = await this.#bytes(place.at + FRAME_HEADER_BYTES, place.header.bodyBytes);
    return bodyMatches(place.header, body) ? body : await this.#bodyNow(place);
  }

  /** The body as it is in the file now, whatever was read ahead. Throws STORE_CORRUPT. */
  async #bodyNow({ at, header }: Place): Promise<Buffer> {
    const start = at + FRAME_HEADER_BYTES;
    const body = await this.#window.load(start, header.bodyBytes, this.#size, SCAN_AHEAD_BYTES);
    if (!bodyMatches(header, body))
      throw corrupt(this.#segment.path, at, 'a frame followed by others fails its checksum');
    return body;
  }

  async #header(at: number): Promise<FrameHeader | undefined> {
    return readFrameHeader(await this.#bytes(at, FRAME_HEADER_BYTES), 0);
  }

  async #bytes(at: number, length: number): Promise<Buffer> {
    return (
      this.#window.peek(at, length) ??
      (await this.#window.load(at, length, this.#size, SCAN_AHEAD_BYTES))
    );
  }
}
