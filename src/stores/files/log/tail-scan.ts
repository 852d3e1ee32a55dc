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
 * The size is taken first and nothing past it is looked at: an appender in another process may be
 * writing, and two places of a growing file must not be compared at two moments.
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

class SegmentScan {
  readonly #segment: SegmentName;
  readonly #window: FileWindow;
  readonly #size: number;
  readonly #decoder: FrameDecoder = new FrameDecoder();

  constructor(segment: SegmentName, window: FileWindow, size: number) {
    this.#segment = segment;
    this.#window = window;
    this.#size = size;
  }

  async run(): Promise<TailScan> {
    const headHeader = await this.#header(0);
    if (headHeader?.kind !== frameKinds.head || headHeader.first !== this.#segment.first)
      throw corrupt(this.#segment.path, 0, 'a segment does not start with its head');
    const head = parseHead(await this.#body({ at: 0, header: headHeader }));

    // The last frame, the one before it, and the last with a record and with a commit in them.
    let places: { last?: Place; commit?: Place } = {};
    let before: { last?: Place; commit?: Place } = {};
    let end = FRAME_HEADER_BYTES + headHeader.bodyBytes;
    let final: Place | undefined;
    let next = this.#segment.first;
    for (;;) {
      const header = await this.#header(end);
      const frameEnd = end + FRAME_HEADER_BYTES + (header?.bodyBytes ?? 0);
      if (header === undefined || frameEnd > this.#size || header.first !== next) break;
      final = { at: end, header };
      before = places;
      if (header.count > 0) places = { ...places, last: final };
      if (header.commitAt !== undefined && header.commitAt >= header.first)
        places = { ...places, commit: final };
      next += header.count;
      end = frameEnd;
    }
    if (final !== undefined && !(await this.#isWhole(final))) {
      if (!(await this.#isZeroFrom(end)))
        throw corrupt(
          this.#segment.path,
          final.at,
          'a frame followed by others fails its checksum',
        );
      places = before;
      next = final.header.first;
      end = final.at;
    } else if (end < this.#size) {
      await this.#refuseFramesAfter(end, next);
    }
    return { next, bytes: end, fileBytes: this.#size, ...(await this.#ending(head, places)) };
  }

  async #ending(
    head: SegmentHead,
    { last, commit }: { last?: Place; commit?: Place },
  ): Promise<SegmentHead> {
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

  async #refuseFramesAfter(at: number, next: number): Promise<void> {
    const rest = await this.#window.load(at, this.#size - at, this.#size, SCAN_AHEAD_BYTES);
    // A header that is whole but of another place was never torn: tearing does not move frames.
    const found = findFrameAfter(rest, 0, next);
    const torn = found === 0 && readFrameHeader(rest, 0)?.first === next;
    const later = torn ? findFrameAfter(rest, FRAME_HEADER_BYTES, next + 1) : found;
    if (later !== -1)
      throw corrupt(this.#segment.path, at, 'a frame followed by others fails its checksum');
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
    if (!bodyMatches(place.header, body))
      throw corrupt(this.#segment.path, place.at, 'a frame fails its checksum');
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
